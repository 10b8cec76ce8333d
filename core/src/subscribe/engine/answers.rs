//! What handlers answer, and what the policy makes of it.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::event::{Failure, Finished, Outcome, Ticket};
use crate::policy::{DeadLetterReason, Halted};
use crate::subscribe::dead_letters::DeadLetter;
use crate::subscribe::engine::{Engine, Output, Skipped};
use crate::subscribe::retry::{self, Standing, Trouble, Verdict};
use crate::subscribe::slots::{Answered, MAX_PARKED};

impl Engine {
    pub(super) fn finished(&mut self, now: Instant, answer: &Finished) {
        let (index, sequence) = (answer.ticket.slot(), answer.ticket.sequence());
        let slot = match self.slots.get_mut(index as usize) {
            Some(slot) if slot.accepts(answer.ticket.epoch()) => slot,
            _ => {
                self.counters.late += 1;
                self.counters.handled_after_revoke += u64::from(answer.outcome != Outcome::Released);
                return;
            }
        };
        if slot.handed_out(sequence).is_none() {
            self.counters.late += 1;
            return;
        }
        match answer.outcome {
            Outcome::Done => {
                self.counters.handled += 1;
                self.finish(now, index, sequence, false);
            }
            Outcome::Released => {
                self.counters.released += 1;
                self.give_back(now, index, sequence, false);
            }
            outcome => self.went_wrong(now, index, sequence, outcome, answer.failure.clone()),
        }
        self.note(index);
    }

    fn went_wrong(&mut self, now: Instant, index: u16, sequence: u32, outcome: Outcome, failure: Option<Box<Failure>>) {
        let slot = &mut self.slots[index as usize];
        let standing = if self.drain.is_some() { Standing::Ending } else { slot.standing() };
        let policy = Arc::clone(&slot.policy);
        let Some(item) = slot.handed_out(sequence) else { return };
        let answer = (outcome, failure.as_ref().and_then(|failure| failure.retryable));
        let verdict = retry::judge(&policy, answer, item.trouble.as_deref(), standing, now, &mut self.dice);
        let failed = outcome == Outcome::Failed;
        self.counters.failed += u64::from(failed);
        if outcome == Outcome::Skip {
            self.counters.skipped += 1;
        } else {
            item.trouble = Some(Trouble::after(item.trouble.take(), now, failure));
        }
        match verdict {
            Verdict::Finish => self.finish(now, index, sequence, failed),
            Verdict::GiveBack => self.give_back(now, index, sequence, failed),
            Verdict::Retry(delay) => {
                let due = now + delay;
                if let Some(trouble) = &mut item.trouble {
                    trouble.due = Some(due);
                }
                let ticket = slot.ticket(sequence);
                self.timers.set(due, ticket);
                self.give_back(now, index, sequence, failed);
            }
            Verdict::Bury(reason) => self.bury(now, index, sequence, reason, failed),
            Verdict::Skip(reason) => self.skip(now, index, sequence, reason, failed),
            Verdict::Halt(reason) => {
                self.give_back(now, index, sequence, failed);
                self.halt_for(index, sequence, reason);
            }
        }
    }

    fn finish(&mut self, now: Instant, index: u16, sequence: u32, failed: bool) {
        let slot = &mut self.slots[index as usize];
        let before = slot.window.passed();
        let answered = slot.finish(now, sequence, failed);
        self.freed(index, before, answered);
    }

    fn freed(&mut self, index: u16, passed_before: u64, answered: Answered) {
        let slot = &self.slots[index as usize];
        self.bytes -= answered.freed;
        if slot.window.passed() != passed_before {
            self.commits.want();
        }
        if answered.run_over {
            self.topics.lanes_ended(slot.topic, 1);
        }
    }

    fn give_back(&mut self, now: Instant, index: u16, sequence: u32, failed: bool) {
        let slot = &mut self.slots[index as usize];
        if slot.give_back(now, sequence, failed) {
            self.topics.lanes_ended(slot.topic, 1);
        }
    }

    /// Settles what no handler shall have at the head of a lane.
    pub(super) fn settle_doomed(&mut self, now: Instant, index: u16, lane: u32) {
        while let Some(sequence) = self.slots[index as usize].take_doomed(now, lane) {
            let slot = &self.slots[index as usize];
            let doom = slot.window.get(sequence).and_then(|item| item.trouble.as_ref()?.doom);
            let verdict = match doom {
                Some(DeadLetterReason::Invalid) => retry::on_invalid(&slot.policy),
                doom => Verdict::Bury(doom.unwrap_or(DeadLetterReason::Parked)),
            };
            match verdict {
                Verdict::Bury(reason) => self.bury(now, index, sequence, reason, false),
                Verdict::Halt(reason) => self.halt_for(index, sequence, reason),
                _ => self.skip(now, index, sequence, DeadLetterReason::Invalid, false),
            }
            if self.slots[index as usize].halted.is_some() {
                return;
            }
        }
    }

    fn skip(&mut self, now: Instant, index: u16, sequence: u32, reason: DeadLetterReason, failed: bool) {
        let slot = &self.slots[index as usize];
        if let Some(item) = slot.window.get(sequence) {
            let trouble = item.trouble.as_deref();
            self.outputs.push(Output::Skipped(Skipped {
                record: item.record.clone(),
                reason,
                failure: trouble.and_then(|trouble| trouble.failure.clone()),
                attempts: trouble.map_or(0, |trouble| trouble.attempts),
            }));
        }
        match reason {
            DeadLetterReason::Invalid => self.counters.invalid += 1,
            _ => self.counters.skipped += 1,
        }
        self.finish(now, index, sequence, failed);
    }

    fn bury(&mut self, now: Instant, index: u16, sequence: u32, reason: DeadLetterReason, failed: bool) {
        self.counters.invalid += u64::from(reason == DeadLetterReason::Invalid);
        let slot = &mut self.slots[index as usize];
        if !slot.park(sequence) {
            if slot.handed_out(sequence).is_some() {
                self.give_back(now, index, sequence, failed);
            }
            self.halt(index, sequence, format!("more than {MAX_PARKED} keys of the partition are parked"));
            return;
        }
        if let Some(trouble) = slot.window.get_mut(sequence).and_then(|item| item.trouble.as_mut()) {
            trouble.doom = Some(reason);
            trouble.due = None;
        }
        if slot.bury(now, sequence, failed) {
            self.topics.lanes_ended(slot.topic, 1);
        }
        self.write(index, sequence);
    }

    /// Has a dead letter written.
    fn write(&mut self, index: u16, sequence: u32) {
        let slot = &self.slots[index as usize];
        let Some(item) = slot.window.get(sequence) else { return };
        let Some(trouble) = &item.trouble else { return };
        self.outputs.push(Output::DeadLetter(DeadLetter {
            ticket: slot.ticket(sequence),
            record: item.record.clone(),
            topic: slot.policy.dead_letter_topic_of(&slot.source.topic),
            reason: trouble.doom.unwrap_or(DeadLetterReason::Exhausted),
            failure: trouble.failure.clone(),
            attempts: trouble.attempts,
            first_failed: trouble.first_failed,
            last_failed: trouble.last_failed,
        }));
    }

    pub(super) fn dead_lettered(&mut self, now: Instant, ticket: Ticket, result: Result<()>) {
        let (index, sequence) = (ticket.slot(), ticket.sequence());
        let Some(slot) = self.slots.get_mut(index as usize).filter(|slot| slot.accepts(ticket.epoch())) else {
            return;
        };
        let goes_on = self.drain.is_none() && slot.standing() == Standing::Flowing;
        let before = slot.window.passed();
        let Some(trouble) = slot.buried(sequence).and_then(|item| item.trouble.as_mut()) else { return };
        match result {
            Ok(()) => {
                let answered = slot.written(now, sequence);
                self.counters.dead_lettered += 1;
                self.freed(index, before, answered);
                self.note(index);
            }
            Err(error) => {
                trouble.refusals += 1;
                let due = now + trouble.write_delay();
                trouble.due = Some(due);
                slot.not_written();
                if !goes_on {
                    return;
                }
                if error.is_retryable() {
                    self.timers.set(due, ticket);
                } else {
                    self.halt(index, sequence, format!("its dead letter was refused: {error}"));
                }
            }
        }
    }

    fn halt_for(&mut self, index: u16, sequence: u32, reason: DeadLetterReason) {
        let trouble = self.slots[index as usize].window.get(sequence).and_then(|item| item.trouble.as_ref());
        let why = trouble.and_then(|trouble| trouble.failure.as_ref()).map(|failure| failure.message.clone());
        let what = match reason {
            DeadLetterReason::Invalid => "it holds no event",
            DeadLetterReason::Fatal => "its handler cannot succeed",
            _ => "its last attempt failed",
        };
        self.counters.invalid += u64::from(reason == DeadLetterReason::Invalid);
        self.halt(index, sequence, why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}")));
    }

    /// Nothing of the partition is handed out any more, and nothing behind this record is committed.
    fn halt(&mut self, index: u16, sequence: u32, reason: String) {
        let slot = &mut self.slots[index as usize];
        let Some(offset) = slot.window.offset(sequence) else { return };
        slot.halted = Some(offset);
        self.outputs.push(Output::Halted(Halted { source: slot.source.clone(), offset, reason }));
        let (records, bytes) = slot.drop_waiting();
        self.bytes -= bytes;
        self.counters.handed_over += records as u64;
    }

    /// Lets everything go on whose time has come.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some((at, ticket)) = self.timers.first() {
            let (index, sequence) = (ticket.slot(), ticket.sequence());
            let slot = &mut self.slots[index as usize];
            let awaited = self.drain.is_none() && slot.epoch() == ticket.epoch() && slot.awaits(at, sequence);
            if awaited && at > now {
                return;
            }
            self.timers.pop();
            if !awaited {
                continue;
            }
            if slot.wake(now, sequence) {
                self.write(index, sequence);
            }
            self.note(index);
        }
    }
}
