//! The publishing half of one bus: what waits to be stored and what waits to be acknowledged.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::lock;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::Record;
use crate::transport::{Completion, Token};

/// A record that the broker has not seen yet.
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) slip: Slip,
}

/// What is kept of a publish until it is completed.
pub(super) struct Slip {
    token: Token,
    partition: i32,
    size: usize,
    queued_at: Instant,
}

/// The end of a publish that was not told yet.
pub(super) struct Ack {
    completion: Completion,
    size: usize,
    queued_at: Instant,
}

impl Pending {
    pub(super) fn new(record: Record, token: Token) -> Self {
        let slip = Slip { token, partition: record.source.partition, size: record.size(), queued_at: Instant::now() };
        Pending { record, slip }
    }

    fn give_up(self, why: &'static str) -> Ack {
        let error = given_up(why, PublishOutcome::NotSent).with("topic", &self.record.source.topic);
        self.slip.end(Err(error))
    }
}

impl Slip {
    pub(super) fn end(self, result: Result<i64>) -> Ack {
        let (offset, error) = match result {
            Ok(offset) => (offset, None),
            Err(error) => (-1, Some(error)),
        };
        let completion = Completion { token: self.token, partition: self.partition, offset, error };
        Ack { completion, size: self.size, queued_at: self.queued_at }
    }
}

impl Ack {
    fn give_up(mut self, why: &'static str) -> Ack {
        // What the broker refused is certain, whoever stops waiting.
        self.completion.error.get_or_insert_with(|| given_up(why, PublishOutcome::Unknown));
        self
    }
}

fn given_up(why: &'static str, outcome: PublishOutcome) -> Error {
    Error::new(ErrorKind::Timeout, why).outcome(outcome)
}

#[derive(Default)]
pub(super) struct Queues {
    pending: VecDeque<Pending>,
    unacked: VecDeque<Ack>,
    ended: Vec<Ack>,
    /// Publishes that were taken and not completed, wherever they are.
    outstanding: usize,
    bytes: usize,
    pub(super) closed: bool,
    changed: bool,
    woken: bool,
}

impl Queues {
    pub(super) fn has_room(&self, size: usize, records: usize, bytes: usize) -> bool {
        // A record above the limit may travel alone, or it could never be sent.
        self.outstanding == 0 || (self.outstanding < records && self.bytes + size <= bytes)
    }

    fn push(&mut self, pending: Pending) {
        self.outstanding += 1;
        self.bytes += pending.slip.size;
        self.pending.push_back(pending);
        self.changed = true;
    }

    fn next_expiry(&self, timeout: Duration) -> Option<Instant> {
        let pending = self.pending.front().map(|pending| pending.slip.queued_at);
        let unacked = self.unacked.front().map(|ack| ack.queued_at);
        [pending, unacked].into_iter().flatten().min().and_then(|oldest| oldest.checked_add(timeout))
    }
}

#[derive(Default)]
pub(super) struct Outbox {
    queues: Mutex<Queues>,
    changed: Condvar,
}

impl Outbox {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }

    pub(super) fn send(&self, mut queues: MutexGuard<'_, Queues>, pending: Pending) {
        queues.push(pending);
        drop(queues);
        self.changed.notify_one();
    }

    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }

    /// Something outside has changed: whether the broker answers, or whether it acknowledges.
    pub(super) fn look_again(&self) {
        self.lock().changed = true;
        self.changed.notify_all();
    }

    pub(super) fn give_up_all(&self, why: &'static str) {
        let mut queues = self.lock();
        let Queues { pending, unacked, ended, .. } = &mut *queues;
        ended.extend(unacked.drain(..).map(|ack| ack.give_up(why)));
        ended.extend(pending.drain(..).map(|pending| pending.give_up(why)));
        queues.changed = true;
        drop(queues);
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.give_up_all("the client was closed before the broker acknowledged the record");
    }

    /// What is over its time or given up, and, when the broker answers, what it is to store.
    pub(super) fn take(&self, reachable: bool, acks: bool, timeout: Duration) -> (Vec<Ack>, VecDeque<Pending>) {
        let mut queues = self.lock();
        queues.changed = false;
        let now = Instant::now();
        let late = |queued_at: Instant| now.saturating_duration_since(queued_at) >= timeout;
        let mut ended = std::mem::take(&mut queues.ended);
        while let Some(ack) = pop_front_if(&mut queues.unacked, |ack| acks || late(ack.queued_at)) {
            ended.push(if acks { ack } else { ack.give_up("the broker did not acknowledge the record in time") });
        }
        while let Some(pending) = pop_front_if(&mut queues.pending, |pending| late(pending.slip.queued_at)) {
            ended.push(pending.give_up("the broker could not be reached in time"));
        }
        (ended, if reachable { std::mem::take(&mut queues.pending) } else { VecDeque::new() })
    }

    pub(super) fn hold(&self, acks: Vec<Ack>) {
        self.lock().unacked.extend(acks);
    }

    /// Makes room, so that a sink that sends again finds it.
    pub(super) fn complete(&self, ended: Vec<Ack>) -> Vec<Completion> {
        let mut queues = self.lock();
        queues.outstanding -= ended.len();
        queues.bytes -= ended.iter().map(|ack| ack.size).sum::<usize>();
        drop(queues);
        ended.into_iter().map(|ack| ack.completion).collect()
    }

    /// Waits for something to do. `false`: the time is over or the caller was woken.
    pub(super) fn wait(&self, until: Option<Instant>, timeout: Duration) -> bool {
        let mut queues = self.lock();
        loop {
            if std::mem::take(&mut queues.woken) {
                return false;
            }
            let now = Instant::now();
            let expiry = queues.next_expiry(timeout);
            if queues.changed || expiry.is_some_and(|expiry| expiry <= now) {
                return true;
            }
            if until.is_some_and(|until| until <= now) {
                return false;
            }
            queues = match [until, expiry].into_iter().flatten().min() {
                Some(next) => self.changed.wait_timeout(queues, next - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn pop_front_if<T>(queue: &mut VecDeque<T>, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
    if wanted(queue.front()?) { queue.pop_front() } else { None }
}
