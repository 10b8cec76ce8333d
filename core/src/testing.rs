//! A Kafka broker inside this process, for demos and tests without a Kafka.
//!
//! It is librdkafka's mock cluster, and it has limits: a partition keeps about 5 MB and silently drops what is older;
//! the second member of a group waits for the first one's session timeout; topics that clients create have 4
//! partitions; there is no TLS, SASL, ACL, transaction or admin request; no offset is found by its time; and it serves
//! clients that are built on librdkafka, like this crate, but not every other. What depends on any of these belongs on
//! a real Kafka.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::kafka::ffi::{Failure, MockCluster, Refused};

/// What a [`TestBroker`] starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBrokerOptions {
    /// Topics to create, with their numbers of partitions; 0 stands for `partitions`. None by default.
    pub topics: Vec<(String, i32)>,
    /// How many partitions a topic gets whose number is not given; 4 by default, and always 4 where a client
    /// creates the topic by using it.
    pub partitions: i32,
    /// How many brokers the cluster has, numbered from 1. One by default.
    pub brokers: i32,
}

impl Default for TestBrokerOptions {
    fn default() -> Self {
        TestBrokerOptions { topics: Vec::new(), partitions: 4, brokers: 1 }
    }
}

/// A kind of request, to make some fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i16)]
pub enum Request {
    /// Records from a producer.
    Produce = 0,
    /// Records to a consumer.
    Fetch = 1,
    /// First and last offset of a partition.
    ListOffsets = 2,
    /// Brokers, topics and partitions.
    Metadata = 3,
    /// A group's commit.
    OffsetCommit = 8,
    /// A group's committed offsets.
    OffsetFetch = 9,
    /// Which broker coordinates a group.
    FindCoordinator = 10,
    /// A consumer joins its group.
    JoinGroup = 11,
    /// A member shows that it lives.
    Heartbeat = 12,
    /// A member leaves.
    LeaveGroup = 13,
    /// Members get their partitions.
    SyncGroup = 14,
    /// An idempotent producer gets its identity.
    InitProducerId = 22,
}

/// A Kafka cluster inside this process; it stops when it is dropped.
///
/// ```
/// use event_bus::testing::{TestBroker, TestBrokerOptions};
///
/// let options = TestBrokerOptions { topics: vec![("order.placed".into(), 4)], ..Default::default() };
/// let broker = TestBroker::start(options)?;
/// assert!(broker.bootstrap().starts_with("127.0.0.1:"));
/// # Ok::<(), event_bus::Error>(())
/// ```
pub struct TestBroker {
    cluster: MockCluster,
    bootstrap: String,
    brokers: i32,
}

impl TestBroker {
    /// Starts a cluster on free ports of 127.0.0.1; it takes a few milliseconds.
    ///
    /// # Errors
    /// `Argument` for no brokers, an illegal topic or number of partitions; `Unavailable` when no port can be opened.
    pub fn start(options: TestBrokerOptions) -> Result<TestBroker> {
        if options.brokers < 1 {
            return Err(Error::new(ErrorKind::Argument, "an embedded cluster needs at least one broker"));
        }
        let cluster = MockCluster::new(options.brokers).map_err(|Refused { reason, .. }| {
            Error::new(ErrorKind::Unavailable, format!("the embedded broker cannot start: {reason}"))
                .hint("check that ports of 127.0.0.1 can be opened")
        })?;
        let bootstrap = cluster.bootstrap();
        let broker = TestBroker { cluster, bootstrap, brokers: options.brokers };
        for (name, partitions) in &options.topics {
            broker.create_topic(name, if *partitions == 0 { options.partitions } else { *partitions })?;
        }
        Ok(broker)
    }

    /// The addresses to connect to, `host:port` separated by commas.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `Argument` when there is one of that name already, or the number of partitions is not positive.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        if partitions < 1 || name.is_empty() {
            return Err(Error::new(ErrorKind::Argument, "a topic needs a name and at least one partition")
                .with("topic", name)
                .with("partitions", partitions));
        }
        let created = self.cluster.create_topic(name, partitions, self.brokers.min(3));
        created.map_err(|failure| fault("the topic cannot be created", &failure).with("topic", name))
    }

    /// Takes a broker down: its connections break and its port is closed.
    ///
    /// # Errors
    /// `Argument` for a broker that does not exist.
    pub fn broker_down(&self, broker: i32) -> Result<()> {
        let done = self.cluster.set_up(broker, false);
        done.map_err(|failure| fault("the broker cannot be taken down", &failure).with("broker", broker))
    }

    /// Brings a broker back on the port it had.
    ///
    /// # Errors
    /// `Argument` for a broker that does not exist.
    pub fn broker_up(&self, broker: i32) -> Result<()> {
        let done = self.cluster.set_up(broker, true);
        done.map_err(|failure| fault("the broker cannot be brought back", &failure).with("broker", broker))
    }

    /// Delays every answer of a broker.
    ///
    /// # Errors
    /// `Argument` for a broker that does not exist.
    pub fn round_trip_time(&self, broker: i32, time: Duration) -> Result<()> {
        let done = self.cluster.set_round_trip(broker, time);
        done.map_err(|failure| fault("the broker's answers cannot be delayed", &failure).with("broker", broker))
    }

    /// Lets the next requests of a kind fail with these error numbers of Kafka's protocol, one request each.
    pub fn push_request_errors(&self, request: Request, codes: &[i32]) {
        self.cluster.push_request_errors(request as i16, codes);
    }
}

impl std::fmt::Debug for TestBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestBroker({})", self.bootstrap)
    }
}

fn fault(what: &str, failure: &Failure) -> Error {
    Error::new(ErrorKind::Argument, format!("{what}: {}", failure.text.trim_start_matches("Local: ")))
        .kafka(failure.code)
}
