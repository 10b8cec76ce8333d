//! Offsets of the group, for the threads beside the one that polls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::context::Context;
use super::errors;
use super::ffi::{Client, Kind, Partitions};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TopicPartition;
use crate::transport::{Connectivity, GroupOffsets};

/// Commits and watermarks; does not keep the client alive.
pub(super) struct KafkaOffsets {
    client: Weak<Client>,
    context: Arc<Context>,
    assigned: Mutex<Vec<TopicPartition>>,
    /// Where partitions end that are not fetched now, as the brokers said when they were asked.
    ends: Mutex<HashMap<TopicPartition, i64>>,
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
            closed: AtomicBool::new(false),
        }
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<TopicPartition>> {
        self.assigned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<TopicPartition, i64>> {
        self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs on: poll thread. Brokers were asked where partitions end.
    pub(super) fn ends_are(&self, ends: Vec<(TopicPartition, i64)>) {
        self.ends().extend(ends);
    }

    pub(super) fn assigned(&self, partitions: &[TopicPartition]) {
        self.partitions().extend_from_slice(partitions);
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
    Error::new(ErrorKind::Closed, "the consumer was closed before the coordinator answered the commit")
}

impl GroupOffsets for KafkaOffsets {
    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let client = self.client.upgrade().filter(|_| !self.closed.load(Ordering::Acquire)).ok_or_else(closed)?;
        let failed = |failure| errors::error("the offsets were not committed", &failure);
        let list = Partitions::with_offsets(offsets).map_err(failed)?;
        let answers = client.new_queue();
        client.commit(&list, &answers).map_err(failed)?;
        loop {
            if let Some(event) = answers.poll(Duration::from_millis(100))
                && let Kind::Committed(result) = event.kind()
            {
                return result.map_err(failed);
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(closed());
            }
        }
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
