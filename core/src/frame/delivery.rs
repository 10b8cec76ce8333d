//! Delivery batches: records on their way to the handlers of a language face.

use std::fmt;

use super::halves;
use crate::event::Delivery;

/// How many i32 one delivery takes in the index.
pub const COLUMNS: usize = 18;

/// How many deliveries a batch holds at most.
pub const MAX_DELIVERIES: usize = 500;

/// How many bytes of records a batch holds at most; a larger run travels alone.
pub const MAX_BYTES: usize = 256 * 1024;

/// Flag of a delivery: the record has a timestamp.
pub const HAS_TIME: i32 = 1;

/// Flag of a delivery: the event's `occurredOn` could be read.
pub const HAS_OCCURRED_ON: i32 = 2;

/// Flag of a delivery: no attempt follows this one, should it fail.
pub const LAST_ATTEMPT: i32 = 4;

/// The columns of the index, see the [table](super#delivery-batch).
#[allow(missing_docs)]
pub mod column {
    pub const LANE: usize = 0;
    pub const TOPIC_ID: usize = 1;
    pub const PARTITION: usize = 2;
    pub const OFFSET_LO: usize = 3;
    pub const OFFSET_HI: usize = 4;
    pub const TIME_LO: usize = 5;
    pub const TIME_HI: usize = 6;
    pub const TICKET_LO: usize = 7;
    pub const TICKET_HI: usize = 8;
    pub const KEY_POS: usize = 9;
    pub const KEY_LEN: usize = 10;
    pub const HEADERS_POS: usize = 11;
    pub const VALUE_POS: usize = 12;
    pub const VALUE_LEN: usize = 13;
    pub const ATTEMPT: usize = 14;
    pub const FLAGS: usize = 15;
    pub const OCCURRED_ON_LO: usize = 16;
    pub const OCCURRED_ON_HI: usize = 17;
}

/// Collects deliveries into one run of bytes and an index.
#[derive(Clone, Default)]
pub struct DeliveryBatch {
    bytes: Vec<u8>,
    index: Vec<i32>,
}

impl DeliveryBatch {
    /// An empty batch.
    pub fn new() -> Self {
        DeliveryBatch::default()
    }

    /// How many deliveries it holds.
    pub fn len(&self) -> usize {
        self.index.len() / COLUMNS
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many bytes of records it holds.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A run may still be added: it keeps the batch within [`MAX_DELIVERIES`] and [`MAX_BYTES`], or is its first.
    ///
    /// A run is never split: whoever handles it releases the rest of it behind a failure, and must know all of it.
    pub fn fits(&self, run: &[Delivery]) -> bool {
        let bytes: usize = run.iter().map(|delivery| delivery.record().data().len()).sum();
        self.is_empty() || self.len() + run.len() <= MAX_DELIVERIES && self.bytes.len() + bytes <= MAX_BYTES
    }

    /// Adds a run that [`fits`](Self::fits). `topic_id` is the number that the bus gave for its topic.
    pub fn push(&mut self, run: &[Delivery], topic_id: u16) {
        debug_assert!(self.fits(run), "a run was pushed that does not fit");
        run.iter().for_each(|delivery| self.push_one(delivery, topic_id));
    }

    fn push_one(&mut self, delivery: &Delivery, topic_id: u16) {
        let record = delivery.record();
        let (key_len, headers_len, value_len) = record.lens();
        let key_pos = self.bytes.len() as i32;
        let headers_pos = key_pos + key_len.max(0);
        let value_pos = headers_pos + headers_len as i32;
        self.bytes.extend_from_slice(record.data());

        let flag = |given: Option<i64>, flag: i32| if given.is_some() { flag } else { 0 };
        let mut row = [0; COLUMNS];
        row[column::LANE] = delivery.lane() as i32;
        row[column::TOPIC_ID] = i32::from(topic_id);
        row[column::PARTITION] = delivery.partition();
        [row[column::OFFSET_LO], row[column::OFFSET_HI]] = halves(delivery.offset() as u64);
        [row[column::TIME_LO], row[column::TIME_HI]] = halves(record.timestamp.unwrap_or(0) as u64);
        [row[column::TICKET_LO], row[column::TICKET_HI]] = halves(delivery.ticket().0);
        row[column::KEY_POS] = key_pos;
        row[column::KEY_LEN] = key_len;
        row[column::HEADERS_POS] = headers_pos;
        row[column::VALUE_POS] = value_pos;
        row[column::VALUE_LEN] = value_len;
        row[column::ATTEMPT] = i32::try_from(delivery.attempt()).unwrap_or(i32::MAX);
        row[column::FLAGS] = flag(record.timestamp, HAS_TIME)
            | flag(delivery.occurred_on(), HAS_OCCURRED_ON)
            | if delivery.is_last_attempt() { LAST_ATTEMPT } else { 0 };
        [row[column::OCCURRED_ON_LO], row[column::OCCURRED_ON_HI]] = halves(delivery.occurred_on().unwrap_or(0) as u64);
        self.index.extend_from_slice(&row);
    }

    /// The bytes and the index.
    pub fn into_parts(self) -> (Vec<u8>, Vec<i32>) {
        (self.bytes, self.index)
    }
}

/// Says how much it holds; never the content, which may be confidential.
impl fmt::Debug for DeliveryBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeliveryBatch({} deliveries, {} bytes)", self.len(), self.bytes())
    }
}
