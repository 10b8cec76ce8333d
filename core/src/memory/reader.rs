//! Reading a topic without being a member of a group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Record, TopicPartition};
use crate::transport::{Extent, Found, TopicReader};

/// How long to leave an unreachable broker alone before looking again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct MemoryReader {
    pub(super) cluster: Arc<Cluster>,
    pub(super) topic: Arc<str>,
    pub(super) group: Arc<str>,
    /// Partitions with their next offsets, the one to look at next in front.
    positions: VecDeque<(i32, i64)>,
}

impl MemoryReader {
    pub(super) fn new(cluster: Arc<Cluster>, topic: Arc<str>, group: Arc<str>) -> Self {
        MemoryReader { cluster, topic, group, positions: VecDeque::new() }
    }

    fn source(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }

    fn reachable(&self, deadline: Instant) -> Result<()> {
        self.cluster.wait_reachable(deadline, &|| false).map_err(|error| error.with("topic", &self.topic))
    }
}

impl TopicReader for MemoryReader {
    fn extents(&mut self, deadline: Instant) -> Result<Vec<Extent>> {
        self.reachable(deadline)?;
        self.cluster.change(|state, bells| {
            let count = state.partitions(&self.topic, false, bells)?;
            let extent = |partition| {
                let at = i32::try_from(partition).ok()?;
                let kept = state.partition(&self.topic, at)?;
                Some(Extent { partition: at, start: kept.start(), end: kept.end() })
            };
            Ok((0..count).filter_map(extent).collect())
        })
    }

    fn progress(&mut self, partitions: &[i32], deadline: Instant) -> Result<Vec<Option<i64>>> {
        self.reachable(deadline)?;
        Ok(self.cluster.read(|state| {
            let group = state.group(&self.group);
            partitions.iter().map(|at| Some(group?.committed(&self.source(*at))?.offset)).collect()
        }))
    }

    fn keep_progress(&mut self, progress: &[(i32, i64)], deadline: Instant) -> Result<()> {
        self.reachable(deadline)?;
        let offsets: Vec<_> = progress.iter().map(|(at, offset)| (self.source(*at), *offset)).collect();
        self.cluster.change(|state, _| {
            if let Some(error) = state.faults.take_commit() {
                return Err(error);
            }
            state.group_mut(&self.group)?.0.commit_from_outside(&offsets)
        })
    }

    fn read(&mut self, from: &[(i32, i64)]) -> Result<()> {
        self.positions = from.iter().copied().collect();
        Ok(())
    }

    fn next(&mut self, wait: Duration) -> Result<Found> {
        if !self.cluster.is_reachable() {
            std::thread::sleep(wait.min(PAUSE));
            return Ok(Found::Nothing);
        }
        let Some((at, next)) = self.positions.pop_front() else { return Ok(Found::Nothing) };
        let found = self.cluster.read(|state| {
            let kept = state.partition(&self.topic, at).ok_or_else(|| {
                Error::new(ErrorKind::UnknownTopic, "the topic has no such partition")
                    .with("topic", &self.topic)
                    .with("partition", at)
                    .hint("read one of the partitions that the topic has")
            })?;
            Ok(kept.read(next.max(kept.start()), 1).next().map(|record| Record::clone(record)))
        })?;
        Ok(match found {
            Some(record) => {
                self.positions.push_back((at, record.offset + 1));
                Found::Record(record)
            }
            None => Found::End(at),
        })
    }
}
