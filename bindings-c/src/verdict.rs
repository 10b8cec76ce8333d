//! How a delivery ended for one subscription, and what that amounts to for all of them.

use event_bus::{Delivery, Error, ErrorKind, Failure, Level, LogRecord, Outcome};

/// How one subscription's part of a delivery ended.
pub(crate) enum Verdict {
    /// Its handler said so, and why it is not handled.
    Answer(Sum, Option<Reason>),
    /// It must not start any more: the event stays unfinished for all.
    Recalled,
    /// The subscription ended first: the event does not wait for it.
    Gone,
}

impl Verdict {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Verdict::Answer(Sum::Failed, Some(Reason { code: None, message: message.into() }))
    }
}

/// Why a delivery is not handled, for logs and dead letters.
pub(crate) struct Reason {
    /// What kind of failure it was, in the program's words.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

/// What the parts of a delivery amount to, so far: of several the last of these counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sum {
    Gone,
    Done,
    Skip,
    DeadLetter,
    /// No attempt can succeed.
    Fatal,
    Failed,
    Recalled,
}

impl Sum {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Sum::Gone | Sum::Recalled => Outcome::Released,
            Sum::Done => Outcome::Done,
            Sum::Skip => Outcome::Skip,
            Sum::DeadLetter => Outcome::DeadLetter,
            Sum::Fatal | Sum::Failed => Outcome::Failed,
        }
    }
}

/// The parts of a delivery that have ended, kept for its next attempt, which calls only those that failed.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) sum: Sum,
    pub(crate) failure: Option<Box<Failure>>,
    /// The subscriptions that have ended well, by their addresses.
    pub(crate) settled: Vec<usize>,
}

impl Parts {
    pub(crate) const NONE: Parts = Parts { sum: Sum::Gone, failure: None, settled: Vec::new() };

    pub(crate) fn add(&mut self, part: Sum, failure: Option<Box<Failure>>) {
        if part > self.sum {
            self.sum = part;
            self.failure = failure;
        }
    }
}

/// The log record of a failed handler.
pub(crate) fn handler_failed(delivery: &Delivery, reason: &str, fatal: bool) -> LogRecord {
    let error = Error::new(ErrorKind::Handler, format!("a handler failed: {reason}"))
        .with("topic", delivery.topic())
        .with("partition", delivery.partition())
        .with("offset", delivery.offset())
        .with("attempt", delivery.attempt());
    let event_id = delivery.event().map(|event| event.event_id().to_owned()).unwrap_or_default();
    let last = fatal || delivery.is_last_attempt();
    let (level, next) = if last { (Level::Error, "") } else { (Level::Warn, " and is called again") };
    LogRecord::new(level, "handler_failed", format!("a handler failed{next}: {reason}"))
        .with("eventId", event_id)
        .at(delivery.record())
        .with("attempt", delivery.attempt())
        .because(error)
}
