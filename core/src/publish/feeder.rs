//! The way in for language faces: packed frames, handed to the client by a thread of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{GENERATION, Publisher, QUEUE_FULL_RETRY};
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{HeadersBuf, OutgoingRecord, Topic};
use crate::frame::{Frame, Frames};
use crate::log::{Level, LogRecord};
use crate::runtime::Worker;
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
}

impl FramePublisher {
    pub(super) fn start(publisher: Arc<Publisher>, sink: u8) -> Result<Self> {
        let (batches, receiver) = channel();
        let feeder = Feeder { publisher: publisher.clone(), sink, headers: HeadersBuf::new() };
        let log = publisher.log.clone();
        Worker::start(
            "evbus-feeder",
            move || feeder.run(&receiver),
            move |error| {
                log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
            },
        )?;
        Ok(FramePublisher { publisher, sink, batches })
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

    /// Takes `count` frames. Each is completed once through the sink, whatever happens.
    ///
    /// # Errors
    /// `Closed` once the bus is flushing or closed: no frame was taken, none will be completed.
    pub fn send(&self, frames: Vec<u8>, count: u32) -> Result<()> {
        let refused = || closed().outcome(PublishOutcome::NotSent);
        if self.publisher.phase.get() >= Phase::Flushing {
            return Err(refused());
        }
        self.publisher.accepted(u64::from(count));
        self.batches.send(frames).map_err(|_| {
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
    fn run(mut self, batches: &Receiver<Vec<u8>>) {
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
