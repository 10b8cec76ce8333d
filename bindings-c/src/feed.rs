//! From the core to the subscriptions: which delivery goes to whom, in which order, and what the answer is.
//!
//! The core hands out runs: consecutive deliveries of a lane. Each goes to every subscription of its topic; when all
//! have ended it is answered, and the next one of the run goes out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use event_bus::{
    Delivery, Epochs, Error, ErrorKind, Failure, Finished, Intake, Level, Log, LogRecord, Outcome, RecordSink, Result,
    Ticket, TopicSubscription,
};

use crate::boundary::Shared;
use crate::delivery::{Handed, evbus_delivery};
use crate::gate::{Gate, lock};
use crate::pool::{Job, Pool};
use crate::subscription::{Kind, Subscription};

/// How one subscription's part of a delivery ended.
pub(crate) enum Verdict {
    /// Its handler said so, and why it is not handled.
    Answer(Sum, Option<Reason>),
    /// It must not start any more: the event stays unfinished for all.
    Recalled,
    /// The subscription ended first: the event does not wait for it.
    Gone,
}

impl Verdict {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Verdict::Answer(Sum::Failed, Some(Reason { code: None, message: message.into() }))
    }
}

/// Why a delivery is not handled, for logs and dead letters.
pub(crate) struct Reason {
    /// What kind of failure it was, in the program's words.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

/// What the parts of a delivery amount to, so far: of several the last of these counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sum {
    Gone,
    Done,
    Skip,
    DeadLetter,
    /// No attempt can succeed.
    Fatal,
    Failed,
    Recalled,
}

impl Sum {
    fn outcome(self) -> Outcome {
        match self {
            Sum::Gone | Sum::Recalled => Outcome::Released,
            Sum::Done => Outcome::Done,
            Sum::Skip => Outcome::Skip,
            Sum::DeadLetter => Outcome::DeadLetter,
            Sum::Fatal | Sum::Failed => Outcome::Failed,
        }
    }
}

/// A run on its way: what is left of it.
struct Run {
    feed: Arc<Feed>,
    rest: Mutex<VecDeque<Delivery>>,
}

impl Run {
    /// Gives back what lies behind a failure: it comes again behind the next attempt or what follows the last.
    fn release(&self) {
        for delivery in std::mem::take(&mut *lock(&self.rest)) {
            self.feed.answer(delivery.ticket(), Outcome::Released, Duration::ZERO, None);
        }
    }
}

/// The parts of a delivery that have ended, kept for its next attempt, which calls only those that failed.
#[derive(Clone)]
struct Parts {
    sum: Sum,
    failure: Option<Box<Failure>>,
    /// The subscriptions that have ended well, by their addresses.
    settled: Vec<usize>,
}

impl Parts {
    const NONE: Parts = Parts { sum: Sum::Gone, failure: None, settled: Vec::new() };

    fn add(&mut self, part: Sum, failure: Option<Box<Failure>>) {
        if part > self.sum {
            self.sum = part;
            self.failure = failure;
        }
    }
}

/// One delivery on its way through all subscriptions of its topic.
pub(crate) struct Live {
    pub(crate) delivery: Delivery,
    run: Arc<Run>,
    open: AtomicUsize,
    /// What earlier attempts and this one have settled.
    settled: Mutex<Parts>,
    /// The worst of this attempt's failures.
    unsettled: Mutex<Parts>,
    started: Instant,
}

impl Live {
    /// The outcome may come too late to be committed.
    pub(crate) fn is_stale(&self) -> bool {
        self.run.feed.gate.is_closed() || self.run.feed.over.covers(self.delivery.ticket())
    }

    /// It must not start any more.
    pub(crate) fn is_recalled(&self) -> bool {
        self.run.feed.is_recalled(self.delivery.ticket())
    }

    /// Counts a part that ended, and goes on when it was the last; with `here`, a call of a handler that follows is
    /// given back instead of being handed to another thread.
    pub(crate) fn end_part(self: Arc<Self>, subscription: usize, verdict: Verdict, here: bool) -> Option<Call> {
        let (part, reason) = match verdict {
            Verdict::Gone => (Sum::Gone, None),
            Verdict::Recalled => (Sum::Recalled, None),
            Verdict::Answer(part, reason) => (part, reason),
        };
        let failure = reason.map(|Reason { code, message }| {
            let fatal = part == Sum::Fatal;
            if fatal || part == Sum::Failed {
                self.run.feed.log.write(handler_failed(&self.delivery, &message, fatal));
            }
            let code = code.unwrap_or_else(|| ErrorKind::Handler.code().to_owned());
            Box::new(Failure { handler: "C".to_owned(), code, message, retryable: fatal.then_some(false) })
        });
        if part >= Sum::Failed {
            lock(&self.unsettled).add(part, failure);
        } else {
            let mut settled = lock(&self.settled);
            settled.settled.push(subscription);
            settled.add(part, failure);
        }
        if self.open.fetch_sub(1, Ordering::SeqCst) > 1 { None } else { self.end(here) }
    }

    /// All parts have ended.
    fn end(&self, here: bool) -> Option<Call> {
        let feed = &self.run.feed;
        let ticket = self.delivery.ticket();
        let settled = std::mem::replace(&mut *lock(&self.settled), Parts::NONE);
        let unsettled = std::mem::replace(&mut *lock(&self.unsettled), Parts::NONE);
        if unsettled.sum == Sum::Gone {
            feed.answer(ticket, settled.sum.outcome(), self.started.elapsed(), settled.failure);
            if settled.sum == Sum::Fatal {
                self.run.release();
            }
            return Feed::go_on(&self.run, here);
        }
        if !self.delivery.is_last_attempt() && !settled.settled.is_empty() {
            lock(&feed.settled).insert(ticket, settled);
        }
        feed.answer(ticket, unsettled.sum.outcome(), self.started.elapsed(), unsettled.failure);
        if unsettled.sum == Sum::Failed {
            self.run.release();
        }
        Feed::go_on(&self.run, here)
    }
}

/// The log record of a failed handler.
fn handler_failed(delivery: &Delivery, reason: &str, fatal: bool) -> LogRecord {
    let error = Error::new(ErrorKind::Handler, format!("a handler failed: {reason}"))
        .with("topic", delivery.topic())
        .with("partition", delivery.partition())
        .with("offset", delivery.offset())
        .with("attempt", delivery.attempt());
    let event_id = delivery.event().map(|event| event.event_id().to_owned()).unwrap_or_default();
    let last = fatal || delivery.is_last_attempt();
    let (level, next) = if last { (Level::Error, "") } else { (Level::Warn, " and is called again") };
    LogRecord::new(level, "handler_failed", format!("a handler failed{next}: {reason}"))
        .with("eventId", event_id)
        .at(delivery.record())
        .with("attempt", delivery.attempt())
        .because(error)
}

/// A call of a handler that is due.
pub(crate) struct Call {
    pub(crate) handed: Shared<evbus_delivery>,
    pub(crate) subscription: Arc<Subscription>,
}

impl Job for Call {
    /// Runs on: callback thread.
    fn run(self) -> Option<Self> {
        let Call { handed, subscription } = self;
        let feed = handed.live().run.feed.clone();
        if feed.is_recalled(handed.delivery.ticket()) {
            return handed.end_here(Verdict::Recalled);
        }
        match subscription.call(&handed, &feed) {
            Some(verdict) => handed.end_here(verdict),
            None => None,
        }
    }
}

/// The subscriptions of one bus, and the sink that feeds them.
pub(crate) struct Feed {
    by_topic: RwLock<HashMap<Arc<str>, Vec<Arc<Subscription>>>>,
    /// Deliveries that must not start any more.
    recalled: Epochs,
    /// Deliveries whose answers come too late.
    over: Epochs,
    /// What is settled of deliveries that will come again.
    settled: Mutex<HashMap<Ticket, Parts>>,
    intake: Weak<Intake>,
    pub(crate) pool: Pool<Call>,
    /// All callbacks of the bus.
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Log,
}

impl Feed {
    pub(crate) fn new(intake: Weak<Intake>, callback_threads: usize, gate: Arc<Gate>, log: Log) -> Self {
        let pool = Pool::new(callback_threads);
        let (by_topic, settled) = (RwLock::default(), Mutex::default());
        Feed { by_topic, recalled: Epochs::default(), over: Epochs::default(), settled, intake, pool, gate, log }
    }

    pub(crate) fn add(&self, subscription: Arc<Subscription>) -> Result<()> {
        if matches!(subscription.kind, Kind::Call(_)) {
            self.pool.prepare()?;
        }
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        let all = by_topic.entry(subscription.topic.clone()).or_default();
        if all.first().is_some_and(|other| other.policy != subscription.policy) {
            let message = "another subscription of the event type has other options";
            return Err(Error::new(ErrorKind::Argument, message).with("topic", &subscription.topic).hint(
                "options belong to an event type: give all its subscriptions the same ones, or use a bus with another group",
            ));
        }
        all.push(subscription);
        Ok(())
    }

    pub(crate) fn remove(&self, subscription: &Arc<Subscription>) {
        let mut by_topic = self.by_topic.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = by_topic.get_mut(&subscription.topic) {
            all.retain(|other| !Arc::ptr_eq(other, subscription));
            if all.is_empty() {
                by_topic.remove(&subscription.topic);
            }
        }
    }

    /// The topics that have subscriptions, and what these want.
    pub(crate) fn topics(&self) -> Vec<TopicSubscription> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(topic, all): (&Arc<str>, &Vec<Arc<Subscription>>)| {
            all.first().map(|one| TopicSubscription { topic: topic.to_string(), policy: one.policy.clone() })
        };
        by_topic.iter().filter_map(wanted).collect()
    }

    fn of(&self, topic: &str) -> Vec<Arc<Subscription>> {
        self.by_topic.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Subscription>> {
        self.by_topic.read().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    fn answer(&self, ticket: Ticket, outcome: Outcome, elapsed: Duration, failure: Option<Box<Failure>>) {
        // Without a core nobody waits for answers.
        if let Some(intake) = self.intake.upgrade() {
            intake.finish(&[Finished { ticket, outcome, elapsed, failure }]);
        }
    }

    pub(crate) fn is_recalled(&self, ticket: Ticket) -> bool {
        self.gate.is_closed() || self.recalled.covers(ticket)
    }

    /// Hands out the next delivery of a run that somebody wants.
    fn go_on(run: &Arc<Run>, here: bool) -> Option<Call> {
        let feed = &run.feed;
        loop {
            let delivery = lock(&run.rest).pop_front()?;
            let ticket = delivery.ticket();
            let mut wanted = if feed.is_recalled(ticket) { Vec::new() } else { feed.of(delivery.topic()) };
            let before = if delivery.attempt() > 1 { lock(&feed.settled).remove(&ticket) } else { None };
            let before = before.unwrap_or(Parts::NONE);
            wanted.retain(|subscription| !before.settled.contains(&Arc::as_ptr(subscription).addr()));
            if wanted.is_empty() {
                // Nobody wants it, or those who failed have gone: what is settled counts.
                feed.answer(ticket, before.sum.outcome(), Duration::ZERO, before.failure);
                if before.sum == Sum::Fatal {
                    run.release();
                }
                continue;
            }
            let live = Arc::new(Live {
                delivery,
                run: run.clone(),
                open: AtomicUsize::new(wanted.len()),
                settled: Mutex::new(before),
                unsettled: Mutex::new(Parts::NONE),
                started: Instant::now(),
            });
            let mut first = None;
            for subscription in wanted {
                let handed = Handed::hand(live.clone(), Arc::as_ptr(&subscription).addr());
                if matches!(subscription.kind, Kind::Pull(_)) {
                    subscription.push(handed);
                    continue;
                }
                let call = Call { handed, subscription };
                if here && first.is_none() {
                    first = Some(call);
                } else {
                    feed.pool.push(call);
                }
            }
            return first;
        }
    }
}

/// The sink of the core, which must not be kept alive by what the core holds.
pub(crate) struct Sink(pub(crate) Arc<Feed>);

impl RecordSink for Sink {
    fn deliver(&self, run: Vec<Delivery>) {
        Feed::go_on(&Arc::new(Run { feed: self.0.clone(), rest: Mutex::new(run.into()) }), false);
    }

    fn stop(&self, slot: u16, epoch: u16) {
        let feed = &self.0;
        feed.recalled.set(slot, epoch);
        lock(&feed.settled).retain(|ticket, _| ticket.slot() != slot || !feed.recalled.covers(*ticket));
        let concerned = |handed: &Shared<evbus_delivery>| {
            let ticket = handed.delivery.ticket();
            ticket.slot() == slot && feed.recalled.covers(ticket)
        };
        for call in feed.pool.take(|call| concerned(&call.handed)) {
            call.handed.end(Verdict::Recalled);
        }
        for subscription in feed.all() {
            for handed in subscription.take_waiting(concerned) {
                handed.end(Verdict::Recalled);
            }
        }
    }

    /// A call into C cannot be ended from outside; handlers learn that they are late when they finish.
    fn abort(&self, slot: u16, epoch: u16) {
        self.0.over.set(slot, epoch);
    }
}
