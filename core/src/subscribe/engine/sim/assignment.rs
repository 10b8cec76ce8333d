//! One assignment of one partition to one process, as its host saw it.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Owned,
    Revoking,
    /// Handed over in peace: no commit may name it any more.
    HandedOver,
    /// Over, and what is under way of it may still arrive.
    TornAway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not handed out, or given back.
    Waiting,
    Out,
    Finished,
    /// Finished without a handler.
    Invalid,
}

#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) partition: usize,
    pub(super) state: State,
    /// Slot and epoch of its tickets, since the first one.
    pub(super) ticket: Option<(u16, u16)>,
    /// Its handlers were given up.
    pub(super) fenced: bool,
    /// What was committed for it, as far as the engine knows.
    pub(super) committed: Option<i64>,
    /// What the broker stored of it last.
    pub(super) landed: Option<i64>,
    /// Committed records when the drain began.
    drain_base: u64,
    records: BTreeMap<i64, Place>,
    /// The smallest offset that is not finished is at or behind this one.
    unfinished_from: i64,
    /// The last first delivery, by key.
    delivered: BTreeMap<usize, i64>,
    /// Of the run that is out: something came back, and handlers came meanwhile.
    returned: bool,
    named: bool,
    /// A failure in the outstanding run explains what was given back.
    failed: bool,
    /// Nothing is to be handed out because nobody handles the topic.
    held: bool,
}

impl Assignment {
    pub(super) fn new(node: usize, life: u32, partition: usize) -> Self {
        Assignment {
            node,
            life,
            partition,
            state: State::Owned,
            ticket: None,
            fenced: false,
            committed: None,
            landed: None,
            drain_base: 0,
            records: BTreeMap::new(),
            unfinished_from: 0,
            delivered: BTreeMap::new(),
            returned: false,
            named: false,
            failed: false,
            held: false,
        }
    }

    /// False for one that was received before.
    pub(super) fn receive(&mut self, offset: i64, invalid: bool) -> bool {
        if self.records.last_key_value().is_some_and(|(last, _)| *last >= offset) {
            return false;
        }
        self.records.insert(offset, if invalid { Place::Invalid } else { Place::Waiting });
        true
    }

    /// Whether it was handed out before.
    pub(super) fn hand_out(&mut self, offset: i64, key: usize) -> bool {
        let place = self.records.get_mut(&offset).unwrap_or_else(|| panic!("{offset} was not received"));
        assert_eq!(*place, Place::Waiting, "{offset} was handed out");
        *place = Place::Out;
        let last = self.delivered.entry(key).or_insert(-1);
        let again = offset <= *last;
        assert!(
            *last <= offset || self.records.get(last).is_some_and(|place| *place != Place::Finished),
            "{offset} was handed out again although {last} of the same key is finished"
        );
        *last = offset.max(*last);
        assert!(!self.held, "{offset} was handed out although nobody handles its topic");
        self.named = false;
        self.failed = false;
        again
    }

    /// Its handler fails.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn finish(&mut self, offset: i64) {
        self.settle(offset, Place::Finished);
    }

    pub(super) fn give_back(&mut self, offset: i64) {
        self.settle(offset, Place::Waiting);
    }

    fn settle(&mut self, offset: i64, to: Place) {
        let place = self.records.get_mut(&offset).expect("a received record");
        assert_eq!(*place, Place::Out, "{offset} was answered");
        *place = to;
        self.returned |= to == Place::Waiting;
        if !self.is_running() {
            self.held = std::mem::take(&mut self.returned) && !self.named && !self.failed;
        }
    }

    /// The topic has handlers.
    pub(super) fn name(&mut self) {
        self.held = false;
        self.named = true;
    }

    fn is_running(&self) -> bool {
        self.records.range(self.unfinished_from..).any(|(_, place)| *place == Place::Out)
    }

    /// What may be committed: the offset behind the finished prefix.
    pub(super) fn watermark(&mut self) -> Option<i64> {
        let open = |place: &Place| matches!(place, Place::Waiting | Place::Out);
        let first = self.records.range(self.unfinished_from..).find(|(_, place)| open(place));
        self.unfinished_from = match first {
            Some((offset, _)) => *offset,
            None => self.records.last_key_value().map_or(0, |(last, _)| last + 1),
        };
        self.records.range(..self.unfinished_from).next_back().map(|(offset, _)| offset + 1)
    }

    /// Something waits, nothing is out, and nobody knows why.
    pub(super) fn is_idle(&self) -> bool {
        let waits = || self.records.range(self.unfinished_from..).any(|(_, place)| *place == Place::Waiting);
        self.state == State::Owned && !self.held && !self.is_running() && waits()
    }

    /// Records for handlers: all, and those that are committed as far as the engine knows.
    pub(super) fn count(&self) -> (u64, u64) {
        let records = self.records.iter().filter(|(_, place)| **place != Place::Invalid);
        let committed = records.clone().filter(|(offset, _)| self.committed.is_some_and(|end| **offset < end));
        (records.count() as u64, committed.count() as u64)
    }

    pub(super) fn begin_drain(&mut self) {
        self.drain_base = self.count().1;
    }

    /// What the report of a drain has to say about it: handled and abandoned.
    pub(super) fn drained(&self) -> (u64, u64) {
        let (all, committed) = self.count();
        (committed - self.drain_base, all - committed)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::HandedOver | State::TornAway)
    }
}
