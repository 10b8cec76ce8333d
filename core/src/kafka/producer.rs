//! Publishing: records in, completions out.

use std::time::Duration;

use rdkafka::types::RDKafkaRespErr as Code;

use super::ffi::{Client, Failure, Kind, Message};
use super::{KafkaTransport, errors};
use crate::config::Config;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::OutgoingRecord;
use crate::transport::{Completion, CompletionSink, Enqueued, Token};

/// How long the current client may be waited for while one that has ended owes reports.
const RETIRED_WAIT: Duration = Duration::from_millis(5);

/// Runs on: any. Key and value may have `limit` bytes; the client's own limit is that of [`sent_on_max_bytes`].
pub(super) fn send(
    transport: &KafkaTransport,
    record: &OutgoingRecord<'_>,
    token: Token,
    limit: usize,
) -> Result<Enqueued> {
    let not_sent = |error: Error| error.with("topic", &record.topic.name).outcome(PublishOutcome::NotSent);
    let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let sent = transport.with_current(|client, generation| {
        if len(record.key) + len(record.value) > limit {
            let code = Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as i32;
            return Err((None, Failure { code, text: String::new() }));
        }
        let token = Token::new(generation, token.sink(), token.slot());
        client.produce(record, token.0).map_err(|failure| {
            // A new client takes its place at once or, when it ended too soon, every publish is told why.
            let fatal = client.fatal_error().filter(|_| !transport.renewal.client_ended(client));
            (fatal, failure)
        })
    });
    match sent.map_err(not_sent)? {
        Ok(()) => Ok(Enqueued::Yes),
        Err((_, failure)) if failure.code == Code::RD_KAFKA_RESP_ERR__QUEUE_FULL as i32 => Ok(Enqueued::QueueFull),
        Err((None, failure)) if failure.code == Code::RD_KAFKA_RESP_ERR__FATAL as i32 => Ok(Enqueued::QueueFull),
        Err((Some(fatal), _)) => Err(not_sent(fatal_error(&fatal))),
        Err((None, failure)) => {
            let error = errors::publish(&record.topic.name, &failure, PublishOutcome::NotSent);
            Err(if error.kind() == ErrorKind::TooLarge {
                error.with("bytes", record.size()).with("messageMaxBytes", limit)
            } else {
                error
            })
        }
    }
}

/// How large a record may be that was read before and has got further headers.
pub(super) fn sent_on_max_bytes(config: &Config) -> usize {
    // Beyond this number librdkafka refuses the setting.
    (config.message_max_bytes + config.message_max_bytes / 2).min(1_000_000_000)
}

/// The error that ended a client: fatal whatever its number usually means.
pub(super) fn fatal_error(failure: &Failure) -> Error {
    let error = errors::error("the Kafka client gave up for good", failure);
    if error.is_fatal() {
        return error;
    }
    Error::new(ErrorKind::Internal, error.message().to_owned())
        .kafka(failure.code)
        .hint("disconnect and connect again; if it comes back, report it with the client's log")
}

/// Runs on: delivery thread.
pub(super) fn poll(transport: &KafkaTransport, wait: Duration, sink: &dyn CompletionSink) {
    let held = || transport.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut completions = std::mem::take(&mut *held());
    if completions.is_empty() {
        let owed = transport.renewal.serve_retired(transport, &mut completions);
        let wait = if owed || !completions.is_empty() { wait.min(RETIRED_WAIT) } else { wait };
        // A closed client has no events.
        let _ = transport.with_client(|client| serve(transport, client, wait, &mut completions));
        transport.renewal.renew(transport);
    }
    if !completions.is_empty() {
        sink.complete(&completions);
        completions.clear();
    }
    // Its memory serves the next poll.
    let mut held = held();
    if held.is_empty() {
        *held = completions;
    }
}

/// Serves one event of the client, waiting up to `wait` for it; says whether there was one.
pub(super) fn serve(
    transport: &KafkaTransport,
    client: &Client,
    wait: Duration,
    completions: &mut Vec<Completion>,
) -> bool {
    let Some(event) = client.poll(wait) else { return false };
    match event.kind() {
        Kind::Reports(reports) => completions.extend(reports.map(|report| completion(transport, &report))),
        Kind::Error { failure, fatal: false, .. } => drop(transport.context.failed(&failure)),
        Kind::Error { failure, fatal: true, .. } => {
            transport.context.ended(fatal_error(&client.fatal_error().unwrap_or(failure)));
            transport.renewal.client_ended(client);
        }
        Kind::Statistics(json) => transport.context.statistics(json, |brokers| client.add_brokers(brokers)),
        Kind::Log { level, facility, text } => transport.context.logged(level, facility, text),
        _ => {}
    }
    true
}

fn completion(transport: &KafkaTransport, report: &Message<'_>) -> Completion {
    let token = Token(report.opaque());
    let (partition, offset) = (report.partition(), report.offset().max(-1));
    let error = (report.code() != 0).then(|| {
        let failure = Failure { code: report.code(), text: String::new() };
        let outcome = if report.surely_not_stored() { PublishOutcome::NotSent } else { PublishOutcome::Unknown };
        let mut error = errors::publish(report.topic(), &failure, outcome);
        if partition >= 0 {
            error = error.with("partition", partition);
        }
        // librdkafka tells an error that repeats itself twice a minute.
        match transport.context.recent_error(transport.config.publish_timeout + Duration::from_secs(30)) {
            // A connection that failed meanwhile is usually the reason why nobody acknowledged.
            Some(cause) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
                error.with("connection", cause.message().to_owned()).caused_by(cause)
            }
            _ => error,
        }
    });
    Completion { token, partition, offset, error }
}
