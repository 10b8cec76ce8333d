//! A whole small broker in the process's memory, for demos and tests: `brokers: ['memory:NAME']`.

mod bell;
mod broker;
mod cluster;
mod consumer;
mod faults;
mod group;
mod member;
mod outbox;
mod partition;
mod partitioner;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use broker::MemoryBroker;

use self::cluster::{Cluster, lock};
use self::consumer::MemoryConsumer;
use self::outbox::{Ack, Outbox, Pending};
use self::reader::MemoryReader;
use crate::config::Config;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{OutgoingRecord, Record, TopicPartition, now_ms};
use crate::transport::{
    Cancelled, Completion, CompletionSink, Connectivity, Consumer, Enqueued, Token, TopicReader, Transport,
};

const SCHEME: &str = "memory:";

/// The client of a broker in memory.
///
/// Everyone in the process who names the same broker meets there: topics, records, groups and committed offsets are
/// shared, and all of it goes with the last user. Topics get 4 partitions when they are first used; keys find their
/// partition as in Kafka's Java client, records without a key take turns. A partition keeps 64 MiB and forgets its
/// oldest records beyond that. New groups start at the oldest record.
///
/// ```
/// use event_bus::{MemoryBroker, TopicPartition};
///
/// let broker = MemoryBroker::open("shop");
/// broker.create_topic("order.placed", 2)?;
/// assert_eq!(broker.address(), "memory:shop");
/// assert_eq!(broker.end_offset(&TopicPartition::new("order.placed", 1)), Some(0));
/// # Ok::<(), event_bus::Error>(())
/// ```
pub struct MemoryTransport {
    cluster: Arc<Cluster>,
    outbox: Arc<Outbox>,
    settings: Settings,
    /// Topics by id, so that a send asks the broker once per topic.
    topics: Mutex<Vec<Option<KnownTopic>>>,
    keyless: AtomicU32,
    /// Held from taking records to storing them, so that two pollers keep their order.
    storing: Mutex<()>,
}

#[derive(Clone)]
struct KnownTopic {
    name: Arc<str>,
    partitions: u32,
}

/// What of the configuration matters here.
#[derive(Clone)]
struct Settings {
    group_id: Option<String>,
    auto_create_topics: bool,
    publish_timeout: Duration,
    queue_records: usize,
    queue_bytes: usize,
    message_max_bytes: usize,
}

impl MemoryTransport {
    /// A client of the broker of that name, which may be written with or without `memory:`.
    pub fn new(config: &Config, name: &str) -> Self {
        let settings = Settings {
            group_id: config.group_id.clone(),
            auto_create_topics: config.auto_create_topics,
            publish_timeout: config.publish_timeout,
            queue_records: config.max_in_flight,
            queue_bytes: config.publish_max_in_flight_bytes,
            message_max_bytes: config.message_max_bytes,
        };
        MemoryTransport::with(Cluster::open(bare(name)), settings)
    }

    fn with(cluster: Arc<Cluster>, settings: Settings) -> Self {
        let outbox = Arc::new(Outbox::default());
        cluster.add_outbox(&outbox);
        let (topics, keyless, storing) = (Mutex::default(), AtomicU32::new(0), Mutex::new(()));
        MemoryTransport { cluster, outbox, settings, topics, keyless, storing }
    }

    fn known_topic(&self, record: &OutgoingRecord<'_>) -> Result<KnownTopic> {
        let index = usize::from(record.topic.id);
        if let Some(Some(known)) = lock(&self.topics).get(index)
            && known.name == record.topic.name
        {
            return Ok(known.clone());
        }
        let name = &record.topic.name;
        let create = self.settings.auto_create_topics;
        let partitions = self.cluster.change(|state, bells| state.partitions(name, create, bells))?;
        let known = KnownTopic { name: name.clone(), partitions };
        let mut topics = lock(&self.topics);
        if topics.len() <= index {
            topics.resize(index + 1, None);
        }
        topics[index] = Some(known.clone());
        Ok(known)
    }

    /// Puts a record into the queue.
    fn take(&self, record: &OutgoingRecord<'_>, token: Token, limit: usize) -> Result<Enqueued> {
        let refused =
            |kind, why| Error::new(kind, why).with("topic", &record.topic.name).outcome(PublishOutcome::NotSent);
        if record.size() > limit {
            return Err(refused(ErrorKind::TooLarge, "the record is larger than the client accepts")
                .with("bytes", record.size())
                .with("limit", limit)
                .hint("publish less, or raise the largest message size here and at the brokers"));
        }
        let topic = self.known_topic(record)?;
        let partition = self.partition(record, &topic)?;
        if self.cluster.take_full_queue() {
            return Ok(Enqueued::QueueFull);
        }
        let queues = self.outbox.lock();
        if queues.closed {
            return Err(refused(ErrorKind::Closed, "the client is closed"));
        }
        let record_size = record.size();
        if !queues.has_room(record_size, self.settings.queue_records, self.settings.queue_bytes) {
            return Ok(Enqueued::QueueFull);
        }
        let source = TopicPartition { topic: topic.name, partition };
        let timestamp = Some(record.timestamp.unwrap_or_else(now_ms));
        // The offset is the broker's to give.
        let record = Record::new(source, -1, timestamp, record.key, record.headers, record.value);
        self.outbox.send(queues, Pending::new(record, token));
        Ok(Enqueued::Yes)
    }

    fn partition(&self, record: &OutgoingRecord<'_>, topic: &KnownTopic) -> Result<i32> {
        match (record.partition, record.key) {
            (Some(partition), _) if (0..topic.partitions as i32).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(Error::new(ErrorKind::Argument, "the topic has no such partition")
                .with("topic", &topic.name)
                .with("partition", partition)
                .outcome(PublishOutcome::NotSent)
                .hint(format!("the topic's partitions are 0 to {}", topic.partitions - 1))),
            (None, Some(key)) => Ok(partitioner::partition_of(key, topic.partitions)),
            (None, None) => Ok((self.keyless.fetch_add(1, Ordering::Relaxed) % topic.partitions) as i32),
        }
    }

    /// Stores what waits, as far as the broker answers; what has come to an end.
    fn advance(&self) -> Vec<Completion> {
        let order = lock(&self.storing);
        let acks = !self.cluster.holds_acks();
        let (mut ended, pending) = self.outbox.take(self.cluster.is_reachable(), acks, self.settings.publish_timeout);
        if !pending.is_empty() {
            let stored = self.store(pending);
            if acks {
                ended.extend(stored);
            } else {
                self.outbox.hold(stored);
            }
        }
        drop(order);
        if ended.is_empty() { Vec::new() } else { self.outbox.complete(ended) }
    }

    fn store(&self, pending: VecDeque<Pending>) -> Vec<Ack> {
        self.cluster.change(|state, bells| {
            let mut grown = BTreeSet::new();
            let mut ends = Vec::with_capacity(pending.len());
            for Pending { record, slip } in pending {
                let topic = record.source.topic.clone();
                let result = match state.faults.take_publish(&topic) {
                    Some((false, error)) => Err(error),
                    Some((true, error)) => state.append(record).and(Err(error)),
                    None => state.append(record),
                };
                ends.push(slip.end(result));
                grown.insert(topic);
            }
            state.note_records(grown.iter(), bells);
            ends
        })
    }
}

impl Transport for MemoryTransport {
    fn connect(&self, deadline: Instant, cancelled: Cancelled<'_>) -> Result<()> {
        self.cluster.wait_reachable(deadline, cancelled)
    }

    fn send(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued> {
        self.take(record, token, self.settings.message_max_bytes)
    }

    fn send_on(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued> {
        self.take(record, token, self.settings.message_max_bytes + self.settings.message_max_bytes / 2)
    }

    fn poll(&self, wait: Duration, sink: &dyn CompletionSink) {
        let until = Instant::now().checked_add(wait);
        loop {
            let completions = self.advance();
            if !completions.is_empty() {
                return sink.complete(&completions);
            }
            if !self.outbox.wait(until, self.settings.publish_timeout) {
                return;
            }
        }
    }

    fn wake(&self) {
        self.outbox.wake();
    }

    fn purge(&self) {
        self.outbox.give_up_all("the publish was given up before the broker acknowledged the record");
    }

    fn ensure_topics(&self, topics: &[Arc<str>], deadline: Instant) -> Vec<Result<()>> {
        if let Err(error) = self.cluster.wait_reachable(deadline, &|| false) {
            return topics.iter().map(|topic| Err(error.clone().with("topic", topic))).collect();
        }
        let create = self.settings.auto_create_topics;
        self.cluster.change(|state, bells| {
            topics.iter().map(|topic| state.partitions(topic, create, bells).map(drop)).collect()
        })
    }

    fn ensure_topic_like(&self, topic: &Arc<str>, like: &Arc<str>, deadline: Instant) -> Result<u32> {
        self.cluster.wait_reachable(deadline, &|| false).map_err(|error| error.with("topic", topic))?;
        let create = self.settings.auto_create_topics;
        self.cluster.change(|state, bells| match state.partitions(topic, false, bells) {
            Err(error) if create && error.kind() == ErrorKind::UnknownTopic => {
                let count = state.partitions(like, false, bells)?;
                state.create_topic(topic, count, bells).map(|()| count)
            }
            found => found,
        })
    }

    fn partitions(&self, topic: &Arc<str>, deadline: Instant) -> Result<u32> {
        self.cluster.wait_reachable(deadline, &|| false).map_err(|error| error.with("topic", topic))?;
        self.cluster.change(|state, bells| state.partitions(topic, false, bells))
    }

    fn reader(&self, topic: &Arc<str>, group: &str) -> Result<Box<dyn TopicReader>> {
        Ok(Box::new(MemoryReader::new(self.cluster.clone(), topic.clone(), group.into())))
    }

    fn connectivity(&self) -> Connectivity {
        connectivity(&self.cluster)
    }

    fn consumer(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Box<dyn Consumer>> {
        let Some(group) = self.settings.group_id.as_deref().filter(|group| !group.is_empty()) else {
            return Err(Error::new(ErrorKind::Config, "a consumer needs a group")
                .with("option", "groupId")
                .hint("name the consumer group in the configuration"));
        };
        let consumer = MemoryConsumer::join(self.cluster.clone(), group, self.settings.auto_create_topics, wake)?;
        Ok(Box::new(consumer))
    }

    fn close(&self) {
        self.outbox.close();
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryTransport({SCHEME}{})", self.cluster.name)
    }
}

/// The broker's name without its scheme.
fn bare(name: &str) -> &str {
    name.strip_prefix(SCHEME).unwrap_or(name)
}

fn connectivity(cluster: &Cluster) -> Connectivity {
    let up = cluster.is_reachable();
    Connectivity {
        brokers_up: usize::from(up),
        brokers_known: 1,
        observed_at: Some(Instant::now()),
        last_error: (!up).then(|| cluster.unavailable()),
        rebuilt: 0,
        ended: false,
    }
}
