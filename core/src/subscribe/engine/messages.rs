//! What the engine is told and what it says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::{Delivery, Outcome, Record, Ticket, TopicPartition};
use crate::subscribe::lanes::RunLimits;

/// The bounds of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineConfig {
    /// How many bytes of records may be unfinished, as [`Record::size`] counts them. What the client had handed
    /// out before a pause took effect comes on top.
    pub(crate) max_bytes: usize,
    /// How much one run may hold.
    pub(crate) run: RunLimits,
    /// The shortest time between two ordinary commits, and the pause after the first failed one.
    pub(crate) commit_interval: Duration,
    /// How long a revoked partition waits for its outstanding run, and then once more for its commit.
    pub(crate) revoke_budget: Duration,
    /// The shortest pause of a partition: resuming fetches again what the pause threw away.
    pub(crate) resume_after: Duration,
    /// How long handlers may take to catch up before fetching goes on and partitions are paused.
    pub(crate) patience: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            max_bytes: 48 << 20,
            run: RunLimits { records: 500, bytes: 256 << 10 },
            commit_interval: Duration::from_secs(1),
            revoke_budget: Duration::from_secs(1),
            resume_after: Duration::from_millis(100),
            patience: Duration::from_millis(200),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The group gave these partitions to this member, and the client has begun to fetch them.
    Assigned(Vec<TopicPartition>),
    /// The group takes these back; [`Output::RevokeReady`] answers, once and with the same list.
    Revoked(Vec<TopicPartition>),
    /// These are gone already. Nothing answers: the host lets go of them at once.
    Lost(Vec<TopicPartition>),
    /// A record with an event, and when that occurred.
    Record(Record, Option<i64>),
    /// A record without an event, skipped by policy: received and finished in one.
    Invalid {
        /// Where it lies.
        source: &'a TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// Answers of handlers, in any order, one for each delivery.
    Finished(&'a [(Ticket, Outcome)]),
    /// A commit ended.
    Committed {
        /// Which one.
        id: u64,
        /// How.
        result: Result<()>,
    },
    /// These topics have handlers now: lanes that were held for want of one go on.
    Topics(&'a [Arc<str>]),
    /// Hand out nothing more, wait for what is out, commit. [`Output::Drained`] answers at the deadline at last.
    Drain {
        /// When waiting ends.
        deadline: Instant,
    },
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) enum Output {
    /// A run of one lane, to be handled one after the other and answered each.
    Deliver(Vec<Delivery>),
    /// Start nothing more of this slot's outstanding run and answer what has not started with
    /// [`Outcome::Released`]. A host that cannot lets the run go on; the engine then waits longer.
    Recall {
        /// The slot, as tickets name it.
        slot: u16,
        /// The epoch of the tickets that are recalled.
        epoch: u16,
    },
    /// The slot's outstanding run outlived its partition: what has not started must not start, what runs may run
    /// beside the new owner's handler, and the answers come too late.
    Fenced {
        /// The slot, as tickets name it.
        slot: u16,
        /// The epoch of the tickets that are fenced.
        epoch: u16,
        /// The partition.
        source: TopicPartition,
        /// How many deliveries are unanswered.
        unanswered: usize,
    },
    /// Stop fetching.
    Pause(Vec<TopicPartition>),
    /// Fetch again.
    Resume(Vec<TopicPartition>),
    /// Commit and answer with [`Input::Committed`]. No other one is outstanding.
    Commit {
        /// Names it in the answer.
        id: u64,
        /// Per partition the offset of the next record to be handled.
        offsets: Vec<(TopicPartition, i64)>,
    },
    /// Hand these over now, all in one call: the client takes a part for the whole.
    RevokeReady(Vec<TopicPartition>),
    /// The drain ended. Of the records that were received and not committed when it began, so many are finished
    /// and committed now, and so many will be delivered again, by whichever member.
    Drained {
        /// Finished and committed.
        handled: u64,
        /// To be delivered again.
        abandoned: u64,
    },
    /// Something cannot be done.
    Failed(Error),
}
