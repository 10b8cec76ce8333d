//! Records that others hand on: a callback for each, and a short line in front of a full queue.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use super::{GENERATION, Publisher, RECORDS_SINK};
use crate::error::PublishOutcome;
use crate::event::{OutgoingRecord, RawRecord, Record, Topic, TopicPartition};
use crate::runtime::lock;
use crate::shutdown::{Phase, closed};
use crate::transport::{Completion, CompletionSink, Enqueued, Published, Receipt, RecordPublisher, Token};

/// How many records and bytes may stand in line while the client's queue is full.
pub(super) const MAX_WAITING: usize = 1000;
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Who waits for which slot. A slot is free again only when its publish is completed, so a late report never reaches
/// a stranger.
#[derive(Default)]
pub(super) struct Callbacks(Mutex<Slab>);

#[derive(Default)]
struct Slab {
    slots: Vec<Option<Published>>,
    free: Vec<u32>,
}

impl Callbacks {
    fn insert(&self, done: Published) -> u32 {
        let mut slab = lock(&self.0);
        match slab.free.pop() {
            Some(slot) => {
                slab.slots[slot as usize] = Some(done);
                slot
            }
            None => {
                slab.slots.push(Some(done));
                (slab.slots.len() - 1) as u32
            }
        }
    }

    fn take(&self, slot: u32) -> Option<Published> {
        let mut slab = lock(&self.0);
        let done = slab.slots.get_mut(slot as usize)?.take()?;
        slab.free.push(slot);
        Some(done)
    }
}

impl CompletionSink for Callbacks {
    fn complete(&self, completions: &[Completion]) {
        for completion in completions {
            // Called without the lock: a callback may hand on the next record.
            if let Some(done) = self.take(completion.token.slot()) {
                done(match &completion.error {
                    None => Ok(Receipt { partition: completion.partition, offset: completion.offset }),
                    Some(error) => Err(error.clone()),
                });
            }
        }
    }
}

/// Records in front of a full queue, the first one next.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

struct Waiting {
    token: Token,
    topic: Topic,
    partition: Option<i32>,
    /// The parts of the record in memory of their own; its place and offset say nothing yet.
    record: Record,
    deadline: Instant,
}

impl Waiting {
    fn outgoing(&self) -> OutgoingRecord<'_> {
        OutgoingRecord {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.record.timestamp,
            key: self.record.key(),
            value: self.record.value(),
            headers: self.record.headers(),
        }
    }
}

impl Line {
    /// Puts a record at the end; `false` when the line is full.
    fn push(&mut self, record: &OutgoingRecord<'_>, token: Token, deadline: Instant) -> bool {
        let OutgoingRecord { topic, partition, timestamp, key, value, headers } = *record;
        let full = self.waiting.len() >= MAX_WAITING || self.bytes + record.size() > MAX_WAITING_BYTES;
        if full && !self.waiting.is_empty() {
            return false;
        }
        let source = TopicPartition::new(topic.name.clone(), -1);
        let record = Record::new(source, -1, timestamp, key, headers, value);
        self.bytes += record.data().len();
        self.waiting.push_back(Waiting { token, topic: topic.clone(), partition, record, deadline });
        true
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.record.data().len();
        Some(first)
    }
}

impl Publisher {
    /// Runs on: delivery thread. Offers the records in line to the client again.
    pub(super) fn serve_line(&self) {
        loop {
            let mut line = lock(&self.line);
            let Some(first) = line.waiting.front() else { return };
            let error = match self.transport.send_on(&first.outgoing(), first.token) {
                Ok(Enqueued::Yes) => None,
                Ok(Enqueued::QueueFull) if Instant::now() < first.deadline => return,
                Ok(Enqueued::QueueFull) => Some(self.no_room(&first.topic)),
                Err(error) => Some(error),
            };
            let first = line.pop();
            drop(line);
            if let (Some(first), Some(error)) = (first, error) {
                self.fail(first.token, error);
            }
        }
    }

    /// Completes the records in line as not sent.
    pub(super) fn give_up_line(&self) {
        loop {
            let first = lock(&self.line).pop();
            let Some(first) = first else { return };
            self.fail(first.token, closed().outcome(PublishOutcome::NotSent));
        }
    }
}

impl RecordPublisher for Publisher {
    fn publish_record(&self, record: &RawRecord<'_>, done: Published) {
        let open = if self.phase.get() < Phase::Flushing { Ok(()) } else { Err(closed()) };
        let topic = match open.and_then(|()| self.topics.intern(record.topic)) {
            Ok(topic) => topic,
            Err(error) => return done(Err(self.refused(error.outcome(PublishOutcome::NotSent)))),
        };
        let outgoing = record.outgoing(&topic);
        let token = Token::new(GENERATION, RECORDS_SINK, self.callbacks.insert(done));
        self.accepted(1);
        // Held while the client is asked, so that nobody overtakes the line.
        let mut line = lock(&self.line);
        let may_go = line.waiting.is_empty();
        let sent = if may_go { self.transport.send_on(&outgoing, token) } else { Ok(Enqueued::QueueFull) };
        let refused = match sent {
            Ok(Enqueued::Yes) => None,
            Ok(Enqueued::QueueFull) if line.push(&outgoing, token, Instant::now() + self.timeout) => None,
            Ok(Enqueued::QueueFull) => Some(self.no_room(&topic)),
            Err(error) => Some(error),
        };
        drop(line);
        if let Some(error) = refused {
            self.fail(token, error);
        }
    }
}
