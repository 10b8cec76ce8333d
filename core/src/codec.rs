//! The envelope of a domain event and the record that holds it. The only file that knows header names.
//!
//! What is written (wire format `compat`): the topic is the event's type, the key its aggregate id, the value the JSON
//! object `{"eventId", "eventType", "occurredOn", "aggregateId", "version", "payload"}` in this order with
//! `occurredOn` as JavaScript's `toISOString` writes it, and the headers `eventId`, `version` (decimal) and
//! `timestamp` (the text of `occurredOn`).
//!
//! What is read is more than that, because topics hold what other programs wrote; see [`Envelope`].

pub(crate) mod provenance;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{Event, HeadersBuf, Record};
use crate::iso;

const EVENT_ID: &str = "eventId";
const VERSION: &str = "version";
const TIMESTAMP: &str = "timestamp";

/// The largest integer up to which a JavaScript number is exact.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A domain event read from a record, borrowed from it.
///
/// The value must be a JSON object with `eventId`, `eventType` and `aggregateId`, each a text that is not empty.
/// Everything else is read as liberally as can be without inventing anything:
///
/// * `occurredOn` is a text in ISO 8601 with a zone, or a number of milliseconds since the Unix epoch; missing or in
///   another form it is `None`;
/// * `version` is an integer, also as a text; where it is missing it is 1;
/// * `payload` is any JSON; where it is missing it is `null`;
/// * fields that are missing come from the object `_props`, if there is one: peers exist that write the private
///   state of a class instead of its properties;
/// * unknown fields are skipped; of a field that is there twice the last one counts, as in JavaScript.
///
/// ```
/// use event_bus::{Envelope, HeadersBuf, Record, TopicPartition};
///
/// let value = br#"{"eventId":"1","eventType":"order.placed","aggregateId":"order-42","payload":{"total":12}}"#;
/// let source = TopicPartition::new("order.placed", 0);
/// let record = Record::new(source, 0, None, None, HeadersBuf::new().as_headers(), Some(value));
/// let event = Envelope::try_from(&record)?;
/// assert_eq!((event.aggregate_id(), event.version()), ("order-42", 1));
/// # Ok::<(), event_bus::Error>(())
/// ```
#[derive(Clone)]
pub struct Envelope<'a> {
    record: &'a Record,
    event_id: Cow<'a, str>,
    event_type: Cow<'a, str>,
    aggregate_id: Cow<'a, str>,
    occurred_on: Option<i64>,
    version: i64,
    payload: &'a str,
}

impl<'a> Envelope<'a> {
    /// The id of the event, unique over all events.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// The type of the event as the value names it.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The id of the aggregate that the event is about.
    pub fn aggregate_id(&self) -> &str {
        &self.aggregate_id
    }

    /// When it occurred, in milliseconds since the Unix epoch, where the value says so in a readable form.
    pub fn occurred_on(&self) -> Option<i64> {
        self.occurred_on
    }

    /// The version of the event's schema.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The payload as JSON text.
    pub fn payload(&self) -> &'a str {
        self.payload
    }

    /// The payload as a type of yours; it may borrow from the record.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the payload does not fit the type. The message quotes no value of the payload.
    pub fn payload_as<T: Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_str(self.payload).map_err(|error| {
            let reason = without_values(&error.to_string());
            at(self.record, format!("the payload does not fit the handler's type: {reason} of the payload"))
                .with("eventId", &self.event_id)
                .hint("make the type accept what this topic holds, or publish a new version of the event")
        })
    }
}

impl<'a> TryFrom<&'a Record> for Envelope<'a> {
    type Error = Error;

    /// Reads the event in a record.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the record has no value or its value is not an event; the message says why.
    fn try_from(record: &'a Record) -> Result<Self> {
        decode(record)
    }
}

/// Says which event it is; never its payload, which may be confidential.
impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("event_id", &self.event_id)
            .field("event_type", &self.event_type)
            .field("aggregate_id", &self.aggregate_id)
            .field("occurred_on", &self.occurred_on)
            .field("version", &self.version)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

/// Reads the event in a record.
pub(crate) fn decode(record: &Record) -> Result<Envelope<'_>> {
    read::envelope(record)
}

/// Writes the headers and the value of an event's record, replacing what the buffers hold.
///
/// # Errors
/// `Argument`, with nothing sent, when the event breaks the contract of the wire format.
pub(crate) fn encode(event: &Event<'_>, headers: &mut HeadersBuf, value: &mut Vec<u8>) -> Result<()> {
    let iso = validate(event).map_err(|error| error.outcome(PublishOutcome::NotSent))?;
    headers.clear();
    value.clear();
    let version = event.version().to_string();
    let texts = EventTexts {
        event_id: event.event_id(),
        event_type: event.event_type(),
        iso: &iso,
        aggregate_id: event.aggregate_id(),
        version: &version,
    };
    write_event(value, &texts, event.payload().len(), |out| {
        out.extend_from_slice(event.payload().as_bytes());
        Ok(())
    })?;
    envelope_headers(headers, event.event_id(), &version, &iso);
    Ok(())
}

/// The members of an event beside its payload, as texts.
pub(crate) struct EventTexts<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) iso: &'a str,
    pub(crate) aggregate_id: &'a str,
    pub(crate) version: &'a str,
}

/// Appends the JSON of an event, with what `payload` writes, about `payload_len` bytes, as its payload.
pub(crate) fn write_event(
    out: &mut Vec<u8>,
    event: &EventTexts<'_>,
    payload_len: usize,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let EventTexts { event_id, event_type, iso, aggregate_id, version } = *event;
    out.reserve(128 + event_id.len() + event_type.len() + aggregate_id.len() + payload_len);
    out.extend_from_slice(b"{\"eventId\":");
    write_text(out, event_id)?;
    out.extend_from_slice(b",\"eventType\":");
    write_text(out, event_type)?;
    out.extend_from_slice(b",\"occurredOn\":\"");
    out.extend_from_slice(iso.as_bytes());
    out.extend_from_slice(b"\",\"aggregateId\":");
    write_text(out, aggregate_id)?;
    out.extend_from_slice(b",\"version\":");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b",\"payload\":");
    payload(out)?;
    out.push(b'}');
    Ok(())
}

/// Adds the headers that every event's record has.
pub(crate) fn envelope_headers(out: &mut HeadersBuf, event_id: &str, version: &str, iso: &str) {
    out.push(EVENT_ID, Some(event_id.as_bytes()));
    out.push(VERSION, Some(version.as_bytes()));
    out.push(TIMESTAMP, Some(iso.as_bytes()));
}

/// JSON strings of serde_json and of `JSON.stringify` are the same bytes, which the golden vectors hold.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    serde_json::to_writer(out, text)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("a text could not be written as JSON: {error}")))
}

fn validate(event: &Event<'_>) -> Result<iso::IsoText> {
    let invalid = |field: &'static str, message: Cow<'static, str>, hint: &'static str| {
        Error::new(ErrorKind::Argument, message).with("field", field).with("eventId", event.event_id()).hint(hint)
    };
    if event.event_id().is_empty() {
        return Err(invalid("eventId", "the event has an empty eventId".into(), "give each event its own id")
            .with("topic", event.event_type()));
    }
    validate_topic_name(event.event_type())
        .map_err(|error| error.with("field", "eventType").with("eventId", event.event_id()))?;
    if event.aggregate_id().is_empty() {
        let hint = "name the aggregate that the event is about: its id is the record's key and decides the order";
        return Err(
            invalid("aggregateId", "the event has an empty aggregateId".into(), hint).with("topic", event.event_type())
        );
    }
    if event.version().unsigned_abs() > MAX_SAFE_INTEGER {
        let message = format!("the event's version {} is not exact as a JavaScript number", event.version());
        return Err(
            invalid("version", message.into(), "keep it within ±9007199254740991").with("topic", event.event_type())
        );
    }
    iso::format(event.occurred_on()).ok_or_else(|| {
        let message = format!("the event's occurredOn, {} ms, is outside of a date's range", event.occurred_on());
        invalid("occurredOn", message.into(), "give milliseconds since the Unix epoch within ±8640000000000000")
            .with("topic", event.event_type())
    })
}

/// A name that every Kafka broker accepts for a topic.
///
/// # Errors
/// `Argument`: 1 to 249 characters of `a-z A-Z 0-9 . _ -` are allowed, but not `.` and `..`.
pub(crate) fn validate_topic_name(name: &str) -> Result<()> {
    const MAX: usize = 249;
    const HINT: &str = "an event type is also its topic: use 1 to 249 of a-z A-Z 0-9 . _ -, but not . or .. alone";
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name == "." || name == ".." {
        "it names a directory on the broker".to_owned()
    } else if let Some(c) = name.chars().find(|c| !legal(c)) {
        format!("it contains {c:?}")
    } else if name.len() > MAX {
        format!("it is {} characters long", name.len())
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(MAX).collect();
    Err(Error::new(ErrorKind::Argument, format!("the event type is no legal topic name: {reason}"))
        .with("topic", shown.escape_debug())
        .hint(HINT))
}

/// A random event id: a UUID of version 4.
///
/// # Errors
/// `Internal` when the operating system has no random numbers.
pub(crate) fn random_event_id() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("no event id: the operating system gave no random numbers: {error}"))
    })?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            id.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    Ok(id)
}

/// A `Codec` error at a record.
fn at(record: &Record, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Codec, message)
        .with("topic", &record.source.topic)
        .with("partition", record.source.partition)
        .with("offset", record.offset)
}

/// Takes the values out of a message of serde_json: they come from the payload, which may be confidential.
fn without_values(message: &str) -> String {
    let found = ["invalid type: ", "invalid value: ", "unknown variant ", "unknown field "];
    let Some(prefix) = found.iter().find(|prefix| message.starts_with(**prefix)) else {
        return message.to_owned();
    };
    let end = message.rfind(", expected ").or_else(|| message.rfind(" at line ")).unwrap_or(message.len());
    let kind = message[prefix.len()..end].split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{}{kind}{}", if kind.is_empty() { prefix.trim_end() } else { prefix }, &message[end..])
}
