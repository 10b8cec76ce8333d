//! Events and records: what a caller publishes, what a handler gets, and the bytes between them.

mod delivery;
mod headers;
mod record;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::IgnoredAny;

pub use self::delivery::{Delivery, Failure, Finished, Outcome, Ticket};
pub use self::headers::{Headers, HeadersBuf};
pub use self::record::{OutgoingRecord, RawRecord, Record, Topic, TopicPartition};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};

/// A domain event on its way to the broker, borrowed until it is enqueued.
///
/// The type is the topic, the aggregate id is the key: events of one aggregate and one type keep their order.
///
/// ```
/// use event_bus::Event;
/// use serde_json::json;
///
/// let event = Event::new("order.placed", "order-42", &json!({ "total": 129.95 }))?
///     .with_event_id("5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50")
///     .with_version(2);
/// assert_eq!(event.event_type(), "order.placed");
/// # Ok::<(), event_bus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    event_id: Cow<'a, str>,
    event_type: Cow<'a, str>,
    aggregate_id: Cow<'a, str>,
    occurred_on: i64,
    version: i64,
    payload: Cow<'a, str>,
}

impl<'a> Event<'a> {
    /// An event that occurred now, with a random event id and version 1.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when `payload` cannot be written as JSON.
    pub fn new<T: Serialize + ?Sized>(
        event_type: impl Into<Cow<'a, str>>,
        aggregate_id: impl Into<Cow<'a, str>>,
        payload: &T,
    ) -> Result<Self> {
        let event_type = event_type.into();
        let payload = serde_json::to_string(payload).map_err(|error| {
            Error::new(ErrorKind::Codec, format!("the payload cannot be written as JSON: {error}"))
                .with("topic", &event_type)
                .hint("serialise only what JSON can hold")
        })?;
        Ok(Event {
            event_id: codec::random_event_id()?.into(),
            event_type,
            aggregate_id: aggregate_id.into(),
            occurred_on: now_ms(),
            version: 1,
            payload: payload.into(),
        })
    }

    /// An event whose payload is JSON text already; otherwise as [`Event::new`].
    ///
    /// ```
    /// use event_bus::{Event, HeadersBuf};
    ///
    /// let event = Event::from_json("order.placed", "order-42", r#"{"total": 12.50}"#)?;
    /// let (mut headers, mut value) = (HeadersBuf::new(), Vec::new());
    /// event.encode(&mut headers, &mut value)?;
    /// assert!(value.ends_with(br#""payload":{"total": 12.50}}"#));
    /// assert_eq!(headers.as_headers().get("version"), Some(&b"1"[..]));
    /// assert!(Event::from_json("order.placed", "order-42", "{} {}").is_err());
    /// # Ok::<(), event_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when `payload` is not one JSON value.
    pub fn from_json(
        event_type: impl Into<Cow<'a, str>>,
        aggregate_id: impl Into<Cow<'a, str>>,
        payload: impl Into<Cow<'a, str>>,
    ) -> Result<Self> {
        let (event_type, payload) = (event_type.into(), payload.into());
        if let Err(error) = serde_json::from_str::<IgnoredAny>(&payload) {
            return Err(Error::new(ErrorKind::Codec, format!("the payload is not JSON: {error}"))
                .with("topic", &event_type)
                .hint("give the payload as one JSON value"));
        }
        Ok(Event {
            event_id: codec::random_event_id()?.into(),
            event_type,
            aggregate_id: aggregate_id.into(),
            occurred_on: now_ms(),
            version: 1,
            payload,
        })
    }

    /// Writes the headers and the value of the event's record, replacing what the buffers hold. The topic of the
    /// record is the event's type, its key the aggregate id.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] when the event breaks the contract of the wire format.
    pub fn encode(&self, headers: &mut HeadersBuf, value: &mut Vec<u8>) -> Result<()> {
        codec::encode(self, headers, value)
    }

    /// Replaces the random event id.
    #[must_use]
    pub fn with_event_id(mut self, event_id: impl Into<Cow<'a, str>>) -> Self {
        self.event_id = event_id.into();
        self
    }

    /// Replaces the time of occurrence, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn with_occurred_on(mut self, milliseconds: i64) -> Self {
        self.occurred_on = milliseconds;
        self
    }

    /// Replaces the version of the event's schema, 1 by default.
    #[must_use]
    pub fn with_version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// The id of this event, unique over all events.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// The type of the event, which is also its topic.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The id of the aggregate that the event is about, which is also the record's key.
    pub fn aggregate_id(&self) -> &str {
        &self.aggregate_id
    }

    /// When it occurred, in milliseconds since the Unix epoch.
    pub fn occurred_on(&self) -> i64 {
        self.occurred_on
    }

    /// The version of the event's schema.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The payload as JSON text.
    pub fn payload(&self) -> &str {
        &self.payload
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
