//! What consuming has to say of itself, for whoever asks how the bus is.

use serde::Serialize;

use crate::error::Error;

/// A partition that stands still by policy, until another member or a restart tries its record again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HaltedPartition {
    /// The topic.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset of the record that nobody may pass.
    pub offset: i64,
    /// Why, for a person.
    pub reason: String,
}

/// A partition that has records and gets none, for no reason of the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StalledPartition {
    /// The topic.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The first offset that is not handled; `None` while nobody knows.
    pub position: Option<i64>,
    /// The offset behind the newest record that can be read.
    pub high_watermark: i64,
    /// For how long, in milliseconds.
    pub stalled_ms: u64,
    /// Why, as far as can be told: `not_fetched`, `no_position` or `not_handed_out`.
    pub reason: &'static str,
}

/// What consuming has to say of itself, written down by the poll thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) halted: Vec<HaltedPartition>,
    pub(crate) stalled: Vec<StalledPartition>,
    /// Why the latest dead letter could not be written, while one waits for another try.
    pub(crate) dead_letter: Option<Error>,
    /// Why the client ended, while there is no other.
    pub(crate) client: Option<Error>,
    /// Why this member has stopped for good.
    pub(crate) failed: Option<Error>,
}
