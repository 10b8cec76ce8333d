//! Handlers of Rust callers: who wants which topic, and the calls that run.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Intake;
use crate::error::{Error, ErrorKind};
use crate::event::{Delivery, Finished, Outcome, Ticket};
use crate::log::{Level, Log, LogRecord};
use crate::runtime;
use crate::transport::RecordSink;

/// What a handler may fail with.
pub type HandlerError = Box<dyn StdError + Send + Sync>;

type Call = Box<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>> + Send + Sync>;

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

/// The handlers of one bus, and the sink that calls them.
pub(crate) struct Handlers {
    by_topic: RwLock<HashMap<Arc<str>, Vec<Arc<Handler>>>>,
    next_id: AtomicU64,
    /// Per slot, the last epoch whose deliveries must not start any more; those of earlier ones must not either.
    stopped: RwLock<Vec<Option<u16>>>,
    intake: Weak<Intake>,
    log: Log,
}

impl Handlers {
    pub(crate) fn new(intake: Weak<Intake>, log: Log) -> Arc<Self> {
        Arc::new(Handlers {
            by_topic: RwLock::default(),
            next_id: AtomicU64::new(1),
            stopped: RwLock::default(),
            intake,
            log,
        })
    }

    pub(crate) fn add<F, R, E>(&self, topic: &str, handler: F) -> Arc<Handler>
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let call: Call = Box::new(move |delivery| {
            let running = handler(delivery);
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        let handler = Arc::new(Handler {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            topic: topic.into(),
            call,
            running: AtomicU64::new(0),
            ended: Notify::new(),
        });
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        by_topic.entry(handler.topic.clone()).or_default().push(handler.clone());
        handler
    }

    pub(crate) fn remove(&self, handler: &Handler) {
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(handlers) = by_topic.get_mut(&handler.topic) {
            handlers.retain(|other| other.id != handler.id);
            if handlers.is_empty() {
                by_topic.remove(&handler.topic);
            }
        }
    }

    /// The topics that have handlers.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self.by_topic.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        topics.sort();
        topics
    }

    fn is_stopped(&self, ticket: Ticket) -> bool {
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        // A run of an earlier assignment may still wait behind a handler that outlived it. Epochs wrap.
        let is_behind = |last: u16| last.wrapping_sub(ticket.epoch()) <= u16::MAX / 2;
        stopped.get(usize::from(ticket.slot())).is_some_and(|last| last.is_some_and(is_behind))
    }

    /// The handlers of a topic, each already counted as running, so that none starts after its removal returned.
    fn start(&self, topic: &str) -> Vec<Running> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        by_topic.get(topic).into_iter().flatten().cloned().map(Running::start).collect()
    }

    /// Runs on: runtime. Calls every handler of the topic, side by side.
    async fn handle(&self, delivery: &Delivery) -> Finished {
        let started = Instant::now();
        let mut calls = JoinSet::new();
        let handlers = if self.is_stopped(delivery.ticket()) { Vec::new() } else { self.start(delivery.topic()) };
        for running in handlers {
            let delivery = delivery.clone();
            calls.spawn(CURRENT.scope(running.0.id, async move { (running.0.call)(delivery).await }));
        }
        let mut outcome = if calls.is_empty() { Outcome::Released } else { Outcome::Done };
        while let Some(ended) = calls.join_next().await {
            let reason = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(stopped) => match stopped.try_into_panic() {
                    Ok(panic) => format!("panicked: {}", runtime::panic_text(&*panic)),
                    Err(_) => "was cancelled".to_owned(),
                },
            };
            outcome = Outcome::Failed;
            self.log.write(handler_failed(delivery, &reason));
        }
        Finished { ticket: delivery.ticket(), outcome, elapsed: started.elapsed(), failure: None }
    }
}

/// The log record of a failed handler.
fn handler_failed(delivery: &Delivery, reason: &str) -> LogRecord {
    let error = Error::new(ErrorKind::Handler, format!("a handler failed: {reason}"))
        .with("topic", delivery.topic())
        .with("partition", delivery.partition())
        .with("offset", delivery.offset())
        .with("attempt", delivery.attempt());
    let event_id = delivery.event().map(|event| event.event_id().to_owned()).unwrap_or_default();
    LogRecord::new(Level::Error, "handler_failed", format!("a handler failed: {reason}"))
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
            for delivery in &run {
                let finished = handlers.handle(delivery).await;
                intake.finish(&[finished]);
            }
        };
        // Without a runtime nothing can be handled: the run stays unfinished and is delivered again after a restart.
        if let Err(error) = runtime::spawn(task) {
            self.log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
        }
    }

    fn stop(&self, slot: u16, epoch: u16) {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::from(slot);
        if stopped.len() <= slot {
            stopped.resize(slot + 1, None);
        }
        stopped[slot] = Some(epoch);
    }
}
