//! Properties of librdkafka that may not be passed through, and why.

use super::input::{quoted, shown};
use crate::error::{Error, ErrorKind, Result};

/// A property, the values that break nothing, and why others are refused.
type Guarded = (&'static [&'static str], &'static [&'static str], &'static str);

const GUARDED: &[Guarded] = &[
    (&["acks", "request.required.acks"], &["all", "-1"], "a publish that resolved is stored by all in-sync replicas"),
    (&["enable.idempotence"], &["true"], "a repeated request must neither duplicate nor reorder events"),
    (
        &["max.in.flight", "max.in.flight.requests.per.connection"],
        &["1", "2", "3", "4", "5"],
        "brokers keep the order of an idempotent producer for at most 5 requests in flight",
    ),
    (&["partitioner"], &["murmur2_random"], "a key must lie in the same partition as when other clients write it"),
    (&["transactional.id"], &[], "the bus publishes without transactions"),
    (&["delivery.report.only.error"], &["false"], "a publish would never resolve"),
    (
        &["enable.auto.commit", "enable.auto.offset.store"],
        &["false"],
        "an offset is committed only when every earlier event is finished",
    ),
    (&["auto.commit.interval.ms"], &[], "offsets are committed by the bus; set commitIntervalMs"),
    (
        &["auto.offset.reset"],
        &["earliest", "smallest", "beginning"],
        "a partition without a committed offset would lose the events that it holds",
    ),
    (
        &["partition.assignment.strategy"],
        &["cooperative-sticky"],
        "partitions are taken over one by one, so that a rebalance does not stop all of them",
    ),
    (&["group.protocol"], &["classic"], "the client library does not carry the new protocol safely yet"),
    (&["enable.partition.eof"], &["false"], "the end of a partition is no event"),
    (&["statistics.interval.ms"], &["1000"], "health and metrics are read from the statistics of every second"),
    // What has an option of its own is refused, so that there is one place to look for it.
    (&["bootstrap.servers", "metadata.broker.list"], &[], "set brokers"),
    (&["client.id"], &[], "set clientId"),
    (&["group.id"], &[], "set groupId"),
    (&["security.protocol"], &[], "it follows from ssl and sasl; set these"),
    (&["sasl.mechanism", "sasl.mechanisms"], &[], "set sasl.mechanism"),
    (&["sasl.username"], &[], "set sasl.username"),
    (&["sasl.password"], &[], "set sasl.password"),
    (&["ssl.ca.pem"], &[], "set ssl.ca"),
    (&["ssl.certificate.pem"], &[], "set ssl.cert"),
    (&["ssl.key.pem"], &[], "set ssl.key"),
    (&["message.timeout.ms", "delivery.timeout.ms"], &[], "set publishTimeoutMs"),
    (&["message.max.bytes"], &[], "set messageMaxBytes"),
    (&["queue.buffering.max.messages"], &[], "set maxInFlight"),
    (&["queue.buffering.max.kbytes"], &[], "set publishMaxInFlightBytes"),
    (&["queued.max.messages.kbytes"], &[], "set maxInFlightBytes"),
    (&["compression.type", "compression.codec"], &[], "set compression"),
    (&["allow.auto.create.topics"], &[], "set autoCreateTopics"),
    (&["session.timeout.ms"], &[], "set sessionTimeoutMs"),
    (&["heartbeat.interval.ms"], &[], "set heartbeatIntervalMs"),
    (&["max.poll.interval.ms"], &[], "set maxPollIntervalMs"),
];

/// Refuses a property that would break a promise.
pub(super) fn check(property: &str, value: &str) -> Result<()> {
    let Some((_, allowed, reason)) = GUARDED.iter().find(|(names, ..)| names.contains(&property)) else {
        return Ok(());
    };
    if allowed.contains(&value.trim()) {
        return Ok(());
    }
    let key = format!("kafka.{}", shown(property));
    let message = match allowed {
        [] => format!("{key} cannot be set: {reason}"),
        _ => format!("{key} cannot be {}: {reason}", quoted(value)),
    };
    let hint = match allowed {
        [] => "leave it out of kafka".to_owned(),
        _ => format!("leave it out of kafka, or set it to {}", allowed.join(" or ")),
    };
    Err(Error::new(ErrorKind::Config, message).with("option", key).hint(hint))
}

/// Whether a property's value must never be shown.
pub(super) fn is_secret(property: &str) -> bool {
    let property = property.to_ascii_lowercase();
    ["password", "secret", "key", "token", "jaas", "oauthbearer", "credential", "pem"]
        .iter()
        .any(|part| property.contains(part))
}
