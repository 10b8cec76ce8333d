//! Connecting: until a broker answered, or it is clear that none will.

use std::time::{Duration, Instant};

use super::{KafkaTransport, producer};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::Cancelled;

/// The first question waits this long, each further one twice as long as the one before, up to a second.
const FIRST_SLICE: Duration = Duration::from_millis(50);

pub(super) fn connect(transport: &KafkaTransport, deadline: Instant, cancelled: Cancelled<'_>) -> Result<()> {
    let started = Instant::now();
    let mut slice = FIRST_SLICE;
    loop {
        if cancelled() {
            return Err(Error::new(ErrorKind::Closed, "connecting was given up before a broker answered"));
        }
        let asked = Instant::now();
        let until = (asked + slice).min(deadline);
        let answered = transport.with_client(|client| {
            let wait = until.saturating_duration_since(asked).max(Duration::from_millis(1));
            let answered = client.metadata(None, wait).is_ok();
            // The reasons of failures arrive as events; the delivery thread may or may not serve them already.
            let mut completions = Vec::new();
            let rest = if answered { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) };
            let mut more = producer::serve(transport, client, rest, &mut completions);
            while more {
                more = producer::serve(transport, client, Duration::ZERO, &mut completions);
            }
            transport.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(completions);
            answered
        })?;
        if answered {
            transport.context.answered();
            return Ok(());
        }
        if let Some(refusal) = transport.context.refused_since(started) {
            return Err(refusal);
        }
        if Instant::now() >= deadline {
            // librdkafka keeps quiet about a refusal that repeats itself, so an earlier one counts in the end.
            return Err(transport.context.refusal().unwrap_or_else(|| unreachable(transport, started)));
        }
        slice = (slice * 2).min(Duration::from_secs(1));
    }
}

fn unreachable(transport: &KafkaTransport, started: Instant) -> Error {
    let mut reasons = transport.context.reasons();
    // A broker that does not understand the client hangs up without a word.
    let guess = match (&transport.config.ssl, &transport.config.sasl) {
        (None, None) => "; a listener that expects TLS or SASL does that",
        (None, Some(_)) => "; a listener that expects TLS does that",
        (Some(_), None) => "; a listener that expects SASL or plain text does that",
        (Some(_), Some(_)) => "; a listener that expects plain text does that",
    };
    let told = |address: &str, reason: &str| {
        format!("{address}: {reason}{}", if reason.starts_with("Disconnected") { guess } else { "" })
    };
    let mut dialled: Vec<String> = Vec::new();
    for broker in &transport.config.brokers {
        dialled.push(told(broker, reasons.remove(broker).as_deref().unwrap_or("no answer")));
    }
    dialled.extend(reasons.iter().map(|(address, reason)| told(address, reason)));
    let message = format!("no Kafka broker answered within {} ms", started.elapsed().as_millis());
    let error = Error::new(ErrorKind::Unavailable, message).with("brokers", dialled.join(", ")).hint(
        "check host and port, that the brokers run, firewalls, whether they expect TLS or SASL, and that \
         advertised.listeners names addresses that can be reached from here",
    );
    match transport.context.last_error() {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}
