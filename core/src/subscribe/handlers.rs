//! Handlers of Rust callers: who wants which topic, and the calls that run.

mod attempts;
mod error;

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};

pub use self::error::HandlerError;

use self::attempts::Attempts;
use super::Intake;
use super::epochs::Epochs;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Delivery, Failure, Finished, Outcome, Ticket};
use crate::log::{Level, Log, LogRecord};
use crate::policy::{Policy, TopicSubscription};
use crate::runtime::{self, lock};
use crate::transport::RecordSink;

type Ended = std::result::Result<(), HandlerError>;

type Call = Box<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send + Sync>;

tokio::task_local! {
    /// The handler whose call runs on this task.
    static CURRENT: u64;
}

/// The caller runs inside a handler.
pub(crate) fn inside_handler() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// One registered handler.
pub(crate) struct Handler {
    id: u64,
    topic: Arc<str>,
    /// Names it in logs and dead letters.
    name: &'static str,
    call: Call,
    running: AtomicU64,
    ended: Notify,
}

impl Handler {
    /// Waits until none of its calls runs, but the one that may be asking.
    pub(crate) async fn idle(&self) {
        let own = u64::from(CURRENT.try_with(|id| *id == self.id).unwrap_or(false));
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.running.load(Ordering::SeqCst) <= own {
                return;
            }
            ended.await;
        }
    }
}

/// Counts a call as running until dropped, even when its task is cancelled.
struct Running(Arc<Handler>);

impl Running {
    fn start(handler: Arc<Handler>) -> Self {
        handler.running.fetch_add(1, Ordering::SeqCst);
        Running(handler)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

/// The handlers of one topic, which want the same.
struct Subscribed {
    policy: Policy,
    handlers: Vec<Arc<Handler>>,
}

/// The handlers of one bus, and the sink that calls them.
pub(crate) struct Handlers {
    by_topic: RwLock<HashMap<Arc<str>, Subscribed>>,
    next_id: AtomicU64,
    /// Deliveries that must not start any more.
    stopped: Epochs,
    /// Deliveries whose handlers must end.
    aborted: Epochs,
    abort: Notify,
    attempts: Mutex<Attempts>,
    intake: Weak<Intake>,
    log: Log,
}

impl Handlers {
    pub(crate) fn new(intake: Weak<Intake>, log: Log) -> Arc<Self> {
        Arc::new(Handlers {
            by_topic: RwLock::default(),
            next_id: AtomicU64::new(1),
            stopped: Epochs::default(),
            aborted: Epochs::default(),
            abort: Notify::new(),
            attempts: Mutex::default(),
            intake,
            log,
        })
    }

    /// Registers a handler.
    ///
    /// # Errors
    /// `Argument` when the topic's other handlers want something else.
    pub(crate) fn add<F, R, E>(&self, topic: &str, policy: &Policy, handler: F) -> Result<Arc<Handler>>
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(subscribed) = by_topic.get(topic)
            && subscribed.policy != *policy
        {
            return Err(Error::new(ErrorKind::Argument, "another handler of the event type was subscribed with other options")
                .with("topic", topic)
                .hint("policies belong to an event type: give every handler of it the same one, or subscribe it on another bus with another group"));
        }
        let call: Call = Box::new(move |delivery| {
            let running = handler(delivery);
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        let handler = Arc::new(Handler {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            topic: topic.into(),
            name: std::any::type_name::<F>(),
            call,
            running: AtomicU64::new(0),
            ended: Notify::new(),
        });
        let subscribed = by_topic
            .entry(handler.topic.clone())
            .or_insert_with(|| Subscribed { policy: policy.clone(), handlers: Vec::new() });
        subscribed.handlers.push(handler.clone());
        Ok(handler)
    }

    pub(crate) fn remove(&self, handler: &Handler) {
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(subscribed) = by_topic.get_mut(&handler.topic) {
            subscribed.handlers.retain(|other| other.id != handler.id);
            if subscribed.handlers.is_empty() {
                by_topic.remove(&handler.topic);
            }
        }
    }

    /// The topics that have handlers, and what these want.
    pub(crate) fn topics(&self) -> Vec<TopicSubscription> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        let subscription = |(topic, one): (&Arc<str>, &Subscribed)| TopicSubscription {
            topic: topic.to_string(),
            policy: one.policy.clone(),
        };
        by_topic.iter().map(subscription).collect()
    }

    /// The handlers to be called, each already counted as running, so that none starts after its removal returned,
    /// and how long a call may take. `None` when nobody handles the topic.
    fn start(&self, topic: &str, done: &[u64]) -> Option<(Vec<Running>, Option<Duration>)> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        let subscribed = by_topic.get(topic)?;
        let wanted = subscribed.handlers.iter().filter(|handler| !done.contains(&handler.id));
        Some((wanted.cloned().map(Running::start).collect(), subscribed.policy.handler_timeout))
    }

    async fn until_aborted(&self, ticket: Ticket) {
        loop {
            let mut abort = pin!(self.abort.notified());
            abort.as_mut().enable();
            if self.aborted.covers(ticket) {
                return;
            }
            abort.await;
        }
    }

    /// Runs on: runtime. Calls every handler of the topic that has not succeeded yet, side by side.
    async fn handle(&self, delivery: &Delivery) -> Finished {
        let started = Instant::now();
        let ticket = delivery.ticket();
        if self.stopped.covers(ticket) {
            return released(delivery);
        }
        let mut done = lock(&self.attempts).take(ticket);
        let Some((handlers, timeout)) = self.start(delivery.topic(), &done) else { return released(delivery) };
        let mut calls = JoinSet::new();
        let mut called: Vec<(Id, Arc<Handler>)> = Vec::with_capacity(handlers.len());
        for running in handlers {
            let (delivery, handler) = (delivery.clone(), running.0.clone());
            let call = CURRENT.scope(handler.id, async move { within(timeout, (running.0.call)(delivery)).await });
            called.push((calls.spawn(call).id(), handler));
        }
        let mut aborted = pin!(self.until_aborted(ticket));
        let mut failures = Vec::new();
        loop {
            let ended = tokio::select! {
                ended = calls.join_next_with_id() => ended,
                // Dropping the calls ends them at the next point where they wait.
                () = &mut aborted => return released(delivery),
            };
            let (id, error) = match ended {
                None => break,
                Some(Ok((id, Ok(())))) => (id, None),
                Some(Ok((id, Err(error)))) => (id, Some(error)),
                Some(Err(stopped)) => (stopped.id(), Some(broken(stopped))),
            };
            let Some((_, handler)) = called.iter().find(|(other, _)| *other == id) else { continue };
            match error {
                None => done.push(handler.id),
                Some(error) => failures.push(self.failed(delivery, handler, &error)),
            }
        }
        let outcome = if failures.is_empty() { Outcome::Done } else { Outcome::Failed };
        let failure = worst(failures);
        let again = failure.as_ref().is_some_and(|failure| failure.retryable != Some(false));
        if again && !delivery.is_last_attempt() {
            lock(&self.attempts).keep(ticket, done);
        }
        Finished { ticket, outcome, elapsed: started.elapsed(), failure: failure.map(Box::new) }
    }

    /// Logs a failure and says what the engine needs to know of it.
    fn failed(&self, delivery: &Delivery, handler: &Handler, error: &HandlerError) -> Failure {
        self.log.write(handler_failed(delivery, handler, error));
        Failure {
            handler: handler.name.to_owned(),
            code: error.code().to_owned(),
            message: error.to_string(),
            retryable: error.is_retryable(),
        }
    }
}

async fn within(timeout: Option<Duration>, call: impl Future<Output = Ended>) -> Ended {
    let Some(timeout) = timeout else { return call.await };
    match tokio::time::timeout(timeout, call).await {
        Ok(ended) => ended,
        Err(_) => {
            let message = format!("the handler took longer than {} ms", timeout.as_millis());
            Err(Error::new(ErrorKind::Timeout, message).hint("let it end earlier, or raise handlerTimeoutMs").into())
        }
    }
}

/// What a call failed with that ended without a result.
fn broken(stopped: JoinError) -> HandlerError {
    match stopped.try_into_panic() {
        Ok(panic) => format!("panicked: {}", runtime::panic_text(&*panic)).into(),
        Err(_) => "was cancelled".into(),
    }
}

/// The failure that decides: one that may go away, if there is one, because its handler is called again.
fn worst(failures: Vec<Failure>) -> Option<Failure> {
    let decides = failures.iter().position(|failure| failure.retryable != Some(false)).unwrap_or(0);
    failures.into_iter().nth(decides)
}

fn released(delivery: &Delivery) -> Finished {
    Finished { ticket: delivery.ticket(), outcome: Outcome::Released, elapsed: Duration::ZERO, failure: None }
}

/// The log record of a failed handler.
fn handler_failed(delivery: &Delivery, handler: &Handler, reason: &HandlerError) -> LogRecord {
    let error = Error::new(ErrorKind::Handler, format!("a handler failed: {reason}"))
        .with("topic", delivery.topic())
        .with("partition", delivery.partition())
        .with("offset", delivery.offset())
        .with("attempt", delivery.attempt())
        .with("handler", handler.name);
    let event_id = delivery.event().map(|event| event.event_id().to_owned()).unwrap_or_default();
    let final_ = delivery.is_last_attempt() || reason.is_retryable() == Some(false);
    let (level, next) = if final_ { (Level::Error, "") } else { (Level::Warn, " and is called again") };
    LogRecord::new(level, "handler_failed", format!("a handler failed{next}: {reason}"))
        .with("eventId", event_id)
        .at(delivery.record())
        .with("attempt", delivery.attempt())
        .because(error)
}

impl RecordSink for Handlers {
    fn deliver(&self, run: Vec<Delivery>) {
        let Some(intake) = self.intake.upgrade() else { return };
        let task = async move {
            let Some(handlers) = intake.handlers() else { return };
            let mut run = run.into_iter();
            for delivery in run.by_ref() {
                let finished = handlers.handle(&delivery).await;
                let failed = finished.outcome == Outcome::Failed;
                intake.finish(&[finished]);
                if failed {
                    break;
                }
            }
            // What lies behind a failure comes again behind its next attempt.
            let released: Vec<_> = run.map(|delivery| released(&delivery)).collect();
            intake.finish(&released);
        };
        // Without a runtime nothing can be handled: the run stays unfinished and is delivered again after a restart.
        if let Err(error) = runtime::spawn(task) {
            self.log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
        }
    }

    fn stop(&self, slot: u16, epoch: u16) {
        self.stopped.set(slot, epoch);
    }

    fn abort(&self, slot: u16, epoch: u16) {
        self.aborted.set(slot, epoch);
        self.abort.notify_waiters();
    }
}
