//! The way in for language faces: packed frames, handed to the client by the delivery thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{GENERATION, Publisher};
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{HeadersBuf, OutgoingRecord, Topic};
use crate::frame::{Frame, Frames};
use crate::log::{Level, LogRecord};
use crate::runtime::lock;
use crate::shutdown::{Phase, closed};
use crate::transport::{Enqueued, Token};

/// So few frames are enqueued by their caller: waking the delivery thread would take longer than that.
const FRAMES_BY_CALLER: u32 = 4;

/// Publishes packed frames on behalf of a language face.
///
/// The face bounds what is in flight; the bytes are copied once, so that the caller's memory is free again when
/// the call returns, and enqueued by the delivery thread, so that the caller never waits for a full queue.
pub struct FramePublisher {
    publisher: Arc<Publisher>,
    sink: u8,
    /// Enqueues on the caller's thread.
    by_caller: Mutex<Feeder>,
}

/// Batches on their way to the delivery thread, the first one next.
///
/// That thread enqueues because it frees, too: memory that another thread has freed is dear, and a record is six pieces.
#[derive(Default)]
pub(super) struct Arrivals {
    batches: Mutex<VecDeque<Batch>>,
    /// Batches that are not enqueued to the end.
    open: AtomicUsize,
    /// The delivery thread has been woken and has not looked yet.
    woken: AtomicBool,
    spare: Spare,
}

struct Batch {
    sink: u8,
    bytes: Vec<u8>,
    /// What lies before is enqueued.
    at: usize,
}

impl Arrivals {
    /// Copies frames; `true` when the delivery thread has to be woken.
    fn add(&self, sink: u8, frames: &[u8]) -> bool {
        let batch = Batch { sink, bytes: self.spare.copy(frames), at: 0 };
        self.open.fetch_add(1, Ordering::SeqCst);
        lock(&self.batches).push_back(batch);
        !self.woken.swap(true, Ordering::SeqCst)
    }

    fn take(&self) -> VecDeque<Batch> {
        // Lowered before the look, so that what comes behind it wakes again.
        self.woken.store(false, Ordering::SeqCst);
        std::mem::take(&mut lock(&self.batches))
    }

    /// Gives back what the client had no room for, in front of what came meanwhile.
    fn put_back(&self, mut batches: VecDeque<Batch>) {
        let mut all = lock(&self.batches);
        batches.append(&mut all);
        *all = batches;
    }

    fn done(&self, batch: Batch) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.spare.keep(batch.bytes);
    }
}

/// Memory of batches that were fed, for batches to come: fresh memory costs a page fault for every 4 KiB.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    const MAX_BATCHES: usize = 8;
    const MAX_BYTES: usize = 1 << 20;

    fn copy(&self, bytes: &[u8]) -> Vec<u8> {
        let mut batch = lock(&self.0).pop().unwrap_or_default();
        batch.extend_from_slice(bytes);
        batch
    }

    fn keep(&self, mut batch: Vec<u8>) {
        let mut batches = lock(&self.0);
        if batches.len() < Spare::MAX_BATCHES && batch.capacity() <= Spare::MAX_BYTES {
            batch.clear();
            batches.push(batch);
        }
    }
}

impl FramePublisher {
    pub(super) fn new(publisher: Arc<Publisher>, sink: u8) -> Self {
        FramePublisher { publisher, sink, by_caller: Mutex::default() }
    }

    /// The number that stands for a topic in frames.
    ///
    /// # Errors
    /// `Argument` for a name that Kafka does not allow.
    pub fn topic_id(&self, name: &str) -> Result<u16> {
        self.publisher.topics.intern(name).map(|topic| topic.id)
    }

    /// The topic of that name, for [`FramePublisher::offer`].
    ///
    /// # Errors
    /// `Argument` for a name that Kafka does not allow.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.publisher.topics.intern(name)
    }

    /// Hands one record to the client on the caller's thread, for a language whose callers may wait by themselves.
    /// A record that was taken is completed once through the sink, maybe before this returns; of one that was not,
    /// the sink hears nothing.
    ///
    /// # Errors
    /// With the record not sent: `Closed` once the bus is flushing or closed, and whatever the client refuses.
    pub fn offer(&self, record: &OutgoingRecord<'_>, slot: u32) -> Result<Enqueued> {
        let publisher = &self.publisher;
        if publisher.phase.get() >= Phase::Flushing {
            return Err(publisher.refused(closed().outcome(PublishOutcome::NotSent)));
        }
        publisher.accepted(1);
        let offered = publisher.transport.send(record, Token::new(GENERATION, self.sink, slot));
        if !matches!(offered, Ok(Enqueued::Yes)) {
            publisher.taken_back();
        }
        offered.map_err(|error| publisher.refused(error))
    }

    /// Copies `count` frames. Each is completed once through the sink, whatever happens, maybe before this returns.
    /// Frames of one thread are enqueued in their order.
    ///
    /// # Errors
    /// `Closed` once the bus is flushing or closed: no frame was taken, none will be completed.
    pub fn send(&self, frames: &[u8], count: u32) -> Result<()> {
        if self.publisher.phase.get() >= Phase::Flushing {
            return Err(closed().outcome(PublishOutcome::NotSent));
        }
        let publisher = &*self.publisher;
        publisher.accepted(u64::from(count));
        let mut frames = Frames::new(frames);
        if count <= FRAMES_BY_CALLER
            && publisher.arrivals.open.load(Ordering::SeqCst) == 0
            // Taken when the sink publishes again out of a completion that it gets in here.
            && let Ok(mut feeder) = self.by_caller.try_lock()
        {
            feeder.feed_some(publisher, self.sink, &mut frames);
        }
        let rest = frames.rest();
        if !rest.is_empty() && publisher.arrivals.add(self.sink, rest) {
            publisher.transport.wake();
        }
        // The delivery thread may have looked for the last time before the batch came.
        if publisher.phase.get() == Phase::Closed {
            publisher.give_up_frames();
        }
        Ok(())
    }
}

impl Publisher {
    /// Runs on: delivery thread. Enqueues the frames that came; `false` when the client's queue is full.
    pub(super) fn feed(&self, feeder: &mut Feeder) -> bool {
        let mut batches = self.arrivals.take();
        while let Some(mut batch) = batches.pop_front() {
            let mut frames = Frames::new(&batch.bytes[batch.at..]);
            if !feeder.feed_some(self, batch.sink, &mut frames) {
                batch.at = batch.bytes.len() - frames.rest().len();
                batches.push_front(batch);
                self.arrivals.put_back(batches);
                return false;
            }
            self.arrivals.done(batch);
        }
        true
    }

    /// Completes the frames that were not enqueued as not sent.
    pub(super) fn give_up_frames(&self) {
        for batch in self.arrivals.take() {
            for frame in Frames::new(&batch.bytes[batch.at..]) {
                match frame {
                    Ok(frame) => self.fail(token(&frame, batch.sink), closed().outcome(PublishOutcome::NotSent)),
                    Err(error) => self.malformed(error),
                }
            }
            self.arrivals.done(batch);
        }
    }

    fn malformed(&self, error: Error) {
        let record = LogRecord::new(Level::Error, "internal_error", "a batch of frames is malformed");
        self.log.write(record.because(error));
    }
}

fn token(frame: &Frame<'_>, sink: u8) -> Token {
    Token::new(GENERATION, sink, frame.slot)
}

/// Enqueues frames; what it holds is memory for the record in hand.
#[derive(Default)]
pub(super) struct Feeder {
    headers: HeadersBuf,
    value: Vec<u8>,
}

impl Feeder {
    /// Enqueues frames until the client's queue is full; `true` when none is left.
    fn feed_some(&mut self, publisher: &Publisher, sink: u8, frames: &mut Frames<'_>) -> bool {
        loop {
            let before = frames.clone();
            match frames.next() {
                None => return true,
                Some(Ok(frame)) => {
                    if !self.feed(publisher, sink, &frame) {
                        *frames = before;
                        return false;
                    }
                }
                Some(Err(error)) => publisher.malformed(error),
            }
        }
    }

    /// Enqueues a frame or completes it as failed; `false` when the client's queue is full.
    fn feed(&mut self, publisher: &Publisher, sink: u8, frame: &Frame<'_>) -> bool {
        let Feeder { headers, value } = self;
        let token = token(frame, sink);
        let Some(topic) = publisher.topics.get(frame.topic_id) else {
            let unknown = Error::new(ErrorKind::Internal, format!("topic id {} was never given", frame.topic_id));
            publisher.fail(token, unknown.outcome(PublishOutcome::NotSent));
            return true;
        };
        let value = match frame.write_value(&topic.name, value) {
            Ok(value) => value,
            Err(error) => {
                publisher.fail(token, error.outcome(PublishOutcome::NotSent));
                return true;
            }
        };
        let record = OutgoingRecord {
            topic: &topic,
            partition: frame.partition,
            timestamp: frame.timestamp,
            key: frame.key,
            value,
            headers: frame.headers.pack(headers),
        };
        match publisher.transport.send(&record, token) {
            Ok(Enqueued::Yes) => {}
            Ok(Enqueued::QueueFull) => return false,
            Err(error) => publisher.fail(token, error),
        }
        true
    }
}
