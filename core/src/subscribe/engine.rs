//! The engine: what is handed out, committed, paused and handed over, and when.
//!
//! A state machine without thread, clock, lock or Kafka: its host tells it what happened ([`Engine::handle`]) and
//! carries out what follows ([`Engine::advance`]). So it runs the same under Kafka and under a simulator.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Failure, Record, TopicPartition};
use crate::policy::{DeadLetterReason, OnInvalid, TopicSubscription};
use crate::subscribe::commits::CommitSchedule;
use crate::subscribe::keys::LaneIds;
use crate::subscribe::retry::{Dice, Timers, Trouble};
use crate::subscribe::slots::{Ownership, Slot};
use crate::subscribe::topics::Topics;

mod answers;
mod drain;
mod fetching;
mod handover;
mod messages;
pub(crate) mod stats;

use drain::Drain;
use handover::Revocation;
pub(crate) use messages::{EngineConfig, Input, Output, Skipped};
use stats::Counters;

/// The state of one consumer.
#[derive(Debug)]
pub(crate) struct Engine {
    config: EngineConfig,
    slots: Vec<Slot>,
    by_source: HashMap<TopicPartition, u16>,
    last_source: u16,
    topics: Topics,
    lane_ids: LaneIds,
    timers: Timers,
    dice: Dice,
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
            topics: Topics::default(),
            lane_ids: LaneIds::default(),
            timers: Timers::default(),
            dice: Dice::new(config.seed),
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
            Input::Record(record, occurred_on) => self.record(now, record, occurred_on),
            Input::Invalid(record, failure) => self.invalid(now, record, failure),
            Input::Finished(answers) => answers.iter().for_each(|answer| self.finished(now, answer)),
            Input::DeadLettered { ticket, result } => self.dead_lettered(now, ticket, result),
            Input::Committed { id, result } => self.committed(now, id, result),
            Input::Topics(topics) => self.topics(topics),
            Input::Drain { deadline } => self.begin_drain(deadline),
        }
    }

    /// Runs on: poll thread. Says what follows from all that was handled and from the time. To be called after
    /// each batch of inputs and at [`Engine::wake_at`].
    pub(crate) fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.wake_due(now);
        self.seal(now);
        out.append(&mut self.outputs);
        self.unpause_assigned(out);
        // First, because lanes that leave with their partitions make room for others, and because what is handed over
        // must not be committed in the same breath.
        self.hand_over(now, out);
        self.hand_out(now, out);
        self.commit(now, out);
        self.control_fetching(now, out);
        self.end_drain(now, out);
        self.wake_at = self.next_wake(now);
    }

    /// When [`Engine::advance`] has something to do by time alone, as of its last call; always later than that
    /// call's time.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// The engine waits for partitions to be handed over.
    pub(crate) fn is_revoking(&self) -> bool {
        !self.revocations.is_empty()
    }

    /// Whether the handlers of a partition's topic take records that hold no event.
    pub(crate) fn takes_raw(&mut self, source: &TopicPartition) -> bool {
        self.slot_of(source).is_some_and(|index| self.slots[index as usize].policy.raw)
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
            slot.policy = self.topics.get(slot.topic).policy.clone();
            slot.begin();
            self.came_paused |= slot.left_paused;
        }
    }

    fn add_slot(&mut self, source: &TopicPartition) -> Option<u16> {
        let (Ok(index), Some(topic)) = (u16::try_from(self.slots.len()), self.topics.index(&source.topic)) else {
            let error = Error::new(ErrorKind::IllegalState, "a member cannot consume more than 65536 partitions")
                .with("topic", &source.topic)
                .with("partition", source.partition)
                .hint("add members to the group, or subscribe to fewer topics");
            self.outputs.push(Output::Failed(error));
            return None;
        };
        let policy = self.topics.get(topic).policy.clone();
        self.slots.push(Slot::new(source.clone(), index, topic, policy, self.first_sequence));
        self.by_source.insert(source.clone(), index);
        Some(index)
    }

    fn record(&mut self, now: Instant, record: Arc<Record>, occurred_on: Option<i64>) {
        let Some(index) = self.open_slot(&record.source) else { return };
        if self.receive(now, index, record, occurred_on, None) {
            self.counters.received += 1;
        }
    }

    fn invalid(&mut self, now: Instant, record: Arc<Record>, failure: Box<Failure>) {
        let Some(index) = self.open_slot(&record.source) else { return };
        let slot = &mut self.slots[index as usize];
        if slot.policy.on_invalid != OnInvalid::Skip {
            let doom = Trouble::doomed(now, DeadLetterReason::Invalid, Some(failure));
            self.receive(now, index, record, None, Some(Box::new(doom)));
            return;
        }
        let before = slot.window.watermark();
        if !slot.window.skip(record.offset) {
            self.counters.duplicates += 1;
            return;
        }
        self.counters.invalid += 1;
        if slot.window.watermark() != before {
            self.commits.want();
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        index: u16,
        record: Arc<Record>,
        occurred_on: Option<i64>,
        doom: Option<Box<Trouble>>,
    ) -> bool {
        let size = record.size();
        let taken = self.slots[index as usize].receive(now, record, occurred_on, doom, &mut self.lane_ids);
        if taken {
            self.bytes += size;
            self.note(index);
        } else {
            self.counters.duplicates += 1;
        }
        taken
    }

    /// The slot of a partition that was assigned before.
    fn slot_of(&mut self, source: &TopicPartition) -> Option<u16> {
        // Records come in stretches of one partition, so most look-ups end here.
        if self.slots.get(self.last_source as usize).is_none_or(|slot| slot.source != *source) {
            self.last_source = *self.by_source.get(source)?;
        }
        Some(self.last_source)
    }

    /// The slot of a partition whose records are taken.
    fn open_slot(&mut self, source: &TopicPartition) -> Option<u16> {
        let slot = self.slot_of(source).filter(|_| self.drain.is_none());
        let open = slot.filter(|index| self.slots[*index as usize].ownership == Ownership::Owned);
        self.counters.stray += u64::from(open.is_none());
        open
    }

    /// Queues a partition that has something to hand out.
    fn note(&mut self, index: u16) {
        let slot = &mut self.slots[index as usize];
        if !slot.queued && slot.can_hand_out() {
            slot.queued = true;
            self.topics.queue(slot.topic, index);
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

    fn topics(&mut self, subscriptions: &[TopicSubscription]) {
        for subscription in subscriptions {
            let Some(topic) = self.topics.index(&subscription.topic.as_str().into()) else { continue };
            self.topics.set_policy(topic, &subscription.policy);
            let policy = &self.topics.get(topic).policy;
            for slot in self.slots.iter_mut().filter(|slot| slot.topic == topic) {
                slot.policy = policy.clone();
                if slot.ownership == Ownership::Owned {
                    slot.unhold();
                }
            }
        }
        (0..self.slots.len()).for_each(|index| self.note(index as u16));
    }

    fn hand_out(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.drain.is_some() {
            return;
        }
        while let Some(index) = self.topics.next_turn() {
            let slot = &mut self.slots[index as usize];
            slot.queued = false;
            if !slot.can_hand_out() {
                continue;
            }
            let Some(lane) = slot.next_ready() else { continue };
            self.settle_doomed(now, index, lane);
            out.append(&mut self.outputs);
            let slot = &mut self.slots[index as usize];
            if slot.halted.is_none() && slot.can_start(lane, now) {
                let run = slot.next_run(lane, self.config.run, now);
                self.topics.lane_started(slot.topic);
                self.counters.retries += run.iter().filter(|delivery| delivery.attempt > 1).count() as u64;
                out.push(Output::Deliver(run));
            } else {
                slot.settle_lane(lane, now);
            }
            self.note(index);
        }
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

    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let commit = self.commits.due_at(self.commit_is_urgent());
        let retry = self.timers.first().map(|(at, _)| at).filter(|_| self.drain.is_none());
        let others = [self.hand_over_at(), self.drain_ends_at(), commit, retry, self.fetching_at(now)];
        others.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throughput;
