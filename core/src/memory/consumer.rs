//! A member of a group that reads the broker's memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::bell::{Bell, Bells, Wake};
use super::cluster::{Cluster, State, check_name};
use super::connectivity;
use super::group::{Group, Partitions, left};
use super::member::MemberId;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Record, TopicPartition};
use crate::transport::{Committed, Connectivity, Consumer, ConsumerEvent, GroupOffsets, LogPosition, Progress, Remedy};

/// Records of one partition taken per look, so that no partition starves the others.
const FETCH_RECORDS: usize = 64;

pub(super) struct MemoryConsumer {
    seat: Arc<Seat>,
    bell: Arc<Bell>,
    positions: BTreeMap<TopicPartition, Position>,
    ready: VecDeque<Arc<Record>>,
    /// The last look brought something, so the next one may too.
    more: bool,
    auto_create_topics: bool,
}

/// The member's place in its group.
struct Seat {
    cluster: Arc<Cluster>,
    group: Arc<str>,
    id: MemberId,
}

struct Position {
    /// Behind the last record handed out.
    next: i64,
    paused: bool,
    revoked: bool,
    /// Outside what the broker keeps.
    lost: bool,
}

impl Seat {
    /// Does something in the group, with the partitions that it subscribes to.
    fn change<R>(&self, change: impl FnOnce(&mut Group, &Partitions, &mut Bells) -> Result<R>) -> Result<R> {
        self.cluster.change(|state, bells| {
            let (group, partitions) = state.existing_group(&self.group).ok_or_else(left)?;
            change(group, &partitions, bells)
        })
    }
}

impl MemoryConsumer {
    pub(super) fn join(cluster: Arc<Cluster>, group: &str, auto_create_topics: bool, wake: Wake) -> Result<Self> {
        let bell = Bell::new(wake);
        let group: Arc<str> = group.into();
        let id = cluster.change(|state, _| {
            let id = state.next_member();
            state.group_mut(&group)?.0.join(id, bell.clone());
            Ok(id)
        })?;
        let seat = Arc::new(Seat { cluster, group, id });
        let (positions, ready) = (BTreeMap::new(), VecDeque::new());
        Ok(MemoryConsumer { seat, bell, positions, ready, more: false, auto_create_topics })
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        let id = self.seat.id;
        let event = self.seat.change(|group, partitions, bells| Ok(group.next_event(id, partitions, bells))).ok()??;
        match &event {
            ConsumerEvent::Revoked(partitions) => {
                for partition in partitions {
                    if let Some(position) = self.positions.get_mut(partition) {
                        position.revoked = true;
                    }
                }
                self.forget_prefetched(partitions);
            }
            ConsumerEvent::Lost(partitions) => self.forget(partitions),
            ConsumerEvent::Fatal(_) => {
                self.positions.clear();
                self.ready.clear();
            }
            _ => {}
        }
        Some(event)
    }

    /// Takes what lies behind the positions. A position outside what the broker keeps is told, and waits for a seek.
    fn fetch(&mut self) -> Option<ConsumerEvent> {
        let MemoryConsumer { seat, positions, ready, .. } = self;
        let trimmed = seat.cluster.read(|state| {
            for (source, position) in positions.iter_mut().filter(|(_, position)| position.is_fetched()) {
                let Some(partition) = state.partition(&source.topic, source.partition) else { continue };
                if state.faults.is_stalled(source, seat.id) {
                    continue;
                }
                if !(partition.start()..=partition.end()).contains(&position.next) {
                    position.lost = true;
                    return Some(source.clone());
                }
                ready.extend(partition.read(position.next, FETCH_RECORDS).cloned());
            }
            None
        });
        self.more = !self.ready.is_empty() || trimmed.is_some();
        trimmed.map(ConsumerEvent::OutOfRange)
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.positions.remove(partition);
        }
        self.forget_prefetched(partitions);
    }

    fn forget_prefetched(&mut self, partitions: &[TopicPartition]) {
        self.ready.retain(|record| !partitions.contains(&record.source));
    }

    fn check_assigned<'a>(&self, mut partitions: impl Iterator<Item = &'a TopicPartition>) -> Result<()> {
        match partitions.find(|partition| !self.positions.contains_key(partition)) {
            None => Ok(()),
            Some(stranger) => Err(Error::new(ErrorKind::IllegalState, "a partition is not assigned to this consumer")
                .with("topic", &stranger.topic)
                .with("partition", stranger.partition)
                .hint("pause, resume and seek only what is assigned")),
        }
    }

    fn go_to(&mut self, partitions: &[(TopicPartition, i64)], remedy: Remedy) -> Result<()> {
        let sources = || partitions.iter().map(|(source, _)| source);
        self.check_assigned(sources())?;
        self.seat.cluster.change(|state, _| state.faults.cure(sources(), remedy));
        for (source, offset) in partitions {
            if let Some(position) = self.positions.get_mut(source) {
                (position.next, position.lost) = (*offset, false);
            }
        }
        self.ready.retain(|record| !partitions.iter().any(|(source, _)| *source == record.source));
        self.more = true;
        Ok(())
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        self.check_assigned(partitions.iter())?;
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(partition) {
                position.paused = paused;
            }
        }
        Ok(())
    }
}

impl Position {
    fn is_fetched(&self) -> bool {
        !self.paused && !self.revoked && !self.lost
    }
}

impl Consumer for MemoryConsumer {
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()> {
        topics.iter().try_for_each(|topic| check_name(topic))?;
        let Seat { cluster, group, id } = &*self.seat;
        cluster.change(|state, bells| {
            if self.auto_create_topics {
                topics.iter().try_for_each(|topic| state.partitions(topic, true, bells).map(drop))?;
            }
            state.subscribe(group, *id, topics.iter().cloned().collect::<BTreeSet<_>>(), bells)
        })
    }

    fn poll(&mut self) -> Option<ConsumerEvent> {
        if !self.seat.cluster.is_reachable() {
            return None;
        }
        if self.bell.take_events()
            && let Some(event) = self.next_event()
        {
            return Some(event);
        }
        if self.ready.is_empty()
            && (self.bell.take_records() || self.more)
            && let Some(event) = self.fetch()
        {
            return Some(event);
        }
        let record = self.ready.pop_front()?;
        if let Some(position) = self.positions.get_mut(&record.source) {
            position.next = record.offset + 1;
        }
        Some(ConsumerEvent::Record(record))
    }

    fn assign(&mut self, partitions: &[(TopicPartition, Option<i64>)]) -> Result<()> {
        let Seat { cluster, group, id } = &*self.seat;
        let sources: Vec<TopicPartition> = partitions.iter().map(|(source, _)| source.clone()).collect();
        let starts = cluster.change(|state, bells| {
            state.existing_group(group).ok_or_else(left)?.0.assign(*id, &sources, bells)?;
            state.faults.cure(sources.iter(), Remedy::Reassign);
            let start = |(source, start): &(TopicPartition, Option<i64>)| {
                start.or_else(|| Some(state.group(group)?.committed(source)?.offset))
            };
            Ok(partitions.iter().map(start).collect::<Vec<_>>())
        })?;
        for (source, start) in sources.iter().zip(starts) {
            // Without a place to start, the first fetch tells.
            let next = start.unwrap_or(-1);
            self.positions.insert(source.clone(), Position { next, paused: false, revoked: false, lost: false });
        }
        self.forget_prefetched(&sources);
        self.more = true;
        Ok(())
    }

    fn seek(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        self.go_to(partitions, Remedy::Reassign)
    }

    fn refetch(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        self.go_to(partitions, Remedy::Seek)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let id = self.seat.id;
        self.seat.change(|group, _, bells| group.unassign(id, partitions, bells))?;
        self.forget(partitions);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true)?;
        self.forget_prefetched(partitions);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false)?;
        self.more = true;
        Ok(())
    }

    fn offsets(&self) -> Arc<dyn GroupOffsets> {
        self.seat.clone()
    }

    fn close(self: Box<Self>) {
        drop(self);
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        let Seat { cluster, group, id } = &*self.seat;
        cluster.change(|state, bells| state.leave(group, *id, bells));
    }
}

impl Seat {
    fn store(&self, offsets: &[(TopicPartition, i64)], is_start: bool) -> Result<()> {
        self.check_reachable()?;
        if let Some(error) = self.cluster.change(|state, _| state.faults.take_commit()) {
            return Err(error);
        }
        self.change(|group, _, _| group.commit(self.id, offsets, is_start))
    }

    fn check_reachable(&self) -> Result<()> {
        if self.cluster.is_reachable() { Ok(()) } else { Err(self.cluster.unavailable()) }
    }
}

impl GroupOffsets for Seat {
    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        self.store(offsets, false)
    }

    fn commit_starts(&self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        self.store(offsets, true)
    }

    fn committed(&self, partitions: &[TopicPartition], _: Instant) -> Result<Vec<Option<Committed>>> {
        self.check_reachable()?;
        self.change(|group, _, _| Ok(partitions.iter().map(|source| group.committed(source)).collect()))
    }

    fn log_offsets(&self, places: &[(TopicPartition, LogPosition)], _: Instant) -> Result<Vec<Option<i64>>> {
        self.check_reachable()?;
        let offset = |state: &State, (source, position): &(TopicPartition, LogPosition)| {
            let partition = state.partition(&source.topic, source.partition)?;
            Some(match position {
                LogPosition::Beginning => partition.start(),
                LogPosition::End => partition.end(),
                LogPosition::Timestamp(millis) => partition.first_at(*millis).unwrap_or(-1),
            })
        };
        Ok(self.cluster.read(|state| places.iter().map(|place| offset(state, place)).collect()))
    }

    fn progress(&self, partitions: &[TopicPartition], _: Instant) -> Result<Vec<Progress>> {
        self.check_reachable()?;
        let end = |state: &State, source: &TopicPartition| {
            state.partition(&source.topic, source.partition).map(|partition| partition.end())
        };
        let known = |state: &State| {
            partitions.iter().map(|source| Progress { fetched: None, end: end(state, source) }).collect()
        };
        Ok(self.cluster.read(known))
    }

    fn partitions_of(&self, topic: &str, _: Instant) -> Result<i32> {
        self.check_reachable()?;
        let count = |state: &State| (0..).take_while(|number| state.partition(topic, *number).is_some()).count();
        Ok(self.cluster.read(|state| i32::try_from(count(state)).unwrap_or(i32::MAX)))
    }

    fn high_watermarks(&self) -> Vec<(TopicPartition, i64)> {
        self.cluster.read(|state| {
            let held = state.group(&self.group).map(|group| group.holdings(self.id)).unwrap_or_default();
            let end = |source: TopicPartition| {
                let end = state.partition(&source.topic, source.partition)?.end();
                Some((source, end))
            };
            held.into_iter().filter_map(end).collect()
        })
    }

    fn connectivity(&self) -> Connectivity {
        connectivity(&self.cluster)
    }
}
