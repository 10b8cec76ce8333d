//! One subscription: a handler that is called, or a queue that is polled.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use event_bus::{Error, ErrorKind, Policy, Result};

use crate::boundary::Shared;
use crate::callback::Callback;
use crate::delivery::evbus_delivery;
use crate::gate::{Gate, lock};
use crate::signal::Signal;
use crate::verdict::Verdict;

pub(crate) type Handler = Callback<extern "C" fn(delivery: *mut evbus_delivery, user_data: *mut c_void) -> i32>;

/// A subscription of a topic.
pub(crate) struct Subscription {
    pub(crate) topic: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) kind: Kind,
    /// The calls of its handler.
    pub(crate) gate: Arc<Gate>,
}

/// How deliveries get to the program.
pub(crate) enum Kind {
    /// A handler is called; taken out at the end, so that its data goes after the last call.
    Call(Mutex<Option<Arc<Handler>>>),
    /// The program polls.
    Pull(Pull),
}

#[derive(Default)]
pub(crate) struct Pull {
    queue: Mutex<Queue>,
    available: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Shared<evbus_delivery>>,
    closed: bool,
    signal: Option<Signal>,
}

impl Queue {
    /// Makes the descriptor say what the queue holds.
    fn show(&mut self) {
        let wanted = self.closed || !self.waiting.is_empty();
        if let Some(signal) = &mut self.signal {
            signal.show(wanted);
        }
    }
}

impl Subscription {
    pub(crate) fn calling(topic: &str, policy: Policy, handler: Handler) -> Arc<Self> {
        Subscription::new(topic, policy, Kind::Call(Mutex::new(Some(Arc::new(handler)))))
    }

    pub(crate) fn pulling(topic: &str, policy: Policy) -> Arc<Self> {
        Subscription::new(topic, policy, Kind::Pull(Pull::default()))
    }

    fn new(topic: &str, policy: Policy, kind: Kind) -> Arc<Self> {
        Arc::new(Subscription { topic: topic.into(), policy, kind, gate: Arc::default() })
    }

    /// Its handler, until it ends.
    pub(crate) fn handler(&self) -> Option<Arc<Handler>> {
        match &self.kind {
            Kind::Call(handler) => lock(handler).clone(),
            Kind::Pull(_) => None,
        }
    }

    /// Has a delivery wait for a poll. Must not block.
    pub(crate) fn push(&self, handed: Shared<evbus_delivery>) {
        let Kind::Pull(pull) = &self.kind else { return };
        let mut queue = lock(&pull.queue);
        if queue.closed {
            drop(queue);
            handed.end(Verdict::Gone);
            return;
        }
        queue.waiting.push_back(handed);
        queue.show();
        pull.available.notify_one();
    }

    /// Takes out the waiting deliveries that match.
    pub(crate) fn take_waiting(
        &self,
        matches: impl Fn(&Shared<evbus_delivery>) -> bool,
    ) -> VecDeque<Shared<evbus_delivery>> {
        let Kind::Pull(pull) = &self.kind else { return VecDeque::new() };
        let mut queue = lock(&pull.queue);
        let (taken, left) = std::mem::take(&mut queue.waiting).into_iter().partition(matches);
        queue.waiting = left;
        queue.show();
        taken
    }

    /// The next delivery; `None` at the deadline.
    ///
    /// # Errors
    /// `IllegalState` for a subscription with a handler; `Closed` when nothing will come any more.
    pub(crate) fn poll(&self, deadline: Option<Instant>) -> Result<Option<Shared<evbus_delivery>>> {
        let pull = self.pull("evbus_subscription_poll")?;
        let mut queue = lock(&pull.queue);
        loop {
            if let Some(handed) = queue.waiting.pop_front() {
                queue.show();
                drop(queue);
                if !handed.live().is_recalled() {
                    return Ok(Some(handed));
                }
                handed.end(Verdict::Recalled);
                queue = lock(&pull.queue);
                continue;
            }
            if queue.closed {
                return Err(Error::new(ErrorKind::Closed, "the subscription has ended")
                    .with("topic", &self.topic)
                    .hint("stop polling, and free the subscription"));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            queue = match left {
                Some(left) if left.is_zero() => return Ok(None),
                Some(left) => pull.available.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => pull.available.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The descriptor that is readable while a poll would not wait.
    ///
    /// # Errors
    /// `IllegalState` for a subscription with a handler; `Internal` when the process may have no more descriptors.
    pub(crate) fn descriptor(&self) -> Result<i32> {
        let pull = self.pull("evbus_subscription_fd")?;
        let mut queue = lock(&pull.queue);
        if queue.signal.is_none() {
            queue.signal = Some(Signal::new().map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::Unsupported => ErrorKind::IllegalState,
                    _ => ErrorKind::Internal,
                };
                Error::new(kind, format!("a descriptor cannot be made: {error}"))
                    .hint("raise the limit of open files of the process, or poll on a thread of your own")
            })?);
            queue.show();
        }
        Ok(queue.signal.as_ref().map_or(-1, Signal::descriptor))
    }

    fn pull(&self, call: &str) -> Result<&Pull> {
        match &self.kind {
            Kind::Pull(pull) => Ok(pull),
            Kind::Call(_) => {
                Err(Error::new(ErrorKind::IllegalState, format!("{call} is for subscriptions without a handler"))
                    .with("topic", &self.topic)
                    .hint("subscribe with evbus_bus_subscribe_pull"))
            }
        }
    }

    /// Says that nothing will come any more; what waits may still be polled.
    pub(crate) fn announce_end(&self) {
        if let Kind::Pull(pull) = &self.kind {
            let mut queue = lock(&pull.queue);
            queue.closed = true;
            queue.show();
            pull.available.notify_all();
        }
    }

    /// Ends it: no call starts any more, and what waits goes to nobody. `false` when it had ended before.
    pub(crate) fn end(&self) -> bool {
        let first = self.gate.close();
        self.announce_end();
        for handed in self.take_waiting(|_| true) {
            handed.end(Verdict::Gone);
        }
        if let Kind::Call(handler) = &self.kind {
            let handler = lock(handler).take();
            drop(handler);
        }
        first
    }

    /// Lets the caller keep the user data of a subscription that never came to be.
    pub(crate) fn hand_back(&self) {
        if let Kind::Call(handler) = &self.kind
            && let Some(handler) = &*lock(handler)
        {
            handler.hand_back();
        }
    }
}
