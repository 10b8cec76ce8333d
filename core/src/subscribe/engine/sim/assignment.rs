//! One assignment of one partition to one process, as its host saw it, and what the engine may do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Delivery, Outcome};
use crate::policy::{DeadLetterReason, Jitter, OnExhausted, OnInvalid, Ordering, Policy};
use crate::subscribe::dead_letters::DeadLetter;

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
    /// On its way to the dead-letter topic.
    Buried {
        writing: bool,
    },
    Finished,
    /// Finished without having been received for a handler.
    Skipped,
}

/// One record.
#[derive(Debug)]
struct Entry {
    place: Place,
    unit: u64,
    key: Option<usize>,
    invalid: bool,
    /// Attempts that failed.
    attempts: u32,
    first_failed: Duration,
    last_failed: Duration,
    /// What its handler said last.
    said: Option<(Outcome, Option<bool>)>,
}

/// Records that are handled one after the other: a partition, or a key of it.
#[derive(Debug, Default)]
struct Unit {
    waiting: BTreeSet<i64>,
    out: usize,
    buried: usize,
    /// Of the run that is out: something came back, a failure explains it, handlers came meanwhile.
    returned: bool,
    failed: bool,
    named: bool,
    /// The last that was stored in the dead-letter topic.
    stored: Option<i64>,
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
    /// Stands still by policy.
    pub(super) halted: bool,
    policy: Policy,
    /// Committed records when the drain began.
    drain_base: u64,
    entries: BTreeMap<i64, Entry>,
    units: BTreeMap<u64, Unit>,
    /// Keys of which later records follow a dead letter.
    parked: BTreeSet<usize>,
    /// The smallest offset that is not finished is at or behind this one.
    unfinished_from: i64,
    /// Nothing is to be handed out because nobody handles the topic.
    held: bool,
}

impl Assignment {
    pub(super) fn new(node: usize, life: u32, partition: usize, policy: Policy) -> Self {
        Assignment {
            node,
            life,
            partition,
            state: State::Owned,
            ticket: None,
            fenced: false,
            committed: None,
            landed: None,
            halted: false,
            policy,
            drain_base: 0,
            entries: BTreeMap::new(),
            units: BTreeMap::new(),
            parked: BTreeSet::new(),
            unfinished_from: 0,
            held: false,
        }
    }

    /// Whether it is finished by that; `None` for one that was received before.
    pub(super) fn receive(&mut self, offset: i64, key: Option<usize>, invalid: bool) -> Option<bool> {
        if self.entries.last_key_value().is_some_and(|(last, _)| *last >= offset) {
            return None;
        }
        let unit = match (self.policy.ordering, key) {
            (Ordering::Partition, _) => 0,
            (Ordering::Key, Some(key)) => 1 + key as u64,
            // Nothing orders records without a key.
            (Ordering::Key, None) => 1 << 32 | offset as u64,
        };
        let skipped = invalid && self.policy.on_invalid == OnInvalid::Skip;
        let place = if skipped { Place::Skipped } else { Place::Waiting };
        let (first_failed, last_failed) = (Duration::ZERO, Duration::ZERO);
        let entry = Entry { place, unit, key, invalid, attempts: 0, first_failed, last_failed, said: None };
        self.entries.insert(offset, entry);
        if !skipped {
            self.units.entry(unit).or_default().waiting.insert(offset);
        }
        Some(skipped)
    }

    /// What is handled one after the other with this record.
    pub(super) fn unit(&self, offset: i64) -> u64 {
        self.entries[&offset].unit
    }

    fn parts(&mut self, offset: i64) -> (&mut Entry, &mut Unit) {
        let entry = self.entries.get_mut(&offset).unwrap_or_else(|| panic!("{offset} was not received"));
        let unit = self.units.entry(entry.unit).or_default();
        (entry, unit)
    }

    /// A run is handed out. Whether its first record was with a handler before.
    pub(super) fn hand_out(&mut self, run: &[Delivery], now: Duration) -> bool {
        let held = self.held;
        assert_eq!(self.state, State::Owned, "{run:?} while the partition is handed over");
        assert!(!held && !self.halted, "{run:?} was handed out: held {held}, halted {}", self.halted);
        let retry = self.policy.retry;
        let first = run[0].offset();
        let again = self.entries.get(&first).is_some_and(|entry| entry.said.is_some());
        let unit_of_run = self.unit(first);
        for delivery in run {
            let offset = delivery.offset();
            let (entry, unit) = self.parts(offset);
            assert_eq!(entry.place, Place::Waiting, "{offset} was handed out");
            assert_eq!(entry.unit, unit_of_run, "{offset} is in a run of others");
            let out_before = if offset == first { 0 } else { unit.out };
            assert!(unit.out == out_before, "{offset} was handed out while others of its key are out");
            assert_eq!(unit.waiting.pop_first(), Some(offset), "what is handed out of its key");
            let key = entry.key;
            assert_eq!(delivery.attempt(), entry.attempts + 1, "the attempt of {offset}");
            let last = entry.attempts + 1 >= retry.attempts;
            assert!(
                entry.attempts < retry.attempts && (!last || delivery.is_last_attempt()),
                "{delivery:?} comes too often"
            );
            let said_failed = matches!(entry.said, Some((Outcome::Failed, _)));
            if said_failed && retry.jitter == Jitter::None {
                let due = entry.last_failed + retry.delay(entry.attempts, 0).unwrap_or_default();
                assert!(now >= due, "{offset} was tried again before {due:?}");
            }
            entry.place = Place::Out;
            unit.out += 1;
            let parked = key.is_some_and(|key| self.parked.contains(&key));
            assert!(!parked, "{offset} was handed out although its key is parked");
        }
        let unit = self.units.get_mut(&unit_of_run).expect("the unit of the run");
        (unit.returned, unit.failed, unit.named) = (false, false, false);
        again
    }

    /// The engine reads what a handler said.
    pub(super) fn answer(&mut self, offset: i64, said: (Outcome, Option<bool>), now: Duration) {
        let (entry, unit) = self.parts(offset);
        assert_eq!(entry.place, Place::Out, "{offset} was answered");
        if matches!(said.0, Outcome::Done | Outcome::Skip) {
            entry.place = Place::Finished;
        } else {
            entry.place = Place::Waiting;
            unit.waiting.insert(offset);
        }
        match said.0 {
            Outcome::Done | Outcome::Skip => {}
            Outcome::Released => unit.returned = true,
            Outcome::Failed | Outcome::Invalid | Outcome::DeadLetter => {
                entry.first_failed = if entry.attempts == 0 { now } else { entry.first_failed };
                entry.attempts += 1;
                entry.last_failed = now;
                unit.failed |= said.0 == Outcome::Failed;
            }
        }
        if said.0 != Outcome::Released {
            entry.said = Some(said);
        }
        unit.out -= 1;
        self.held |= unit.out == 0 && unit.returned && !unit.failed && !unit.named;
    }

    /// The topic has handlers.
    pub(super) fn name(&mut self) {
        self.held = false;
        self.units.values_mut().for_each(|unit| unit.named = true);
    }

    /// The retries of a failed record are used up, or cannot help.
    fn is_exhausted(policy: &Policy, entry: &Entry, reason: DeadLetterReason) -> bool {
        let retry = &policy.retry;
        match (reason, entry.said) {
            (DeadLetterReason::Fatal, Some((Outcome::Failed, Some(false)))) => true,
            (DeadLetterReason::Exhausted, Some((Outcome::Failed, retryable))) => {
                let longest = retry.delay(entry.attempts, u32::MAX);
                let elapsed = entry.last_failed - entry.first_failed;
                retryable != Some(false) && longest.is_none_or(|delay| elapsed + delay > retry.max_elapsed)
            }
            _ => false,
        }
    }

    /// A record without an event, as received or as its handler found.
    fn is_invalid(entry: &Entry) -> bool {
        entry.invalid || matches!(entry.said, Some((Outcome::Invalid, _)))
    }

    /// The engine has a dead letter written, for the first time or again.
    pub(super) fn bury(&mut self, offset: i64, letter: &DeadLetter, now: Duration) {
        assert!(
            self.state != State::HandedOver && !self.halted,
            "a dead letter of {offset}, which is not to be written any more"
        );
        let policy = self.policy.clone();
        let parked = self.entries[&offset].key.is_some_and(|key| self.parked.contains(&key));
        let (entry, unit) = self.parts(offset);
        assert_eq!(letter.attempts, entry.attempts, "the attempts of the dead letter of {offset}");
        assert!(now >= entry.last_failed);
        match entry.place {
            Place::Waiting => {
                let reason = letter.reason;
                let right = match reason {
                    DeadLetterReason::Exhausted | DeadLetterReason::Fatal => {
                        policy.on_exhausted == OnExhausted::DeadLetter && Self::is_exhausted(&policy, entry, reason)
                    }
                    DeadLetterReason::Invalid => policy.on_invalid == OnInvalid::DeadLetter && Self::is_invalid(entry),
                    DeadLetterReason::Requested => matches!(entry.said, Some((Outcome::DeadLetter, _))),
                    DeadLetterReason::Parked => parked,
                };
                assert!(right, "{offset} was buried as {reason:?}: {entry:?}");
                assert!(!policy.park_key || unit.buried == 0, "{offset} was buried beside an earlier one of its key");
                assert!(unit.waiting.remove(&offset));
                unit.buried += 1;
            }
            Place::Buried { writing: false } => {}
            place => panic!("a dead letter of {offset}, which is {place:?}"),
        }
        entry.place = Place::Buried { writing: true };
        if policy.park_key
            && let Some(key) = entry.key
        {
            self.parked.insert(key);
        }
    }

    /// The broker stored the dead letter.
    pub(super) fn stored(&mut self, offset: i64) {
        let in_order = self.policy.park_key;
        let (_, unit) = self.parts(offset);
        let last = unit.stored.replace(offset);
        assert!(!in_order || last.is_none_or(|last| last <= offset), "dead letter {offset} was stored behind {last:?}");
    }

    /// The engine reads how writing ended.
    pub(super) fn written(&mut self, offset: i64, stored: bool) {
        let (entry, unit) = self.parts(offset);
        assert_eq!(entry.place, Place::Buried { writing: true }, "the dead letter of {offset} was answered");
        entry.place = if stored { Place::Finished } else { Place::Buried { writing: false } };
        unit.buried -= usize::from(stored);
    }

    /// The engine passes a record over.
    pub(super) fn pass_over(&mut self, offset: i64, reason: DeadLetterReason) {
        let policy = self.policy.clone();
        let (entry, unit) = self.parts(offset);
        let right = match reason {
            DeadLetterReason::Invalid => policy.on_invalid == OnInvalid::Skip && Self::is_invalid(entry),
            reason => policy.on_exhausted == OnExhausted::Skip && Self::is_exhausted(&policy, entry, reason),
        };
        assert!(right && entry.place == Place::Waiting, "{offset} was passed over as {reason:?}: {entry:?}");
        entry.place = Place::Finished;
        unit.waiting.remove(&offset);
    }

    /// The engine lets the partition stand still.
    pub(super) fn halt(&mut self, offset: i64) {
        let policy = self.policy.clone();
        let (entry, _) = self.parts(offset);
        let exhausted = [DeadLetterReason::Exhausted, DeadLetterReason::Fatal];
        let right = match entry.place {
            // Its dead letter was refused for good.
            Place::Buried { writing: false } => true,
            Place::Waiting if Self::is_invalid(entry) => policy.on_invalid == OnInvalid::Halt,
            Place::Waiting => {
                let exhausted = exhausted.iter().any(|reason| Self::is_exhausted(&policy, entry, *reason));
                policy.on_exhausted == OnExhausted::Halt && exhausted
            }
            _ => false,
        };
        assert!(right, "the partition halts at {offset}: {entry:?}");
        self.halted = true;
    }

    /// What may be committed: the offset behind the finished prefix.
    pub(super) fn watermark(&mut self) -> Option<i64> {
        let open = |entry: &Entry| !matches!(entry.place, Place::Finished | Place::Skipped);
        let first = self.entries.range(self.unfinished_from..).find(|(_, entry)| open(entry));
        self.unfinished_from = match first {
            Some((offset, _)) => *offset,
            None => self.entries.last_key_value().map_or(0, |(last, _)| last + 1),
        };
        self.entries.range(..self.unfinished_from).next_back().map(|(offset, _)| offset + 1)
    }

    /// Lanes that are out. Nobody waits for those that were fenced.
    pub(super) fn lanes_out(&self) -> usize {
        if self.fenced { 0 } else { self.units.values().filter(|unit| unit.out > 0).count() }
    }

    /// A record that waits though nothing keeps it. `room`: the topic may have more lanes out.
    pub(super) fn idle(&self, now: Duration, room: bool) -> Option<i64> {
        if self.state != State::Owned || self.held || self.halted || !room {
            return None;
        }
        self.units.values().find_map(|unit| {
            let head = *unit.waiting.first()?;
            let entry = &self.entries[&head];
            let longest = self.policy.retry.delay(entry.attempts, u32::MAX).unwrap_or_default();
            let due = if entry.attempts > 0 { entry.last_failed + longest } else { Duration::ZERO };
            let blocked = unit.out > 0 || (self.policy.park_key && unit.buried > 0);
            (!blocked && now >= due).then_some(head)
        })
    }

    /// Records for handlers: all, and those that are committed as far as the engine knows.
    pub(super) fn count(&self) -> (u64, u64) {
        let records = self.entries.iter().filter(|(_, entry)| entry.place != Place::Skipped);
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
