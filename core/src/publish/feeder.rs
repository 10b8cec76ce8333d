//! The way in for language faces: packed frames, handed to the client by a thread of their own.

use std::sync::atomic::Ordering;
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

/// Publishes packed frames on behalf of a language face.
///
/// The face bounds what is in flight; the bytes are copied once, so that the caller's memory is free again when
/// the call returns, and enqueued by a feeder thread, so that the caller never waits for a full queue.
pub struct FramePublisher {
    publisher: Arc<Publisher>,
    sink: u8,
    batches: Sender<Vec<u8>>,
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
        let feeder = Feeder { publisher: publisher.clone(), sink, headers: HeadersBuf::new() };
        let log = publisher.log.clone();
        let spare = Arc::new(Spare::default());
        let fed = spare.clone();
        Worker::start(
            "evbus-feeder",
            move || feeder.run(&receiver, &fed),
            move |error| {
                log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
            },
        )?;
        Ok(FramePublisher { publisher, sink, batches, spare })
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

    /// Copies `count` frames. Each is completed once through the sink, whatever happens.
    ///
    /// # Errors
    /// `Closed` once the bus is flushing or closed: no frame was taken, none will be completed.
    pub fn send(&self, frames: &[u8], count: u32) -> Result<()> {
        let refused = || closed().outcome(PublishOutcome::NotSent);
        if self.publisher.phase.get() >= Phase::Flushing {
            return Err(refused());
        }
        self.publisher.accepted(u64::from(count));
        self.batches.send(self.spare.copy(frames)).map_err(|_| {
            self.publisher.outstanding.fetch_sub(u64::from(count), Ordering::SeqCst);
            refused()
        })
    }
}

struct Feeder {
    publisher: Arc<Publisher>,
    sink: u8,
    headers: HeadersBuf,
}

impl Feeder {
    /// Runs on: feeder thread. Ends when the face drops its publisher.
    fn run(mut self, batches: &Receiver<Vec<u8>>, spare: &Spare) {
        for batch in batches {
            for frame in Frames::new(&batch) {
                match frame {
                    Ok(frame) => self.feed(&frame),
                    Err(error) => {
                        let broken = LogRecord::new(Level::Error, "internal_error", "a batch of frames is malformed");
                        self.publisher.log.write(broken.because(error));
                    }
                }
            }
            spare.keep(batch);
        }
    }

    fn feed(&mut self, frame: &Frame<'_>) {
        let Feeder { publisher, sink, headers } = self;
        let token = Token::new(GENERATION, *sink, frame.slot);
        let Some(topic) = publisher.topics.get(frame.topic_id) else {
            let unknown = Error::new(ErrorKind::Internal, format!("topic id {} was never given", frame.topic_id));
            return publisher.fail(token, unknown.outcome(PublishOutcome::NotSent));
        };
        let record = OutgoingRecord {
            topic: &topic,
            partition: frame.partition,
            timestamp: frame.timestamp,
            key: frame.key,
            value: frame.value,
            headers: frame.headers.pack(headers),
        };
        loop {
            match publisher.transport.send(&record, token) {
                Ok(Enqueued::Yes) => return,
                Ok(Enqueued::QueueFull) if publisher.phase.get() < Phase::Closed => {
                    publisher.feeder_room.wait(QUEUE_FULL_RETRY);
                }
                Ok(Enqueued::QueueFull) => return publisher.fail(token, closed().outcome(PublishOutcome::NotSent)),
                Err(error) => return publisher.fail(token, error),
            }
        }
    }
}
