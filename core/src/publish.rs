//! Publishing: the in-flight caps, the tokens of outstanding publishes, and who learns of their ends.

mod failures;
mod feeder;
mod futures;
mod records;
#[cfg(all(test, feature = "embedded"))]
mod tests;
mod topics;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::codec;
use crate::config::Config;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::{Event, HeadersBuf, OutgoingRecord, RawRecord, Topic};
use crate::log::Log;
use crate::metrics::Recorder;
use crate::publish::failures::Failures;
use crate::publish::feeder::{Arrivals, Feeder};
use crate::publish::futures::{Futures, Pending};
use crate::publish::records::{Callbacks, Line};
use crate::publish::topics::Topics;
use crate::runtime::{self, lock};
use crate::shutdown::{Phase, PhaseCell};
use crate::transport::{Completion, CompletionSink, Enqueued, Receipt, Token, Transport};

pub use feeder::FramePublisher;

/// The sink of Rust callers.
const FUTURES_SINK: u8 = 0;

/// The sink of records that are handed on; language faces register theirs behind it.
const RECORDS_SINK: u8 = 1;

/// One client serves a bus for its whole life.
const GENERATION: u32 = 0;

/// How long the delivery thread sleeps at most.
const TICK: Duration = Duration::from_millis(100);

/// How long a publish waits for the client's full queue before it looks again.
const QUEUE_FULL_RETRY: Duration = Duration::from_millis(10);

/// A place and bytes in flight; given back when the publish is completed, not when its caller loses interest.
#[derive(Debug)]
struct Room {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// The publishing half of a bus.
pub(crate) struct Publisher {
    transport: Arc<dyn Transport>,
    pub(crate) topics: Topics,
    futures: Arc<Futures>,
    callbacks: Arc<Callbacks>,
    line: Mutex<Line>,
    sinks: RwLock<Vec<Arc<dyn CompletionSink>>>,
    phase: Arc<PhaseCell>,
    recorder: Arc<Recorder>,
    log: Log,
    failures: Mutex<Failures>,
    timeout: Duration,
    byte_budget: usize,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    outstanding: AtomicU64,
    /// Microseconds since `started` of the latest acknowledgement, or of the first publish after a pause.
    progress: AtomicU64,
    started: Instant,
    idle: Mutex<()>,
    became_idle: Condvar,
    room: Notify,
    arrivals: Arrivals,
}

impl Publisher {
    pub(crate) fn new(
        config: &Config,
        transport: Arc<dyn Transport>,
        phase: Arc<PhaseCell>,
        recorder: Arc<Recorder>,
        log: Log,
    ) -> Arc<Self> {
        let futures = Arc::new(Futures::default());
        let callbacks = Arc::new(Callbacks::default());
        let byte_budget = config.publish_max_in_flight_bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Arc::new(Publisher {
            transport,
            topics: Topics::default(),
            // In the order of their numbers.
            sinks: RwLock::new(vec![futures.clone(), callbacks.clone()]),
            futures,
            callbacks,
            line: Mutex::default(),
            phase,
            recorder,
            log,
            failures: Mutex::default(),
            timeout: config.publish_timeout,
            byte_budget,
            places: Arc::new(Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(byte_budget)),
            outstanding: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            started: Instant::now(),
            idle: Mutex::new(()),
            became_idle: Condvar::new(),
            room: Notify::new(),
            arrivals: Arrivals::default(),
        })
    }

    /// Publishes an event; resolves when it is stored.
    pub(crate) async fn publish(&self, event: &Event<'_>, inside_handler: bool) -> Result<Receipt> {
        self.enqueue(event, inside_handler).await?.receipt().await
    }

    /// Publishes events in their order; one result per event.
    pub(crate) async fn publish_many(&self, events: &[Event<'_>], inside_handler: bool) -> Vec<Result<Receipt>> {
        let mut enqueued = Vec::with_capacity(events.len());
        for event in events {
            enqueued.push(self.enqueue(event, inside_handler).await);
        }
        let mut results = Vec::with_capacity(enqueued.len());
        for pending in enqueued {
            results.push(match pending {
                Ok(pending) => pending.receipt().await,
                Err(error) => Err(error),
            });
        }
        results
    }

    async fn enqueue(&self, event: &Event<'_>, inside_handler: bool) -> Result<Pending> {
        let deadline = Instant::now() + self.timeout;
        self.phase.check_publish(inside_handler).map_err(|error| self.refused(error))?;
        let topic = self.topics.intern(event.event_type()).map_err(|error| self.refused(error))?;
        let mut headers = HeadersBuf::new();
        let mut value = Vec::with_capacity(256 + event.payload().len());
        codec::encode(event, &mut headers, &mut value).map_err(|error| self.refused(error))?;
        let record = OutgoingRecord {
            topic: &topic,
            partition: None,
            timestamp: None,
            key: Some(event.aggregate_id().as_bytes()),
            value: Some(&value),
            headers: headers.as_headers(),
        };
        self.send(&record, deadline).await
    }

    /// Publishes a record as it is; resolves when it is stored.
    pub(crate) async fn publish_raw(&self, record: &RawRecord<'_>, inside_handler: bool) -> Result<Receipt> {
        let deadline = Instant::now() + self.timeout;
        self.phase.check_publish(inside_handler).map_err(|error| self.refused(error))?;
        let topic = self.topics.intern(record.topic).map_err(|error| self.refused(error))?;
        self.send(&record.outgoing(&topic), deadline).await?.receipt().await
    }

    /// Hands a record to the client as soon as there is room for it.
    async fn send(&self, record: &OutgoingRecord<'_>, deadline: Instant) -> Result<Pending> {
        let Some(room) = self.reserve(record.size(), deadline).await else {
            return Err(self.refused(self.no_room(record.topic)));
        };
        let pending = self.futures.insert(room);
        let token = Token::new(GENERATION, FUTURES_SINK, pending.slot());
        self.accepted(1);
        loop {
            match self.transport.send(record, token) {
                Ok(Enqueued::Yes) => break,
                Ok(Enqueued::QueueFull) if Instant::now() < deadline => self.some_room().await,
                Ok(Enqueued::QueueFull) => break self.fail(token, self.no_room(record.topic)),
                Err(error) => break self.fail(token, error),
            }
        }
        Ok(pending)
    }

    /// Waits for a place and for bytes in flight; `None` at the deadline.
    async fn reserve(&self, size: usize, deadline: Instant) -> Option<Room> {
        let cost = size.clamp(1, self.byte_budget) as u32;
        let waiting = async {
            let place = self.places.clone().acquire_owned().await.ok()?;
            let bytes = self.bytes.clone().acquire_many_owned(cost).await.ok()?;
            Some(Room { _place: place, _bytes: bytes })
        };
        tokio::select! {
            biased;
            room = waiting => room,
            () = runtime::sleep_until(deadline) => None,
        }
    }

    /// Waits until the client's queue may have room again. The bound covers a completion that came just before.
    async fn some_room(&self) {
        let retry = Instant::now() + QUEUE_FULL_RETRY;
        tokio::select! { () = self.room.notified() => (), () = runtime::sleep_until(retry) => () }
    }

    fn no_room(&self, topic: &Topic) -> Error {
        let millis = self.timeout.as_millis();
        Error::new(ErrorKind::QueueFull, format!("too much is in flight: no place came free within {millis} ms"))
            .with("topic", &topic.name)
            .outcome(PublishOutcome::NotSent)
            .hint("publish less at once, or raise maxInFlight and publishMaxInFlightBytes")
    }

    /// Counts a publish that failed before it was accepted.
    fn refused(&self, error: Error) -> Error {
        self.recorder.error(error.kind());
        self.recorder.publish_failed.fetch_add(1, Ordering::Relaxed);
        error
    }

    /// Opens the way in for a language face, whose publishes come as packed frames.
    pub(crate) fn open_frames(self: &Arc<Self>, sink: Arc<dyn CompletionSink>) -> Result<FramePublisher> {
        let mut sinks = self.sinks.write().unwrap_or_else(PoisonError::into_inner);
        let number = u8::try_from(sinks.len())
            .map_err(|_| Error::new(ErrorKind::IllegalState, "a bus takes at most 255 completion sinks"))?;
        sinks.push(sink);
        drop(sinks);
        Ok(FramePublisher::new(self.clone(), number))
    }

    /// Counts publishes that will be completed through their sink.
    fn accepted(&self, count: u64) {
        self.recorder.publish_in_flight.fetch_add(count, Ordering::Relaxed);
        if self.outstanding.fetch_add(count, Ordering::SeqCst) == 0 {
            self.progress.store(self.elapsed_micros(), Ordering::Relaxed);
        }
    }

    /// Forgets one accepted publish that the client did not take and that nobody will complete.
    fn taken_back(&self) {
        self.recorder.publish_in_flight.fetch_sub(1, Ordering::Relaxed);
        self.ended(1);
    }

    /// Completes a publish that the client did not take.
    fn fail(&self, token: Token, error: Error) {
        self.complete(&[Completion { token, partition: -1, offset: -1, error: Some(error) }]);
    }

    /// Counts publishes that are outstanding no more.
    fn ended(&self, count: u64) {
        if self.outstanding.fetch_sub(count, Ordering::SeqCst) == count {
            let _idle = lock(&self.idle);
            self.became_idle.notify_all();
        }
    }

    fn elapsed_micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// How long publishes have been outstanding without any acknowledgement; zero when none is outstanding.
    pub(crate) fn without_progress(&self) -> Duration {
        if self.outstanding.load(Ordering::SeqCst) == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.elapsed_micros().saturating_sub(self.progress.load(Ordering::Relaxed)))
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Blocks until nothing is outstanding; `false` at the deadline.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let mut idle = lock(&self.idle);
        while self.outstanding() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            idle = self.became_idle.wait_timeout(idle, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Runs on: delivery thread. Serves the client until the bus is closed; `tick` runs at least every 100 ms.
    pub(crate) fn serve(&self, mut tick: impl FnMut(Instant)) {
        let mut feeder = Feeder::default();
        let mut wait = TICK;
        while self.phase.get() < Phase::Closed {
            self.transport.poll(wait, self);
            wait = if self.feed(&mut feeder) { TICK } else { QUEUE_FULL_RETRY };
            self.serve_line();
            let now = Instant::now();
            self.recorder.sample(now);
            tick(now);
        }
        self.give_up_frames();
        self.give_up_line();
    }

    /// Gives up what is in line, queued or in flight: each is completed as failed, `not_sent` or `unknown`.
    pub(crate) fn purge(&self) {
        self.give_up_frames();
        self.give_up_line();
        self.transport.purge();
    }
}

impl CompletionSink for Publisher {
    /// Runs on: delivery thread, or the caller's for what the client did not take.
    fn complete(&self, completions: &[Completion]) {
        let failed = completions.iter().filter(|completion| completion.error.is_some());
        let failures =
            failed.inspect(|one| self.recorder.error(one.error.as_ref().map_or(ErrorKind::Internal, Error::kind)));
        let failures = failures.count() as u64;
        let count = completions.len() as u64;
        self.recorder.acknowledged.fetch_add(count - failures, Ordering::Relaxed);
        self.recorder.publish_failed.fetch_add(failures, Ordering::Relaxed);
        self.recorder.publish_in_flight.fetch_sub(count, Ordering::Relaxed);
        if failures < count {
            self.progress.store(self.elapsed_micros(), Ordering::Relaxed);
        }
        if failures > 0 {
            let errors = completions.iter().filter_map(|completion| completion.error.as_ref());
            let told = lock(&self.failures).tell(Instant::now(), errors);
            told.into_iter().for_each(|record| self.log.write(record));
        }
        for group in completions.chunk_by(|a, b| a.token.sink() == b.token.sink()) {
            let sinks = self.sinks.read().unwrap_or_else(PoisonError::into_inner);
            let sink = sinks.get(usize::from(group[0].token.sink())).cloned();
            // A sink may publish, and what is refused at once comes back here.
            drop(sinks);
            if let Some(sink) = sink {
                sink.complete(group);
            }
        }
        self.room.notify_waiters();
        self.ended(count);
    }
}
