//! The transport that speaks to Kafka. The only file with the names of librdkafka's properties.

mod committer;
mod connection;
mod consumer;
mod context;
mod errors;
pub(crate) mod ffi;
mod producer;
mod progress;
mod reader;
mod renewal;
mod topics;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use self::consumer::KafkaConsumer;
use self::context::Context;
use self::ffi::{Client, Refused, Role};
use self::reader::KafkaReader;
use self::renewal::Renewal;
use crate::config::{Compression, Config, SaslMechanism};
use crate::error::{Error, ErrorKind, Result};
use crate::event::OutgoingRecord;
use crate::log::Log;
use crate::transport::{
    Cancelled, Completion, CompletionSink, Connectivity, Consumer, Enqueued, Token, TopicReader, Transport,
};

/// A Kafka cluster: one producing client, and the door to consuming ones.
pub struct KafkaTransport {
    config: Config,
    log: Log,
    context: Context,
    client: RwLock<Current>,
    renewal: Renewal,
    closed: AtomicBool,
    /// Completions that came while `connect` served the client's events; else memory for those to come.
    held: Mutex<Vec<Completion>>,
}

/// The client in use.
struct Current {
    /// `None` once closed.
    client: Option<Arc<Client>>,
    /// Counts the clients of this transport; the tokens of a client carry its number.
    generation: u32,
}

impl KafkaTransport {
    /// Makes the producing client; it dials the brokers on threads of its own.
    ///
    /// # Errors
    /// `Config` when the client refuses a setting.
    pub fn new(config: &Config, log: Log) -> Result<KafkaTransport> {
        let client = Client::new(Role::Producer, &producer_properties(config), None).map_err(refused)?;
        Ok(KafkaTransport {
            config: config.clone(),
            context: Context::new("producer", config, log.clone()),
            log,
            client: RwLock::new(Current { client: Some(Arc::new(client)), generation: 0 }),
            renewal: Renewal::new(),
            closed: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// Runs `use_it` with the client, which is not released meanwhile. It may block.
    fn with_client<T>(&self, use_it: impl FnOnce(&Client) -> T) -> Result<T> {
        let client = self.with_current(|client, _| client.clone())?;
        Ok(use_it(&client))
    }

    /// Runs `use_it` with the client and its generation. It must not block: nobody can renew the client meanwhile.
    fn with_current<T>(&self, use_it: impl FnOnce(&Arc<Client>, u32) -> T) -> Result<T> {
        let closed = || Error::new(ErrorKind::Closed, "the Kafka client is closed");
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let current = self.client.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.client.as_ref().map(|client| use_it(client, current.generation)).ok_or_else(closed)
    }
}

impl Transport for KafkaTransport {
    fn connect(&self, deadline: Instant, cancelled: Cancelled<'_>) -> Result<()> {
        connection::connect(self, deadline, cancelled)
    }

    fn send(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued> {
        producer::send(self, record, token, self.config.message_max_bytes)
    }

    fn send_on(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued> {
        producer::send(self, record, token, producer::sent_on_max_bytes(&self.config))
    }

    fn poll(&self, wait: Duration, sink: &dyn CompletionSink) {
        producer::poll(self, wait, sink);
    }

    fn wake(&self) {
        // A closed client has nobody to wake.
        let _ = self.with_client(Client::interrupt);
    }

    fn purge(&self) {
        // A closed client has nothing left to give up.
        let _ = self.with_client(Client::purge);
    }

    fn ensure_topics(&self, topics: &[Arc<str>], deadline: Instant) -> Vec<Result<()>> {
        topics.iter().map(|topic| topics::ensure(self, topic, deadline)).collect()
    }

    fn ensure_topic_like(&self, topic: &Arc<str>, like: &Arc<str>, deadline: Instant) -> Result<u32> {
        topics::ensure_like(self, topic, like, deadline)
    }

    fn partitions(&self, topic: &Arc<str>, deadline: Instant) -> Result<u32> {
        let wait = deadline.saturating_duration_since(Instant::now());
        let found = self.with_client(|client| topics::partitions(client, topic, wait))?;
        found?.ok_or_else(|| topics::unknown(topic))
    }

    fn reader(&self, topic: &Arc<str>, group: &str) -> Result<Box<dyn TopicReader>> {
        Ok(Box::new(KafkaReader::new(self, topic, group)?))
    }

    fn connectivity(&self) -> Connectivity {
        let (rebuilt, ended) =
            self.with_current(|client, generation| (generation, client.has_ended())).unwrap_or_default();
        Connectivity { rebuilt, ended, ..self.context.connectivity() }
    }

    fn consumer(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Box<dyn Consumer>> {
        let mut properties = consumer_properties(&self.config)?;
        if let Some(instance) = &self.config.group_instance_id {
            properties.push(("group.instance.id".to_owned(), instance.clone()));
        }
        let client = Client::new(Role::Consumer, &properties, Some(wake)).map_err(refused)?;
        let context = Arc::new(Context::new("consumer", &self.config, self.log.clone()));
        Ok(Box::new(KafkaConsumer::new(Arc::new(client), context)))
    }

    #[cfg(feature = "embedded")]
    fn provoke_fatal_error(&self) {
        let _ = self.with_client(|client| client.provoke_fatal_error(ffi::PROVOKED));
    }

    fn close(&self) {
        let _ = self.with_client(Client::interrupt);
        self.closed.store(true, Ordering::Release);
        let client = self.client.write().unwrap_or_else(std::sync::PoisonError::into_inner).client.take();
        self.renewal.close();
        drop(client);
    }
}

fn refused(refused: Refused) -> Error {
    match refused.property {
        Some(name) => {
            // librdkafka quotes the value, which may be a secret.
            let secret = ["password", "secret", "key", "pem"].iter().any(|word| name.contains(word));
            let reason = if secret { "its value is not valid".to_owned() } else { refused.reason };
            Error::new(ErrorKind::Config, format!("the Kafka client refuses the property {name}: {reason}"))
                .with("option", format!("kafka.{name}"))
                .hint("see librdkafka's CONFIGURATION.md for its properties and their values")
        }
        None => Error::new(ErrorKind::Config, format!("the Kafka client cannot be made: {}", refused.reason))
            .hint("check the options that the message names"),
    }
}

/// Name and value, later ones win.
#[derive(Default)]
struct Properties(Vec<(String, String)>);

impl Properties {
    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn set_ms(&mut self, name: &str, value: Duration) {
        self.set(name, value.as_millis());
    }

    /// What the caller passes through wins over all of ours.
    fn finish(mut self, config: &Config) -> Vec<(String, String)> {
        self.0.extend(config.kafka.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.0
    }
}

fn common_properties(config: &Config) -> Properties {
    let mut set = Properties::default();
    set.set("bootstrap.servers", config.brokers.join(","));
    set.set("client.id", &config.client_id);
    set.set("client.software.name", "i-event-bus");
    set.set("client.software.version", env!("CARGO_PKG_VERSION"));
    set.set("log.queue", true);
    set.set("log.thread.name", false);
    set.set("statistics.interval.ms", 1000);
    set.set("socket.keepalive.enable", true);
    set.set("reconnect.backoff.max.ms", 2000);
    // Short enough that a black-holed address is named as such before `connect` gives up.
    let setup = (config.connect_timeout * 3 / 4).clamp(Duration::from_secs(1), Duration::from_secs(30));
    set.set_ms("socket.connection.setup.timeout.ms", setup);
    // A missing topic would otherwise stay unseen for five minutes beside existing ones.
    set.set("topic.metadata.refresh.interval.ms", 10_000);
    set.set("allow.auto.create.topics", config.auto_create_topics);
    set.set("message.max.bytes", config.message_max_bytes);
    let protocol = match (&config.ssl, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    set.set("security.protocol", protocol);
    if let Some(ssl) = &config.ssl {
        let texts = [("ssl.ca.pem", &ssl.ca), ("ssl.certificate.pem", &ssl.cert), ("ssl.key.pem", &ssl.key)];
        for (name, text) in texts {
            if let Some(text) = text {
                set.set(name, text);
            }
        }
        if ssl.ca.is_none() {
            // The vendored OpenSSL knows no system's store; librdkafka looks at the usual places.
            set.set("ssl.ca.location", "probe");
        }
    }
    if let Some(sasl) = &config.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        set.set("sasl.mechanism", mechanism);
        set.set("sasl.username", &sasl.username);
        set.set("sasl.password", &sasl.password);
    }
    set
}

fn producer_properties(config: &Config) -> Vec<(String, String)> {
    let mut set = common_properties(config);
    set.set("acks", "all");
    set.set("enable.idempotence", true);
    // The partition that Java and kafkajs choose for a key; librdkafka's own default is CRC32.
    set.set("partitioner", "murmur2_random");
    // Any linger costs a lone publish most of its latency, and batches form by themselves under load.
    set.set("linger.ms", 0);
    set.set("message.max.bytes", producer::sent_on_max_bytes(config));
    // The limit of batches, as brokers count them, stays where it was; a record that is larger travels alone.
    set.set("batch.size", config.message_max_bytes.min(1_000_000));
    set.set("message.timeout.ms", config.publish_timeout.as_millis().clamp(1, i32::MAX as u128));
    let propagation = (config.publish_timeout / 2).min(Duration::from_secs(5));
    set.set_ms("topic.metadata.propagation.max.ms", propagation);
    let compression = match config.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    set.set("compression.type", compression);
    set.set("queue.buffering.max.messages", config.max_in_flight.clamp(1, i32::MAX as usize));
    // The publisher's budget decides; this one only has to hold it and one more record.
    let kbytes = (config.publish_max_in_flight_bytes + config.message_max_bytes).div_ceil(1024);
    set.set("queue.buffering.max.kbytes", kbytes.clamp(1, i32::MAX as usize));
    set.finish(config)
}

fn consumer_properties(config: &Config) -> Result<Vec<(String, String)>> {
    const MEBIBYTE: usize = 1 << 20;
    let Some(group) = &config.group_id else {
        return Err(Error::new(ErrorKind::Config, "subscribing needs a consumer group")
            .with("option", "groupId")
            .hint("set groupId to a name that all instances of this service share"));
    };
    let mut set = common_properties(config);
    set.set("group.id", group);
    set.set("enable.auto.commit", false);
    set.set("enable.auto.offset.store", false);
    set.set("partition.assignment.strategy", "cooperative-sticky");
    set.set_ms("session.timeout.ms", config.session_timeout);
    set.set_ms("heartbeat.interval.ms", config.heartbeat_interval);
    set.set_ms("max.poll.interval.ms", config.max_poll_interval);
    // How long a full queue waits for more. Handlers that keep up empty it in less than the default of one second, and
    // then wait; while they do not, this is how often a thread looks.
    set.set("fetch.queue.backoff.ms", 10);
    // A quarter of the byte budget is librdkafka's, the rest is for what handlers have in hand.
    let queued = config.max_in_flight_bytes / 4;
    set.set("queued.max.messages.kbytes", (queued / 1024).clamp(1, 2_097_151));
    set.set("queued.min.messages", (queued / 1024).clamp(1000, 100_000));
    let fetch = (config.max_in_flight_bytes / 8).max(config.message_max_bytes).min(1_000_000_000);
    set.set("fetch.max.bytes", fetch);
    set.set("max.partition.fetch.bytes", fetch.min(MEBIBYTE).max(config.message_max_bytes));
    set.set("receive.message.max.bytes", (fetch + 1024).max(100_000_000));
    let mut properties = set.finish(config);
    // The client would go on at the other end of what it lost in silence. The bus chooses, and tells.
    properties.push(("auto.offset.reset".to_owned(), "error".to_owned()));
    Ok(properties)
}
