//! Subscribing: one consumer per bus, its threads, and the way records take to their handlers.
//!
//! The poll thread owns the consumer and the [engine](engine); other threads reach it through its mailbox.

mod assignment;
mod commits;
mod committer;
mod condition;
mod dead_letters;
mod engine;
mod epochs;
mod handlers;
mod identity;
mod keys;
mod lanes;
mod mailbox;
mod offsets;
mod poller;
mod retry;
mod slots;
mod starts;
mod subscriptions;
mod topics;
mod watchdog;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::dead_letters::DeadLetterWriter;
use self::identity::Identity;
use self::mailbox::Command;
use self::poller::{Join, Poller, Shared};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Finished, Outcome, TopicPartition};
use crate::log::{Level, Log, LogRecord};
use crate::metrics::{PartitionLag, Recorder};
use crate::policy::{Policy, SeekTo, TopicSubscription};
use crate::runtime::{self, Worker, lock};
use crate::shutdown::PhaseCell;
use crate::transport::{Connectivity, RecordPublisher, RecordSink, Transport};

pub(crate) use self::condition::Condition;
pub use self::condition::{HaltedPartition, StalledPartition};
pub use self::epochs::Epochs;
pub use self::handlers::HandlerError;
pub(crate) use self::handlers::{Handler, Handlers, inside_handler};
pub use self::subscriptions::check_subscriptions;

/// How long the check for missing topics may take before subscribing goes on without it.
const ENSURE_TOPICS_TIMEOUT: Duration = Duration::from_secs(5);

/// The consuming half of a bus, as language faces use it: topics in, runs of deliveries out, answers back.
pub struct Intake {
    config: Config,
    transport: Arc<dyn Transport>,
    publisher: Arc<dyn RecordPublisher>,
    phase: Arc<PhaseCell>,
    recorder: Arc<Recorder>,
    log: Log,
    sink: OnceLock<Sink>,
    shared: Arc<Shared>,
    poller: Mutex<Option<Worker>>,
    known_topics: Mutex<HashSet<Arc<str>>>,
}

/// Who takes the records: a bus has one consumer and one taker.
enum Sink {
    /// The handlers of Rust callers.
    Handlers(Arc<Handlers>),
    /// A language face.
    Face(Arc<dyn RecordSink>),
}

fn taken() -> Error {
    Error::new(ErrorKind::IllegalState, "the records of this bus go to another sink already")
        .hint("use either Bus::subscribe or Bus::intake, not both")
}

impl Intake {
    pub(crate) fn new(
        config: Config,
        transport: Arc<dyn Transport>,
        publisher: Arc<dyn RecordPublisher>,
        phase: Arc<PhaseCell>,
        recorder: Arc<Recorder>,
        log: Log,
    ) -> Arc<Self> {
        Arc::new(Intake {
            config,
            transport,
            publisher,
            phase,
            recorder,
            log,
            sink: OnceLock::new(),
            shared: Arc::default(),
            poller: Mutex::default(),
            known_topics: Mutex::default(),
        })
    }

    /// Says who takes the records, once, before the first [`Intake::set_topics`].
    ///
    /// # Errors
    /// `IllegalState` when there is a sink already.
    pub fn set_sink(&self, sink: Arc<dyn RecordSink>) -> Result<()> {
        self.sink.set(Sink::Face(sink)).map_err(|_| taken())
    }

    /// The handlers of Rust callers; the first call makes them the sink.
    pub(crate) fn register(self: &Arc<Self>) -> Result<Arc<Handlers>> {
        match self.sink.get_or_init(|| Sink::Handlers(Handlers::new(Arc::downgrade(self), self.log.clone()))) {
            Sink::Handlers(handlers) => Ok(handlers.clone()),
            Sink::Face(_) => Err(taken()),
        }
    }

    pub(crate) fn handlers(&self) -> Option<Arc<Handlers>> {
        match self.sink.get() {
            Some(Sink::Handlers(handlers)) => Some(handlers.clone()),
            _ => None,
        }
    }

    /// What subscriptions want that say nothing else.
    pub fn policy(&self) -> &Policy {
        &self.config.policy
    }

    /// Consumes exactly these topics from now on, as their policies say; resolves when the client has been told.
    ///
    /// Changes within 50 ms are one change, so that the group rebalances once; an unchanged set changes nothing.
    /// Of concurrent calls the last one wins. Missing topics are created if `autoCreateTopics` says so; one that
    /// cannot be is logged and consumed as soon as it exists.
    ///
    /// # Errors
    /// `Config` without a group id or for a policy that contradicts itself, `Argument` for an illegal topic name,
    /// that of the dead-letter topic included, `Closed`.
    pub async fn set_topics(self: &Arc<Self>, topics: &[TopicSubscription]) -> Result<()> {
        self.set_topics_from(|| topics.to_vec()).await
    }

    /// As [`Intake::set_topics`], with topics that are looked up in the moment in which they replace the former ones:
    /// of several callers at once the last one knows what all others have added or removed before.
    ///
    /// # Errors
    /// As [`Intake::set_topics`].
    pub async fn set_topics_from(self: &Arc<Self>, topics: impl FnOnce() -> Vec<TopicSubscription>) -> Result<()> {
        self.phase.check_open()?;
        if self.config.group_id.is_none() {
            return Err(Error::new(ErrorKind::Config, "subscribing needs a consumer group")
                .with("option", "groupId")
                .hint("set groupId in the configuration, or KAFKA_GROUP_ID in the environment"));
        }
        let names = self.replace_wanted(topics)?;
        let intake = self.clone();
        let started = runtime::blocking(move || {
            intake.ensure_topics(&names);
            intake.start()
        });
        if !started.await?? {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.mailbox.command(Command::Topics(sender));
        receiver.await.unwrap_or_else(|_| Err(crate::shutdown::closed()))
    }

    /// Replaces the wanted topics by others, all of which are checked first; gives their names.
    fn replace_wanted(&self, topics: impl FnOnce() -> Vec<TopicSubscription>) -> Result<Vec<Arc<str>>> {
        let mut wanted = lock(&self.shared.wanted);
        let mut topics = topics();
        check_subscriptions(&topics)?;
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        topics.dedup_by(|a, b| a.topic == b.topic);
        *wanted = topics;
        Ok(wanted.iter().map(|one| one.topic.as_str().into()).collect())
    }

    /// Creates what is missing; a topic that was seen once is not asked for again.
    fn ensure_topics(&self, wanted: &[Arc<str>]) {
        let unknown: Vec<Arc<str>> = {
            let known = lock(&self.known_topics);
            wanted.iter().filter(|topic| !known.contains(*topic)).cloned().collect()
        };
        if unknown.is_empty() {
            return;
        }
        let results = self.transport.ensure_topics(&unknown, Instant::now() + ENSURE_TOPICS_TIMEOUT);
        for (topic, result) in unknown.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    lock(&self.known_topics).insert(topic);
                }
                Err(error) => {
                    self.recorder.failed(&error);
                    let message = format!("the topic {topic} is not there yet: {error}");
                    let record = LogRecord::new(Level::Warn, "topic_missing", message).with("topic", &*topic);
                    self.log.write(record.because(error));
                }
            }
        }
    }

    /// Starts the consumer and its poll thread, once; `false` while there is nothing to consume.
    fn start(&self) -> Result<bool> {
        let mut poller = lock(&self.poller);
        if poller.is_some() {
            return Ok(true);
        }
        if lock(&self.shared.wanted).is_empty() {
            return Ok(false);
        }
        let sink: Arc<dyn RecordSink> = match self.sink.get() {
            Some(Sink::Handlers(handlers)) => handlers.clone(),
            Some(Sink::Face(sink)) => sink.clone(),
            None => {
                return Err(
                    Error::new(ErrorKind::IllegalState, "nobody takes the records").hint("call Intake::set_sink first")
                );
            }
        };
        self.phase.check_open()?;
        let identity = Identity::claim(&self.config)?;
        let mailbox = self.shared.mailbox.clone();
        let transport = self.transport.clone();
        let join: Join = Box::new(move || {
            let mailbox = mailbox.clone();
            transport.consumer(Arc::new(move || mailbox.wake()))
        });
        let dead_letters = DeadLetterWriter::new(
            self.transport.clone(),
            &self.publisher,
            self.shared.mailbox.clone(),
            self.log.clone(),
            self.config.group_id.clone(),
        );
        let body = Poller::new(
            &self.config,
            join,
            (sink, dead_letters),
            self.shared.clone(),
            self.recorder.clone(),
            self.log.clone(),
        )?;
        let (log, shared) = (self.log.clone(), self.shared.clone());
        *poller = Some(Worker::start(
            "evbus-poll",
            move || {
                body.run();
                // Not before the client is released: until then the brokers know it as this member.
                drop(identity);
            },
            move |error| {
                log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
                shared.broken.store(true, Ordering::Relaxed);
                shared.mailbox.close();
                shared.drained.open();
            },
        )?);
        Ok(true)
    }

    /// Goes on reading a partition of this member elsewhere; resolves when the client does so.
    ///
    /// Deliveries from before that are still with their handlers count no more: their answers come too late. The
    /// offset that the group has stored follows when the first event from the new place is finished. An offset that
    /// is not in the log is replaced by the oldest one, as `offset_reset` in the log tells.
    ///
    /// # Errors
    /// `IllegalState` when the partition is not assigned to this member, `Argument` for a negative offset, `Timeout`
    /// or `Unavailable` when the partition's leader does not tell its offsets, `Closed`.
    pub async fn seek(&self, source: &TopicPartition, to: SeekTo) -> Result<()> {
        self.phase.check_open()?;
        if let SeekTo::Offset(offset @ i64::MIN..0) = to {
            return Err(Error::new(ErrorKind::Argument, format!("an offset is 0 or more, not {offset}"))
                .with("topic", &source.topic)
                .with("partition", source.partition)
                .hint("use SeekTo::Beginning or SeekTo::End for the ends of the log"));
        }
        if lock(&self.poller).is_none() {
            return Err(assignment::not_assigned(source));
        }
        let (done, receiver) = oneshot::channel();
        self.shared.mailbox.command(Command::Seek { source: source.clone(), to, done });
        receiver.await.unwrap_or_else(|_| Err(crate::shutdown::closed()))
    }

    /// Answers deliveries; any thread, in any order, each once. Answers that come too late are counted and dropped.
    /// Many at once cost little more than one, as each call wakes the poll thread.
    pub fn finish(&self, finished: &[Finished]) {
        let processed = finished.iter().filter(|one| one.outcome != Outcome::Released);
        self.recorder.processed(processed.map(|one| one.elapsed));
        self.shared.mailbox.finished(finished);
    }

    /// How far the group is behind, per partition that this member owns and has news of.
    pub(crate) fn lag(&self) -> Vec<PartitionLag> {
        let Some(offsets) = lock(&self.shared.offsets).clone() else { return Vec::new() };
        let positions = lock(&self.shared.positions).clone();
        let ends = offsets.high_watermarks();
        let lag = |at: &TopicPartition, position: i64| {
            let end = ends.iter().find(|(other, _)| other == at)?.1;
            Some(PartitionLag { topic: at.topic.to_string(), partition: at.partition, lag: (end - position).max(0) })
        };
        positions.iter().filter_map(|(at, position)| lag(at, *position)).collect()
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn provoke_fatal_error(&self) {
        self.shared.mailbox.command(Command::ProvokeFatalError);
    }

    /// The consumer ended for good, by a defect or because the broker refused this member.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// What consuming has to say of itself, as of half a second ago.
    pub(crate) fn condition(&self) -> Condition {
        lock(&self.shared.condition).clone()
    }

    /// What the consumer's client knows about its connections; `None` while nothing is subscribed.
    pub(crate) fn connectivity(&self) -> Option<Connectivity> {
        if lock(&self.shared.wanted).is_empty() {
            return None;
        }
        lock(&self.shared.offsets).as_ref().map(|offsets| offsets.connectivity())
    }

    /// Hands out nothing more, and lets running handlers finish until the deadline. Does not wait.
    pub(crate) fn begin_drain(&self, deadline: Instant) {
        self.shared.mailbox.command(Command::Drain { deadline });
    }

    /// Blocks until what was finished is committed and the group is left; gives the numbers of handled and abandoned
    /// events, and whether all of it ended in time. Follows [`Intake::begin_drain`].
    pub(crate) fn leave(&self, deadline: Instant) -> (u64, u64, bool) {
        let Some(poller) = lock(&self.poller).take() else { return (0, 0, true) };
        let drained = self.shared.drained.wait(deadline);
        let left = poller.join(deadline);
        let (handled, abandoned) = *lock(&self.shared.report);
        (handled, abandoned, drained && left)
    }
}
