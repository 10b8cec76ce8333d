//! What the engine is told and what it says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
#[cfg(doc)]
use crate::event::Outcome;
use crate::event::{Delivery, Failure, Finished, Record, Ticket, TopicPartition};
use crate::policy::{DeadLetterReason, Halted, TopicSubscription};
use crate::subscribe::dead_letters::DeadLetter;
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
    /// How many records of a partition may be received behind its first unfinished one, where records overtake
    /// others: what is finished there is delivered again after a crash. The partition is paused then.
    pub(crate) window: usize,
    /// Spreads the delays of retries.
    pub(crate) seed: u64,
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
            window: 10_000,
            seed: 0,
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
    Record(Arc<Record>, Option<i64>),
    /// A record without an event, and why it is none; the policy says what follows.
    Invalid(Arc<Record>, Box<Failure>),
    /// Answers of handlers, in any order, one for each delivery.
    Finished(&'a [Finished]),
    /// A dead letter is stored or could not be.
    DeadLettered {
        /// Which one.
        ticket: Ticket,
        /// How. What is worth another try is tried again later.
        result: Result<()>,
    },
    /// A commit ended.
    Committed {
        /// Which one.
        id: u64,
        /// How.
        result: Result<()>,
    },
    /// These topics have handlers now, which want this: partitions that were held for want of one go on. To be told
    /// before a partition of the topic is assigned.
    Topics(&'a [TopicSubscription]),
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
    /// Start nothing more of this slot's outstanding runs and answer what has not started with
    /// [`Outcome::Released`]. A host that cannot lets the runs go on; the engine then waits longer.
    Recall {
        /// The slot, as tickets name it.
        slot: u16,
        /// The epoch of the tickets that are recalled.
        epoch: u16,
    },
    /// The slot's outstanding runs outlived their partition: what has not started must not start, what runs should
    /// give up, as it may run beside the new owner's handler, and the answers come too late.
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
    /// The drain ends while handlers of this slot run: they should give up.
    Abort {
        /// The slot, as tickets name it.
        slot: u16,
        /// The epoch of the tickets that are out.
        epoch: u16,
    },
    /// Write this to the dead-letter topic and answer with [`Input::DeadLettered`].
    DeadLetter(DeadLetter),
    /// A record was passed over by policy.
    Skipped(Skipped),
    /// A partition stands still by policy.
    Halted(Halted),
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

/// A record that the policy passes over.
#[derive(Debug)]
pub(crate) struct Skipped {
    /// The record.
    pub(crate) record: Arc<Record>,
    /// Why.
    pub(crate) reason: DeadLetterReason,
    /// What the last attempt failed with.
    pub(crate) failure: Option<Box<Failure>>,
    /// How many attempts there were.
    pub(crate) attempts: u32,
}
