//! What the poll thread does about starts: it asks before it answers the group, and moves partitions afterwards.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Poller;
use crate::event::TopicPartition;
use crate::log::{Level, LogRecord};
use crate::policy::StartFrom;
use crate::runtime::lock;
use crate::subscribe::assignment::{Move, tell};
use crate::subscribe::engine::Input;
use crate::subscribe::starts::{Answer, Start};

impl Poller {
    pub(super) fn from(&self, source: &TopicPartition) -> StartFrom {
        let wanted = lock(&self.shared.wanted);
        wanted.iter().find(|one| *one.topic == *source.topic).map(|one| one.policy.from).unwrap_or_default()
    }

    /// The group gave partitions. It waits for its answer until their starts are known.
    pub(super) fn offered(&mut self, now: Instant, partitions: Vec<TopicPartition>) {
        self.settle_offer();
        let from: Vec<StartFrom> = partitions.iter().map(|source| self.from(source)).collect();
        self.assignment.offered(now, partitions, from);
    }

    /// The group does not wait any longer: what it gave begins where the client finds its start.
    pub(super) fn settle_offer(&mut self) {
        if let Some(starts) = self.assignment.take_offer() {
            self.begin(starts);
        }
    }

    /// The lookup thread has answered.
    pub(super) fn answered(&mut self, now: Instant, answer: Answer) {
        if let Some(error) = &answer.error {
            self.recorder.failed(error);
            let message = format!("not every start of a partition could be looked up, which goes on: {error}");
            self.log.write(LogRecord::new(Level::Warn, "start_unknown", message).because(error.clone()));
        }
        if let Some(starts) = self.assignment.answered(now, answer) {
            self.begin(starts);
        }
    }

    fn begin(&mut self, starts: Vec<Start>) {
        starts.iter().for_each(|start| self.tell_reset(&start.source, start.instead_of, start.offset));
        let at: Vec<_> = starts.iter().map(|start| (start.source.clone(), start.offset)).collect();
        if let Err(error) = self.consumer.assign(&at) {
            self.trouble(error);
        }
        self.assignment.begun(&starts);
        self.input(Input::Assigned(starts.into_iter().map(|start| start.source).collect()));
    }

    /// The client has nowhere to go on from in this partition.
    pub(super) fn out_of_range(&mut self, source: TopicPartition) {
        let position = self.engine.partitions().find(|one| *one.source == source).and_then(|one| one.position);
        let from = self.from(&source);
        self.assignment.out_of_range(source, position, from);
    }

    /// Runs on: poll thread, in every round. Moves what has a new offset, unless the group waits for an answer, which
    /// the client would take the move for.
    pub(super) fn attend_to_starts(&mut self) {
        let now = Instant::now();
        if let Some(starts) = self.assignment.take_late_offer(now) {
            self.begin(starts);
        }
        self.assignment.look_again(now);
        if self.engine.is_revoking() || self.assignment.is_offered() {
            return;
        }
        for one in self.assignment.take_moves() {
            self.relocate(now, one);
        }
    }

    fn relocate(&mut self, now: Instant, one: Move) {
        match self.consumer.seek(&[(one.source.clone(), one.offset)]) {
            Ok(()) => {
                self.tell_reset(&one.source, one.instead_of, Some(one.offset));
                self.assignment.moved(&one.source, one.offset);
                // A new epoch: what handlers still have in hand says nothing about what comes now.
                self.input(Input::Lost(vec![one.source.clone()]));
                self.input(Input::Assigned(vec![one.source]));
                tell(one.done, Ok(()));
            }
            Err(error) if one.done.is_some() => tell(one.done, Err(error)),
            Err(error) => {
                self.trouble(error);
                self.assignment.find_again(now, one);
            }
        }
    }

    /// A group that had an offset never starts elsewhere in silence.
    fn tell_reset(&self, source: &TopicPartition, old: Option<i64>, new: Option<i64>) {
        let (Some(old), Some(new)) = (old, new) else { return };
        self.recorder.offset_resets.fetch_add(1, Ordering::Relaxed);
        let message = format!("{source} goes on at {new}: its offset {old} is not in the log any more");
        let record = LogRecord::new(Level::Warn, "offset_reset", message);
        let record = record.with("topic", &*source.topic).with("partition", source.partition);
        self.log.write(record.with("old", old).with("new", new));
    }
}
