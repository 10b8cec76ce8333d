//! What the engine knows about one partition.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::event::{Delivery, Record, Ticket, TopicPartition};
use crate::policy::{DeadLetterReason, Ordering, Policy};
use crate::subscribe::commits::CommitEntry;
use crate::subscribe::keys::{Keys, LaneIds};
use crate::subscribe::lanes::{Item, Place, RunEnd, RunLimits, Window};
use crate::subscribe::retry::{Standing, Trouble};

/// How many keys of a partition may be parked.
pub(crate) const MAX_PARKED: usize = 10_000;

/// Whether this member owns the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Somebody else may own it.
    Vacant,
    /// Assigned to this member.
    Owned,
    /// To be handed over; its outstanding runs may still end.
    Revoking,
    /// To be handed over as soon as what is finished is committed; answers come too late.
    Sealed,
}

/// One partition: its owner, its records, its lanes, its offsets. It outlives assignments, so that epoch and
/// sequences go on and an answer from an earlier assignment never fits.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) source: TopicPartition,
    pub(crate) index: u16,
    /// The index of its topic.
    pub(crate) topic: u16,
    pub(crate) policy: Arc<Policy>,
    pub(crate) ownership: Ownership,
    pub(crate) window: Window,
    /// Bytes of the unfinished records.
    pub(crate) bytes: usize,
    /// Since when fetching is paused.
    pub(crate) paused: Option<Instant>,
    /// The client's pause flag outlives an assignment: the partition left while paused.
    pub(crate) left_paused: bool,
    /// Committing what is left makes no sense any more.
    pub(crate) commit_given_up: bool,
    /// Its lanes stand still because nobody handles the topic.
    pub(crate) held: bool,
    /// Nothing is handed out any more, because of the record at this offset.
    pub(crate) halted: Option<i64>,
    /// It is in its topic's queue of partitions that have a run to hand out.
    pub(crate) queued: bool,
    /// Lanes with a run out.
    pub(crate) lanes_out: usize,
    /// [`Slot::committed_records`] when the drain began.
    pub(crate) drain_base: u64,
    keys: Keys,
    /// Lanes are those of keys.
    by_key: bool,
    waiting: usize,
    open: usize,
    writing: usize,
    buried: usize,
    /// Keys of which a record is a dead letter, when later ones shall follow it.
    parked: HashSet<Box<[u8]>>,
    epoch: u16,
    committed: Option<i64>,
    committed_records: u64,
}

/// What an answer did to its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Bytes that the partition holds no more.
    pub(crate) freed: usize,
    /// It was the last answer of a run.
    pub(crate) run_over: bool,
}

impl Slot {
    /// A slot that nobody owns.
    pub(crate) fn new(source: TopicPartition, index: u16, topic: u16, policy: Arc<Policy>, sequence: u32) -> Self {
        Slot {
            source,
            index,
            topic,
            policy,
            ownership: Ownership::Vacant,
            window: Window::new(sequence),
            bytes: 0,
            paused: None,
            left_paused: false,
            commit_given_up: false,
            held: false,
            halted: None,
            queued: false,
            lanes_out: 0,
            drain_base: 0,
            keys: Keys::default(),
            by_key: false,
            waiting: 0,
            open: 0,
            writing: 0,
            buried: 0,
            parked: HashSet::new(),
            epoch: 0,
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
        let unfinished = self.window.open().count();
        self.epoch = self.epoch.wrapping_add(1);
        self.ownership = Ownership::Vacant;
        self.window.restart();
        self.keys.clear();
        self.parked.clear();
        self.left_paused |= self.paused.take().is_some();
        self.commit_given_up = false;
        self.held = false;
        self.halted = None;
        (self.lanes_out, self.waiting, self.open, self.writing, self.buried) = (0, 0, 0, 0, 0);
        self.drain_base = 0;
        self.committed = None;
        self.committed_records = 0;
        (unfinished, std::mem::take(&mut self.bytes))
    }

    /// Takes a record; false when its offset is old. A doomed one goes through its lane like any other, so that
    /// what becomes of it keeps the order.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        record: Arc<Record>,
        occurred_on: Option<i64>,
        doom: Option<Box<Trouble>>,
        ids: &mut LaneIds,
    ) -> bool {
        if !self.window.is_new(record.offset) {
            return false;
        }
        let by_key = self.policy.ordering == Ordering::Key;
        if self.by_key != by_key && self.window.len() == 0 {
            // What is unfinished goes on as it was handed out; nothing is.
            self.keys.clear();
            self.by_key = by_key;
        }
        let lane =
            if self.by_key { self.keys.of_key(record.key(), ids) } else { self.keys.whole(u32::from(self.index)) };
        self.bytes += record.size();
        self.waiting += 1;
        let sequence = self.window.next_sequence();
        self.window.receive(record.offset, Item::new(record, occurred_on, doom, lane));
        self.keys.lane(lane).push(&mut self.window, sequence);
        self.keys.settle(lane, &self.window, now);
        true
    }

    /// The number of the current assignment, which tickets carry.
    pub(crate) fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The ticket of a sequence in this assignment.
    pub(crate) fn ticket(&self, sequence: u32) -> Ticket {
        Ticket::new(self.epoch, self.index, sequence)
    }

    /// An answer with this epoch still counts.
    pub(crate) fn accepts(&self, epoch: u16) -> bool {
        epoch == self.epoch && matches!(self.ownership, Ownership::Owned | Ownership::Revoking)
    }

    /// How it stands, while the engine does not drain.
    pub(crate) fn standing(&self) -> Standing {
        match self.ownership {
            _ if self.halted.is_some() => Standing::Ending,
            Ownership::Owned => Standing::Flowing,
            _ => Standing::Leaving,
        }
    }

    /// A lane may have something to hand out, and the partition lets it.
    pub(crate) fn can_hand_out(&self) -> bool {
        self.ownership == Ownership::Owned && !self.held && self.halted.is_none() && self.keys.has_ready()
    }

    /// The next lane to hand out a run.
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        self.keys.next_ready()
    }

    /// Hands out the next run of a lane.
    pub(crate) fn next_run(&mut self, lane: u32, limits: RunLimits, now: Instant) -> Vec<Delivery> {
        let (epoch, index) = (self.epoch, self.index);
        let ticket = |sequence| Ticket::new(epoch, index, sequence);
        let run = self.keys.lane(lane).next_run(&mut self.window, limits, &self.policy, now, ticket);
        self.waiting -= run.len();
        self.open += run.len();
        self.lanes_out += usize::from(!run.is_empty());
        run
    }

    /// The first record of a lane that no handler shall have, taken out of the lane.
    pub(crate) fn take_doomed(&mut self, now: Instant, lane: u32) -> Option<u32> {
        // A dead letter that the lane waits for keeps the next one back too.
        let sequence = self.keys.lane(lane).head().filter(|_| self.can_start(lane, now))?;
        let item = self.window.get_mut(sequence)?;
        if item.trouble.as_ref().is_none_or(|trouble| trouble.doom.is_none()) {
            let parked = !self.parked.is_empty() && item.record.key().is_some_and(|key| self.parked.contains(key));
            if !parked {
                return None;
            }
            item.trouble = Some(Box::new(Trouble::doomed(now, DeadLetterReason::Parked, None)));
        }
        self.keys.lane(lane).take_head(&self.window)
    }

    /// The lane can hand out a run now.
    pub(crate) fn can_start(&mut self, lane: u32, now: Instant) -> bool {
        self.keys.lane(lane).can_start(&self.window, now)
    }

    /// Queues a lane that can start now, or lets go of it.
    pub(crate) fn settle_lane(&mut self, lane: u32, now: Instant) {
        self.keys.settle(lane, &self.window, now);
    }

    /// The record that an answer is about, when it is awaited.
    pub(crate) fn handed_out(&mut self, sequence: u32) -> Option<&mut Item> {
        self.window.get_mut(sequence).filter(|item| item.place == Place::Out)
    }

    /// The dead letter of a record, while somebody writes it.
    pub(crate) fn buried(&mut self, sequence: u32) -> Option<&mut Item> {
        let in_writing = |item: &&mut Item| {
            item.place == Place::Buried && item.trouble.as_ref().is_some_and(|trouble| trouble.due.is_none())
        };
        self.window.get_mut(sequence).filter(in_writing)
    }

    /// The record is finished, whether it is with its handlers or about to be.
    pub(crate) fn finish(&mut self, now: Instant, sequence: u32, failed: bool) -> Answered {
        let Some(item) = self.window.finish(sequence) else { return Answered { freed: 0, run_over: false } };
        let freed = item.record.size();
        self.bytes -= freed;
        self.waiting -= usize::from(item.place == Place::Waiting);
        let run_over = item.place == Place::Out && self.answered(now, item.lane, None, failed);
        Answered { freed, run_over }
    }

    /// The record stays unfinished and is the head of its lane again when its run is over. Gives whether it is.
    pub(crate) fn give_back(&mut self, now: Instant, sequence: u32, failed: bool) -> bool {
        let Some(item) = self.window.get_mut(sequence) else { return false };
        item.place = Place::Returned;
        let lane = item.lane;
        self.answered(now, lane, Some(sequence), failed)
    }

    /// The record leaves its lane for the dead-letter topic. Gives whether that ended a run.
    pub(crate) fn bury(&mut self, now: Instant, sequence: u32, failed: bool) -> bool {
        let Some(item) = self.window.get_mut(sequence) else { return false };
        let (was_out, was_waiting) = (item.place == Place::Out, item.place == Place::Waiting);
        item.place = Place::Buried;
        // Later records of the key shall stand behind this one in the dead-letter topic too.
        item.blocks_lane = self.policy.park_key;
        let lane = item.lane;
        self.waiting -= usize::from(was_waiting);
        self.writing += 1;
        self.buried += 1;
        self.keys.lane(lane).burying += u32::from(self.policy.park_key);
        was_out && self.answered(now, lane, None, failed)
    }

    /// Remembers the key of a dead letter, if later ones shall follow it; false when there are too many.
    pub(crate) fn park(&mut self, sequence: u32) -> bool {
        let Some(key) = self.window.get(sequence).and_then(|item| item.record.key()) else { return true };
        if !self.policy.park_key || self.parked.contains(key) {
            return true;
        }
        if self.parked.len() >= MAX_PARKED {
            return false;
        }
        self.parked.insert(key.into());
        true
    }

    /// The dead letter is stored: its record is finished.
    pub(crate) fn written(&mut self, now: Instant, sequence: u32) -> Answered {
        self.writing -= 1;
        self.buried -= 1;
        let blocked = self.window.get(sequence).filter(|item| item.blocks_lane).map(|item| item.lane);
        let answered = self.finish(now, sequence, false);
        if let Some(lane) = blocked {
            self.keys.lane(lane).burying -= 1;
            self.settle_lane(lane, now);
        }
        answered
    }

    /// The dead letter could not be written; whether it is written again is for the engine to say.
    pub(crate) fn not_written(&mut self) {
        self.writing -= 1;
    }

    fn answered(&mut self, now: Instant, lane: u32, given_back: Option<u32>, failed: bool) -> bool {
        self.open -= 1;
        let one = self.keys.lane(lane);
        let waiting = one.waiting();
        let Some(end) = one.answered(&mut self.window, given_back, failed) else { return false };
        self.waiting += one.waiting() - waiting;
        self.lanes_out -= 1;
        self.held |= end == RunEnd::Unhandled;
        self.settle_lane(lane, now);
        true
    }

    /// Somebody handles the topic now. Also counts for what outstanding runs give back: whoever came during a run
    /// may have come too late for it.
    pub(crate) fn unhold(&mut self) {
        self.held = false;
        self.keys.lanes().for_each(|lane| lane.named_during_run = true);
    }

    /// What waited for its time goes on: the record's next attempt, or, when this gives `true`, the writing of its
    /// dead letter.
    pub(crate) fn wake(&mut self, now: Instant, sequence: u32) -> bool {
        let Some(item) = self.window.get_mut(sequence) else { return false };
        let lane = item.lane;
        if item.place != Place::Buried {
            self.settle_lane(lane, now);
            return false;
        }
        if let Some(trouble) = &mut item.trouble {
            trouble.due = None;
        }
        self.writing += 1;
        true
    }

    /// Records that go to the dead-letter topic, which has refused them so far.
    pub(crate) fn refused_dead_letters(&self) -> usize {
        if self.buried == 0 || self.halted.is_some() {
            return 0;
        }
        let refused = |item: &Item| item.trouble.as_ref().is_some_and(|trouble| trouble.refusals > 0);
        self.window.open().filter(|(_, item)| item.place == Place::Buried && refused(item)).count()
    }

    /// A record waits for its next attempt.
    pub(crate) fn waits_for_time(&self, now: Instant) -> bool {
        let due = |item: &Item| item.trouble.as_ref().and_then(|trouble| trouble.due);
        self.window.open().any(|(_, item)| due(item).is_some_and(|due| due > now))
    }

    /// The record waits for that time.
    pub(crate) fn awaits(&self, at: Instant, sequence: u32) -> bool {
        self.ownership == Ownership::Owned
            && self.halted.is_none()
            && self.window.get(sequence).and_then(|item| item.trouble.as_ref()?.due).is_some_and(|due| due == at)
    }

    /// Drops what nobody holds: records that are not handed out, and dead letters that are not being written.
    /// Their offsets stay unfinished. Gives how many records and bytes.
    pub(crate) fn drop_waiting(&mut self) -> (usize, usize) {
        let idle = |item: &Item| match item.place {
            Place::Waiting => true,
            Place::Buried => item.trouble.as_ref().is_some_and(|trouble| trouble.due.is_some()),
            Place::Out | Place::Returned => false,
        };
        let dropped: Vec<u32> =
            self.window.open().filter(|(_, item)| idle(item)).map(|(sequence, _)| sequence).collect();
        let mut bytes = 0;
        for sequence in &dropped {
            let Some(item) = self.window.abandon(*sequence) else { continue };
            bytes += item.record.size();
            match item.place {
                Place::Buried => self.buried -= 1,
                _ => self.waiting -= 1,
            }
        }
        self.keys.drop_waiting();
        self.bytes -= bytes;
        (dropped.len(), bytes)
    }

    /// Records handed out and not yet answered.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Records that are not handed out.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Records that go to the dead-letter topic and are not stored there.
    pub(crate) fn dead_letters(&self) -> usize {
        self.buried
    }

    /// Handlers run or dead letters are being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.open > 0 || self.writing > 0
    }

    /// How many records stand in the way of a bounded redelivery: with keys, all that were received behind the
    /// first unfinished one; in order, those that are finished behind it, which takes dead letters.
    pub(crate) fn disorder(&self) -> usize {
        if self.by_key { self.window.len() } else { self.window.finished_behind() }
    }

    /// [`Slot::disorder`] comes from quick handlers that are a little behind, and not from the order.
    pub(crate) fn is_by_key(&self) -> bool {
        self.by_key
    }

    /// The slot's part of a commit, when something is finished that is not committed.
    pub(crate) fn to_commit(&self) -> Option<CommitEntry> {
        if self.ownership == Ownership::Vacant || self.commit_given_up {
            return None;
        }
        let offset = self.window.watermark().filter(|offset| self.committed.is_none_or(|done| *offset > done))?;
        Some(CommitEntry { slot: self.index, epoch: self.epoch, offset, passed: self.window.passed() })
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

    /// Handlers of a partition that is still this member's run.
    pub(crate) fn has_runs(&self) -> bool {
        matches!(self.ownership, Ownership::Owned | Ownership::Revoking) && self.open > 0
    }

    /// Something of a partition that is still this member's is out.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.ownership, Ownership::Owned | Ownership::Revoking) && self.is_busy()
    }
}
