//! What JavaScript says in JSON.

use event_bus::{Config, Error, ErrorKind, Failure, Policy, SeekTo, TopicPartition, TopicSubscription};
use serde_json::Value;

/// `what` names the text in the error.
pub(crate) fn parse(text: &str, what: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::new(ErrorKind::Config, format!("{what} is not JSON: {error}")))
}

pub(crate) fn config(text: &str) -> Result<Config, Error> {
    Config::from_json(&parse(text, "the configuration")?)
}

/// Reads `[{topic, policy?}]`; without a policy that of the configuration holds.
pub(crate) fn topics(text: &str, config: &Config) -> Result<Vec<TopicSubscription>, Error> {
    let broken = || Error::new(ErrorKind::Argument, "the topics must be [{topic, policy?}]");
    let list = parse(text, "the list of topics")?;
    let read = |one: &Value| {
        let topic = one.get("topic").and_then(Value::as_str).ok_or_else(broken)?.to_owned();
        let policy = match one.get("policy") {
            Some(policy) => config.policy_from_json(policy)?,
            None => Policy::clone(&config.policy),
        };
        Ok(TopicSubscription { topic, policy })
    };
    list.as_array().ok_or_else(broken)?.iter().map(read).collect()
}

/// Reads `[{row, handler, code, message, retryable?}]`.
pub(crate) fn failures(text: &str) -> Result<Vec<(usize, Failure)>, Error> {
    let broken = || Error::new(ErrorKind::Argument, "the failures must be [{row, handler, code, message, retryable?}]");
    let list = parse(text, "the list of failures")?;
    let read = |one: &Value| {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
        let failure = Failure {
            handler: text("handler")?,
            code: text("code")?,
            message: text("message")?,
            retryable: one.get("retryable").and_then(Value::as_bool),
        };
        Some((usize::try_from(one.get("row")?.as_u64()?).ok()?, failure))
    };
    list.as_array().and_then(|list| list.iter().map(read).collect()).ok_or_else(broken)
}

/// Reads `{topic, partition, to}`, where `to` is `"beginning"`, `"end"`, `{offset}` or `{timestamp}`.
pub(crate) fn seek(text: &str) -> Result<(TopicPartition, SeekTo), Error> {
    let broken = || Error::new(ErrorKind::Argument, "the seek must be {topic, partition, to}");
    let request = parse(text, "the seek")?;
    let read = || {
        let to = request.get("to")?;
        let to = match (to.as_str(), to.get("offset"), to.get("timestamp")) {
            (Some("beginning"), _, _) => SeekTo::Beginning,
            (Some("end"), _, _) => SeekTo::End,
            (None, Some(offset), None) => SeekTo::Offset(offset.as_i64()?),
            (None, None, Some(millis)) => SeekTo::Timestamp(millis.as_i64()?),
            _ => return None,
        };
        let partition = i32::try_from(request.get("partition")?.as_i64()?).ok()?;
        Some((TopicPartition::new(request.get("topic")?.as_str()?, partition), to))
    };
    read().ok_or_else(broken)
}
