//! Configuration from a JSON object and from the environment.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use super::Config;
use super::input::{Input, kind, shown};
use super::nearest::unknown;
use super::options::OPTIONS;
use super::policy::of_the_bus;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Policy, RetryPolicy, StartFrom};

impl Config {
    /// A configuration from a JSON object with the names of [`OPTIONS`], where `ssl`, `sasl`, `retry` and `kafka` are objects
    /// and `ssl` may also be `true`. What the object leaves out has its default.
    ///
    /// ```
    /// use event_bus::Config;
    /// use serde_json::json;
    ///
    /// let config = Config::from_json(&json!({
    ///     "clientId": "orders",
    ///     "brokers": ["kafka-1:9093"],
    ///     "ssl": true,
    ///     "sasl": { "mechanism": "scram-sha-256", "username": "orders", "password": "…" },
    ///     "publishTimeoutMs": 5000,
    /// }))?;
    /// config.validate()?;
    /// # Ok::<(), event_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` for an unknown name, naming the nearest one, and for a value of a wrong type.
    pub fn from_json(json: &Value) -> Result<Config> {
        let object = json.as_object().ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("the configuration must be an object, but is {}", kind(json)))
                .hint("give at least clientId and brokers")
        })?;
        let mut config = Config::default();
        for (key, value) in object {
            match (key.as_str(), value) {
                ("ssl", Value::Object(inner)) => {
                    config.ssl.get_or_insert_default();
                    config.put_all("ssl", inner)?;
                }
                ("sasl" | "kafka" | "retry", Value::Object(inner)) => config.put_all(key, inner)?,
                ("sasl" | "kafka" | "retry", other) => return Err(no_object(key, other)),
                // Dotted names are how `set` spells them; an object nests them.
                (key, _) if key.contains('.') => return Err(unknown(key)),
                (key, value) => config.put(key, Input::Json(value))?,
            }
        }
        Ok(config)
    }

    /// What a subscription wants: what this configuration says, but for what `json` says otherwise.
    ///
    /// `json` is an object with the names of those [`OPTIONS`] that are `per_subscription`, where `retry` is an object,
    /// and with `from`: `"earliest"`, `"latest"`, or `{"timestamp": …}` in milliseconds since the Unix epoch.
    ///
    /// ```
    /// use event_bus::{Config, Ordering, StartFrom};
    /// use serde_json::json;
    ///
    /// let mut config = Config::new("orders", ["localhost:9092"]);
    /// config.policy.concurrency = 8;
    /// let policy = config.policy_from_json(&json!({ "ordering": "key", "retry": { "attempts": 3 }, "from": "latest" }))?;
    /// assert_eq!((policy.ordering, policy.concurrency, policy.retry.attempts), (Ordering::Key, 8, 3));
    /// assert_eq!(policy.from, StartFrom::Latest);
    /// # Ok::<(), event_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` for an option that is unknown or belongs to the bus as a whole, and for a value that it does not take.
    pub fn policy_from_json(&self, json: &Value) -> Result<Policy> {
        let object = json.as_object().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("the options of a subscription must be an object, but are {}", kind(json)),
            )
            .hint("give an object, for example {ordering: 'key'}")
        })?;
        // The table writes into a configuration; of this copy only the policy is kept.
        let mut config = self.clone();
        for (key, value) in object {
            match (key.as_str(), value) {
                ("from", value) => config.policy.from = start_from(value)?,
                ("retry", Value::Object(inner)) => config.put_all(key, inner)?,
                ("retry", other) => return Err(no_object(key, other)),
                (key, _) if key.contains('.') => return Err(unknown(key)),
                (key, value) => match OPTIONS.iter().find(|option| option.key == key) {
                    Some(option) if !option.per_subscription => return Err(of_the_bus(key)),
                    _ => config.put(key, Input::Json(value))?,
                },
            }
        }
        config.policy.check()?;
        Ok(config.policy)
    }

    fn put_all(&mut self, parent: &str, object: &serde_json::Map<String, Value>) -> Result<()> {
        object.iter().try_for_each(|(key, value)| self.put(&format!("{parent}.{key}"), Input::Json(value)))
    }

    /// A configuration from the environment alone: `KAFKA_BROKERS` (separated by commas), `KAFKA_CLIENT_ID`,
    /// `KAFKA_GROUP_ID` and `KAFKA_GROUP_INSTANCE_ID`.
    ///
    /// # Errors
    /// As [`apply_env`](Config::apply_env). A variable that is missing is found by [`validate`](Config::validate).
    pub fn from_env() -> Result<Config> {
        let mut config = Config::default();
        config.apply_env()?;
        Ok(config)
    }

    /// Fills brokers, client id, group id and group instance id, where they were left out, from the environment. A variable that is
    /// empty counts as not set.
    ///
    /// # Errors
    /// `Config` when a variable is not UTF-8.
    pub fn apply_env(&mut self) -> Result<()> {
        self.fill(|name| std::env::var_os(name))
    }

    pub(super) fn fill(&mut self, variable: impl Fn(&str) -> Option<OsString>) -> Result<()> {
        for option in OPTIONS {
            let Some(name) = option.env.filter(|_| self.lacks(option)) else { continue };
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
            let Some(value) = value.to_str() else {
                return Err(Error::new(ErrorKind::Config, format!("the environment variable {name} is not UTF-8"))
                    .with("option", option.key)
                    .hint(option.doc));
            };
            self.set(option.key, value)?;
        }
        Ok(())
    }
}

impl Policy {
    /// The policy as [`Config::policy_from_json`] reads it, with every name.
    pub fn to_json(&self) -> Value {
        let RetryPolicy { attempts, initial_delay, max_delay, multiplier, jitter, max_elapsed } = self.retry;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        json!({
            "ordering": self.ordering.as_str(),
            "concurrency": self.concurrency,
            "retry": {
                "attempts": attempts,
                "initialDelayMs": millis(initial_delay),
                "maxDelayMs": millis(max_delay),
                "multiplier": multiplier,
                "jitter": jitter.as_str(),
                "maxElapsedMs": millis(max_elapsed),
            },
            "handlerTimeoutMs": self.handler_timeout.map_or(0, millis),
            "onExhausted": self.on_exhausted.as_str(),
            "onInvalid": self.on_invalid.as_str(),
            "parkKey": self.park_key,
            "deadLetterTopic": self.dead_letter_topic,
            "from": match self.from {
                StartFrom::Earliest => json!("earliest"),
                StartFrom::Latest => json!("latest"),
                StartFrom::Timestamp(milliseconds) => json!({ "timestamp": milliseconds }),
            },
        })
    }
}

fn no_object(key: &str, value: &Value) -> Error {
    let message = format!("{key} must be an object, but is {}", kind(value));
    Error::new(ErrorKind::Config, message).with("option", key).hint(match key {
        "sasl" => "give sasl: {mechanism, username, password}",
        "retry" => "give retry: {attempts, initialDelayMs, maxDelayMs, multiplier, jitter, maxElapsedMs}",
        _ => "give kafka: {property: value, …}",
    })
}

fn start_from(value: &Value) -> Result<StartFrom> {
    let timestamp = || match value.as_object()?.iter().collect::<Vec<_>>()[..] {
        [(name, milliseconds)] if name == "timestamp" => milliseconds.as_i64().filter(|time| *time >= 0),
        _ => None,
    };
    match value.as_str() {
        Some("earliest") => Ok(StartFrom::Earliest),
        Some("latest") => Ok(StartFrom::Latest),
        _ => timestamp().map(StartFrom::Timestamp).ok_or_else(|| {
            let message = format!("from must be earliest, latest or a timestamp, but is {}", shown(&value.to_string()));
            Error::new(ErrorKind::Config, message)
                .with("option", "from")
                .hint("give 'earliest', 'latest' or {timestamp: milliseconds since the Unix epoch, not negative}")
        }),
    }
}
