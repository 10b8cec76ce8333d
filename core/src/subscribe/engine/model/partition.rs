//! One partition as the model sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::event::{Ticket, TopicPartition};
use crate::policy::{Ordering, Policy};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Owner {
    Nobody,
    Member,
    /// Revoked, with the times at which the budget and twice the budget end.
    Leaving(Instant, Instant),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Waiting,
    Out(Ticket),
    /// Not handled, while the rest of its run is out.
    Returned,
    /// On its way to the dead-letter topic; somebody writes it, or it is written again at that time.
    Buried(Ticket, Option<Instant>),
    /// Unfinished for good.
    Dropped,
    Finished,
    /// Finished without a handler.
    Skipped,
}

/// What must not overlap with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LaneKey {
    Whole,
    Key(u8),
    Own(i64),
}

#[derive(Debug)]
pub(super) struct Rec {
    pub(super) fate: Fate,
    pub(super) bytes: usize,
    pub(super) key: Option<u8>,
    /// It holds no event, and the policy does not skip it.
    pub(super) invalid: bool,
    pub(super) fails: u32,
    pub(super) first_failed: Option<Instant>,
    pub(super) due: Option<Instant>,
    /// How often its dead letter could not be written.
    pub(super) refusals: u32,
}

/// Every record received in this assignment, by offset.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) source: TopicPartition,
    pub(super) policy: Policy,
    pub(super) owner: Owner,
    pub(super) records: BTreeMap<i64, Rec>,
    pub(super) committed: Option<i64>,
    pub(super) commit_refused: bool,
    pub(super) paused: Option<Instant>,
    pub(super) client_paused: bool,
    pub(super) held: bool,
    pub(super) halted: bool,
    pub(super) parked: BTreeSet<u8>,
    /// Lanes whose outstanding run saw its topic named, or a failure.
    pub(super) named: BTreeSet<LaneKey>,
    pub(super) failed: BTreeSet<LaneKey>,
    pub(super) next_offset: i64,
    pub(super) assignment: u32,
}

impl Partition {
    pub(super) fn new(source: TopicPartition, policy: Policy) -> Self {
        Partition {
            source,
            policy,
            owner: Owner::Nobody,
            records: BTreeMap::new(),
            committed: None,
            commit_refused: false,
            paused: None,
            client_paused: false,
            held: false,
            halted: false,
            parked: BTreeSet::new(),
            named: BTreeSet::new(),
            failed: BTreeSet::new(),
            next_offset: 0,
            assignment: 0,
        }
    }

    pub(super) fn by_key(&self) -> bool {
        self.policy.ordering == Ordering::Key
    }

    pub(super) fn lane_of(&self, offset: i64) -> LaneKey {
        match self.records[&offset].key {
            _ if !self.by_key() => LaneKey::Whole,
            Some(key) => LaneKey::Key(key),
            None => LaneKey::Own(offset),
        }
    }

    pub(super) fn lane(&self, lane: LaneKey) -> impl Iterator<Item = (i64, &Rec)> {
        let all = self.records.iter().map(|(offset, record)| (*offset, record));
        all.filter(move |(offset, _)| self.lane_of(*offset) == lane)
    }

    pub(super) fn lanes(&self) -> BTreeSet<LaneKey> {
        self.records.keys().map(|offset| self.lane_of(*offset)).collect()
    }

    pub(super) fn lane_is_out(&self, lane: LaneKey) -> bool {
        self.lane(lane).any(|(_, record)| matches!(record.fate, Fate::Out(_)))
    }

    pub(super) fn lanes_out(&self) -> usize {
        self.lanes().into_iter().filter(|lane| self.lane_is_out(*lane)).count()
    }

    /// A lane waits for a dead letter when later ones shall stand behind it.
    pub(super) fn lane_is_blocked(&self, lane: LaneKey) -> bool {
        self.policy.park_key && self.lane(lane).any(|(_, record)| matches!(record.fate, Fate::Buried(..)))
    }

    /// The first record that waits in a lane which can start.
    pub(super) fn head(&self, lane: LaneKey) -> Option<(i64, &Rec)> {
        if self.lane_is_out(lane) || self.lane_is_blocked(lane) {
            return None;
        }
        self.lane(lane).find(|(_, record)| record.fate == Fate::Waiting)
    }

    pub(super) fn is_doomed(&self, record: &Rec) -> bool {
        record.invalid || record.key.is_some_and(|key| self.parked.contains(&key))
    }

    pub(super) fn park(&mut self, key: Option<u8>) {
        if self.policy.park_key {
            self.parked.extend(key);
        }
    }

    /// Nobody holds them any more.
    pub(super) fn drop_waiting(&mut self) {
        for record in self.records.values_mut() {
            if matches!(record.fate, Fate::Waiting | Fate::Buried(_, Some(_))) {
                record.fate = Fate::Dropped;
            }
        }
    }

    pub(super) fn watermark(&self) -> Option<i64> {
        let done = |record: &Rec| matches!(record.fate, Fate::Finished | Fate::Skipped);
        self.records.iter().take_while(|(_, record)| done(record)).map(|(offset, _)| offset + 1).last()
    }

    pub(super) fn uncommitted(&self) -> bool {
        !self.commit_refused && self.watermark().is_some_and(|offset| self.committed.is_none_or(|done| done < offset))
    }

    pub(super) fn out(&self) -> Vec<Ticket> {
        let out = self.records.values().filter_map(|record| match record.fate {
            Fate::Out(ticket) => Some(ticket),
            _ => None,
        });
        out.collect()
    }

    /// Dead letters that somebody writes.
    pub(super) fn writing(&self) -> Vec<Ticket> {
        let writing = self.records.values().filter_map(|record| match record.fate {
            Fate::Buried(ticket, None) => Some(ticket),
            _ => None,
        });
        writing.collect()
    }

    pub(super) fn buried(&self) -> usize {
        self.records.values().filter(|record| matches!(record.fate, Fate::Buried(..))).count()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.out().is_empty() || !self.writing().is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let open =
            |record: &&Rec| matches!(record.fate, Fate::Waiting | Fate::Out(_) | Fate::Returned | Fate::Buried(..));
        self.records.values().filter(open).map(|record| record.bytes).sum()
    }

    /// Records received behind the first unfinished one, it included; in order, those finished behind it.
    pub(super) fn disorder(&self) -> usize {
        let done = |record: &Rec| matches!(record.fate, Fate::Finished | Fate::Skipped);
        let behind: Vec<&Rec> = self.records.values().skip_while(|record| done(record)).collect();
        match self.by_key() {
            true => behind.len(),
            false => behind.iter().filter(|record| record.fate == Fate::Finished).count(),
        }
    }

    /// Records for handlers, and those of them that are committed.
    pub(super) fn count(&self) -> (u64, u64) {
        let records = self.records.iter().filter(|(_, record)| record.fate != Fate::Skipped);
        let committed = records.clone().filter(|(offset, _)| self.committed.is_some_and(|to| **offset < to));
        (records.count() as u64, committed.count() as u64)
    }

    pub(super) fn leave(&mut self) {
        self.records.clear();
        self.owner = Owner::Nobody;
        self.committed = None;
        self.commit_refused = false;
        self.client_paused |= self.paused.take().is_some();
        self.held = false;
        self.halted = false;
        self.parked.clear();
        self.named.clear();
        self.failed.clear();
    }
}
