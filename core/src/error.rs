//! One error type and one code table for Rust, Node and C.
//!
//! A language face translates an error by calling the methods of [`ErrorKind`], never by matching on
//! its variants, so a new kind cannot be forgotten anywhere.

use std::borrow::Cow;
use std::fmt;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Declares the kinds once, so that the enum, [`ErrorKind::ALL`] and every column of the table agree.
macro_rules! error_kinds {
    ($( $(#[$doc:meta])* $kind:ident = $number:literal, $name:literal, $class:literal, retryable: $retryable:literal, fatal: $fatal:literal; )+) => {
        /// What went wrong, in terms of what a caller can do about it.
        ///
        /// The numbers are part of the C ABI: explicit, never reused; 0 means success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum ErrorKind { $( $(#[$doc])* $kind = $number, )+ }

        impl ErrorKind {
            /// Every kind, in ascending order of its number.
            pub const ALL: &'static [ErrorKind] = &[ $( ErrorKind::$kind, )+ ];

            /// The stable number, as C programs see it.
            pub const fn number(self) -> u32 { self as u32 }

            /// The stable name that logs and the JavaScript property `code` carry, for example `EVBUS_TIMEOUT`.
            pub const fn code(self) -> &'static str { match self { $( ErrorKind::$kind => concat!("EVBUS_", $name), )+ } }

            /// The name of the C constant, for example `EVBUS_ERR_TIMEOUT`.
            pub const fn c_constant(self) -> &'static str { match self { $( ErrorKind::$kind => concat!("EVBUS_ERR_", $name), )+ } }

            /// The JavaScript class that represents this kind, for example `TimeoutError`.
            pub const fn js_class(self) -> &'static str { match self { $( ErrorKind::$kind => $class, )+ } }

            /// The same call can succeed later without a change of its input.
            pub const fn is_retryable(self) -> bool { match self { $( ErrorKind::$kind => $retryable, )+ } }

            /// The client that raised the error cannot be used any more.
            pub const fn is_fatal(self) -> bool { match self { $( ErrorKind::$kind => $fatal, )+ } }
        }
    };
}

error_kinds! {
    /// The configuration is invalid; the message names the option and the nearest known one.
    Config = 1, "CONFIG", "ConfigError", retryable: false, fatal: false;
    /// A call got an argument that it cannot accept; nothing was sent.
    Argument = 2, "ARGUMENT", "ArgumentError", retryable: false, fatal: false;
    /// The bus is closed or closing.
    Closed = 3, "CLOSED", "ClosedError", retryable: false, fatal: false;
    /// The call is not allowed now or on this thread.
    IllegalState = 4, "ILLEGAL_STATE", "EventBusError", retryable: false, fatal: false;
    /// The deadline passed first.
    Timeout = 10, "TIMEOUT", "TimeoutError", retryable: true, fatal: false;
    /// A bounded queue is full; nothing was sent.
    QueueFull = 11, "QUEUE_FULL", "PublishError", retryable: true, fatal: false;
    /// No broker can serve the request now.
    Unavailable = 12, "UNAVAILABLE", "EventBusError", retryable: true, fatal: false;
    /// The broker refused the credentials, or the TLS handshake failed.
    Auth = 13, "AUTH", "EventBusError", retryable: false, fatal: false;
    /// The topic does not exist and may not be created.
    UnknownTopic = 14, "UNKNOWN_TOPIC", "PublishError", retryable: false, fatal: false;
    /// The record is larger than the client or the broker accepts.
    TooLarge = 15, "TOO_LARGE", "PublishError", retryable: false, fatal: false;
    /// The broker refused the request for a reason that only a change can remove; see `kafka_code`.
    Rejected = 16, "REJECTED", "PublishError", retryable: false, fatal: false;
    /// An event cannot be written as a record, or a record cannot be read as an event.
    Codec = 20, "CODEC", "CodecError", retryable: false, fatal: false;
    /// A handler failed; whether it is tried again is for the retry policy to say.
    Handler = 21, "HANDLER", "HandlerError", retryable: false, fatal: false;
    /// Another client took over this client's identity.
    Fenced = 30, "FENCED", "FatalError", retryable: false, fatal: true;
    /// A defect of this library.
    Internal = 99, "INTERNAL", "FatalError", retryable: false, fatal: true;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What is known about the record of a failed publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishOutcome {
    /// The record was certainly not stored: publishing it again cannot duplicate it.
    NotSent,
    /// The record may have been stored: publishing it again can duplicate it.
    Unknown,
}

impl PublishOutcome {
    /// `not_sent` or `unknown`, as every language face spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PublishOutcome::NotSent => "not_sent",
            PublishOutcome::Unknown => "unknown",
        }
    }
}

/// An error: what failed, on what, why, and what to do about it.
///
/// ```
/// use event_bus::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Timeout, "the broker did not acknowledge the record within 30000 ms")
///     .with("topic", "order.placed")
///     .hint("check that a quorum of the topic's replicas is in sync");
/// assert_eq!(error.code(), "EVBUS_TIMEOUT");
/// assert!(error.is_retryable());
/// assert_eq!(error.context("topic"), Some("order.placed"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    kafka_code: Option<i32>,
    outcome: Option<PublishOutcome>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<Error>>,
}

impl Error {
    /// An error of a kind, with a message that says what failed and why.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            kafka_code: None,
            outcome: None,
            hint: None,
            source: None,
        }))
    }

    /// Adds on what it failed: `topic`, `partition`, `offset`, `option`, `broker`, ….
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says what is known about the record of a failed publish.
    #[must_use]
    pub fn outcome(mut self, outcome: PublishOutcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    /// Adds Kafka's own error number.
    #[must_use]
    pub fn kafka(mut self, code: i32) -> Self {
        self.0.kafka_code = Some(code);
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: Error) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// What went wrong, in terms of what a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable name of the kind, for example `EVBUS_TIMEOUT`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// What failed and why, without the context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One value of the context.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// On what it failed, in the order it was added.
    pub fn contexts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Kafka's own error number, when a broker or the client library gave one.
    pub fn kafka_code(&self) -> Option<i32> {
        self.0.kafka_code
    }

    /// What is known about the record, when a publish failed.
    pub fn publish_outcome(&self) -> Option<PublishOutcome> {
        self.0.outcome
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The same call can succeed later without a change of its input.
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The client that raised the error cannot be used any more.
    pub fn is_fatal(&self) -> bool {
        self.0.kind.is_fatal()
    }
}

/// One line: message, context, hint.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (index, (key, value)) in self.0.context.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A report of several lines: everything that is known.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.0.message)?;
        for (key, value) in &self.0.context {
            write!(f, "\n  {key}: {value}")?;
        }
        if let Some(code) = self.0.kafka_code {
            write!(f, "\n  kafka code: {code}")?;
        }
        if let Some(outcome) = self.0.outcome {
            write!(f, "\n  outcome: {}", outcome.as_str())?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        match &self.0.source {
            Some(source) => write!(f, "\ncaused by {source:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_ascending_and_never_success() {
        let numbers: Vec<u32> = ErrorKind::ALL.iter().map(|kind| kind.number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert!(numbers[0] > 0);
    }

    #[test]
    fn the_numbers_of_the_abi_never_change() {
        let expected = [
            (1, "EVBUS_CONFIG"),
            (2, "EVBUS_ARGUMENT"),
            (3, "EVBUS_CLOSED"),
            (4, "EVBUS_ILLEGAL_STATE"),
            (10, "EVBUS_TIMEOUT"),
            (11, "EVBUS_QUEUE_FULL"),
            (12, "EVBUS_UNAVAILABLE"),
            (13, "EVBUS_AUTH"),
            (14, "EVBUS_UNKNOWN_TOPIC"),
            (15, "EVBUS_TOO_LARGE"),
            (16, "EVBUS_REJECTED"),
            (20, "EVBUS_CODEC"),
            (21, "EVBUS_HANDLER"),
            (30, "EVBUS_FENCED"),
            (99, "EVBUS_INTERNAL"),
        ];
        let actual: Vec<_> = ErrorKind::ALL.iter().map(|kind| (kind.number(), kind.code())).collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn display_is_one_line_and_debug_is_a_report() {
        let error = Error::new(ErrorKind::Rejected, "the broker refused the record")
            .with("topic", "order.placed")
            .with("partition", 3)
            .kafka(29)
            .outcome(PublishOutcome::NotSent)
            .hint("grant WRITE on the topic")
            .caused_by(Error::new(ErrorKind::Auth, "no ACL"));
        assert_eq!(
            error.to_string(),
            "the broker refused the record (topic: order.placed, partition: 3); grant WRITE on the topic"
        );
        let report = format!("{error:?}");
        for part in ["EVBUS_REJECTED", "kafka code: 29", "outcome: not_sent", "caused by EVBUS_AUTH"] {
            assert!(report.contains(part), "{part} is missing in {report}");
        }
    }
}
