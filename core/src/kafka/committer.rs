//! Offsets of the group, for the threads beside the one that polls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::context::Context;
use super::ffi::{Client, Failure, Kind, Partitions};
use super::{errors, progress};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TopicPartition;
use crate::transport::{Committed, Connectivity, GroupOffsets, LogPosition, Progress};

/// What is stored beside an offset at which a group began.
const START: &[u8] = b"start";

/// How long one look for an answer takes: a closed consumer is noticed after it.
const SLICE: Duration = Duration::from_millis(100);

/// librdkafka's shortest wait.
const LEAST: Duration = Duration::from_millis(1);

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(LEAST)
}

/// Commits and watermarks; does not keep the client alive.
pub(super) struct KafkaOffsets {
    client: Weak<Client>,
    context: Arc<Context>,
    assigned: Mutex<Vec<TopicPartition>>,
    /// Where partitions end that are not fetched now, as the brokers said when they were asked.
    ends: Mutex<HashMap<TopicPartition, i64>>,
    /// What the client told last. It is read when somebody wants to know, which is seldom.
    statistics: Mutex<String>,
    closed: AtomicBool,
}

impl KafkaOffsets {
    pub(super) fn new(client: &Arc<Client>, context: Arc<Context>) -> KafkaOffsets {
        let client = Arc::downgrade(client);
        KafkaOffsets {
            client,
            context,
            assigned: Mutex::default(),
            ends: Mutex::default(),
            statistics: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<TopicPartition>> {
        self.assigned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<TopicPartition, i64>> {
        self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs on: any. Brokers were asked where partitions end.
    pub(super) fn ends_are(&self, ends: Vec<(TopicPartition, i64)>) {
        self.ends().extend(ends.into_iter().filter(|(_, end)| *end >= 0));
    }

    /// Runs on: poll thread, every second.
    pub(super) fn statistics_are(&self, json: &str) {
        json.clone_into(&mut self.statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    pub(super) fn assigned(&self, partitions: impl Iterator<Item = TopicPartition>) {
        self.partitions().extend(partitions);
    }

    pub(super) fn unassigned(&self, partitions: &[TopicPartition]) {
        self.partitions().retain(|partition| !partitions.contains(partition));
        self.ends().retain(|partition, _| !partitions.contains(partition));
    }

    pub(super) fn check_assigned(&self, partitions: &[TopicPartition]) -> Result<()> {
        let assigned = self.partitions();
        match partitions.iter().find(|partition| !assigned.contains(partition)) {
            None => Ok(()),
            Some(stranger) => {
                Err(Error::new(ErrorKind::IllegalState, "the partition is not assigned to this consumer")
                    .with("topic", &stranger.topic)
                    .with("partition", stranger.partition))
            }
        }
    }

    /// Lets a commit that waits for its answer return.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.partitions().clear();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer was closed before the brokers answered")
}

fn not_committed(failure: Failure) -> Error {
    errors::error("the offsets were not committed", &failure)
}

impl KafkaOffsets {
    fn client(&self) -> Result<Arc<Client>> {
        self.client.upgrade().filter(|_| !self.closed.load(Ordering::Acquire)).ok_or_else(closed)
    }

    fn store(&self, list: &Partitions) -> Result<()> {
        let client = self.client()?;
        let answers = client.new_queue();
        client.commit(list, &answers).map_err(not_committed)?;
        loop {
            if let Some(event) = answers.poll(SLICE)
                && let Kind::Committed(result) = event.kind()
            {
                return result.map_err(not_committed);
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(closed());
            }
        }
    }
}

impl GroupOffsets for KafkaOffsets {
    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.store(&Partitions::with_offsets(offsets).map_err(not_committed)?)
    }

    fn commit_starts(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = Partitions::with_offsets(offsets).map_err(not_committed)?;
        list.note(START);
        self.store(&list)
    }

    fn committed(&self, partitions: &[TopicPartition], deadline: Instant) -> Result<Vec<Option<Committed>>> {
        let failed = |failure| errors::error("the group's offsets are not known", &failure);
        let client = self.client()?;
        let list = Partitions::of(partitions).map_err(failed)?;
        client.committed(&list, left(deadline)).map_err(failed)?;
        let read =
            |stored: Option<(i64, Vec<u8>)>| stored.map(|(offset, note)| Committed { offset, is_start: note == START });
        list.stored().into_iter().map(|stored| stored.map(read).map_err(failed)).collect()
    }

    fn log_offsets(&self, places: &[(TopicPartition, LogPosition)], deadline: Instant) -> Result<Vec<Option<i64>>> {
        let client = self.client()?;
        let answers = client.new_queue();
        let asked = client.ask_offsets(places, left(deadline), &answers);
        asked.map_err(|failure| errors::error("the partitions' offsets are not known", &failure))?;
        loop {
            if let Some(event) = answers.poll(SLICE.min(left(deadline)))
                && let Kind::Offsets(known) = event.kind()
            {
                let known: HashMap<TopicPartition, i64> = known.into_iter().collect();
                return Ok(places.iter().map(|(source, _)| known.get(source).copied()).collect());
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(closed());
            }
            if left(deadline) <= LEAST {
                return Ok(vec![None; places.len()]);
            }
        }
    }

    fn partitions_of(&self, topic: &str, deadline: Instant) -> Result<i32> {
        let failed = |failure| errors::error("the topic's partitions are not known", &failure).with("topic", topic);
        match self.client()?.metadata(Some(topic), left(deadline)).map_err(failed)? {
            Some((0, count)) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            Some((code, _)) => Err(failed(Failure { code, text: String::new() })),
            None => Ok(0),
        }
    }

    fn progress(&self, partitions: &[TopicPartition], deadline: Instant) -> Result<Vec<Progress>> {
        let places: Vec<_> = partitions.iter().map(|source| (source.clone(), LogPosition::End)).collect();
        let ends = self.log_offsets(&places, deadline)?;
        let statistics = self.statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let fetched = progress::fetched(&statistics);
        let known = |(source, end): (_, Option<i64>)| Progress { fetched: fetched.get(source).copied(), end };
        Ok(partitions.iter().zip(ends).map(known).collect())
    }

    fn high_watermarks(&self) -> Vec<(TopicPartition, i64)> {
        let Some(client) = self.client.upgrade() else { return Vec::new() };
        let partitions = self.partitions();
        let ends = self.ends();
        let known = partitions.iter().filter_map(|entry| {
            let fetched = client.high_watermark(entry);
            // Whichever is newer: a partition only grows.
            let end = fetched.max(ends.get(entry).copied())?;
            Some((entry.clone(), end))
        });
        known.collect()
    }

    fn connectivity(&self) -> Connectivity {
        self.context.connectivity()
    }
}
