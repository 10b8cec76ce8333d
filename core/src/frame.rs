//! Packed batches for language faces: what a foreign caller publishes, gets delivered and gets answered.
//!
//! This page is the specification that the TypeScript and the C face are written against. All integers are little
//! endian; a length or a position is a number of bytes; a length of −1 stands for Kafka's null.
//!
//! # Publish frame
//!
//! A batch is a run of frames, each a multiple of 8 bytes long.
//!
//! | at | type | name | meaning |
//! |---|---|---|---|
//! | 0 | u32 | `length` | of the whole frame: 40 + key + headers + value, rounded up to a multiple of 8 |
//! | 4 | u32 | `slot` | the caller's number of this publish, which its completion carries |
//! | 8 | u16 | `topicId` | the number that the bus gave for the topic |
//! | 10 | u16 | `flags` | bit 0 [`ENVELOPE`], bit 1 [`PAYLOAD`], bit 2 [`MEMBERS`]; all others 0 |
//! | 12 | i32 | `partition` | −1: chosen by key |
//! | 16 | i32 | `keyLen` | −1: null |
//! | 20 | i32 | `headersLen` | 0: none |
//! | 24 | i32 | `valueLen` | −1: null, a tombstone |
//! | 28 | u16 | `eventIdLen` | with [`ENVELOPE`], else 0 |
//! | 30 | u16 | `versionLen` | with [`ENVELOPE`], else 0 |
//! | 32 | i64 | `timestamp` | milliseconds since the Unix epoch, −1: now |
//! | 40 | bytes | | key, headers, value one after the other, then zero to seven bytes that are not read |
//!
//! With [`ENVELOPE`] the headers are three bare texts in UTF-8, `eventId`, `version` and the ISO text of
//! `occurredOn`, the last as long as the rest of the section: the core makes the record's headers of them. Without it
//! they are packed as [`Headers`] are: `u16 nameLen | name | i32 valueLen (−1 = null) | value` for each.
//!
//! With [`PAYLOAD`] or [`MEMBERS`], which need [`ENVELOPE`], the value holds the payload of an event. The core writes the
//! event around it, with the topic as its type and the key, which is text then, as the id of its aggregate: it has all
//! of them anyway, and a face need not write, quote and hand over each twice. With [`PAYLOAD`] the value is the JSON text
//! of the payload. With [`MEMBERS`] it is the names and values of its members, as bare texts one behind the other; zero to
//! three bytes that are not read; for each member `i32 nameLen | i32 valueLen`, where `valueLen` is −1 − n for n bytes that
//! are JSON already; and the number of members as `u32`. The core quotes and escapes them.
//!
//! # Delivery batch
//!
//! Two runs: bytes, and an index of [`COLUMNS`] i32 for each delivery (see [`mod@column`]). A 64-bit number takes two
//! columns: its lower half, to be read as unsigned, then its upper half.
//!
//! | column | name | meaning |
//! |---|---|---|
//! | 0 | `lane` | deliveries of one lane are handled one after the other |
//! | 1 | `topicId` | the number that the bus gave for the topic |
//! | 2 | `partition` | |
//! | 3, 4 | `offset` | |
//! | 5, 6 | `time` | the record's timestamp in milliseconds since the Unix epoch; 0 without flag [`HAS_TIME`] |
//! | 7, 8 | `ticket` | the right to finish the delivery; an opaque 64-bit number |
//! | 9 | `keyPos` | where the key begins in the bytes; the headers follow it |
//! | 10 | `keyLen` | −1: null |
//! | 11 | `headersPos` | where the headers begin, packed as above; they end at `valuePos` |
//! | 12 | `valuePos` | where the value begins |
//! | 13 | `valueLen` | −1: null |
//! | 14 | `attempt` | from 1 |
//! | 15 | `flags` | bit 0 [`HAS_TIME`], bit 1 [`HAS_OCCURRED_ON`], bit 2 [`LAST_ATTEMPT`] |
//! | 16, 17 | `occurredOn` | of the event, in milliseconds since the Unix epoch; 0 without flag [`HAS_OCCURRED_ON`] |
//!
//! # Completion row
//!
//! [`COMPLETION_COLUMNS`] i32 for each finished publish: `slot`; the number of the error's kind, 0 when the record is
//! stored; `partition`; lower and upper half of `offset`, −1 where it is unknown.

mod delivery;
mod members;
mod publish;
#[cfg(test)]
mod tests;

pub use delivery::{
    COLUMNS, DeliveryBatch, HAS_OCCURRED_ON, HAS_TIME, LAST_ATTEMPT, MAX_BYTES, MAX_DELIVERIES, column,
};
pub use publish::{ENVELOPE, Frame, FrameHeaders, Frames, MEMBERS, PAYLOAD, ValueForm};

#[cfg(doc)]
use crate::event::Headers;
use crate::transport::Completion;

/// How many i32 one completion takes.
pub const COMPLETION_COLUMNS: usize = 5;

/// Adds the row of a completion.
pub fn push_completion(rows: &mut Vec<i32>, completion: &Completion) {
    let kind = completion.error.as_ref().map_or(0, |error| error.kind().number());
    let [offset_lo, offset_hi] = halves(completion.offset as u64);
    rows.extend_from_slice(&[completion.token.slot() as i32, kind as i32, completion.partition, offset_lo, offset_hi]);
}

fn halves(number: u64) -> [i32; 2] {
    [number as i32, (number >> 32) as i32]
}
