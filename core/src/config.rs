//! Configuration: typed fields, the table of options that all languages share, validation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a bus connects, publishes and consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to bootstrap from, `host:port`.
    pub brokers: Vec<String>,
    /// Names this client in the brokers' logs and quotas.
    pub client_id: String,
    /// The consumer group; needed to subscribe.
    pub group_id: Option<String>,
    /// TLS; `None` is plain text.
    pub ssl: Option<Ssl>,
    /// SASL credentials.
    pub sasl: Option<Sasl>,
    /// How long `connect` may take.
    pub connect_timeout: Duration,
    /// How long a publish may take from the call to the acknowledgement.
    pub publish_timeout: Duration,
    /// How long `disconnect` may take unless the call says otherwise.
    pub shutdown_timeout: Duration,
    /// How many publishes may be in flight.
    pub max_in_flight: usize,
    /// How many bytes of publishes may be in flight.
    pub publish_max_in_flight_bytes: usize,
    /// How many bytes of publishes may wait for a free place in flight.
    pub max_queued_bytes: usize,
    /// How many bytes of received records may be unfinished.
    pub max_in_flight_bytes: usize,
    /// The largest record accepted for publishing, in bytes.
    pub message_max_bytes: usize,
    /// Compression of published batches.
    pub compression: Compression,
    /// Whether subscribing creates missing topics with the broker's defaults.
    pub auto_create_topics: bool,
    /// How often finished offsets are committed.
    pub commit_interval: Duration,
    /// How long the coordinator waits for a heartbeat before it gives the partitions to others.
    pub session_timeout: Duration,
    /// How often the consumer tells the coordinator that it lives.
    pub heartbeat_interval: Duration,
    /// How long the consumer may go without a poll before it leaves the group.
    pub max_poll_interval: Duration,
    /// Further properties for librdkafka.
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
