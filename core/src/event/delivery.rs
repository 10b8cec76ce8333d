//! A record on its way through a handler, and the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::record::Record;
use crate::codec::{self, Envelope};
use crate::error::Result;

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
    /// [`ErrorKind::Codec`](crate::ErrorKind::Codec) when the value is not an event. The bus hands out only records that are, except to
    /// subscriptions of records as they are.
    pub fn event(&self) -> Result<Envelope<'_>> {
        codec::decode(&self.record)
    }

    /// The event's payload as a type of yours.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`](crate::ErrorKind::Codec) when the payload does not fit the type.
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
    use crate::event::{Headers, TopicPartition};

    #[test]
    fn a_delivery_of_a_record_as_it_is_finds_the_time_of_the_event_by_itself() {
        let delivery = |value: &[u8]| {
            let (source, headers) = (TopicPartition::new("t", 0), Headers::default());
            let record = Arc::new(Record::new(source, 0, None, None, headers, Some(value)));
            Delivery { record, ticket: Ticket::new(0, 0, 0), lane: 0, attempt: 1, last: false, occurred_on: None }
        };
        let event = br#"{"eventId":"1","eventType":"t","aggregateId":"a","occurredOn":1700000000000}"#;
        assert_eq!(delivery(event).occurred_on(), Some(1_700_000_000_000));
        assert_eq!(delivery(b"\0").occurred_on(), None);
    }

    #[test]
    fn tickets_pack_and_unpack() {
        let ticket = Ticket::new(65_535, 1, u32::MAX);
        assert_eq!((ticket.epoch(), ticket.slot(), ticket.sequence()), (65_535, 1, u32::MAX));
    }
}
