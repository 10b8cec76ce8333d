//! Records: what goes to a broker, what comes from it, and where it lies.

use std::fmt;
use std::sync::Arc;

use super::headers::Headers;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::HeadersBuf;

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
}
