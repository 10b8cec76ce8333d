//! Events and records: what a caller publishes, what a handler gets, and the bytes between them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::codec::{self, Envelope};
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

/// A topic and one of its partitions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A topic and one of its partitions.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record's headers: names with values, in order, duplicates and null values kept.
///
/// Kept packed, `u16 nameLen | name | i32 valueLen (−1 = null) | value` little-endian per header, so that a
/// record crosses threads and languages as one run of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Headers over bytes that [`HeadersBuf`] or this crate packed.
    pub(crate) fn from_packed(bytes: &'a [u8]) -> Self {
        Headers(bytes)
    }

    /// The packed bytes.
    pub fn as_packed(&self) -> &'a [u8] {
        self.0
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the last header of that name; Kafka's clients read the last one too.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().filter(|(key, _)| *key == name).last().and_then(|(_, value)| value)
    }

    /// All headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.entries().map(|(name, value, _)| (name, value))
    }

    /// Name, value and packed bytes of each header.
    fn entries(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>, &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let whole = rest;
            let (name, after) = split_len(rest.get(2..)?, u16::from_le_bytes(rest[..2].try_into().ok()?) as usize)?;
            let len = i32::from_le_bytes(after.get(..4)?.try_into().ok()?);
            let (value, after) = match usize::try_from(len) {
                Ok(len) => split_len(&after[4..], len).map(|(value, after)| (Some(value), after))?,
                Err(_) => (None, &after[4..]),
            };
            rest = after;
            let packed = &whole[..whole.len() - after.len()];
            Some((std::str::from_utf8(name).unwrap_or("\u{fffd}"), value, packed))
        })
    }

    /// The headers in front of the last one of that name, and those from it on.
    pub(crate) fn split_at_last(&self, name: &str) -> Option<(Headers<'a>, Headers<'a>)> {
        let mut at = 0;
        let mut found = None;
        for (key, _, packed) in self.entries() {
            if key == name {
                found = Some(at);
            }
            at += packed.len();
        }
        found.map(|at| (Headers(&self.0[..at]), Headers(&self.0[at..])))
    }
}

fn split_len(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    (bytes.len() >= len).then(|| bytes.split_at(len))
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.map(String::from_utf8_lossy)))).finish()
    }
}

/// Packs headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadersBuf(Vec<u8>);

impl HeadersBuf {
    /// No headers yet.
    pub fn new() -> Self {
        HeadersBuf::default()
    }

    /// Adds a header; a name longer than 65 535 bytes is cut off there, far above what brokers accept.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        self.0.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.0.extend_from_slice(name);
        match value {
            Some(value) => {
                self.0.extend_from_slice(&(value.len() as i32).to_le_bytes());
                self.0.extend_from_slice(value);
            }
            None => self.0.extend_from_slice(&(-1i32).to_le_bytes()),
        }
    }

    /// Adds those of other headers whose name is wanted, byte for byte.
    pub(crate) fn extend(&mut self, headers: Headers<'_>, wanted: impl Fn(&str) -> bool) {
        for (_, _, packed) in headers.entries().filter(|(name, ..)| wanted(name)) {
            self.0.extend_from_slice(packed);
        }
    }

    /// The headers packed so far.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }

    /// Forgets the headers and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A record to be sent, borrowed for the call that enqueues it.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRecord<'a> {
    /// The topic.
    pub topic: &'a Topic,
    /// The partition, or `None` for the partitioner's choice by key.
    pub partition: Option<i32>,
    /// The record's timestamp in milliseconds since the Unix epoch, or `None` for now.
    pub timestamp: Option<i64>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl OutgoingRecord<'_> {
    /// What the record counts against the byte budget.
    pub fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.as_packed().len()
    }
}

/// A record to be published as it is, whatever it holds: the bus writes no envelope around it.
///
/// ```
/// use event_bus::{HeadersBuf, RawRecord};
///
/// let mut headers = HeadersBuf::new();
/// headers.push("content-type", Some(b"application/octet-stream"));
/// let record = RawRecord {
///     key: Some(b"order-42"),
///     value: Some(&[0, 159, 146, 150]),
///     headers: headers.as_headers(),
///     ..RawRecord::new("blobs")
/// };
/// assert_eq!(format!("{record:?}"), "RawRecord(blobs, 54 bytes)");
/// ```
#[derive(Clone, Copy)]
pub struct RawRecord<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition, or `None` for the partitioner's choice by key.
    pub partition: Option<i32>,
    /// The record's timestamp in milliseconds since the Unix epoch, or `None` for now.
    pub timestamp: Option<i64>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl<'a> RawRecord<'a> {
    /// A record without key, value, headers and wishes.
    pub fn new(topic: &'a str) -> Self {
        RawRecord { topic, partition: None, timestamp: None, key: None, value: None, headers: Headers::default() }
    }

    /// The same record for a topic that was interned.
    pub(crate) fn outgoing<'b>(&self, topic: &'b Topic) -> OutgoingRecord<'b>
    where
        'a: 'b,
    {
        let RawRecord { partition, timestamp, key, value, headers, .. } = *self;
        OutgoingRecord { topic, partition, timestamp, key, value, headers }
    }
}

/// Says where it goes and how large it is; never its content, which may be confidential.
impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        write!(f, "RawRecord({}, {} bytes)", self.topic, size + self.headers.as_packed().len())
    }
}

/// An interned topic: transports keep their handle for it by `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// A small number, unique within one bus, dense from 0.
    pub id: u16,
    /// The topic's name.
    pub name: Arc<str>,
}

/// A record that a consumer received, copied out of the client library into one run of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub source: TopicPartition,
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, when the broker stores one.
    pub timestamp: Option<i64>,
    data: Box<[u8]>,
    key_len: i32,
    headers_len: u32,
    value_len: i32,
}

impl Record {
    /// Copies key, headers and value into one allocation, in this order.
    pub fn new(
        source: TopicPartition,
        offset: i64,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        headers: Headers<'_>,
        value: Option<&[u8]>,
    ) -> Self {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
        let mut data =
            Vec::with_capacity(key.map_or(0, <[u8]>::len) + headers.as_packed().len() + value.map_or(0, <[u8]>::len));
        data.extend_from_slice(key.unwrap_or_default());
        data.extend_from_slice(headers.as_packed());
        data.extend_from_slice(value.unwrap_or_default());
        Record {
            source,
            offset,
            timestamp,
            data: data.into_boxed_slice(),
            key_len: len(key),
            headers_len: headers.as_packed().len() as u32,
            value_len: len(value),
        }
    }

    /// The key; `None` is Kafka's null.
    pub fn key(&self) -> Option<&[u8]> {
        usize::try_from(self.key_len).ok().map(|len| &self.data[..len])
    }

    /// The value; `None` is a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        usize::try_from(self.value_len).ok().map(|len| &self.data[self.data.len() - len..])
    }

    /// The headers.
    pub fn headers(&self) -> Headers<'_> {
        let start = self.key_len.max(0) as usize;
        Headers::from_packed(&self.data[start..start + self.headers_len as usize])
    }

    /// Key, headers and value, one after the other.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Lengths of key (−1 = null), headers and value (−1 = null) within [`Record::data`].
    pub fn lens(&self) -> (i32, u32, i32) {
        (self.key_len, self.headers_len, self.value_len)
    }

    /// What the record counts against the byte budget: its bytes and a flat allowance for bookkeeping.
    pub fn size(&self) -> usize {
        self.data.len() + 128
    }
}

/// Says where the record lies and how large it is; never its content, which may be confidential.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}@{}, {} bytes)", self.source, self.offset, self.data.len())
    }
}

/// The right to finish one delivery: epoch (16 bits), partition slot (16), sequence (32).
///
/// A slot's epoch changes whenever its partition changes hands, so that an answer that comes too late is
/// recognised and dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Packs the three parts.
    pub const fn new(epoch: u16, slot: u16, sequence: u32) -> Self {
        Ticket((epoch as u64) << 48 | (slot as u64) << 32 | sequence as u64)
    }

    /// The epoch of the slot when the delivery was handed out.
    pub const fn epoch(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The partition slot.
    pub const fn slot(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The delivery's number within its slot; wraps.
    pub const fn sequence(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(epoch {}, slot {}, sequence {})", self.epoch(), self.slot(), self.sequence())
    }
}

/// A record on its way through a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) record: Arc<Record>,
    pub(crate) ticket: Ticket,
    pub(crate) lane: u32,
    pub(crate) attempt: u32,
    pub(crate) last: bool,
    pub(crate) occurred_on: Option<i64>,
}

impl Delivery {
    /// The record as it lies in the topic.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The topic, which is also the event's type.
    pub fn topic(&self) -> &str {
        &self.record.source.topic
    }

    /// The partition, from 0.
    pub fn partition(&self) -> i32 {
        self.record.source.partition
    }

    /// The offset in the partition.
    pub fn offset(&self) -> i64 {
        self.record.offset
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// No attempt follows this one, should it fail.
    pub fn is_last_attempt(&self) -> bool {
        self.last
    }

    /// The right to finish this delivery.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Deliveries of one lane must be handled one after the other, those of different lanes may run side by side.
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// `occurredOn` of the envelope in milliseconds since the Unix epoch, when it could be read.
    pub fn occurred_on(&self) -> Option<i64> {
        // A record that is handed out as it is was not looked into before.
        self.occurred_on.or_else(|| self.event().ok()?.occurred_on())
    }

    /// The domain event in the record.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the value is not an event. The bus hands out only records that are, except to
    /// subscriptions of records as they are.
    pub fn event(&self) -> Result<Envelope<'_>> {
        codec::decode(&self.record)
    }

    /// The event's payload as a type of yours.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the payload does not fit the type.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        self.event()?.payload_as()
    }
}

/// How a handler finished a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handled: the delivery counts as finished.
    Done,
    /// The handler failed; the policy says what follows. The rest of the delivery's run must be answered
    /// [`Outcome::Released`], or it would overtake the next attempt.
    Failed,
    /// Nobody handled it: it stays unfinished, and nothing after it is committed.
    Released,
    /// The record holds no event after all; the policy says what follows.
    Invalid,
    /// Passed over on purpose: the delivery counts as finished.
    Skip,
    /// To be put into the dead-letter topic on purpose.
    DeadLetter,
}

/// What a handler failed with, as logs and dead letters show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Names the handler.
    pub handler: String,
    /// What kind of failure it was: an error code or the name of an error class.
    pub code: String,
    /// What it said.
    pub message: String,
    /// Whether another attempt may succeed; `None` leaves it to the policy, which then tries again.
    pub retryable: Option<bool>,
}

/// The answer to one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Which delivery.
    pub ticket: Ticket,
    /// How it ended.
    pub outcome: Outcome,
    /// How long its handlers took.
    pub elapsed: Duration,
    /// What went wrong, with [`Outcome::Failed`], [`Outcome::Invalid`], [`Outcome::Skip`] and [`Outcome::DeadLetter`].
    pub failure: Option<Box<Failure>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_order_duplicates_null_and_binary_values() {
        let mut packed = HeadersBuf::new();
        packed.push("a", Some(b"1"));
        packed.push("b", None);
        packed.push("a", Some(&[0, 255]));
        packed.push("", Some(b""));
        let all: Vec<_> = packed.as_headers().iter().collect();
        assert_eq!(all, [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&[0, 255][..])), ("", Some(&b""[..]))]);
        assert_eq!(packed.as_headers().get("a"), Some(&[0u8, 255][..]));
        assert_eq!(packed.as_headers().get("b"), None);
    }

    #[test]
    fn headers_cut_short_end_instead_of_panicking() {
        let mut packed = HeadersBuf::new();
        packed.push("name", Some(b"value"));
        let bytes = packed.as_headers().as_packed();
        for end in 0..bytes.len() {
            assert_eq!(Headers::from_packed(&bytes[..end]).iter().count(), 0, "cut at {end}");
        }
    }

    #[test]
    fn records_tell_null_from_empty() {
        let source = TopicPartition::new("t", 0);
        let mut headers = HeadersBuf::new();
        headers.push("h", Some(b"x"));
        for (key, value) in [(None, None), (Some(&b""[..]), Some(&b""[..])), (Some(&b"k"[..]), Some(&b"v"[..]))] {
            let record = Record::new(source.clone(), 7, None, key, headers.as_headers(), value);
            assert_eq!((record.key(), record.value()), (key, value));
            assert_eq!(record.headers().get("h"), Some(&b"x"[..]));
        }
    }

    #[test]
    fn tickets_pack_and_unpack() {
        let ticket = Ticket::new(65_535, 1, u32::MAX);
        assert_eq!((ticket.epoch(), ticket.slot(), ticket.sequence()), (65_535, 1, u32::MAX));
    }
}
