//! Dead letters: records that nobody can handle, on their way to a topic of their own.

use std::sync::Arc;
use std::time::Instant;

use crate::event::{Failure, Record, Ticket};
use crate::policy::DeadLetterReason;

/// A record that goes to the dead-letter topic; its offset is finished when it has been stored there.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    /// Names it in the answer.
    pub(crate) ticket: Ticket,
    /// The record, byte for byte as it was received.
    pub(crate) record: Arc<Record>,
    /// The dead-letter topic.
    pub(crate) topic: String,
    /// Why it goes there.
    pub(crate) reason: DeadLetterReason,
    /// What the last attempt failed with, where there was one.
    pub(crate) failure: Option<Box<Failure>>,
    /// How many attempts there were.
    pub(crate) attempts: u32,
    /// When the first attempt failed.
    pub(crate) first_failed: Instant,
    /// When the last attempt failed.
    pub(crate) last_failed: Instant,
}
