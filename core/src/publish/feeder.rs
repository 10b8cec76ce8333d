//! The way in for language faces: packed frames, handed to the client by a thread of their own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::{GENERATION, Publisher, QUEUE_FULL_RETRY};
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{HeadersBuf, OutgoingRecord, Topic};
use crate::frame::{Frame, Frames};
use crate::log::{Level, LogRecord};
use crate::runtime::{Worker, lock};
use crate::shutdown::{Phase, closed};
use crate::transport::{Enqueued, Token};

/// So few frames are enqueued by their caller: waking the feeder would take longer than that.
const FRAMES_BY_CALLER: u32 = 4;

/// Publishes packed frames on behalf of a language face.
///
/// The face bounds what is in flight; the bytes are copied once, so that the caller's memory is free again when
/// the call returns, and enqueued by a feeder thread, so that the caller never waits for a full queue.
pub struct FramePublisher {
    publisher: Arc<Publisher>,
    sink: u8,
    batches: Sender<Vec<u8>>,
    /// Batches that the feeder has not enqueued to the end.
    waiting: Arc<AtomicUsize>,
    /// Enqueues on the caller's thread.
    by_caller: Mutex<Feeder>,
    spare: Arc<Spare>,
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
    pub(super) fn start(publisher: Arc<Publisher>, sink: u8) -> Result<Self> {
        let (batches, receiver) = channel();
        let own = Feeder::new(publisher.clone(), sink);
        let by_caller = Mutex::new(Feeder::new(publisher.clone(), sink));
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        let log = publisher.log.clone();
        let spare = Arc::new(Spare::default());
        let fed = spare.clone();
        Worker::start(
            "evbus-feeder",
            move || own.run(&receiver, &counter, &fed),
            move |error| {
                log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
            },
        )?;
        Ok(FramePublisher { publisher, sink, batches, waiting, by_caller, spare })
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
        self.publisher.accepted(u64::from(count));
        let mut frames = Frames::new(frames);
        if count <= FRAMES_BY_CALLER
            && self.waiting.load(Ordering::SeqCst) == 0
            // Taken when the sink publishes again out of a completion that it gets in here.
            && let Ok(mut feeder) = self.by_caller.try_lock()
        {
            feeder.feed_some(&mut frames);
        }
        let rest = frames.rest();
        if !rest.is_empty() {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            if self.batches.send(self.spare.copy(rest)).is_err() {
                Feeder::new(self.publisher.clone(), self.sink).refuse(rest);
            }
        }
        Ok(())
    }
}

struct Feeder {
    publisher: Arc<Publisher>,
    sink: u8,
    headers: HeadersBuf,
}

impl Feeder {
    fn new(publisher: Arc<Publisher>, sink: u8) -> Self {
        Feeder { publisher, sink, headers: HeadersBuf::new() }
    }

    /// Runs on: feeder thread. Ends when the face drops its publisher.
    fn run(mut self, batches: &Receiver<Vec<u8>>, waiting: &AtomicUsize, spare: &Spare) {
        for batch in batches {
            let mut frames = Frames::new(&batch);
            while !self.feed_some(&mut frames) {
                if self.publisher.phase.get() == Phase::Closed {
                    self.refuse(frames.rest());
                    break;
                }
                self.publisher.feeder_room.wait(QUEUE_FULL_RETRY);
            }
            waiting.fetch_sub(1, Ordering::SeqCst);
            spare.keep(batch);
        }
    }

    /// Enqueues frames until the client's queue is full; `true` when none is left.
    fn feed_some(&mut self, frames: &mut Frames<'_>) -> bool {
        loop {
            let before = frames.clone();
            match frames.next() {
                None => return true,
                Some(Ok(frame)) => {
                    if !self.feed(&frame) {
                        *frames = before;
                        return false;
                    }
                }
                Some(Err(error)) => self.malformed(error),
            }
        }
    }

    /// Completes what is not enqueued any more.
    fn refuse(&self, frames: &[u8]) {
        for frame in Frames::new(frames) {
            match frame {
                Ok(frame) => self.publisher.fail(self.token(&frame), closed().outcome(PublishOutcome::NotSent)),
                Err(error) => self.malformed(error),
            }
        }
    }

    fn malformed(&self, error: Error) {
        let record = LogRecord::new(Level::Error, "internal_error", "a batch of frames is malformed");
        self.publisher.log.write(record.because(error));
    }

    fn token(&self, frame: &Frame<'_>) -> Token {
        Token::new(GENERATION, self.sink, frame.slot)
    }

    /// Enqueues a frame or completes it as failed; `false` when the client's queue is full.
    fn feed(&mut self, frame: &Frame<'_>) -> bool {
        let token = self.token(frame);
        let Feeder { publisher, headers, .. } = self;
        let Some(topic) = publisher.topics.get(frame.topic_id) else {
            let unknown = Error::new(ErrorKind::Internal, format!("topic id {} was never given", frame.topic_id));
            publisher.fail(token, unknown.outcome(PublishOutcome::NotSent));
            return true;
        };
        let record = OutgoingRecord {
            topic: &topic,
            partition: frame.partition,
            timestamp: frame.timestamp,
            key: frame.key,
            value: frame.value,
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
