//! Configuration: typed fields, the table of options that all languages share, validation.

mod input;
mod json;
mod nearest;
mod options;
mod policy;
mod properties;
#[cfg(test)]
mod tests;
mod validate;

pub use options::{ConfigOption, OPTIONS, OptionType};

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::policy::Policy;

/// The prefix of the one address that stands for a broker in memory.
const MEMORY: &str = "memory:";

/// How a bus connects, publishes and consumes.
///
/// Every field has a name in [`OPTIONS`], by which [`set`](Config::set), [`from_json`](Config::from_json) and the
/// other languages know it. What contradicts itself is found by [`validate`](Config::validate), which
/// `Bus::connect` calls.
///
/// ```
/// use std::time::Duration;
/// use event_bus::Config;
///
/// let mut config = Config::new("orders", ["kafka-1:9092", "kafka-2:9092"]);
/// config.group_id = Some("billing".into());
/// config.publish_timeout = Duration::from_secs(5);
/// config.set("compression", "lz4")?;
/// config.set("kafka.socket.keepalive.enable", "true")?;
/// config.validate()?;
/// # Ok::<(), event_bus::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses to bootstrap from, `host:port` each, or one `memory:NAME` alone.
    pub brokers: Vec<String>,
    /// Names this client in the brokers' logs and quotas; not empty.
    pub client_id: String,
    /// The consumer group; needed to subscribe.
    pub group_id: Option<String>,
    /// TLS; `None` is plain text.
    pub ssl: Option<Ssl>,
    /// SASL credentials.
    pub sasl: Option<Sasl>,
    /// How long `connect` may take; 10 s by default.
    pub connect_timeout: Duration,
    /// How long a publish may take from the call to the acknowledgement; 30 s by default.
    pub publish_timeout: Duration,
    /// How long closing the bus may take unless the call says otherwise; 10 s by default.
    pub shutdown_timeout: Duration,
    /// How many publishes may be in flight; 8192 by default.
    pub max_in_flight: usize,
    /// How many bytes of publishes may be in flight; 64 MiB by default.
    pub publish_max_in_flight_bytes: usize,
    /// How many bytes of publishes may wait for a free place in flight; 32 MiB by default.
    pub max_queued_bytes: usize,
    /// How many bytes of received records may be unfinished; 64 MiB by default.
    pub max_in_flight_bytes: usize,
    /// The largest record accepted for publishing, in bytes; 1 048 588 by default, which is the brokers' own default:
    /// nothing is refused here that a broker would take.
    pub message_max_bytes: usize,
    /// Compression of published batches; none by default.
    pub compression: Compression,
    /// Whether subscribing creates missing topics with the broker's defaults; true by default.
    pub auto_create_topics: bool,
    /// How often finished offsets are committed; every second by default.
    pub commit_interval: Duration,
    /// How long the coordinator waits for a heartbeat before it gives the partitions to others; 8 s by default.
    pub session_timeout: Duration,
    /// How often the consumer tells the coordinator that it lives; every second by default.
    pub heartbeat_interval: Duration,
    /// How long the consumer may go without a poll before it leaves the group; 5 min by default.
    pub max_poll_interval: Duration,
    /// After how long a partition that has records and gets none counts as stalled, which is told and healed; 30 s by
    /// default, at least 1 s. `None` turns it off.
    pub stall_timeout: Option<Duration>,
    /// What subscriptions want that say nothing else.
    pub policy: Policy,
    /// Names this member for ever, so that a restart within the session timeout moves no partition.
    pub group_instance_id: Option<String>,
    /// Further properties for librdkafka; those that would break a promise of the bus are refused.
    pub kafka: BTreeMap<String, String>,
}

/// TLS settings; PEM texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ssl {
    /// Certificate authorities to trust instead of the system's.
    pub ca: Option<String>,
    /// The client's certificate.
    pub cert: Option<String>,
    /// The client's private key.
    pub key: Option<String>,
}

/// SASL credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How to authenticate.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN; use it over TLS only.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

/// Compression of published batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Default for Config {
    /// The defaults, without brokers and client id, which must still be given.
    fn default() -> Self {
        Config::new("", Vec::<String>::new())
    }
}

impl Config {
    /// The defaults with a client id and addresses, which are trimmed and of which duplicates are dropped.
    pub fn new(client_id: impl Into<String>, brokers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Config {
            brokers: unique(brokers),
            client_id: client_id.into().trim().to_owned(),
            group_id: None,
            ssl: None,
            sasl: None,
            connect_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            max_in_flight: 8192,
            publish_max_in_flight_bytes: 64 << 20,
            max_queued_bytes: 32 << 20,
            max_in_flight_bytes: 64 << 20,
            message_max_bytes: 1_048_588,
            compression: Compression::None,
            auto_create_topics: true,
            commit_interval: Duration::from_secs(1),
            session_timeout: Duration::from_secs(8),
            heartbeat_interval: Duration::from_secs(1),
            max_poll_interval: Duration::from_secs(300),
            stall_timeout: Some(Duration::from_secs(30)),
            policy: Policy::default(),
            group_instance_id: None,
            kafka: BTreeMap::new(),
        }
    }

    /// The name of the broker in memory, where the address is `memory:NAME`.
    pub fn memory_name(&self) -> Option<&str> {
        match self.brokers.as_slice() {
            [address] => address.strip_prefix(MEMORY),
            _ => None,
        }
    }
}

fn unique(brokers: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for broker in brokers {
        let broker = broker.into().trim().to_owned();
        if !all.contains(&broker) {
            all.push(broker);
        }
    }
    all
}

/// An address without what may be a user and a password in front of it.
fn without_credentials(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => address.to_owned(),
    }
}

impl SaslMechanism {
    /// The name that Kafka's protocol uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Compression {
    /// The name that Kafka's configuration uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

/// Shows everything but secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers: Vec<_> = self.brokers.iter().map(|address| without_credentials(address)).collect();
        let kafka: BTreeMap<_, _> = self
            .kafka
            .iter()
            .map(|(name, value)| (name, if properties::is_secret(name) { "***" } else { value.as_str() }))
            .collect();
        f.debug_struct("Config")
            .field("brokers", &brokers)
            .field("client_id", &self.client_id)
            .field("group_id", &self.group_id)
            .field("ssl", &self.ssl)
            .field("sasl", &self.sasl)
            .field("connect_timeout", &self.connect_timeout)
            .field("publish_timeout", &self.publish_timeout)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("publish_max_in_flight_bytes", &self.publish_max_in_flight_bytes)
            .field("max_queued_bytes", &self.max_queued_bytes)
            .field("max_in_flight_bytes", &self.max_in_flight_bytes)
            .field("message_max_bytes", &self.message_max_bytes)
            .field("compression", &self.compression)
            .field("auto_create_topics", &self.auto_create_topics)
            .field("commit_interval", &self.commit_interval)
            .field("session_timeout", &self.session_timeout)
            .field("heartbeat_interval", &self.heartbeat_interval)
            .field("max_poll_interval", &self.max_poll_interval)
            .field("stall_timeout", &self.stall_timeout)
            .field("policy", &self.policy)
            .field("group_instance_id", &self.group_instance_id)
            .field("kafka", &kafka)
            .finish()
    }
}

impl fmt::Debug for Ssl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |value: &Option<String>| if value.is_some() { "given" } else { "none" };
        write!(f, "Ssl(ca: {}, cert: {}, key: {})", given(&self.ca), given(&self.cert), given(&self.key))
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sasl({:?}, username: {}, password: ***)", self.mechanism, self.username)
    }
}
