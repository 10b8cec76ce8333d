//! The engine under test, and what it would say and hear if it were broken on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::event::{Delivery, Finished, Outcome, Ticket, TopicPartition};
use crate::subscribe::engine::{Engine, Input, Output};

/// A defect that the rules must catch. It is made on the way between engine and host, where it looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// Commits name one record more than is finished.
    CommitEarly,
    /// All assignments of a partition have the same epoch.
    ForgetEpoch,
    /// An answer counts for the record's delivery of the next assignment.
    TakeLateAnswers,
    /// Two lanes swap the last records of their runs.
    SwapLanes,
    /// A record that failed or came back is never handed out again.
    LoseRetry,
    /// A record that failed counts as finished, without another attempt or a dead letter.
    FinishFailed,
    /// A dead letter counts as stored before it is.
    ForgetLetter,
    /// A partition is resumed once more.
    ResumeTwice,
    /// A run is handed out once more.
    HandOutTwice,
    /// A pause never ends.
    ForgetResume,
    /// Handlers that outlive a hand-over are not told.
    ForgetFence,
    /// A partition is handed over at once, with handlers running.
    HandOverEarly,
    /// What follows from time alone never happens.
    Oversleep,
}

impl Sabotage {
    pub(super) const ALL: [Sabotage; 13] = [
        Sabotage::CommitEarly,
        Sabotage::ForgetEpoch,
        Sabotage::TakeLateAnswers,
        Sabotage::SwapLanes,
        Sabotage::LoseRetry,
        Sabotage::FinishFailed,
        Sabotage::ForgetLetter,
        Sabotage::ResumeTwice,
        Sabotage::HandOutTwice,
        Sabotage::ForgetResume,
        Sabotage::ForgetFence,
        Sabotage::HandOverEarly,
        Sabotage::Oversleep,
    ];
}

/// The engine's only door in the simulation.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) engine: Engine,
    sabotage: Option<Sabotage>,
    /// By slot, the epoch that the engine gave its last delivery.
    epochs: BTreeMap<u16, u16>,
    /// What was handed out, by ticket.
    delivered: BTreeMap<u64, (TopicPartition, i64)>,
    seen: BTreeSet<u64>,
    /// To be said once more.
    resumed: Vec<TopicPartition>,
    repeated: Option<Vec<Delivery>>,
    handed_over: Vec<Vec<TopicPartition>>,
}

impl Wire {
    pub(super) fn new(engine: Engine, sabotage: Option<Sabotage>) -> Self {
        Wire {
            engine,
            sabotage,
            epochs: BTreeMap::new(),
            delivered: BTreeMap::new(),
            seen: BTreeSet::new(),
            resumed: Vec::new(),
            repeated: None,
            handed_over: Vec::new(),
        }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.engine.wake_at().filter(|_| self.sabotage != Some(Sabotage::Oversleep))
    }

    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) {
        match (self.sabotage, input) {
            (Some(Sabotage::ForgetEpoch | Sabotage::TakeLateAnswers), Input::Finished(answers)) => {
                let answers: Vec<_> = answers.iter().map(|answer| self.misread(answer)).collect();
                self.engine.handle(now, Input::Finished(&answers));
            }
            (Some(Sabotage::FinishFailed), Input::Finished(answers)) => {
                let mut answers = answers.to_vec();
                let failed = answers.iter_mut().filter(|answer| answer.outcome == Outcome::Failed);
                failed.for_each(|answer| answer.outcome = Outcome::Done);
                self.engine.handle(now, Input::Finished(&answers));
            }
            (Some(Sabotage::HandOverEarly), Input::Revoked(partitions)) => {
                self.handed_over.push(partitions.clone());
                self.engine.handle(now, Input::Revoked(partitions));
            }
            (_, input) => self.engine.handle(now, input),
        }
    }

    fn misread(&self, answer: &Finished) -> Finished {
        let ticket = answer.ticket;
        let epoch = self.epochs.get(&ticket.slot()).copied().unwrap_or_default();
        let own = Ticket::new(epoch, ticket.slot(), ticket.sequence());
        if self.sabotage == Some(Sabotage::ForgetEpoch) || own == ticket {
            return Finished { ticket: own, ..answer.clone() };
        }
        let record = self.delivered.get(&ticket.0);
        let current = self.delivered.iter().rfind(|(other, at)| {
            let other = Ticket(**other);
            Some(*at) == record && (other.slot(), other.epoch()) == (ticket.slot(), epoch)
        });
        Finished { ticket: current.map_or(ticket, |(other, _)| Ticket(*other)), ..answer.clone() }
    }

    pub(super) fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.engine.advance(now, out);
        match self.sabotage {
            None | Some(Sabotage::Oversleep | Sabotage::FinishFailed) => {}
            Some(Sabotage::ForgetLetter) => self.forget_letters(now, out),
            Some(Sabotage::CommitEarly) => out.iter_mut().for_each(commit_early),
            Some(Sabotage::ForgetEpoch) => out.iter_mut().for_each(|output| self.forget_epoch(output)),
            Some(Sabotage::TakeLateAnswers) => out.iter().for_each(|output| self.remember(output)),
            Some(Sabotage::SwapLanes) => swap_lanes(out),
            Some(Sabotage::LoseRetry) => self.lose_retries(out),
            Some(Sabotage::ResumeTwice) => self.resume_twice(out),
            Some(Sabotage::HandOutTwice) => self.hand_out_twice(out),
            Some(Sabotage::ForgetResume) => out.retain(|output| !matches!(output, Output::Resume(_))),
            Some(Sabotage::ForgetFence) => out.retain(|output| !matches!(output, Output::Fenced { .. })),
            Some(Sabotage::HandOverEarly) => {
                out.retain(|output| !matches!(output, Output::RevokeReady(_)));
                out.extend(self.handed_over.drain(..).map(Output::RevokeReady));
            }
        }
    }

    fn remember(&mut self, output: &Output) {
        let Output::Deliver(run) = output else { return };
        for delivery in run {
            let ticket = delivery.ticket();
            self.epochs.insert(ticket.slot(), ticket.epoch());
            self.delivered.insert(ticket.0, (delivery.record().source.clone(), delivery.offset()));
        }
    }

    fn forget_epoch(&mut self, output: &mut Output) {
        self.remember(output);
        match output {
            Output::Deliver(run) => {
                for delivery in run {
                    delivery.ticket = Ticket::new(0, delivery.ticket.slot(), delivery.ticket.sequence());
                }
            }
            Output::Recall { epoch, .. } | Output::Fenced { epoch, .. } => *epoch = 0,
            _ => {}
        }
    }

    fn forget_letters(&mut self, now: Instant, out: &mut Vec<Output>) {
        for output in &*out {
            if let Output::DeadLetter(letter) = output {
                self.engine.handle(now, Input::DeadLettered { ticket: letter.ticket, result: Ok(()) });
            }
        }
    }

    fn lose_retries(&mut self, out: &mut Vec<Output>) {
        for output in out.iter_mut() {
            if let Output::Deliver(run) = output {
                run.retain(|delivery| self.seen.insert(delivery.ticket().0));
            }
        }
        out.retain(|output| !matches!(output, Output::Deliver(run) if run.is_empty()));
    }

    fn resume_twice(&mut self, out: &mut Vec<Output>) {
        let again = std::mem::take(&mut self.resumed);
        for output in &*out {
            if let Output::Resume(list) = output {
                self.resumed.extend(list.iter().cloned());
            }
        }
        out.extend((!again.is_empty()).then_some(Output::Resume(again)));
    }

    fn hand_out_twice(&mut self, out: &mut Vec<Output>) {
        let again = self.repeated.take();
        self.repeated = out.iter().find_map(|output| match output {
            Output::Deliver(run) => Some(run.clone()),
            _ => None,
        });
        out.extend(again.map(Output::Deliver));
    }
}

fn commit_early(output: &mut Output) {
    if let Output::Commit { offsets, .. } = output {
        offsets.iter_mut().for_each(|(_, offset)| *offset += 1);
    }
}

fn swap_lanes(out: &mut [Output]) {
    let mut runs = out.iter_mut().filter_map(|output| match output {
        Output::Deliver(run) => run.last_mut(),
        _ => None,
    });
    if let (Some(one), Some(other)) = (runs.next(), runs.next()) {
        std::mem::swap(one, other);
    }
}
