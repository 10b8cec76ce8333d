//! The engine: what is handed out, committed, paused and handed over, and when.
//!
//! A state machine without thread, clock, lock or Kafka: its host tells it what happened ([`Engine::handle`]) and
//! carries out what follows ([`Engine::advance`]). So it runs the same under Kafka and under a simulator.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Outcome, Record, Ticket, TopicPartition};
use crate::subscribe::commits::CommitSchedule;
use crate::subscribe::slots::{Ownership, Slot};

mod messages;
pub(crate) mod stats;

pub(crate) use messages::{EngineConfig, Input, Output};
use stats::Counters;

#[derive(Debug)]
struct Revocation {
    partitions: Vec<TopicPartition>,
    slots: Vec<u16>,
    deadline: Instant,
    force_at: Instant,
}

#[derive(Debug)]
struct Drain {
    deadline: Instant,
    handled: u64,
    abandoned: u64,
    commit_given_up: bool,
    reported: bool,
}

/// What follows from an answer.
enum Verdict {
    /// The record is finished.
    Finish,
    /// The record stays unfinished, at the head of its lane.
    GiveBack,
}

/// The policy for answers. A failure was logged and reported by the host and finishes its record; while
/// draining it finishes nothing, so that the next start delivers the record again.
fn judge(outcome: Outcome, draining: bool) -> Verdict {
    match outcome {
        Outcome::Done | Outcome::Skip | Outcome::Invalid => Verdict::Finish,
        Outcome::Failed | Outcome::DeadLetter if draining => Verdict::GiveBack,
        Outcome::Failed | Outcome::DeadLetter => Verdict::Finish,
        Outcome::Released => Verdict::GiveBack,
    }
}

/// The state of one consumer.
#[derive(Debug)]
pub(crate) struct Engine {
    config: EngineConfig,
    slots: Vec<Slot>,
    by_source: HashMap<TopicPartition, u16>,
    last_source: u16,
    noted: Vec<u16>,
    bytes: usize,
    commits: CommitSchedule,
    revocations: Vec<Revocation>,
    drain: Option<Drain>,
    /// Since when more is unfinished than quick handlers need to be kept busy.
    ahead_since: Option<Instant>,
    /// A partition came back whose pause flag the client still has.
    came_paused: bool,
    outputs: Vec<Output>,
    counters: Counters,
    wake_at: Option<Instant>,
    /// The first sequence of a new slot: 0, but in tests of wrapping.
    first_sequence: u32,
}

impl Engine {
    /// An engine that owns nothing.
    pub(crate) fn new(config: EngineConfig) -> Self {
        Engine {
            config,
            slots: Vec::new(),
            by_source: HashMap::new(),
            last_source: 0,
            noted: Vec::new(),
            bytes: 0,
            commits: CommitSchedule::new(config.commit_interval, config.revoke_budget / 4),
            revocations: Vec::new(),
            drain: None,
            ahead_since: None,
            came_paused: false,
            outputs: Vec::new(),
            counters: Counters::default(),
            wake_at: None,
            first_sequence: 0,
        }
    }

    /// Runs on: poll thread. Takes what happened. Cheap; what follows waits for [`Engine::advance`].
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Assigned(partitions) => self.assigned(partitions),
            Input::Revoked(partitions) => self.revoked(now, partitions),
            Input::Lost(partitions) => self.lost(&partitions),
            Input::Record(record, occurred_on) => self.record(record, occurred_on),
            Input::Invalid { source, offset } => self.invalid(source, offset),
            Input::Finished(answers) => answers.iter().for_each(|(ticket, outcome)| self.finished(*ticket, *outcome)),
            Input::Committed { id, result } => self.committed(now, id, result),
            Input::Topics(topics) => self.topics(topics),
            Input::Drain { deadline } => self.begin_drain(deadline),
        }
    }

    /// Runs on: poll thread. Says what follows from all that was handled and from the time. To be called after
    /// each batch of inputs and at [`Engine::wake_at`].
    pub(crate) fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.seal(now);
        out.append(&mut self.outputs);
        self.unpause_assigned(out);
        self.hand_out(out);
        self.commit(now, out);
        self.hand_over(now, out);
        self.control_fetching(now, out);
        self.end_drain(now, out);
        self.ahead_since = (self.bytes > self.config.max_bytes / 8).then(|| self.ahead_since.unwrap_or(now));
        self.wake_at = self.next_wake(now);
    }

    /// When [`Engine::advance`] has something to do by time alone, as of its last call; always later than that
    /// call's time.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// The bytes of unfinished records have reached the bound: the host should advance before it polls on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.config.max_bytes
    }

    /// Handlers are given a moment to catch up before more is taken from the client. Quick ones never fall so far
    /// behind that partitions are paused, which throws away what was fetched.
    pub(crate) fn is_sated(&self, now: Instant) -> bool {
        self.ahead_since.is_some_and(|since| now < since + self.config.patience)
    }

    /// The engine waits for partitions to be handed over.
    pub(crate) fn is_revoking(&self) -> bool {
        !self.revocations.is_empty()
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        for source in partitions {
            let index = match self.by_source.get(&source) {
                Some(index) => *index,
                None => match self.add_slot(&source) {
                    Some(index) => index,
                    None => continue,
                },
            };
            match self.slots[index as usize].ownership {
                Ownership::Owned => continue,
                Ownership::Vacant | Ownership::Revoking | Ownership::Sealed => self.take_away(&source),
            }
            let slot = &mut self.slots[index as usize];
            slot.begin();
            self.came_paused |= slot.left_paused;
        }
    }

    /// Lets partitions be fetched that left while paused and are here again. A client refuses a list with one that is
    /// gone already, so what was assigned is not said before all that followed is known.
    fn unpause_assigned(&mut self, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.came_paused) {
            return;
        }
        let back = self.slots.iter_mut().filter(|slot| slot.ownership == Ownership::Owned);
        let resume: Vec<_> =
            back.filter_map(|slot| std::mem::take(&mut slot.left_paused).then(|| slot.source.clone())).collect();
        out.extend((!resume.is_empty()).then_some(Output::Resume(resume)));
    }

    fn add_slot(&mut self, source: &TopicPartition) -> Option<u16> {
        let Ok(index) = u16::try_from(self.slots.len()) else {
            let error = Error::new(ErrorKind::IllegalState, "a member cannot consume more than 65536 partitions")
                .with("topic", &source.topic)
                .with("partition", source.partition)
                .hint("add members to the group, or subscribe to fewer topics");
            self.outputs.push(Output::Failed(error));
            return None;
        };
        self.slots.push(Slot::new(source.clone(), index, 0, self.first_sequence));
        self.by_source.insert(source.clone(), index);
        Some(index)
    }

    fn revoked(&mut self, now: Instant, mut partitions: Vec<TopicPartition>) {
        let asked = partitions.len();
        partitions.retain(|source| !self.revocations.iter().any(|earlier| earlier.partitions.contains(source)));
        if asked > 0 && partitions.is_empty() {
            return;
        }
        let mut slots = Vec::new();
        for source in &partitions {
            let Some(&index) = self.by_source.get(source) else { continue };
            let slot = &mut self.slots[index as usize];
            if slot.ownership != Ownership::Owned {
                continue;
            }
            slot.ownership = Ownership::Revoking;
            slot.left_paused |= slot.paused.take().is_some();
            let (records, bytes) = slot.lane.drop_waiting();
            slot.bytes -= bytes;
            self.bytes -= bytes;
            self.counters.handed_over += records as u64;
            if slot.lane.open() > 0 && self.drain.is_none() {
                self.outputs.push(Output::Recall { slot: index, epoch: slot.epoch() });
            }
            slots.push(index);
        }
        let deadline = now + self.config.revoke_budget;
        let force_at = deadline + self.config.revoke_budget;
        self.revocations.push(Revocation { partitions, slots, deadline, force_at });
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|source| self.take_away(source));
    }

    /// Ends whatever assignment the partition has without waiting for anything.
    fn take_away(&mut self, source: &TopicPartition) {
        let index = self.by_source.get(source).copied();
        self.revocations.retain_mut(|revocation| {
            let before = revocation.partitions.len();
            revocation.partitions.retain(|partition| partition != source);
            revocation.slots.retain(|slot| Some(*slot) != index);
            revocation.partitions.len() == before || !revocation.partitions.is_empty()
        });
        let Some(index) = index.filter(|index| self.slots[*index as usize].ownership != Ownership::Vacant) else {
            return;
        };
        if self.slots[index as usize].is_running() {
            self.fence(index);
        }
        self.end_assignment(index);
    }

    fn fence(&mut self, index: u16) {
        let slot = &self.slots[index as usize];
        self.outputs.push(Output::Fenced {
            slot: index,
            epoch: slot.epoch(),
            source: slot.source.clone(),
            unanswered: slot.lane.open(),
        });
    }

    fn end_assignment(&mut self, index: u16) {
        let slot = &mut self.slots[index as usize];
        if let Some(drain) = &mut self.drain {
            drain.handled += slot.committed_records() - slot.drain_base;
            drain.abandoned += slot.offsets.received() - slot.committed_records();
        }
        let (records, bytes) = slot.end();
        self.bytes -= bytes;
        self.counters.handed_over += records as u64;
    }

    fn record(&mut self, record: Record, occurred_on: Option<i64>) {
        let Some(index) = self.open_slot(&record.source) else { return };
        let size = record.size();
        if !self.slots[index as usize].receive(record, occurred_on) {
            self.counters.duplicates += 1;
            return;
        }
        self.bytes += size;
        self.counters.received += 1;
        self.note(index);
    }

    fn invalid(&mut self, source: &TopicPartition, offset: i64) {
        let Some(index) = self.open_slot(source) else { return };
        let offsets = &mut self.slots[index as usize].offsets;
        let before = offsets.watermark();
        if !offsets.skip(offset) {
            self.counters.duplicates += 1;
            return;
        }
        self.counters.invalid += 1;
        if offsets.watermark() != before {
            self.commits.want();
        }
    }

    /// The slot of a partition whose records are taken.
    fn open_slot(&mut self, source: &TopicPartition) -> Option<u16> {
        // Records come in stretches of one partition, so most look-ups end here.
        let cached = self.slots.get(self.last_source as usize).is_some_and(|slot| slot.source == *source);
        if !cached && let Some(index) = self.by_source.get(source) {
            self.last_source = *index;
        }
        let index = self.last_source;
        let slot = self.slots.get(index as usize);
        let open = slot.is_some_and(|slot| slot.source == *source && slot.ownership == Ownership::Owned);
        if !open || self.drain.is_some() {
            self.counters.stray += 1;
            return None;
        }
        Some(index)
    }

    fn note(&mut self, index: u16) {
        let slot = &mut self.slots[index as usize];
        if !slot.noted {
            slot.noted = true;
            self.noted.push(index);
        }
    }

    fn finished(&mut self, ticket: Ticket, outcome: Outcome) {
        let index = ticket.slot();
        let slot = match self.slots.get_mut(index as usize) {
            Some(slot) if slot.accepts(ticket.epoch()) => slot,
            _ => {
                self.counters.late += 1;
                self.counters.handled_after_revoke += u64::from(outcome != Outcome::Released);
                return;
            }
        };
        let answered = match judge(outcome, self.drain.is_some()) {
            Verdict::Finish => {
                let answered = slot.lane.finish(ticket.sequence());
                if answered.is_some() {
                    let before = slot.offsets.passed();
                    slot.offsets.finish(ticket.sequence());
                    if slot.offsets.passed() != before {
                        self.commits.want();
                    }
                }
                answered
            }
            Verdict::GiveBack => slot.lane.give_back(ticket.sequence()),
        };
        let Some(answered) = answered else {
            self.counters.late += 1;
            return;
        };
        slot.bytes -= answered.freed;
        self.bytes -= answered.freed;
        match outcome {
            Outcome::Done | Outcome::Skip => self.counters.handled += 1,
            Outcome::Failed | Outcome::DeadLetter => self.counters.failed += 1,
            Outcome::Invalid => self.counters.invalid += 1,
            Outcome::Released => self.counters.released += 1,
        }
        if answered.run_over {
            self.note(index);
        }
    }

    fn committed(&mut self, now: Instant, id: u64, result: Result<()>) {
        let Some(entries) = self.commits.end(now, id, result.is_ok()) else { return };
        match result {
            Ok(()) => {
                self.counters.commits += 1;
                entries.into_iter().for_each(|entry| self.slots[entry.slot as usize].committed(entry));
            }
            Err(error) => {
                self.counters.commit_failures += 1;
                if !error.is_retryable() {
                    entries.into_iter().for_each(|entry| self.slots[entry.slot as usize].commit_refused(entry));
                }
                if error.is_fatal()
                    && let Some(drain) = &mut self.drain
                {
                    drain.commit_given_up = true;
                }
            }
        }
    }

    fn topics(&mut self, topics: &[Arc<str>]) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.ownership == Ownership::Owned && topics.contains(&slot.source.topic) {
                slot.lane.unhold();
                self.note(index as u16);
            }
        }
    }

    fn begin_drain(&mut self, deadline: Instant) {
        if let Some(drain) = &mut self.drain {
            drain.deadline = drain.deadline.min(deadline);
            return;
        }
        self.drain = Some(Drain { deadline, handled: 0, abandoned: 0, commit_given_up: false, reported: false });
        for slot in &mut self.slots {
            slot.drain_base = slot.committed_records();
            if slot.ownership == Ownership::Owned && slot.lane.open() > 0 {
                self.outputs.push(Output::Recall { slot: slot.index, epoch: slot.epoch() });
            }
        }
    }

    /// Closes revoked partitions whose run is over, or all of a revocation when its budget is.
    fn seal(&mut self, now: Instant) {
        for at in 0..self.revocations.len() {
            let over = now >= self.revocations[at].deadline;
            for position in 0..self.revocations[at].slots.len() {
                let index = self.revocations[at].slots[position];
                let slot = &mut self.slots[index as usize];
                if slot.ownership != Ownership::Revoking || (slot.lane.open() > 0 && !over) {
                    continue;
                }
                slot.ownership = Ownership::Sealed;
                if slot.lane.open() > 0 {
                    self.fence(index);
                }
            }
        }
    }

    fn hand_out(&mut self, out: &mut Vec<Output>) {
        for index in self.noted.drain(..) {
            let slot = &mut self.slots[index as usize];
            slot.noted = false;
            if self.drain.is_none() {
                out.extend(slot.next_run(self.config.run).map(Output::Deliver));
            }
        }
    }

    /// Pauses partitions that hold more than a fair share once half of the budget is taken: what they hold then
    /// and a share for each of the others fit the budget together, and one slow partition stops no other.
    fn control_fetching(&mut self, now: Instant, out: &mut Vec<Output>) {
        let draining = self.drain.is_some();
        let half = self.config.max_bytes / 2;
        let (over_half, below_quarter) = (self.bytes > half, self.bytes < half / 2);
        let share = half / self.owned().max(1);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for slot in self.slots.iter_mut().filter(|slot| slot.ownership == Ownership::Owned) {
            match slot.paused {
                None if draining || (over_half && slot.bytes > share && slot.lane.waiting() > 0) => {
                    slot.paused = Some(now);
                    pause.push(slot.source.clone());
                }
                Some(since)
                    if !draining
                        && can_resume(slot.bytes, share, below_quarter)
                        && now >= since + self.config.resume_after =>
                {
                    slot.paused = None;
                    resume.push(slot.source.clone());
                }
                _ => {}
            }
        }
        self.counters.pauses += pause.len() as u64;
        out.extend((!pause.is_empty()).then_some(Output::Pause(pause)));
        out.extend((!resume.is_empty()).then_some(Output::Resume(resume)));
    }

    fn owned(&self) -> usize {
        self.slots.iter().filter(|slot| slot.ownership == Ownership::Owned).count()
    }

    /// Somebody waits for what is finished to be committed.
    fn commit_is_urgent(&self) -> bool {
        let settled = match &self.drain {
            Some(drain) => !drain.reported && !self.slots.iter().any(Slot::is_running),
            None => false,
        };
        self.slots.iter().any(|slot| (settled || slot.ownership == Ownership::Sealed) && slot.to_commit().is_some())
    }

    fn commit(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !self.commits.is_due(now, self.commit_is_urgent()) {
            return;
        }
        let entries: Vec<_> = self.slots.iter().filter_map(Slot::to_commit).collect();
        let offsets =
            entries.iter().map(|entry| (self.slots[entry.slot as usize].source.clone(), entry.offset)).collect();
        if let Some(id) = self.commits.start(now, entries) {
            out.push(Output::Commit { id, offsets });
        }
    }

    fn hand_over(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut at = 0;
        while at < self.revocations.len() {
            let revocation = &self.revocations[at];
            let committed = revocation.slots.iter().all(|index| {
                let slot = &self.slots[*index as usize];
                slot.ownership == Ownership::Sealed && slot.to_commit().is_none() && !self.commits.names(*index)
            });
            if !committed && now < revocation.force_at {
                at += 1;
                continue;
            }
            let revocation = self.revocations.remove(at);
            for index in revocation.slots {
                let slot = &self.slots[index as usize];
                if slot.commit_given_up || slot.to_commit().is_some() {
                    self.counters.revoked_uncommitted += 1;
                }
                self.end_assignment(index);
            }
            out.push(Output::RevokeReady(revocation.partitions));
        }
    }

    fn end_drain(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(drain) = self.drain.as_ref().filter(|drain| !drain.reported) else { return };
        let settled = !self.slots.iter().any(Slot::is_running);
        let committed = !self.commits.is_outstanding() && self.slots.iter().all(|slot| slot.to_commit().is_none());
        if now < drain.deadline && !(settled && (committed || drain.commit_given_up)) {
            return;
        }
        let (mut handled, mut abandoned) = (drain.handled, drain.abandoned);
        for slot in &self.slots {
            handled += slot.committed_records() - slot.drain_base;
            abandoned += slot.offsets.received() - slot.committed_records();
        }
        out.push(Output::Drained { handled, abandoned });
        if let Some(drain) = &mut self.drain {
            drain.reported = true;
        }
    }

    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let revocations = self.revocations.iter().map(|revocation| {
            let sealed = |index: &u16| self.slots[*index as usize].ownership == Ownership::Sealed;
            if revocation.slots.iter().all(sealed) { revocation.force_at } else { revocation.deadline }
        });
        let drain = self.drain.as_ref().filter(|drain| !drain.reported).map(|drain| drain.deadline);
        let commit = self.commits.due_at(self.commit_is_urgent());
        let half = self.config.max_bytes / 2;
        let share = half / self.owned().max(1);
        let resume = self.slots.iter().filter(|_| self.drain.is_none()).filter_map(|slot| {
            let since = slot.paused?;
            can_resume(slot.bytes, share, self.bytes < half / 2).then(|| since + self.config.resume_after)
        });
        let patience = self.ahead_since.map(|since| since + self.config.patience).filter(|end| *end > now);
        revocations.chain(drain).chain(commit).chain(resume).chain(patience).min()
    }
}

/// A paused partition goes on when it holds at most half of its share, or when all together hold little.
fn can_resume(bytes: usize, share: usize, below_quarter: bool) -> bool {
    below_quarter || bytes <= share / 2
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throughput;
