//! Calls of handlers, one after the other on one thread.

use std::sync::Arc;
use std::time::Instant;

use event_bus::{Finished, Level, LogRecord};

use crate::answers::{Answers, Gathering};
use crate::boundary::Shared;
use crate::callback::{Place, enter};
use crate::delivery::{EVBUS_PENDING, evbus_delivery, verdict};
use crate::feed::Feed;
use crate::gate;
use crate::subscription::{Handler, Subscription};
use crate::verdict::Verdict;

/// What a thread keeps while it calls handlers one after the other. It is the same for all of these calls and shared
/// with other threads, which would wait for each other at every look at it.
#[derive(Default)]
pub(crate) struct Stretch {
    gathering: Gathering,
    inside: Option<Inside>,
    ended_at: Option<Instant>,
}

impl Stretch {
    /// Enters the gates of bus and subscription where the thread is not inside already.
    pub(crate) fn enter(&mut self, feed: &Feed, subscription: &Arc<Subscription>) -> Result<&Inside, Verdict> {
        match self.inside.take() {
            // Who is inside counts as running: a gate that closes behind this look waits for the call that follows.
            Some(inside) if inside.may_call(feed, subscription) => Ok(self.inside.insert(inside)),
            former => {
                self.gathering.give();
                drop(former);
                Ok(self.inside.insert(Inside::enter(feed, subscription)?))
            }
        }
    }

    /// A call has ended, and this is the answer.
    pub(crate) fn ended(&mut self, answers: &Arc<Answers>, answer: Finished, now: Instant) {
        self.ended_at = Some(now);
        self.gathering.add(answers, answer, now);
    }

    /// When the last call had ended, which is when the next one begins.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.ended_at
    }

    /// No call follows.
    pub(crate) fn end(&mut self) {
        // Whoever waits for this thread to leave waits for its answers too.
        self.gathering.give();
        self.inside = None;
        self.ended_at = None;
    }
}

/// Someone who may call the handler of a subscription.
pub(crate) struct Inside {
    // Goes first: the data of an ended subscription is given back before anyone is told that no call runs.
    handler: Arc<Handler>,
    _of_subscription: gate::Inside,
    _of_bus: gate::Inside,
    subscription: Arc<Subscription>,
}

impl Inside {
    fn enter(feed: &Feed, subscription: &Arc<Subscription>) -> Result<Self, Verdict> {
        let of_bus = feed.gate.enter().ok_or(Verdict::Recalled)?;
        let of_subscription = subscription.gate.enter().ok_or(Verdict::Gone)?;
        let handler = subscription.handler().ok_or(Verdict::Gone)?;
        let subscription = subscription.clone();
        Ok(Inside { handler, _of_subscription: of_subscription, _of_bus: of_bus, subscription })
    }

    fn may_call(&self, feed: &Feed, subscription: &Arc<Subscription>) -> bool {
        Arc::ptr_eq(&self.subscription, subscription) && !feed.gate.is_closed() && !subscription.gate.is_closed()
    }

    /// Runs on: callback thread. Calls the handler; `None` when it goes on elsewhere or has finished already.
    pub(crate) fn call(&self, handed: &Shared<evbus_delivery>, feed: &Arc<Feed>) -> Option<Verdict> {
        let place =
            Place::Handler { bus: Arc::as_ptr(feed).addr(), subscription: Arc::as_ptr(&self.subscription).addr() };
        let entered = enter(place);
        let outcome = (self.handler.function)(handed.lend(), self.handler.user_data.0);
        drop(entered);
        if handed.is_finished() {
            return None;
        }
        // Nothing else holds what was lent and not retained.
        if outcome == EVBUS_PENDING && handed.holders() > 1 {
            return None;
        }
        Some(verdict(outcome, None, None).unwrap_or_else(|_| {
            let reason = if outcome == EVBUS_PENDING {
                "the handler returned EVBUS_PENDING without evbus_delivery_retain".to_owned()
            } else {
                format!("the handler returned {outcome}, which is no outcome")
            };
            let record = LogRecord::new(Level::Warn, "handler_misbehaved", reason.clone());
            feed.log.write(record.at(handed.delivery().record()));
            Verdict::failed(reason)
        }))
    }
}
