//! A lane: records that must be handled one after the other.

use std::sync::Arc;
use std::time::Instant;

use crate::event::{Delivery, Record, Ticket};
use crate::policy::Policy;
use crate::subscribe::offsets::OffsetTracker;
use crate::subscribe::retry::{self, Trouble};

/// How much one run may hold; a larger record travels alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    /// Records.
    pub(crate) records: usize,
    /// Bytes, as [`Record::size`] counts them.
    pub(crate) bytes: usize,
}

/// The unfinished records of a partition, in the order of their offsets; lanes thread through it.
pub(crate) type Window = OffsetTracker<Item>;

/// An unfinished record.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) record: Arc<Record>,
    pub(crate) occurred_on: Option<i64>,
    pub(crate) trouble: Option<Box<Trouble>>,
    /// The index of its lane.
    pub(crate) lane: u32,
    /// The sequence behind it in its lane, if one waits there.
    next: u32,
    pub(crate) place: Place,
    /// Its lane waits until the dead letter is stored.
    pub(crate) blocks_lane: bool,
}

/// Where an unfinished record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its lane.
    Waiting,
    /// With its handlers.
    Out,
    /// Given back, while the rest of its run is out.
    Returned,
    /// On its way to the dead-letter topic.
    Buried,
}

impl Item {
    pub(crate) fn new(record: Arc<Record>, occurred_on: Option<i64>, trouble: Option<Box<Trouble>>, lane: u32) -> Self {
        Item { record, occurred_on, trouble, lane, next: 0, place: Place::Waiting, blocks_lane: false }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.trouble.as_ref().and_then(|trouble| trouble.due).is_none_or(|due| due <= now)
    }
}

/// A queue of records of which one run, a piece of its head, is out for handling at a time.
///
/// The records lie in the partition's window, each pointing at the next, so that a lane costs nothing beyond
/// itself however many there are.
#[derive(Debug)]
pub(crate) struct Lane {
    /// How handlers know it.
    pub(crate) id: u32,
    /// The hash of its key.
    pub(crate) key: Option<u64>,
    /// It is in the queue of lanes that have a run to hand out.
    pub(crate) ready: bool,
    /// Topics were named during the outstanding run: whoever came may have come too late for it.
    pub(crate) named_during_run: bool,
    head: u32,
    tail: u32,
    waiting: u32,
    open: u32,
    /// Dead letters that the lane waits for.
    pub(crate) burying: u32,
    /// What was given back during the outstanding run.
    returned: Vec<u32>,
    run: u32,
    /// The outstanding run is another attempt, which says nothing about how many records fit a run.
    again: bool,
    failed: bool,
    /// How many records the next run may hold: less than the engine's limit after a failure, which makes the host
    /// give back what lies behind it.
    most: u32,
}

/// What the end of a run means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// All is well, or a failure explains what was given back.
    Clean,
    /// Records were given back because nobody handles them.
    Unhandled,
}

impl Lane {
    /// An empty lane.
    pub(crate) fn new(id: u32, key: Option<u64>) -> Self {
        Lane {
            id,
            key,
            ready: false,
            named_during_run: false,
            head: 0,
            tail: 0,
            waiting: 0,
            open: 0,
            burying: 0,
            returned: Vec::new(),
            run: 0,
            again: false,
            failed: false,
            most: u32::MAX,
        }
    }

    /// An empty lane takes another key.
    pub(crate) fn renew(&mut self, key: Option<u64>) {
        self.key = key;
        self.most = u32::MAX;
    }

    /// Adds a record of the window at the end.
    pub(crate) fn push(&mut self, window: &mut Window, sequence: u32) {
        if self.waiting == 0 {
            self.head = sequence;
        } else if let Some(last) = window.get_mut(self.tail) {
            last.next = sequence;
        }
        self.tail = sequence;
        self.waiting += 1;
    }

    /// The first record that waits.
    pub(crate) fn head(&self) -> Option<u32> {
        (self.waiting > 0).then_some(self.head)
    }

    /// A run can be handed out now.
    pub(crate) fn can_start(&self, window: &Window, now: Instant) -> bool {
        let due = || self.head().and_then(|head| window.get(head)).is_some_and(|head| head.is_due(now));
        self.open == 0 && self.burying == 0 && due()
    }

    /// Takes the first record out of the lane.
    pub(crate) fn take_head(&mut self, window: &Window) -> Option<u32> {
        let head = self.head()?;
        self.head = window.get(head)?.next;
        self.waiting -= 1;
        Some(head)
    }

    /// Hands out the next run. A record that failed before travels alone, and so do records of which each may
    /// doom the next.
    pub(crate) fn next_run(
        &mut self,
        window: &mut Window,
        limits: RunLimits,
        policy: &Policy,
        now: Instant,
        ticket: impl Fn(u32) -> Ticket,
    ) -> Vec<Delivery> {
        let limit = if policy.park_key { 1 } else { limits.records.clamp(1, self.most as usize) };
        let mut bytes = 0;
        let mut run = Vec::with_capacity(limit.min(self.waiting as usize));
        (self.again, self.failed) = (false, false);
        while let Some(sequence) = self.head().filter(|_| run.len() < limit) {
            let Some(item) = window.get_mut(sequence) else { break };
            bytes += item.record.size();
            if !run.is_empty() && (bytes > limits.bytes || item.trouble.is_some()) {
                break;
            }
            item.place = Place::Out;
            self.head = item.next;
            self.waiting -= 1;
            let trouble = item.trouble.as_deref_mut();
            let last = retry::is_last(policy, trouble.as_deref(), now);
            let attempt = trouble.as_ref().map_or(1, |trouble| trouble.attempts + 1);
            self.again = trouble.map(|trouble| trouble.due = None).is_some();
            run.push(Delivery {
                record: Arc::clone(&item.record),
                ticket: ticket(sequence),
                lane: self.id,
                attempt,
                last,
                occurred_on: item.occurred_on,
            });
            if self.again {
                break;
            }
        }
        self.open = run.len() as u32;
        self.run = self.open;
        self.named_during_run = false;
        run
    }

    /// A record of the run was answered; it left the lane unless it was given back. Gives what the end of the run
    /// means, if this was its last answer.
    pub(crate) fn answered(&mut self, window: &mut Window, given_back: Option<u32>, failed: bool) -> Option<RunEnd> {
        self.returned.extend(given_back);
        self.failed |= failed;
        self.open -= 1;
        (self.open == 0).then(|| self.end_run(window))
    }

    fn end_run(&mut self, window: &mut Window) -> RunEnd {
        if !self.again {
            self.most = if self.failed { (self.run / 2).max(1) } else { self.most.saturating_mul(2) };
        }
        let unhandled = !self.failed && !self.returned.is_empty() && !self.named_during_run;
        // Hosts may answer in any order.
        self.returned.sort_unstable_by_key(|sequence| window.place(*sequence));
        while let Some(sequence) = self.returned.pop() {
            let Some(item) = window.get_mut(sequence) else { continue };
            item.place = Place::Waiting;
            item.next = self.head;
            if self.waiting == 0 {
                self.tail = sequence;
            }
            self.head = sequence;
            self.waiting += 1;
        }
        if unhandled { RunEnd::Unhandled } else { RunEnd::Clean }
    }

    /// Forgets what waits, which was taken out of the window.
    pub(crate) fn drop_waiting(&mut self) {
        self.waiting = 0;
    }

    /// Records that are not handed out.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting as usize
    }

    /// Nothing of it is anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0 && self.waiting == 0 && self.burying == 0 && self.returned.is_empty()
    }
}
