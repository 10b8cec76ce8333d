//! Publish frames: read with every length checked, and written.

use std::fmt;

use crate::codec::{self, EventTexts};
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{Headers, HeadersBuf};
use crate::frame::members::Members;

/// Flag of a publish frame: the headers are the three bare texts of an envelope.
pub const ENVELOPE: u16 = 1;

/// Flag of a publish frame: the value is the payload of an event, whose other members the frame has already.
pub const PAYLOAD: u16 = 2;

/// Flag of a publish frame: the value is the members of an event's payload, as bare texts.
pub const MEMBERS: u16 = 4;

/// What the value of a publish frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueForm {
    /// The value of the record.
    #[default]
    Record,
    /// The payload of an event as JSON; see [`PAYLOAD`].
    Payload,
    /// The members of an event's payload; see [`MEMBERS`].
    Members,
}

const FIXED: usize = 40;

/// One record to be published, borrowed from its frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The caller's number of this publish.
    pub slot: u32,
    /// The number that the bus gave for the topic.
    pub topic_id: u16,
    /// The partition, or `None` for the partitioner's choice by key.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch, or `None` for now.
    pub timestamp: Option<i64>,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The headers.
    pub headers: FrameHeaders<'a>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// What the value is; see [`Frame::write_value`].
    pub form: ValueForm,
}

/// The headers of a publish frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FrameHeaders<'a> {
    /// The texts of which the headers of an event are made.
    Envelope {
        /// The event's id.
        event_id: &'a str,
        /// The decimal version.
        version: &'a str,
        /// `occurredOn` as ISO text.
        iso: &'a str,
    },
    /// Headers as the record shall have them.
    Packed(Headers<'a>),
}

impl<'a> FrameHeaders<'a> {
    /// The record's headers; those of an envelope are built in `buffer`, replacing what it holds.
    pub fn pack<'b>(&self, buffer: &'b mut HeadersBuf) -> Headers<'b>
    where
        'a: 'b,
    {
        match self {
            FrameHeaders::Envelope { event_id, version, iso } => {
                buffer.clear();
                codec::envelope_headers(buffer, event_id, version, iso);
                buffer.as_headers()
            }
            FrameHeaders::Packed(headers) => *headers,
        }
    }
}

/// Says where the frame goes and how large it is; never its content, which may be confidential.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { slot, topic_id, partition, key, value, .. } = self;
        let (key, value) = (key.map(<[u8]>::len), value.map(<[u8]>::len));
        write!(f, "Frame(slot {slot}, topic {topic_id}, partition {partition:?}, key {key:?}, value {value:?} bytes)")
    }
}

impl<'a> Frame<'a> {
    /// The record's value. That of an event of which the frame has the payload is written into `buffer`, replacing
    /// what it holds; it has the bytes that [`Bus::publish`](crate::Bus::publish) writes.
    ///
    /// # Errors
    /// `Argument` when the frame does not hold what its form needs, which [`Frames`] have looked at.
    pub fn write_value<'b>(&self, topic: &str, buffer: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>>
    where
        'a: 'b,
    {
        if self.form == ValueForm::Record {
            return Ok(self.value);
        }
        let broken = || Error::new(ErrorKind::Argument, "a publish frame does not hold the event that it announces");
        let aggregate_id = self.key.and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(broken)?;
        let value = self.value.ok_or_else(broken)?;
        let FrameHeaders::Envelope { event_id, version, iso } = self.headers else { return Err(broken()) };
        buffer.clear();
        let texts = EventTexts { event_id, event_type: topic, iso, aggregate_id, version };
        codec::write_event(buffer, &texts, value.len(), |out| match self.form {
            ValueForm::Members => Members::read(value).ok_or_else(broken)?.write(out),
            ValueForm::Payload | ValueForm::Record => {
                out.extend_from_slice(value);
                Ok(())
            }
        })?;
        Ok(Some(buffer))
    }

    /// Appends the frame to a batch.
    ///
    /// # Errors
    /// `TooLarge`, with nothing appended, when a length does not fit its field.
    pub fn write(&self, batch: &mut Vec<u8>) -> Result<()> {
        let texts = match &self.headers {
            FrameHeaders::Envelope { event_id, version, iso } => [*event_id, *version, *iso].map(str::as_bytes),
            FrameHeaders::Packed(headers) => [headers.as_packed(), b"", b""],
        };
        let headers_len: usize = texts.iter().map(|text| text.len()).sum();
        let body = self.key.map_or(0, <[u8]>::len) + headers_len + self.value.map_or(0, <[u8]>::len);
        let (flags, event_id_len, version_len) = match self.headers {
            FrameHeaders::Envelope { .. } => (ENVELOPE, texts[0].len(), texts[1].len()),
            FrameHeaders::Packed(_) => (0, 0, 0),
        };
        let flags = flags
            | match self.form {
                ValueForm::Record => 0,
                ValueForm::Payload => PAYLOAD,
                ValueForm::Members => MEMBERS,
            };
        let total = (FIXED + body).next_multiple_of(8);
        let (Ok(_), Ok(event_id_len), Ok(version_len)) =
            (i32::try_from(total), u16::try_from(event_id_len), u16::try_from(version_len))
        else {
            let message = format!("a publish of {body} bytes does not fit a frame");
            return Err(Error::new(ErrorKind::TooLarge, message)
                .with("slot", self.slot)
                .outcome(PublishOutcome::NotSent)
                .hint("a record is at most 2 GiB, its eventId at most 65535 bytes; store large content elsewhere"));
        };
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
        let start = batch.len();
        batch.reserve(total);
        batch.extend_from_slice(&(total as u32).to_le_bytes());
        batch.extend_from_slice(&self.slot.to_le_bytes());
        batch.extend_from_slice(&self.topic_id.to_le_bytes());
        batch.extend_from_slice(&flags.to_le_bytes());
        batch.extend_from_slice(&self.partition.unwrap_or(-1).to_le_bytes());
        batch.extend_from_slice(&len(self.key).to_le_bytes());
        batch.extend_from_slice(&(headers_len as i32).to_le_bytes());
        batch.extend_from_slice(&len(self.value).to_le_bytes());
        batch.extend_from_slice(&event_id_len.to_le_bytes());
        batch.extend_from_slice(&version_len.to_le_bytes());
        batch.extend_from_slice(&self.timestamp.unwrap_or(-1).to_le_bytes());
        batch.extend_from_slice(self.key.unwrap_or_default());
        for text in texts {
            batch.extend_from_slice(text);
        }
        batch.extend_from_slice(self.value.unwrap_or_default());
        batch.resize(start + total, 0);
        Ok(())
    }

    /// Reads the frame at the beginning of `bytes` and gives its length too.
    fn read(bytes: &'a [u8]) -> std::result::Result<(Self, usize), &'static str> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or("it ends within its fixed part")?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let i32_at = |at: usize| i32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let total = i32_at(0) as u32 as usize;
        let body = bytes.get(FIXED..total).ok_or("its length is beyond the batch or below 40")?;
        let flags = u16_at(10);
        let form = match flags & !ENVELOPE {
            0 => ValueForm::Record,
            PAYLOAD => ValueForm::Payload,
            MEMBERS => ValueForm::Members,
            _ => return Err("it has an unknown flag, or two that exclude each other"),
        };
        let (key, rest) = take(body, i32_at(16)).ok_or("its keyLen is beyond the frame or below -1")?;
        let (headers, rest) = take(rest, i32_at(20)).ok_or("its headersLen is beyond the frame")?;
        let headers = headers.ok_or("its headersLen is negative")?;
        let (value, padding) = take(rest, i32_at(24)).ok_or("its valueLen is beyond the frame or below -1")?;
        if !total.is_multiple_of(8) || padding.len() > 7 {
            return Err("its length is not that of its parts rounded up to a multiple of 8");
        }
        let (event_id_len, version_len) = (usize::from(u16_at(28)), usize::from(u16_at(30)));
        let headers = if flags & ENVELOPE != 0 {
            let texts = std::str::from_utf8(headers).map_err(|_| "a text of its envelope is not UTF-8")?;
            let (event_id, rest) = texts
                .split_at_checked(event_id_len)
                .ok_or("its eventIdLen is beyond the headers or within a character")?;
            let (version, iso) = rest
                .split_at_checked(version_len)
                .ok_or("its versionLen is beyond the headers or within a character")?;
            FrameHeaders::Envelope { event_id, version, iso }
        } else if event_id_len != 0 || version_len != 0 {
            return Err("it has eventIdLen or versionLen without the envelope flag");
        } else if !is_packed(headers) {
            return Err("its packed headers are cut short or have a name that is not UTF-8");
        } else {
            FrameHeaders::Packed(Headers::from_packed(headers))
        };
        if form != ValueForm::Record {
            if flags & ENVELOPE == 0 {
                return Err("it has the payload of an event without an envelope");
            }
            key.and_then(|key| std::str::from_utf8(key).ok()).ok_or("the key of its event is null or not UTF-8")?;
            let payload = value.ok_or("the payload of its event is null")?;
            if form == ValueForm::Members && Members::read(payload).is_none() {
                return Err("the members of its payload are cut short, or a length is within a character");
            }
        }
        let partition = match i32_at(12) {
            -1 => None,
            partition if partition >= 0 => Some(partition),
            _ => return Err("its partition is below -1"),
        };
        let timestamp = match i64::from(i32_at(32) as u32) | i64::from(i32_at(36)) << 32 {
            -1 => None,
            timestamp if timestamp >= 0 => Some(timestamp),
            _ => return Err("its timestamp is below -1"),
        };
        let slot = i32_at(4) as u32;
        let topic_id = u16_at(8);
        Ok((Frame { slot, topic_id, partition, timestamp, key, headers, value, form }, total))
    }
}

/// A part and what is behind it; the part is `None` for a length of −1.
fn take(bytes: &[u8], len: i32) -> Option<(Option<&[u8]>, &[u8])> {
    match usize::try_from(len) {
        Ok(len) => bytes.split_at_checked(len).map(|(part, rest)| (Some(part), rest)),
        Err(_) => (len == -1).then_some((None, bytes)),
    }
}

fn is_packed(mut headers: &[u8]) -> bool {
    while !headers.is_empty() {
        let after = || {
            let (len, rest) = headers.split_first_chunk()?;
            let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            std::str::from_utf8(name).ok()?;
            let (len, rest) = rest.split_first_chunk()?;
            take(rest, i32::from_le_bytes(*len)).map(|(_, rest)| rest)
        };
        match after() {
            Some(rest) => headers = rest,
            None => return false,
        }
    }
    true
}

/// The frames of a batch.
///
/// After a malformed frame nothing can be read any more: it gives one `Argument` error that says what is wrong and
/// at which byte, and ends.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    batch: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// The frames of a batch, read one by one.
    pub fn new(batch: &'a [u8]) -> Self {
        Frames { batch, at: 0 }
    }

    /// The bytes of the frames that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.batch[self.at..]
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        match Frame::read(rest) {
            Ok((frame, total)) => {
                self.at += total;
                Some(Ok(frame))
            }
            Err(reason) => {
                let error = Error::new(ErrorKind::Argument, format!("a publish frame is malformed: {reason}"))
                    .with("byte", self.at)
                    .with("batch", format_args!("{} bytes", self.batch.len()))
                    .outcome(PublishOutcome::NotSent)
                    .hint(
                        "nothing of this frame and of those behind it was sent; write frames as event_bus::frame says",
                    );
                self.at = self.batch.len();
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

impl fmt::Debug for FrameHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameHeaders::Envelope { event_id, .. } => write!(f, "Envelope(eventId {event_id})"),
            FrameHeaders::Packed(headers) => write!(f, "Packed({} bytes)", headers.as_packed().len()),
        }
    }
}
