//! The table of options: what every language, the environment and the documentation know of each.

use std::time::Duration;

use super::input::{Input, invalid};
use super::nearest::unknown;
use super::{Compression, Config, Sasl, SaslMechanism, Ssl, unique};
use crate::error::{Error, Result};
use crate::policy::{Jitter, OnExhausted, OnInvalid, Ordering};

/// An option of the configuration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConfigOption {
    /// The name by which all languages know it; `ssl.ca` is `ca` of the object `ssl` in JSON.
    pub key: &'static str,
    /// What values it takes.
    pub kind: OptionType,
    /// The unit of a number: `ms`, `bytes`, or empty.
    pub unit: &'static str,
    /// The value without it, as text; empty where there is none.
    pub default: &'static str,
    /// The environment variable that gives it where the configuration leaves it out.
    pub env: Option<&'static str>,
    /// What it is for.
    pub doc: &'static str,
    /// Its value must never be shown.
    pub secret: bool,
    /// A subscription may say otherwise.
    pub per_subscription: bool,
    field: Field,
}

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionType {
    /// A text that is not empty.
    Text,
    /// Texts: an array in JSON, separated by commas elsewhere.
    List,
    /// A text in PEM format; in JSON also several in an array.
    Pem,
    /// An integer within bounds, both included.
    Integer {
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these, in upper or lower case.
    Choice(&'static [&'static str]),
    /// Any number of properties of the client library, each a text, a number or a boolean.
    Properties,
}

/// Where an option's value is kept.
#[derive(Clone, Copy)]
enum Field {
    Brokers,
    ClientId,
    GroupId,
    Tls,
    Pem(fn(&mut Ssl) -> &mut Option<String>),
    Mechanism,
    Credential(fn(&mut Sasl) -> &mut String),
    Millis(fn(&mut Config) -> &mut Duration),
    Number(fn(&mut Config) -> &mut usize),
    Count(fn(&mut Config) -> &mut u32),
    Flag(fn(&mut Config) -> &mut bool),
    Compression,
    Ordering,
    Jitter,
    HandlerTimeout,
    OnExhausted,
    OnInvalid,
    DeadLetterTopic,
    GroupInstanceId,
    StallTimeout,
    Kafka,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Field")
    }
}

const MECHANISMS: &[&str] = &["plain", "scram-sha-256", "scram-sha-512"];
const ORDERINGS: &[&str] = &["partition", "key"];
const JITTERS: &[&str] = &["full", "none"];
const EXHAUSTED: &[&str] = &["dead-letter", "skip", "halt"];
const INVALID: &[&str] = &["skip", "dead-letter", "halt"];
const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];

const fn option(key: &'static str, kind: OptionType, field: Field, default: &'static str) -> ConfigOption {
    ConfigOption { key, kind, unit: "", default, env: None, doc: "", secret: false, per_subscription: false, field }
}

const fn number(
    key: &'static str,
    unit: &'static str,
    (min, max): (u64, u64),
    field: Field,
    default: &'static str,
) -> ConfigOption {
    ConfigOption { unit, ..option(key, OptionType::Integer { min, max }, field, default) }
}

impl ConfigOption {
    const fn env(self, env: &'static str) -> Self {
        ConfigOption { env: Some(env), ..self }
    }

    const fn secret(self) -> Self {
        ConfigOption { secret: true, ..self }
    }

    const fn per_subscription(self) -> Self {
        ConfigOption { per_subscription: true, ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        ConfigOption { doc, ..self }
    }
}

// Bounds are those of librdkafka's properties where an option becomes one.
const TIMEOUT: (u64, u64) = (1, 2_147_483_647);
const GROUP_TIMEOUT: (u64, u64) = (1, 3_600_000);
const BUDGET: (u64, u64) = (1, 1 << 40);

/// All options, in the order in which documentation shows them.
pub const OPTIONS: &[ConfigOption] = &[
    option("clientId", OptionType::Text, Field::ClientId, "")
        .env("KAFKA_CLIENT_ID")
        .doc("Names this client in the brokers' logs and quotas. Required."),
    option("brokers", OptionType::List, Field::Brokers, "")
        .env("KAFKA_BROKERS")
        .doc("Addresses to bootstrap from, host:port each; memory:NAME alone is a broker in this process. Required."),
    option("groupId", OptionType::Text, Field::GroupId, "")
        .env("KAFKA_GROUP_ID")
        .doc("The consumer group. Required to subscribe."),
    option("ssl", OptionType::Boolean, Field::Tls, "false")
        .doc("Encrypts connections and checks the brokers' certificates; ssl.ca, ssl.cert and ssl.key imply it."),
    option("ssl.ca", OptionType::Pem, Field::Pem(|ssl| &mut ssl.ca), "")
        .doc("Certificate authorities to trust instead of the system's."),
    option("ssl.cert", OptionType::Pem, Field::Pem(|ssl| &mut ssl.cert), "")
        .doc("The client's certificate, with ssl.key."),
    option("ssl.key", OptionType::Pem, Field::Pem(|ssl| &mut ssl.key), "")
        .secret()
        .doc("The client's private key, with ssl.cert."),
    option("sasl.mechanism", OptionType::Choice(MECHANISMS), Field::Mechanism, "plain")
        .doc("How to authenticate. Use plain over TLS only: it sends the password as it is."),
    option("sasl.username", OptionType::Text, Field::Credential(|sasl| &mut sasl.username), "")
        .doc("The user to authenticate as."),
    option("sasl.password", OptionType::Text, Field::Credential(|sasl| &mut sasl.password), "")
        .secret()
        .doc("The user's password."),
    number("connectTimeoutMs", "ms", TIMEOUT, Field::Millis(|config| &mut config.connect_timeout), "10000")
        .doc("How long connecting may take."),
    number("publishTimeoutMs", "ms", TIMEOUT, Field::Millis(|config| &mut config.publish_timeout), "30000")
        .doc("How long a publish may take from the call to the acknowledgement, outages included."),
    number("shutdownTimeoutMs", "ms", TIMEOUT, Field::Millis(|config| &mut config.shutdown_timeout), "10000")
        .doc("How long closing may take unless the call says otherwise."),
    number("maxInFlight", "", (1, 1_000_000), Field::Number(|config| &mut config.max_in_flight), "8192")
        .doc("How many publishes may be in flight; further ones wait."),
    number(
        "publishMaxInFlightBytes",
        "bytes",
        BUDGET,
        Field::Number(|config| &mut config.publish_max_in_flight_bytes),
        "67108864",
    )
    .doc("How many bytes of publishes may be in flight; further ones wait."),
    number("maxQueuedBytes", "bytes", BUDGET, Field::Number(|config| &mut config.max_queued_bytes), "33554432")
        .doc("How many bytes of publishes may wait for a place in flight; further ones fail at once."),
    number("maxInFlightBytes", "bytes", BUDGET, Field::Number(|config| &mut config.max_in_flight_bytes), "67108864")
        .doc("How many bytes of received records may be unfinished; then fetching pauses."),
    number(
        "messageMaxBytes",
        "bytes",
        (1000, 1_000_000_000),
        Field::Number(|config| &mut config.message_max_bytes),
        "1048588",
    )
    .doc("The largest record to publish. The default is the brokers' own, so nothing is refused that they would take."),
    option("compression", OptionType::Choice(CODECS), Field::Compression, "none")
        .doc("Compression of published batches."),
    option("autoCreateTopics", OptionType::Boolean, Field::Flag(|config| &mut config.auto_create_topics), "true")
        .doc("Whether subscribing creates missing topics with the brokers' defaults."),
    number("commitIntervalMs", "ms", TIMEOUT, Field::Millis(|config| &mut config.commit_interval), "1000")
        .doc("How often the offsets of finished events are committed."),
    number("sessionTimeoutMs", "ms", GROUP_TIMEOUT, Field::Millis(|config| &mut config.session_timeout), "8000")
        .doc("After how long without a heartbeat the group gives this member's partitions to others."),
    number("heartbeatIntervalMs", "ms", GROUP_TIMEOUT, Field::Millis(|config| &mut config.heartbeat_interval), "1000")
        .doc("How often the group hears of this member; at most a third of sessionTimeoutMs."),
    number(
        "maxPollIntervalMs",
        "ms",
        (4000, 86_400_000),
        Field::Millis(|config| &mut config.max_poll_interval),
        "300000",
    )
    .doc("After how long without polling the member leaves the group; handlers do not count, polling never stops."),
    number("stallTimeoutMs", "ms", (0, 86_400_000), Field::StallTimeout, "30000").doc(
        "After how long a partition that has records and gets none counts as stalled, which is told and healed; at least \
         1000, and 0 turns it off.",
    ),
    option("groupInstanceId", OptionType::Text, Field::GroupInstanceId, "")
        .env("KAFKA_GROUP_INSTANCE_ID")
        .doc("Names this member for ever: a restart within sessionTimeoutMs moves no partition. One per process."),
    option("ordering", OptionType::Choice(ORDERINGS), Field::Ordering, "partition")
        .per_subscription()
        .doc("What must not overlap: events of a partition, or only those of a key."),
    number("concurrency", "", (1, 100_000), Field::Number(|config| &mut config.policy.concurrency), "64")
        .per_subscription()
        .doc("How many events of a type may be with their handlers at once, with ordering key."),
    number("retry.attempts", "", (1, 1_000_000), Field::Count(|config| &mut config.policy.retry.attempts), "5")
        .per_subscription()
        .doc("Attempts in all, the first included; 1 is no retry."),
    number(
        "retry.initialDelayMs",
        "ms",
        (0, 86_400_000),
        Field::Millis(|config| &mut config.policy.retry.initial_delay),
        "200",
    )
    .per_subscription()
    .doc("The delay before the second attempt."),
    number(
        "retry.maxDelayMs",
        "ms",
        (0, 86_400_000),
        Field::Millis(|config| &mut config.policy.retry.max_delay),
        "30000",
    )
    .per_subscription()
    .doc("No delay between attempts is longer."),
    number("retry.multiplier", "", (1, 100), Field::Count(|config| &mut config.policy.retry.multiplier), "2")
        .per_subscription()
        .doc("By what each further delay grows; 1 keeps them equal."),
    option("retry.jitter", OptionType::Choice(JITTERS), Field::Jitter, "full")
        .per_subscription()
        .doc("Spreads delays between nothing and their length, so that many failures do not come back at once."),
    number(
        "retry.maxElapsedMs",
        "ms",
        (0, 604_800_000),
        Field::Millis(|config| &mut config.policy.retry.max_elapsed),
        "300000",
    )
    .per_subscription()
    .doc("No attempt starts later than this after the first failure."),
    number("handlerTimeoutMs", "ms", (0, 86_400_000), Field::HandlerTimeout, "0")
        .per_subscription()
        .doc("How long one call of a handler may take before it counts as failed; 0 is for ever."),
    option("onExhausted", OptionType::Choice(EXHAUSTED), Field::OnExhausted, "dead-letter")
        .per_subscription()
        .doc("What becomes of an event after its last attempt; halt stops its partition."),
    option("onInvalid", OptionType::Choice(INVALID), Field::OnInvalid, "skip")
        .per_subscription()
        .doc("What becomes of a record that holds no event; halt stops its partition."),
    option("parkKey", OptionType::Boolean, Field::Flag(|config| &mut config.policy.park_key), "false")
        .per_subscription()
        .doc("Whether later events of a key follow one that became a dead letter."),
    option("deadLetterTopic", OptionType::Text, Field::DeadLetterTopic, "{topic}.dead-letter")
        .per_subscription()
        .doc("The topic of dead letters; {topic} stands for the event's topic."),
    option("kafka.<property>", OptionType::Properties, Field::Kafka, "")
        .doc("Any further property of librdkafka. One that would break a promise of the bus is refused."),
];

/// The prefix of properties for the client library.
pub(super) const KAFKA: &str = "kafka.";

impl Config {
    /// Sets an option by its name in [`OPTIONS`], from text.
    ///
    /// # Errors
    /// `Config` for an unknown name, naming the nearest one, and for a value that the option does not take. Whether
    /// the options fit each other is for [`validate`](Config::validate) to say.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.put(key, Input::Text(value))
    }

    pub(super) fn put(&mut self, key: &str, input: Input<'_>) -> Result<()> {
        if let Some(property) =
            key.strip_prefix(KAFKA).filter(|property| !property.is_empty() && *property != "<property>")
        {
            let value = input.property(key)?;
            super::properties::check(property, &value)?;
            self.kafka.insert(property.to_owned(), value);
            return Ok(());
        }
        let named = |option: &&ConfigOption| option.key == key && option.kind != OptionType::Properties;
        let option = OPTIONS.iter().find(named).ok_or_else(|| unknown(key))?;
        option.put(self, input)
    }

    /// Whether an option that the environment may give was left out.
    pub(super) fn lacks(&self, option: &ConfigOption) -> bool {
        match option.field {
            Field::Brokers => self.brokers.is_empty(),
            Field::ClientId => self.client_id.is_empty(),
            Field::GroupId => self.group_id.is_none(),
            Field::GroupInstanceId => self.group_instance_id.is_none(),
            _ => false,
        }
    }
}

impl ConfigOption {
    fn put(&self, config: &mut Config, input: Input<'_>) -> Result<()> {
        match self.field {
            Field::Brokers => config.brokers = unique(input.list(self)?),
            Field::ClientId => config.client_id = input.text(self)?.trim().to_owned(),
            Field::GroupId => config.group_id = Some(input.text(self)?.trim().to_owned()),
            Field::Tls if input.flag(self)? => {
                config.ssl.get_or_insert_default();
            }
            Field::Tls => config.ssl = None,
            Field::Pem(field) => *field(config.ssl.get_or_insert_default()) = Some(input.pem(self)?),
            Field::Mechanism => {
                let all = [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];
                sasl(config).mechanism = all[input.choice(self, MECHANISMS)?];
            }
            // A password may begin or end with a space.
            Field::Credential(field) => *field(sasl(config)) = input.text(self)?.to_owned(),
            Field::Millis(field) => *field(config) = Duration::from_millis(input.integer(self)?),
            Field::Number(field) => {
                let number = input.integer(self)?;
                *field(config) = usize::try_from(number).map_err(|_| self.out_of_bounds(u128::from(number)))?;
            }
            Field::Count(field) => {
                let number = input.integer(self)?;
                *field(config) = u32::try_from(number).map_err(|_| self.out_of_bounds(u128::from(number)))?;
            }
            Field::Flag(field) => *field(config) = input.flag(self)?,
            Field::Ordering => {
                config.policy.ordering = [Ordering::Partition, Ordering::Key][input.choice(self, ORDERINGS)?];
            }
            Field::Jitter => config.policy.retry.jitter = [Jitter::Full, Jitter::None][input.choice(self, JITTERS)?],
            Field::HandlerTimeout => {
                let millis = input.integer(self)?;
                config.policy.handler_timeout = (millis > 0).then(|| Duration::from_millis(millis));
            }
            Field::StallTimeout => {
                let millis = input.integer(self)?;
                config.stall_timeout = (millis > 0).then(|| Duration::from_millis(millis));
            }
            Field::OnExhausted => {
                let all = [OnExhausted::DeadLetter, OnExhausted::Skip, OnExhausted::Halt];
                config.policy.on_exhausted = all[input.choice(self, EXHAUSTED)?];
            }
            Field::OnInvalid => {
                let all = [OnInvalid::Skip, OnInvalid::DeadLetter, OnInvalid::Halt];
                config.policy.on_invalid = all[input.choice(self, INVALID)?];
            }
            Field::DeadLetterTopic => config.policy.dead_letter_topic = input.text(self)?.trim().to_owned(),
            Field::GroupInstanceId => config.group_instance_id = Some(input.text(self)?.trim().to_owned()),
            Field::Compression => {
                let all =
                    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
                config.compression = all[input.choice(self, CODECS)?];
            }
            Field::Kafka => return Err(unknown(self.key)),
        }
        Ok(())
    }

    /// What the option takes, for a message.
    pub(super) fn expected(&self) -> String {
        match self.kind {
            OptionType::Text => "a text".to_owned(),
            OptionType::Pem => "a text in PEM format".to_owned(),
            OptionType::List => "a list of texts".to_owned(),
            OptionType::Boolean => "true or false".to_owned(),
            OptionType::Properties => "an object".to_owned(),
            OptionType::Choice(all) => format!("one of {}", all.join(", ")),
            OptionType::Integer { min, max } => {
                let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
                format!("an integer from {min} to {max}{unit}")
            }
        }
    }

    pub(super) fn out_of_bounds(&self, number: u128) -> Error {
        invalid(self, format!("the number {number}"))
    }

    /// Whether the number that a configuration holds for this option is within its bounds.
    pub(super) fn check(&self, config: &mut Config) -> Result<()> {
        let OptionType::Integer { min, max } = self.kind else { return Ok(()) };
        let number = match self.field {
            Field::Millis(field) => field(config).as_millis(),
            Field::Number(field) => *field(config) as u128,
            Field::Count(field) => u128::from(*field(config)),
            _ => return Ok(()),
        };
        if (u128::from(min)..=u128::from(max)).contains(&number) { Ok(()) } else { Err(self.out_of_bounds(number)) }
    }
}

fn sasl(config: &mut Config) -> &mut Sasl {
    config.sasl.get_or_insert_with(|| Sasl {
        mechanism: SaslMechanism::Plain,
        username: String::new(),
        password: String::new(),
    })
}
