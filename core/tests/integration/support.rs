//! A cluster, a publishing client with its delivery thread, a consuming member with its poll loop.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_bus::testing::{TestBroker, TestBrokerOptions};
use event_bus::{
    Completion, CompletionSink, Config, Consumer, ConsumerEvent, Enqueued, Error, Headers, HeadersBuf, KafkaTransport,
    Log, OutgoingRecord, Record, Token, Topic, TopicPartition, Transport,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A real Kafka when the environment names one, else a mock cluster.
pub struct Cluster {
    mock: Option<TestBroker>,
    pub bootstrap: String,
}

impl Cluster {
    pub fn any() -> Cluster {
        match std::env::var("EVBUS_TEST_BROKERS") {
            Ok(bootstrap) => Cluster { mock: None, bootstrap },
            Err(_) => {
                let mock = mock();
                let bootstrap = mock.bootstrap().to_owned();
                Cluster { mock: Some(mock), bootstrap }
            }
        }
    }

    /// With a topic of so many partitions.
    pub fn with_topic(topic: &str, partitions: i32) -> Cluster {
        let cluster = Cluster::any();
        match &cluster.mock {
            Some(mock) => mock.create_topic(topic, partitions).expect("a topic"),
            None => create_topic(&config(&cluster.bootstrap), topic, partitions),
        }
        cluster
    }
}

/// Where a real Kafka listens, for tests that are ignored without one.
pub fn real_brokers() -> String {
    std::env::var("EVBUS_TEST_BROKERS").expect("EVBUS_TEST_BROKERS names a real Kafka")
}

pub fn mock() -> TestBroker {
    TestBroker::start(TestBrokerOptions::default()).expect("a mock cluster")
}

/// A name that no other test uses, in this run or another.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    format!("{name}-{nanos}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn config(bootstrap: &str) -> Config {
    let mut config = Config::new("integration", bootstrap.split(','));
    config.group_id = Some(unique("group"));
    config.publish_timeout = Duration::from_secs(20);
    config.session_timeout = Duration::from_secs(6);
    config.heartbeat_interval = Duration::from_millis(500);
    config
}

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits for a condition that someone else brings about.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    pub fn count(&self) -> u64 {
        *self.rung.lock().unwrap()
    }

    /// Waits for a ring after the first `seen`; `false` when none came in time.
    pub fn wait(&self, seen: u64, wait: Duration) -> bool {
        let (rung, _) = self.changed.wait_timeout_while(self.rung.lock().unwrap(), wait, |rung| *rung <= seen).unwrap();
        *rung > seen
    }
}

#[derive(Default)]
pub struct Completions {
    all: Mutex<Vec<Completion>>,
    changed: Condvar,
}

impl CompletionSink for Completions {
    fn complete(&self, completions: &[Completion]) {
        self.all.lock().unwrap().extend_from_slice(completions);
        self.changed.notify_all();
    }
}

impl Completions {
    /// Takes the first `count` completions, ordered by token.
    pub fn take(&self, count: usize) -> Vec<Completion> {
        let all = self.all.lock().unwrap();
        let (mut all, _) = self.changed.wait_timeout_while(all, PATIENCE, |all| all.len() < count).unwrap();
        assert!(all.len() >= count, "{} of {count} completions within {PATIENCE:?}", all.len());
        let mut taken: Vec<_> = all.drain(..count).collect();
        taken.sort_by_key(|completion| completion.token.0);
        taken
    }

    pub fn count(&self) -> usize {
        self.all.lock().unwrap().len()
    }
}

/// A transport whose delivery thread runs until this is dropped.
pub struct Client {
    pub transport: Arc<KafkaTransport>,
    pub completions: Arc<Completions>,
    topics: Mutex<Vec<Topic>>,
    next: AtomicU32,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub fn new(config: &Config) -> Client {
        let mut client = Client::without_delivery(config);
        let (transport, completions, stop) =
            (client.transport.clone(), client.completions.clone(), client.stop.clone());
        client.thread = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                transport.poll(Duration::from_millis(100), &*completions);
            }
        }));
        client
    }

    /// Nobody serves its events.
    pub fn without_delivery(config: &Config) -> Client {
        Client {
            transport: Arc::new(KafkaTransport::new(config, Log::default()).expect("a client")),
            completions: Arc::default(),
            topics: Mutex::default(),
            next: AtomicU32::new(0),
            stop: Arc::default(),
            thread: None,
        }
    }

    pub fn connected(config: &Config) -> Client {
        let client = Client::new(config);
        client.transport.connect(soon(), &|| false).expect("a connection");
        client
    }

    pub fn topic(&self, name: &str) -> Topic {
        let mut topics = self.topics.lock().unwrap();
        if let Some(topic) = topics.iter().find(|topic| *topic.name == *name) {
            return topic.clone();
        }
        let topic = Topic { id: topics.len() as u16, name: name.into() };
        topics.push(topic.clone());
        topic
    }

    pub fn token(&self) -> Token {
        Token::new(1, 0, self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn send(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Enqueued, Error> {
        self.send_to(topic, None, key, value)
    }

    pub fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Enqueued, Error> {
        let topic = self.topic(topic);
        let headers = Headers::default();
        let record = OutgoingRecord { topic: &topic, partition, timestamp: None, key, value, headers };
        self.transport.send(&record, self.token())
    }

    /// Publishes and waits for the acknowledgements.
    pub fn publish(&self, topic: &str, partition: i32, values: &[&str]) {
        for value in values {
            let sent = self.send_to(topic, Some(partition), Some(b"key"), Some(value.as_bytes()));
            assert_eq!(sent.expect("sent"), Enqueued::Yes);
        }
        for completion in self.completions.take(values.len()) {
            assert!(completion.error.is_none(), "{:?}", completion.error);
        }
    }

    pub fn create(&self, topic: &str) {
        let created = self.transport.ensure_topics(&[topic.into()], soon());
        assert!(created.iter().all(Result::is_ok), "{created:?}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.transport.wake();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the delivery thread panicked");
        }
        self.transport.close();
    }
}

pub fn packed(headers: &[(&str, Option<&[u8]>)]) -> HeadersBuf {
    let mut packed = HeadersBuf::new();
    for (name, value) in headers {
        packed.push(name, *value);
    }
    packed
}

/// A member of a group with the poll loop of a bus.
pub struct Member {
    pub consumer: Box<dyn Consumer>,
    pub bell: Arc<Bell>,
    pub owned: Vec<TopicPartition>,
    /// Whether revoked partitions are handed over at once.
    pub hands_over: bool,
    pub revoked: Vec<TopicPartition>,
    pub records: Vec<Record>,
    pub failures: Vec<Error>,
}

impl Member {
    pub fn join(transport: &KafkaTransport, topics: &[&str]) -> Member {
        let bell: Arc<Bell> = Arc::default();
        let ring = bell.clone();
        let mut consumer = transport.consumer(Arc::new(move || ring.ring())).expect("a consumer");
        let topics: Vec<Arc<str>> = topics.iter().map(|topic| (*topic).into()).collect();
        consumer.subscribe(&topics).expect("a subscription");
        let (owned, revoked, records, failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Member { consumer, bell, owned, hands_over: true, revoked, records, failures }
    }

    pub fn turn(&mut self) {
        let mut empty = 0;
        while empty < 2 {
            let Some(event) = self.consumer.poll() else {
                empty += 1;
                continue;
            };
            empty = 0;
            match event {
                ConsumerEvent::Record(record) => self.records.push(Arc::unwrap_or_clone(record)),
                ConsumerEvent::Assigned(partitions) => {
                    let committed = self.consumer.offsets().committed(&partitions, soon()).expect("known");
                    let offsets = committed.into_iter().map(|stored| Some(stored.map_or(0, |stored| stored.offset)));
                    let starts: Vec<_> = partitions.iter().cloned().zip(offsets).collect();
                    self.consumer.assign(&starts).expect("assigned");
                    self.owned.extend(partitions);
                }
                ConsumerEvent::Revoked(partitions) if !self.hands_over => self.revoked.extend(partitions),
                ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions) => self.hand_over(partitions),
                ConsumerEvent::OutOfRange(source) => panic!("{source} has no offset to go on from"),
                ConsumerEvent::Failed(error) => self.failures.push(error),
                ConsumerEvent::Fatal(error) => panic!("the consumer ended: {error:?}"),
            }
        }
    }

    pub fn hand_over(&mut self, partitions: Vec<TopicPartition>) {
        self.consumer.unassign(&partitions).expect("handed over");
        self.owned.retain(|partition| !partitions.contains(partition));
        self.revoked.extend(partitions);
    }

    /// Polls until the condition holds.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Member) -> bool) {
        let deadline = soon();
        loop {
            let seen = self.bell.count();
            self.turn();
            if holds(self) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; {:?}", self.failures);
            self.bell.wait(seen, Duration::from_millis(100));
        }
    }

    pub fn until_records(&mut self, count: usize) -> Vec<Record> {
        self.until(&format!("{count} records"), |member| member.records.len() >= count);
        std::mem::take(&mut self.records)
    }

    pub fn leave(self) {
        self.consumer.close();
    }
}

pub fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.value().expect("a value")).expect("text")).collect()
}

/// Creates a topic on a real Kafka, whose default number of partitions need not fit.
pub fn create_topic(config: &Config, topic: &str, partitions: i32) {
    // Tests store records with timestamps of long ago, which the usual retention removes at any moment.
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1)).set("retention.ms", "-1");
    let created = on_admin(config, async |admin| admin.create_topics([&new], &AdminOptions::new()).await);
    assert!(created.unwrap().iter().all(Result::is_ok), "{topic} was not created");
}

/// Creates a topic of one partition on a real Kafka that takes batches of so many bytes.
pub fn create_topic_taking(config: &Config, topic: &str, bytes: u32) {
    let bytes = bytes.to_string();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("max.message.bytes", &bytes);
    let created = on_admin(config, async |admin| admin.create_topics([&new], &AdminOptions::new()).await);
    assert!(created.unwrap().iter().all(Result::is_ok), "{topic} was not created");
}

/// A setting of a topic on a real Kafka.
pub fn topic_setting(config: &Config, topic: &str, name: &str) -> Option<String> {
    let wanted = ResourceSpecifier::Topic(topic);
    let described = on_admin(config, async |admin| admin.describe_configs([&wanted], &AdminOptions::new()).await);
    let resource = described.unwrap().remove(0).expect("the topic is there");
    resource.get(name).and_then(|entry| entry.value.clone())
}

/// A producer with an open transaction on a real Kafka.
pub struct Transactions(BaseProducer);

impl Transactions {
    pub fn begin(brokers: &str, id: &str) -> Transactions {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers).set("transactional.id", id);
        let producer: BaseProducer = settings.create().expect("a client");
        producer.init_transactions(PATIENCE).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        Transactions(producer)
    }

    /// Returns when the record is stored.
    pub fn send(&self, topic: &str, value: &str) {
        let record = BaseRecord::<str, str>::to(topic).key("key").payload(value);
        self.0.send(record).map_err(|(error, _)| error).expect("sent");
        self.0.flush(PATIENCE).expect("stored");
    }

    pub fn abort(&self) {
        self.0.abort_transaction(PATIENCE).expect("aborted");
    }
}

fn on_admin<T>(config: &Config, call: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> T) -> T {
    let admin = ClientConfig::new().set("bootstrap.servers", config.brokers.join(",")).create().expect("a client");
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(call(&admin))
}
