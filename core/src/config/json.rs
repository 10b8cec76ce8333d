//! Configuration from a JSON object and from the environment.

use std::ffi::OsString;

use serde_json::Value;

use super::Config;
use super::input::{Input, kind};
use super::nearest::unknown;
use super::options::OPTIONS;
use crate::error::{Error, ErrorKind, Result};

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
                ("sasl" | "kafka" | "retry", other) => {
                    let message = format!("{key} must be an object, but is {}", kind(other));
                    let error = Error::new(ErrorKind::Config, message).with("option", key);
                    return Err(error.hint(match key.as_str() {
                        "sasl" => "give sasl: {mechanism, username, password}",
                        "retry" => {
                            "give retry: {attempts, initialDelayMs, maxDelayMs, multiplier, jitter, maxElapsedMs}"
                        }
                        _ => "give kafka: {property: value, …}",
                    }));
                }
                // Dotted names are how `set` spells them; an object nests them.
                (key, _) if key.contains('.') => return Err(unknown(key)),
                (key, value) => config.put(key, Input::Json(value))?,
            }
        }
        Ok(config)
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
