//! The bus: the one facade over publishing, subscribing, metrics and shutdown.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::codec;
use crate::config::Config;
use crate::dead_letters::DeadLetters;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Delivery, Event, RawRecord, TopicPartition};
use crate::health::{ConnectionWatch, Findings, Health, Link, Signs};
use crate::kafka::KafkaTransport;
use crate::log::{Level, Log, LogRecord, Observer};
use crate::metrics::{Metrics, Recorder};
use crate::policy::{Policy, SeekTo};
use crate::publish::{FramePublisher, Publisher};
use crate::runtime::{self, Worker, lock};
use crate::shutdown::{Deadline, Phase, PhaseCell, ShutdownReport};
use crate::subscribe::{Condition, Handler, HandlerError, Handlers, Intake, inside_handler};
use crate::transport::{CompletionSink, Receipt, Transport};

/// How long the client may take to report what was purged at the deadline.
const PURGE_REPORT: Duration = Duration::from_millis(250);

/// A connected event bus. Cheap to clone; every clone is the same bus; all methods may be called on any thread.
///
/// ```no_run
/// use event_bus::{Bus, Config, Event};
///
/// # async fn run() -> event_bus::Result<()> {
/// let mut config = Config::new("orders", ["localhost:9092"]);
/// config.group_id = Some("billing".into());
/// let bus = Bus::connect(config).await?;
/// bus.subscribe("order.placed", |delivery| async move {
///     let order: serde_json::Value = delivery.payload()?;
///     println!("{order}");
///     Ok::<_, event_bus::HandlerError>(())
/// })
/// .await?;
/// bus.publish(&Event::new("order.placed", "order-42", &serde_json::json!({ "total": 129.95 }))?).await?;
/// bus.shutdown(std::time::Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    config: Config,
    transport: Arc<dyn Transport>,
    publisher: Arc<Publisher>,
    intake: Arc<Intake>,
    phase: Arc<PhaseCell>,
    recorder: Arc<Recorder>,
    log: Log,
    link: Arc<Link>,
    /// The delivery thread ended by a defect.
    broken: Arc<AtomicBool>,
    delivery: Mutex<Option<Worker>>,
    ending: AtomicBool,
    report: watch::Sender<Option<ShutdownReport>>,
}

impl Bus {
    /// Connects; resolves when a broker answered.
    ///
    /// # Errors
    /// `Config` for invalid settings, `Unavailable` when no broker answered within `connect_timeout`, `Auth` when
    /// the brokers refuse the credentials. Nothing is left behind; connecting again is fine.
    pub async fn connect(config: Config) -> Result<Bus> {
        Bus::connect_observed(config, None, || false).await
    }

    /// Connects, tells an observer every log record, and gives up with `Closed` as soon as `cancelled` says so.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn connect_observed(
        config: Config,
        observer: Option<Arc<dyn Observer>>,
        cancelled: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Bus> {
        config.validate()?;
        runtime::blocking(move || Bus::open(config, Log::new(observer), &cancelled)).await?
    }

    fn open(config: Config, log: Log, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Bus> {
        let deadline = Instant::now() + config.connect_timeout;
        let brokers = config.brokers.join(",");
        let transport = transport(&config, &log)?;
        let phase = Arc::new(PhaseCell::new());
        let recorder = Arc::new(Recorder::default());
        let publisher = Publisher::new(&config, transport.clone(), phase.clone(), recorder.clone(), log.clone());
        let intake = Intake::new(
            config.clone(),
            transport.clone(),
            publisher.clone(),
            phase.clone(),
            recorder.clone(),
            log.clone(),
        );
        let bus = Bus(Arc::new(Inner {
            config,
            transport,
            publisher,
            intake,
            phase,
            recorder,
            log,
            link: Arc::default(),
            broken: Arc::default(),
            delivery: Mutex::default(),
            ending: AtomicBool::new(false),
            report: watch::Sender::new(None),
        }));
        // The delivery thread serves the client's errors too, which `connect` reports.
        let serving = bus.serve();
        match serving.and_then(|()| bus.0.transport.connect(deadline, cancelled)) {
            Ok(()) => {
                bus.0.link.up();
                let message = format!("connected to {brokers}");
                bus.0.log.write(LogRecord::new(Level::Info, "connection_established", message));
                Ok(bus)
            }
            Err(error) => {
                bus.0.close(Instant::now() + Duration::from_secs(1));
                Err(error)
            }
        }
    }

    /// Starts the delivery thread. It holds the parts of the bus and not the bus, so that dropping the last clone ends it.
    fn serve(&self) -> Result<()> {
        let Inner { publisher, link, log, recorder, broken, .. } = &*self.0;
        let (publisher, link) = (publisher.clone(), link.clone());
        let (log, recorder) = (log.clone(), recorder.clone());
        let (transport, intake) = (self.0.transport.clone(), self.0.intake.clone());
        let brokers = self.0.config.brokers.join(",");
        let for_panic = (broken.clone(), link.clone(), log.clone(), recorder.clone());
        let body = move || {
            let mut watch = None;
            publisher.serve(|now| {
                // The watch begins when `connect` has proved the connection.
                if watch.is_none() && link.is_up() {
                    let (link, log, recorder) = (link.clone(), log.clone(), recorder.clone());
                    watch = Some(ConnectionWatch::new(now, brokers.clone(), link, log, recorder));
                }
                if let Some(watch) = &mut watch {
                    let producer = transport.connectivity();
                    let consumer = intake.connectivity();
                    let without_progress = publisher.without_progress();
                    watch.look(now, &Signs { producer: &producer, consumer: consumer.as_ref(), without_progress });
                }
            });
        };
        let on_panic = move |error: Error| {
            let (broken, link, log, recorder) = for_panic;
            broken.store(true, Ordering::Relaxed);
            link.down("a thread of the library ended");
            recorder.failed(&error);
            log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
        };
        *lock(&self.0.delivery) = Some(Worker::start("evbus-delivery", body, on_panic)?);
        Ok(())
    }

    /// Publishes an event; resolves when all in-sync replicas have stored it.
    ///
    /// # Errors
    /// The error's [`publish_outcome`](Error::publish_outcome) says whether the event may have been stored.
    pub async fn publish(&self, event: &Event<'_>) -> Result<Receipt> {
        self.0.publisher.publish(event, inside_handler()).await
    }

    /// Publishes events in their order; one result per event, in the same order.
    pub async fn publish_many(&self, events: &[Event<'_>]) -> Vec<Result<Receipt>> {
        self.0.publisher.publish_many(events, inside_handler()).await
    }

    /// Publishes a record as it is, with no envelope around it; resolves when all in-sync replicas have stored it.
    ///
    /// ```no_run
    /// # async fn run(bus: &event_bus::Bus) -> event_bus::Result<()> {
    /// use event_bus::RawRecord;
    ///
    /// let record = RawRecord { key: Some(b"order-42"), value: Some(b"any bytes"), ..RawRecord::new("blobs") };
    /// let receipt = bus.publish_record(&record).await?;
    /// println!("stored at blobs[{}]@{}", receipt.partition, receipt.offset);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Bus::publish`], and `Argument` for an illegal topic name, `UnknownTopic` for a partition that the topic
    /// does not have.
    pub async fn publish_record(&self, record: &RawRecord<'_>) -> Result<Receipt> {
        self.0.publisher.publish_raw(record, inside_handler()).await
    }

    /// Calls `handler` for every event of that type, from now on, one at a time per partition and at least once.
    ///
    /// What happens in what order, and what becomes of an event that a handler fails on, says the configuration's
    /// [`policy`](Config::policy): it is tried again, the failed handlers only, and goes to the dead-letter topic
    /// after the last attempt. Several handlers of one type each get every event. A group without committed offsets
    /// starts at the earliest event.
    ///
    /// # Errors
    /// `Config` without a group id, `Argument` for an event type that is no legal topic name or that has handlers
    /// with another policy, `Closed`.
    pub async fn subscribe<F, R, E>(&self, event_type: &str, handler: F) -> Result<Subscription>
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let policy = self.0.intake.policy().clone();
        self.subscribe_with(event_type, policy, handler).await
    }

    /// As [`Bus::subscribe`], with a policy of its own.
    ///
    /// ```no_run
    /// # async fn run(bus: &event_bus::Bus) -> event_bus::Result<()> {
    /// use event_bus::{HandlerError, Ordering, Policy};
    ///
    /// let policy = Policy { ordering: Ordering::Key, concurrency: 16, ..Policy::default() };
    /// bus.subscribe_with("order.placed", policy, |delivery| async move {
    ///     match delivery.attempt() {
    ///         1 => Err(HandlerError::retryable("not yet")),
    ///         _ => Ok(()),
    ///     }
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Bus::subscribe`], and `Config` for a policy that contradicts itself, `Argument` for a dead-letter topic
    /// without a legal name.
    pub async fn subscribe_with<F, R, E>(&self, event_type: &str, policy: Policy, handler: F) -> Result<Subscription>
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        codec::validate_topic_name(event_type)?;
        policy.check()?;
        let handlers = self.0.intake.register()?;
        let handler = handlers.add(event_type, &policy, handler)?;
        let subscription = Subscription { intake: self.0.intake.clone(), handlers, handler };
        match subscription.apply().await {
            Ok(()) => Ok(subscription),
            Err(error) => {
                subscription.handlers.remove(&subscription.handler);
                Err(error)
            }
        }
    }

    /// Calls `handler` for every record of a topic, whatever it holds: what [`Bus::publish_record`] wrote, and what other
    /// programs did. Otherwise as [`Bus::subscribe`].
    ///
    /// A policy of its own for such a subscription is one with [`raw`](Policy::raw), for [`Bus::subscribe_with`]. All
    /// handlers of one topic take records, or all take events.
    ///
    /// ```no_run
    /// # async fn run(bus: &event_bus::Bus) -> event_bus::Result<()> {
    /// bus.subscribe_records("blobs", |delivery| async move {
    ///     let record = delivery.record();
    ///     let bytes = record.value().map_or(0, <[u8]>::len);
    ///     println!("{:?}: {bytes} bytes, {} headers", record.key(), record.headers().iter().count());
    ///     Ok::<_, event_bus::HandlerError>(())
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub async fn subscribe_records<F, R, E>(&self, topic: &str, handler: F) -> Result<Subscription>
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let policy = Policy { raw: true, ..self.0.intake.policy().clone() };
        self.subscribe_with(topic, policy, handler).await
    }

    /// The dead letters of an event type, in the dead-letter topic that the configuration names for it.
    pub fn dead_letters(&self, event_type: &str) -> DeadLetters {
        let Inner { config, transport, publisher, phase, log, .. } = &*self.0;
        DeadLetters::new(config, transport.clone(), publisher.clone(), phase.clone(), log.clone(), event_type)
    }

    /// Reads a partition from another place on, to replay a part of the log or to pass one over; resolves when the
    /// client does so. The partition has to be assigned to this bus: [`Metrics`] lists those that are, in
    /// `consume.lag`.
    ///
    /// Events from before that are still with their handlers count no more, and may overlap with what comes next.
    /// The offset that the group has stored follows when the first event from the new place is finished.
    ///
    /// ```no_run
    /// # async fn run(bus: &event_bus::Bus) -> event_bus::Result<()> {
    /// use event_bus::SeekTo;
    ///
    /// bus.seek("order.placed", 0, SeekTo::Timestamp(1_735_689_600_000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `IllegalState` when the partition is not assigned to this bus, `Argument` for a negative offset, `Timeout` or
    /// `Unavailable` when the partition's leader does not tell its offsets, `Closed`.
    pub async fn seek(&self, topic: &str, partition: i32, to: SeekTo) -> Result<()> {
        self.0.intake.seek(&TopicPartition::new(topic, partition), to).await
    }

    /// Whether a broker can be reached and publishes make progress, at most 3 s late. Publishing does not depend
    /// on it: during an outage publishes wait until their deadline.
    pub fn is_connected(&self) -> bool {
        self.0.phase.get() == Phase::Open && self.0.link.is_up() && !self.0.intake.is_broken()
    }

    /// Whether the bus does its work, and what keeps it from it: for the probes of a service. Cheap.
    ///
    /// ```no_run
    /// # fn run(bus: &event_bus::Bus) {
    /// let health = bus.health();
    /// for reason in &health.reasons {
    ///     println!("{}: {}", reason.code.as_str(), reason.message);
    /// }
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let phase = self.0.phase.get();
        let producer = self.0.transport.connectivity();
        let is_lost = phase == Phase::Open && !self.0.link.is_up();
        Health::from(Findings {
            connected: self.is_connected(),
            not_open: match phase {
                Phase::Open => None,
                Phase::Draining | Phase::Flushing => Some("the bus is closing"),
                Phase::Closed => Some("the bus is closed"),
            },
            connection_lost: is_lost.then(|| self.0.link.reason()),
            is_defect: self.0.intake.is_broken() || self.0.broken.load(Ordering::Relaxed),
            producer: (phase == Phase::Open && producer.ended).then_some(producer.last_error),
            // A bus that is closed consumes nothing that could stand still.
            condition: if phase == Phase::Closed { Condition::default() } else { self.0.intake.condition() },
            dead_letters_pending: self.0.recorder.dead_letters_pending.load(Ordering::Relaxed),
            last_error: self.0.recorder.last_error(),
        })
    }

    /// What the bus still does.
    pub fn phase(&self) -> Phase {
        self.0.phase.get()
    }

    /// The state of the bus in numbers.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.0.recorder.snapshot(Instant::now());
        metrics.connected = self.is_connected();
        metrics.clients_rebuilt += u64::from(self.0.transport.connectivity().rebuilt);
        metrics.consume.lag = self.0.intake.lag();
        metrics
    }

    /// Ends the bus within `timeout`, in order: no new work, running handlers finish, offsets are committed, the
    /// group is left, what was published is flushed. Idempotent; later calls get the same report.
    ///
    /// It begins with the call, not when the report is first awaited: what handlers finish since is in the report.
    pub fn shutdown(&self, timeout: Duration) -> impl Future<Output = ShutdownReport> + Send + use<> {
        let mut report = self.0.report.subscribe();
        if !self.0.ending.swap(true, Ordering::SeqCst) {
            let deadline = Deadline::after(timeout);
            let acknowledged = self.0.acknowledged();
            // The drain begins before handlers can see the phase, so that what they finish then is in the report.
            self.0.intake.begin_drain(deadline.share(0.6));
            self.0.phase.advance(Phase::Draining);
            let inner = self.0.clone();
            let ending = Worker::start("evbus-shutdown", move || inner.end(deadline, acknowledged), |_| ());
            if ending.is_err() {
                self.0.report.send_replace(Some(ShutdownReport::default()));
            }
        }
        async move {
            match report.wait_for(Option::is_some).await {
                Ok(report) => report.unwrap_or_default(),
                Err(_) => ShutdownReport::default(),
            }
        }
    }

    /// Ends the Kafka clients of the bus as an error that they cannot recover from does, for tests: new ones take
    /// their places.
    #[cfg(feature = "embedded")]
    pub fn provoke_fatal_errors(&self) {
        self.0.transport.provoke_fatal_error();
        self.0.intake.provoke_fatal_error();
    }

    /// The consuming half, for a language face that brings its own sink.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.0.intake
    }

    /// The publishing half, for a language face that brings packed frames.
    ///
    /// # Errors
    /// `IllegalState` when the bus has 255 sinks already.
    pub fn open_frames(&self, sink: Arc<dyn CompletionSink>) -> Result<FramePublisher> {
        self.0.publisher.open_frames(sink)
    }
}

impl Inner {
    fn acknowledged(&self) -> u64 {
        self.recorder.acknowledged.load(Ordering::Relaxed)
    }

    /// Runs on: shutdown thread.
    fn end(&self, deadline: Deadline, acknowledged_before: u64) {
        let (handled, abandoned, left) = self.intake.leave(deadline.share(0.75));
        self.phase.advance(Phase::Flushing);
        let flushed = self.publisher.flush(deadline.share(0.9));
        let mut lost = 0;
        if !flushed {
            lost = self.publisher.outstanding();
            self.publisher.purge();
            self.publisher.flush(Instant::now() + PURGE_REPORT);
        }
        let closed = self.close(deadline.end());
        self.report.send_replace(Some(ShutdownReport {
            handled,
            abandoned,
            published: self.acknowledged() - acknowledged_before,
            lost,
            clean: left && flushed && closed,
        }));
    }

    /// Stops the delivery thread and releases the client; `false` when the deadline came first.
    fn close(&self, deadline: Instant) -> bool {
        self.phase.advance(Phase::Closed);
        self.link.down("the bus is closed");
        self.transport.wake();
        let served = lock(&self.delivery).take().is_none_or(|delivery| delivery.join(deadline));
        let transport = self.transport.clone();
        let closed = runtime::within(deadline, "evbus-close", move || transport.close());
        served && closed
    }
}

/// A bus that is dropped without a shutdown ends at once: what is in flight or unfinished is abandoned.
impl Drop for Inner {
    fn drop(&mut self) {
        self.phase.advance(Phase::Closed);
        self.transport.wake();
        self.intake.begin_drain(Instant::now());
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("phase", &self.phase()).field("connected", &self.is_connected()).finish()
    }
}

/// A registered handler. Dropping it changes nothing; [`Subscription::unsubscribe`] ends it.
pub struct Subscription {
    intake: Arc<Intake>,
    handlers: Arc<Handlers>,
    handler: Arc<Handler>,
}

impl Subscription {
    async fn apply(&self) -> Result<()> {
        self.intake.set_topics_from(|| self.handlers.topics()).await
    }

    /// Ends the subscription: no call of the handler starts after this resolved, and none runs, except the one that
    /// may be calling this. The topic is left when no other handler wants it.
    ///
    /// # Errors
    /// `Internal` when the client refuses the smaller set of topics; the handler is gone all the same.
    pub async fn unsubscribe(self) -> Result<()> {
        self.handlers.remove(&self.handler);
        let applied = match self.apply().await {
            // A closing bus calls no handler any more.
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            applied => applied,
        };
        self.handler.idle().await;
        applied
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// The cluster that the configuration names.
fn transport(config: &Config, log: &Log) -> Result<Arc<dyn Transport>> {
    #[cfg(feature = "embedded")]
    if let Some(name) = config.memory_name() {
        let message = format!("the bus runs on the in-memory transport {name}: events live and die with this process");
        log.write(LogRecord::new(Level::Warn, "memory_transport", message));
        return Ok(Arc::new(crate::memory::MemoryTransport::new(config, name)));
    }
    Ok(Arc::new(KafkaTransport::new(config, log.clone())?))
}
