//! A broker in memory as tests and demos hold it: topics by hand, insight, faults.

use std::fmt;
use std::sync::Arc;

use super::cluster::Cluster;
use super::group::Group;
use super::{SCHEME, bare};
use crate::error::{Error, Result};
use crate::event::{Record, TopicPartition};
use crate::transport::Remedy;

/// A broker in the process's memory. It lives while a handle, a bus or a consumer of it does.
///
/// Faults are used up in the order of sends; they hit every bus of this broker. Any thread may call any method.
///
/// ```
/// use event_bus::{Error, ErrorKind, MemoryBroker, PublishOutcome};
///
/// let broker = MemoryBroker::open("faulty");
/// let refused = Error::new(ErrorKind::Rejected, "not allowed").outcome(PublishOutcome::NotSent);
/// broker.fail_publishes(Some("order.placed"), 1, refused);
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    pub(super) cluster: Arc<Cluster>,
}

impl MemoryBroker {
    /// The broker of that name, with or without `memory:`, the same for everyone in the process.
    pub fn open(name: &str) -> Self {
        MemoryBroker { cluster: Cluster::open(bare(name)) }
    }

    /// What to write into `brokers`.
    pub fn address(&self) -> String {
        format!("{SCHEME}{}", self.cluster.name)
    }

    /// Creates a topic with 1 to 1024 partitions.
    ///
    /// # Errors
    /// `Argument` for an illegal name or number, `Rejected` when the topic exists or the broker holds 4096 of them.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        self.cluster.change(|state, bells| state.create_topic(&topic.into(), partitions, bells))
    }

    /// How many bytes a partition keeps from its next record on; 64 MiB by default. The newest record always stays.
    pub fn set_retention(&self, bytes: usize) {
        self.cluster.change(|state, _| state.retention_bytes = bytes);
    }

    /// The offset of the oldest record kept; `None` where there is no such partition.
    pub fn start_offset(&self, source: &TopicPartition) -> Option<i64> {
        self.cluster.read(|state| Some(state.partition(&source.topic, source.partition)?.start()))
    }

    /// The offset that the next record gets; `None` where there is no such partition.
    pub fn end_offset(&self, source: &TopicPartition) -> Option<i64> {
        self.cluster.read(|state| Some(state.partition(&source.topic, source.partition)?.end()))
    }

    /// What a partition keeps, the oldest first; nothing where there is no such partition.
    pub fn records(&self, source: &TopicPartition) -> Vec<Record> {
        self.cluster.read(|state| {
            let Some(partition) = state.partition(&source.topic, source.partition) else { return Vec::new() };
            partition.read(partition.start(), usize::MAX).map(|record| Record::clone(record)).collect()
        })
    }

    /// The offset that a group committed.
    pub fn committed(&self, group: &str, source: &TopicPartition) -> Option<i64> {
        self.cluster.read(|state| Some(state.group(group)?.committed(source)?.offset))
    }

    /// How many members of a group subscribe to something.
    pub fn members(&self, group: &str) -> usize {
        self.cluster.read(|state| state.group(group).map_or(0, Group::members))
    }

    /// Every partition of a group is where it is to be, and every member has answered.
    pub fn is_settled(&self, group: &str) -> bool {
        self.cluster.read(|state| state.group(group).is_none_or(Group::is_settled))
    }

    /// The next `count` records, of one topic or of any, are refused with `error` and not stored.
    pub fn fail_publishes(&self, topic: Option<&str>, count: usize, error: Error) {
        self.cluster.change(|state, _| state.faults.add_publish(topic, count, false, error));
    }

    /// The next `count` records, of one topic or of any, are stored and yet reported as failed with `error`.
    pub fn lose_acks(&self, topic: Option<&str>, count: usize, error: Error) {
        self.cluster.change(|state, _| state.faults.add_publish(topic, count, true, error));
    }

    /// The next `count` sends find the client's queue full.
    pub fn fill_queues(&self, count: usize) {
        self.cluster.fill_queues(count);
    }

    /// The next `count` commits, of any group, fail with `error`.
    pub fn fail_commits(&self, count: usize, error: Error) {
        self.cluster.change(|state, _| state.faults.fail_commits(count, error));
    }

    /// Consumers that are there now get nothing more of a partition, as if their client had forgotten it, until they try
    /// `cure` or a stronger remedy.
    pub fn stall_partition(&self, source: &TopicPartition, cure: Remedy) {
        self.cluster.change(|state, _| {
            let last = state.last_member();
            state.faults.stall(source, cure, last);
        });
    }

    /// Records are stored from now on but not acknowledged.
    pub fn hold_acks(&self) {
        self.cluster.hold_acks(true);
    }

    /// Acknowledges what was held and what comes.
    pub fn release_acks(&self) {
        self.cluster.hold_acks(false);
    }

    /// Whether the broker answers; it does until a test says otherwise. While it does not, records wait until their
    /// publish timeout, consumers get nothing and commits fail as `Unavailable`.
    pub fn set_reachable(&self, reachable: bool) {
        self.cluster.set_reachable(reachable);
    }

    /// Takes a member for dead, counted from 0 in the order of joining: others get its partitions at once, it hears
    /// `Lost` at its next poll and joins again after its answer. `false` where there is no such member.
    pub fn expel(&self, group: &str, member: usize) -> bool {
        self.cluster.change(|state, bells| match state.existing_group(group) {
            Some((group, partitions)) => group.expel(member, &partitions, bells),
            None => false,
        })
    }

    /// Every consumer of a group hears of the error; a fatal one ends its membership.
    pub fn fail_consumers(&self, group: &str, error: Error) {
        self.cluster.change(|state, bells| {
            if let Some((group, partitions)) = state.existing_group(group) {
                group.fail(&error, &partitions, bells);
            }
        });
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBroker({})", self.address())
    }
}
