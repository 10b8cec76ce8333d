//! The broker's memory: topics and groups behind one lock, found by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::bell::Bells;
use super::faults::Faults;
use super::group::{Group, Partitions};
use super::member::MemberId;
use super::outbox::Outbox;
use super::partition::Partition;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::Record;

/// What one partition keeps at most, unless a test wants less.
pub(super) const RETENTION_BYTES: usize = 64 * 1024 * 1024;
/// Partitions of a topic that nobody created by hand.
pub(super) const DEFAULT_PARTITIONS: u32 = 4;
const MAX_PARTITIONS: u32 = 1024;
const MAX_TOPICS: usize = 4096;
const MAX_GROUPS: usize = 4096;
const MAX_NAME: usize = 249;

/// Weak, so that a broker goes with its last user. It needs no destructor of its own.
static CLUSTERS: Mutex<BTreeMap<String, Weak<Cluster>>> = Mutex::new(BTreeMap::new());

pub(super) struct Cluster {
    pub(super) name: String,
    /// Read on the hot paths without the lock.
    unreachable: AtomicBool,
    holds_acks: AtomicBool,
    full_queues: AtomicUsize,
    state: Mutex<State>,
    reachable: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    topics: HashMap<Arc<str>, Vec<Partition>>,
    groups: HashMap<Arc<str>, Group>,
    outboxes: Vec<Weak<Outbox>>,
    members: MemberId,
    pub(super) faults: Faults,
    pub(super) retention_bytes: usize,
}

impl Cluster {
    /// The broker of that name, the same for everyone in the process.
    pub(super) fn open(name: &str) -> Arc<Self> {
        let mut clusters = lock(&CLUSTERS);
        if let Some(cluster) = clusters.get(name).and_then(Weak::upgrade) {
            return cluster;
        }
        let cluster = Arc::new(Cluster {
            name: name.to_owned(),
            unreachable: AtomicBool::new(false),
            holds_acks: AtomicBool::new(false),
            full_queues: AtomicUsize::new(0),
            state: Mutex::new(State { retention_bytes: RETENTION_BYTES, ..State::default() }),
            reachable: Condvar::new(),
        });
        clusters.insert(name.to_owned(), Arc::downgrade(&cluster));
        cluster
    }

    /// Changes the state, and calls whoever has to know once the lock is free.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State, &mut Bells) -> R) -> R {
        let mut bells = Bells::default();
        let result = change(&mut lock(&self.state), &mut bells);
        bells.ring();
        result
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&lock(&self.state))
    }

    pub(super) fn is_reachable(&self) -> bool {
        !self.unreachable.load(Ordering::Acquire)
    }

    pub(super) fn holds_acks(&self) -> bool {
        self.holds_acks.load(Ordering::Acquire)
    }

    /// Whether a test wants this send to find the queue full.
    pub(super) fn take_full_queue(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.full_queues.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }

    pub(super) fn fill_queues(&self, count: usize) {
        self.full_queues.store(count, Ordering::Release);
    }

    pub(super) fn set_reachable(&self, reachable: bool) {
        self.change(|state, bells| {
            self.unreachable.store(!reachable, Ordering::Release);
            state.groups.values().for_each(|group| group.note_all(bells));
        });
        self.reachable.notify_all();
        self.wake_outboxes();
    }

    pub(super) fn hold_acks(&self, hold: bool) {
        self.holds_acks.store(hold, Ordering::Release);
        self.wake_outboxes();
    }

    /// Blocks until the broker can be reached, in steps so short that a caller who gives up is noticed.
    pub(super) fn wait_reachable(&self, deadline: Instant, cancelled: &dyn Fn() -> bool) -> Result<()> {
        const STEP: std::time::Duration = std::time::Duration::from_millis(10);
        let mut state = lock(&self.state);
        while !self.is_reachable() {
            if cancelled() {
                return Err(Error::new(ErrorKind::Closed, "the wait for the broker was cancelled"));
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(self.unavailable());
            }
            let step = STEP.min(deadline - now);
            state = self.reachable.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    pub(super) fn unavailable(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the in-memory broker does not answer")
            .with("broker", format_args!("memory:{}", self.name))
            .hint("it was taken down by a test hook; bring it up again")
    }

    pub(super) fn add_outbox(&self, outbox: &Arc<Outbox>) {
        self.change(|state, _| {
            state.outboxes.retain(|outbox| outbox.strong_count() > 0);
            state.outboxes.push(Arc::downgrade(outbox));
        });
    }

    fn wake_outboxes(&self) {
        let outboxes: Vec<_> = self.read(|state| state.outboxes.iter().filter_map(Weak::upgrade).collect());
        outboxes.iter().for_each(|outbox| outbox.look_again());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut clusters = lock(&CLUSTERS);
        // Somebody may have opened a new one of that name since the last user let go of this one.
        if clusters.get(&self.name).is_some_and(|cluster| cluster.strong_count() == 0) {
            clusters.remove(&self.name);
        }
    }
}

impl State {
    /// How many partitions a topic has, creating it where that is wanted.
    pub(super) fn partitions(&mut self, topic: &Arc<str>, create: bool, bells: &mut Bells) -> Result<u32> {
        match self.topics.get(topic) {
            Some(partitions) => Ok(partitions.len() as u32),
            None if create => self.create_topic(topic, DEFAULT_PARTITIONS, bells).map(|()| DEFAULT_PARTITIONS),
            None => Err(Error::new(ErrorKind::UnknownTopic, "the topic does not exist")
                .with("topic", topic)
                .outcome(PublishOutcome::NotSent)
                .hint("create it, or allow the bus to create topics")),
        }
    }

    pub(super) fn create_topic(&mut self, topic: &Arc<str>, partitions: u32, bells: &mut Bells) -> Result<()> {
        check_name(topic)?;
        let refused = |kind, why: String| Err(Error::new(kind, why).with("topic", topic));
        if self.topics.contains_key(topic) {
            return refused(ErrorKind::Rejected, "the topic exists already".into());
        }
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return refused(
                ErrorKind::Argument,
                format!("a topic has 1 to {MAX_PARTITIONS} partitions, not {partitions}"),
            );
        }
        if self.topics.len() >= MAX_TOPICS {
            return refused(
                ErrorKind::Rejected,
                format!("the in-memory broker holds {MAX_TOPICS} topics and takes no more"),
            );
        }
        self.topics
            .insert(topic.clone(), std::iter::repeat_with(Partition::default).take(partitions as usize).collect());
        let State { topics, groups, .. } = self;
        for group in groups.values_mut().filter(|group| group.topics().contains(topic)) {
            group.rebalance(&partitions_of(group, topics), bells);
        }
        Ok(())
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.get(usize::try_from(partition).ok()?)
    }

    /// Appends a record to the partition that it names; its offset.
    pub(super) fn append(&mut self, record: Record) -> Result<i64> {
        let partition = self
            .topics
            .get_mut(&record.source.topic)
            .and_then(|topic| topic.get_mut(usize::try_from(record.source.partition).ok()?));
        match partition {
            Some(partition) => Ok(partition.append(record, self.retention_bytes)),
            None => Err(Error::new(ErrorKind::UnknownTopic, "the topic has no such partition")
                .with("topic", &record.source.topic)
                .with("partition", record.source.partition)
                .outcome(PublishOutcome::NotSent)),
        }
    }

    pub(super) fn note_records<'a>(&self, topics: impl Iterator<Item = &'a Arc<str>>, bells: &mut Bells) {
        for topic in topics {
            self.groups.values().for_each(|group| group.note_records(topic, bells));
        }
    }

    /// The number of the member that joined last, of whatever group.
    pub(super) fn last_member(&self) -> MemberId {
        self.members
    }

    pub(super) fn next_member(&mut self) -> MemberId {
        self.members += 1;
        self.members
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// A group with the partitions that it subscribes to.
    pub(super) fn existing_group(&mut self, name: &str) -> Option<(&mut Group, Partitions)> {
        let State { topics, groups, .. } = self;
        let group = groups.get_mut(name)?;
        let partitions = partitions_of(group, topics);
        Some((group, partitions))
    }

    /// A group with the partitions that it subscribes to, created where it is not there.
    pub(super) fn group_mut(&mut self, name: &Arc<str>) -> Result<(&mut Group, Partitions)> {
        if !self.groups.contains_key(name) && self.groups.len() >= MAX_GROUPS {
            let why = format!("the in-memory broker holds {MAX_GROUPS} consumer groups and takes no more");
            return Err(Error::new(ErrorKind::Rejected, why).with("group", name));
        }
        let State { topics, groups, .. } = self;
        let group = groups.entry(name.clone()).or_default();
        let partitions = partitions_of(group, topics);
        Ok((group, partitions))
    }

    pub(super) fn subscribe(
        &mut self,
        name: &Arc<str>,
        id: MemberId,
        wanted: BTreeSet<Arc<str>>,
        bells: &mut Bells,
    ) -> Result<()> {
        let State { topics, groups, .. } = self;
        let group = groups.entry(name.clone()).or_default();
        let mut partitions = partitions_of(group, topics);
        partitions.extend(wanted.iter().filter_map(|topic| Some((topic.clone(), topics.get(topic)?.len() as u32))));
        group.subscribe(id, wanted, &partitions, bells)
    }

    pub(super) fn leave(&mut self, name: &Arc<str>, id: MemberId, bells: &mut Bells) {
        let State { topics, groups, .. } = self;
        if let Some(group) = groups.get_mut(name) {
            let partitions = partitions_of(group, topics);
            group.leave(id, &partitions, bells);
            if group.is_empty() {
                groups.remove(name);
            }
        }
    }
}

fn partitions_of(group: &Group, topics: &HashMap<Arc<str>, Vec<Partition>>) -> Partitions {
    let wanted = group.topics();
    wanted.into_iter().filter_map(|topic| topics.get(&topic).map(|all| (topic.clone(), all.len() as u32))).collect()
}

/// Kafka's rule for topic names.
pub(super) fn check_name(topic: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&topic.len()) && topic.bytes().all(legal) && topic != "." && topic != ".." {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Argument, "the topic's name is illegal")
        .with("topic", topic)
        .outcome(PublishOutcome::NotSent)
        .hint("use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', but neither '.' nor '..'"))
}

/// The state is whole between statements, so a panic of another thread does not make it useless.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
