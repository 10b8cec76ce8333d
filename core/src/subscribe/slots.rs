//! What the engine knows about one partition.

use std::sync::Arc;
use std::time::Instant;

use crate::event::{Delivery, Record, Ticket, TopicPartition};
use crate::subscribe::commits::CommitEntry;
use crate::subscribe::lanes::{Lane, RunLimits};
use crate::subscribe::offsets::OffsetTracker;

/// Whether this member owns the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Somebody else may own it.
    Vacant,
    /// Assigned to this member.
    Owned,
    /// To be handed over; its outstanding run may still end.
    Revoking,
    /// To be handed over as soon as what is finished is committed; answers come too late.
    Sealed,
}

/// One partition: its owner, its lane, its offsets. It outlives assignments, so that epoch and sequences go on
/// and an answer from an earlier assignment never fits.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) source: TopicPartition,
    pub(crate) index: u16,
    pub(crate) ownership: Ownership,
    pub(crate) lane: Lane,
    pub(crate) offsets: OffsetTracker,
    /// Bytes of the unfinished records.
    pub(crate) bytes: usize,
    /// Since when fetching is paused.
    pub(crate) paused: Option<Instant>,
    /// The client's pause flag outlives an assignment: the partition left while paused.
    pub(crate) left_paused: bool,
    /// Committing what is left makes no sense any more.
    pub(crate) commit_given_up: bool,
    /// The lane may have a run to hand out, and the engine has noted it.
    pub(crate) noted: bool,
    /// [`Slot::committed_records`] when the drain began.
    pub(crate) drain_base: u64,
    epoch: u16,
    committed: Option<i64>,
    committed_records: u64,
}

impl Slot {
    /// A slot that nobody owns.
    pub(crate) fn new(source: TopicPartition, index: u16, epoch: u16, sequence: u32) -> Self {
        Slot {
            source,
            index,
            ownership: Ownership::Vacant,
            lane: Lane::default(),
            offsets: OffsetTracker::new(sequence),
            bytes: 0,
            paused: None,
            left_paused: false,
            commit_given_up: false,
            noted: false,
            drain_base: 0,
            epoch,
            committed: None,
            committed_records: 0,
        }
    }

    /// The partition was assigned to this member.
    pub(crate) fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.ownership = Ownership::Owned;
    }

    /// The partition is gone. Gives the records that were unfinished and the bytes they held.
    pub(crate) fn end(&mut self) -> (usize, usize) {
        self.epoch = self.epoch.wrapping_add(1);
        self.ownership = Ownership::Vacant;
        self.offsets.restart();
        self.left_paused |= self.paused.take().is_some();
        self.commit_given_up = false;
        self.drain_base = 0;
        self.committed = None;
        self.committed_records = 0;
        (self.lane.clear(), std::mem::take(&mut self.bytes))
    }

    /// Takes a record; false when its offset is old.
    pub(crate) fn receive(&mut self, record: Record, occurred_on: Option<i64>) -> bool {
        let Some(sequence) = self.offsets.receive(record.offset) else { return false };
        self.bytes += record.size();
        self.lane.push(sequence, Arc::new(record), occurred_on);
        true
    }

    /// The number of the current assignment, which tickets carry.
    pub(crate) fn epoch(&self) -> u16 {
        self.epoch
    }

    /// An answer with this epoch still counts.
    pub(crate) fn accepts(&self, epoch: u16) -> bool {
        epoch == self.epoch && matches!(self.ownership, Ownership::Owned | Ownership::Revoking)
    }

    /// Hands out the next run of an owned partition, if there is one to hand out now.
    pub(crate) fn next_run(&mut self, limits: RunLimits) -> Option<Vec<Delivery>> {
        let (epoch, index) = (self.epoch, self.index);
        let ticket = |sequence| Ticket::new(epoch, index, sequence);
        (self.ownership == Ownership::Owned).then(|| self.lane.next_run(limits, u32::from(index), ticket)).flatten()
    }

    /// The slot's part of a commit, when something is finished that is not committed.
    pub(crate) fn to_commit(&self) -> Option<CommitEntry> {
        if self.ownership == Ownership::Vacant || self.commit_given_up {
            return None;
        }
        let offset = self.offsets.watermark().filter(|offset| self.committed.is_none_or(|done| *offset > done))?;
        Some(CommitEntry { slot: self.index, epoch: self.epoch, offset, passed: self.offsets.passed() })
    }

    /// A commit of this slot succeeded; one of an earlier assignment says nothing.
    pub(crate) fn committed(&mut self, entry: CommitEntry) {
        if entry.epoch == self.epoch && self.ownership != Ownership::Vacant {
            self.committed = Some(entry.offset);
            self.committed_records = entry.passed;
        }
    }

    /// A commit of this slot failed and will fail again.
    pub(crate) fn commit_refused(&mut self, entry: CommitEntry) {
        if entry.epoch == self.epoch && self.ownership == Ownership::Sealed {
            self.commit_given_up = true;
        }
    }

    /// The offset that was committed last in this assignment.
    #[cfg(test)]
    pub(crate) fn committed_offset(&self) -> Option<i64> {
        self.committed
    }

    /// Received records of this assignment that are committed.
    pub(crate) fn committed_records(&self) -> u64 {
        self.committed_records
    }

    /// The outstanding run of a partition that is still this member's.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.ownership, Ownership::Owned | Ownership::Revoking) && self.lane.open() > 0
    }
}
