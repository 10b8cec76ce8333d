//! The Node-API face of `i-event-bus`: thin, and spoken to by `ts/native.ts` only.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod arrays;
mod boundary;
mod bus;
mod dead_letters;
mod json;
mod notices;
mod ring;
mod shared;
mod subscribe;
mod sync;
mod testing;

use event_bus::{DEAD_LETTER_HEADERS, ErrorKind};
use napi_derive::napi;

use crate::boundary::{guard, kind_json};

/// The effective settings as JSON; `EffectiveConfig` of native.ts names those that the TypeScript half reads.
#[napi]
pub fn validate_config(config_json: String) -> napi::Result<String> {
    guard(|| {
        let config = json::config(&config_json)?;
        config.validate()?;
        Ok(serde_json::json!({
            "clientId": config.client_id,
            "brokers": config.brokers,
            "groupId": config.group_id,
            "maxInFlight": config.max_in_flight,
            "publishMaxInFlightBytes": config.publish_max_in_flight_bytes,
            "maxQueuedBytes": config.max_queued_bytes,
            "messageMaxBytes": config.message_max_bytes,
            "publishTimeoutMs": config.publish_timeout.as_millis() as u64,
            "connectTimeoutMs": config.connect_timeout.as_millis() as u64,
            "shutdownTimeoutMs": config.shutdown_timeout.as_millis() as u64,
            "policy": config.policy.to_json(),
        })
        .to_string())
    })
}

/// What a subscription with these options wants, as JSON; `EffectivePolicy` of registry.ts.
#[napi]
pub fn validate_subscription(config_json: String, options_json: String) -> napi::Result<String> {
    guard(|| {
        let options = json::parse(&options_json, "the options of the subscription")?;
        Ok(json::config(&config_json)?.policy_from_json(&options)?.to_json().to_string())
    })
}

/// Whether these topics, as `NativeBus::set_topics` takes them, go together.
#[napi]
pub fn validate_topics(config_json: String, topics_json: String) -> napi::Result<()> {
    guard(|| event_bus::check_subscriptions(&json::topics(&topics_json, &json::config(&config_json)?)?))
}

/// The table of error kinds as JSON.
#[napi]
pub fn error_table() -> napi::Result<String> {
    guard(|| Ok(serde_json::Value::from_iter(ErrorKind::ALL.iter().map(|kind| kind_json(*kind))).to_string()))
}

/// The headers of dead letters and of replayed records as JSON: `{name: meaning}`.
#[napi]
pub fn dead_letter_headers() -> napi::Result<String> {
    guard(|| Ok(serde_json::Value::from_iter(DEAD_LETTER_HEADERS.iter().copied()).to_string()))
}

#[napi]
pub fn version() -> napi::Result<String> {
    guard(|| Ok(env!("CARGO_PKG_VERSION").to_owned()))
}
