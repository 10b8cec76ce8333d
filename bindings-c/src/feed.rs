//! From the core to the subscriptions: which delivery goes to whom, in which order, and what the answer is.
//!
//! The core hands out runs: consecutive deliveries of a lane. Each goes to every subscription of its topic; when all
//! have ended it is answered, and the next one of the run goes out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use event_bus::{
    Delivery, Epochs, Error, ErrorKind, Failure, Finished, Intake, Log, Outcome, RecordSink, Result, Ticket,
    TopicSubscription,
};

use crate::answers::Answers;
use crate::boundary::Shared;
use crate::delivery::{Handed, evbus_delivery};
use crate::gate::{Gate, lock};
use crate::pool::{Job, Pool};
use crate::stretch::Stretch;
use crate::subscription::{Kind, Subscription};
use crate::verdict::{Parts, Reason, Sum, Verdict, handler_failed};

/// A run on its way.
struct Run {
    feed: Arc<Feed>,
    rest: Mutex<Rest>,
}

/// What is left of a run.
struct Rest {
    deliveries: VecDeque<Delivery>,
    /// Who wants the topic, as of that version of the feed's subscriptions.
    wanted: Arc<[Arc<Subscription>]>,
    version: u64,
}

impl Run {
    fn new(feed: &Arc<Feed>, deliveries: Vec<Delivery>) -> Arc<Self> {
        let rest = Rest { deliveries: deliveries.into(), wanted: Arc::default(), version: 0 };
        Arc::new(Run { feed: feed.clone(), rest: Mutex::new(rest) })
    }

    /// The next delivery and who wants it.
    fn next(&self) -> Option<(Delivery, Arc<[Arc<Subscription>]>)> {
        let mut rest = lock(&self.rest);
        let delivery = rest.deliveries.pop_front()?;
        let version = self.feed.version.load(Ordering::SeqCst);
        if rest.version != version {
            rest.wanted = self.feed.of(delivery.topic());
            rest.version = version;
        }
        Some((delivery, rest.wanted.clone()))
    }

    /// Gives back what lies behind a failure: it comes again behind the next attempt or what follows the last.
    fn release(&self) {
        let rest = std::mem::take(&mut lock(&self.rest).deliveries);
        let answer = |delivery: Delivery| finished(delivery.ticket(), Outcome::Released, Duration::ZERO, None);
        self.feed.answers.give(&rest.into_iter().map(answer).collect::<Vec<_>>());
    }
}

fn finished(ticket: Ticket, outcome: Outcome, elapsed: Duration, failure: Option<Box<Failure>>) -> Finished {
    Finished { ticket, outcome, elapsed, failure }
}

/// How far a delivery is.
struct Progress {
    /// Parts that have not ended.
    open: usize,
    /// What earlier attempts and this one have settled.
    settled: Parts,
    /// The worst of this attempt's failures.
    unsettled: Parts,
}

/// One delivery on its way through all subscriptions of its topic.
pub(crate) struct Live {
    pub(crate) delivery: Delivery,
    run: Arc<Run>,
    progress: Mutex<Progress>,
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

    /// Counts a part that ended, and goes on when it was the last; in a stretch, a call of a handler that follows is
    /// given back instead of being handed to another thread.
    pub(crate) fn end_part(
        &self,
        subscription: usize,
        verdict: Verdict,
        stretch: Option<&mut Stretch>,
    ) -> Option<Call> {
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
        let mut progress = lock(&self.progress);
        progress.open -= 1;
        let last = progress.open == 0;
        if part >= Sum::Failed {
            progress.unsettled.add(part, failure);
        } else {
            // Nobody asks who has settled what when all have.
            if !last || progress.unsettled.sum != Sum::Gone {
                progress.settled.settled.push(subscription);
            }
            progress.settled.add(part, failure);
        }
        if !last {
            return None;
        }
        let settled = std::mem::replace(&mut progress.settled, Parts::NONE);
        let unsettled = std::mem::replace(&mut progress.unsettled, Parts::NONE);
        drop(progress);
        self.end(settled, unsettled, stretch)
    }

    /// All parts have ended.
    fn end(&self, settled: Parts, unsettled: Parts, stretch: Option<&mut Stretch>) -> Option<Call> {
        let feed = &self.run.feed;
        let ticket = self.delivery.ticket();
        let all_settled = unsettled.sum == Sum::Gone;
        let (sum, failure) =
            if all_settled { (settled.sum, settled.failure.clone()) } else { (unsettled.sum, unsettled.failure) };
        if !all_settled && !self.delivery.is_last_attempt() && !settled.settled.is_empty() {
            lock(&feed.settled).insert(ticket, settled);
        }
        let now = Instant::now();
        let answer = finished(ticket, sum.outcome(), now.saturating_duration_since(self.started), failure);
        let releases = matches!(sum, Sum::Failed | Sum::Fatal);
        let stretch = match stretch {
            Some(stretch) => {
                stretch.ended(&feed.answers, answer, now);
                Some(stretch)
            }
            None => {
                feed.answers.give(&[answer]);
                None
            }
        };
        if releases {
            self.run.release();
        }
        Feed::go_on(&self.run, stretch.as_deref())
    }
}

/// A call of a handler that is due.
pub(crate) struct Call {
    pub(crate) handed: Shared<evbus_delivery>,
    wanted: Arc<[Arc<Subscription>]>,
    /// Which of these is called.
    number: usize,
}

impl Job for Call {
    type Kept = Stretch;

    /// Runs on: callback thread.
    fn run(self, stretch: &mut Stretch) -> Option<Self> {
        let Call { handed, wanted, number } = self;
        let feed = &handed.live().run.feed;
        if handed.live().is_recalled() {
            return handed.end_here(Verdict::Recalled, stretch);
        }
        let verdict = match stretch.enter(feed, &wanted[number]) {
            Ok(inside) => inside.call(&handed, feed)?,
            Err(verdict) => verdict,
        };
        handed.end_here(verdict, stretch)
    }

    /// Runs on: callback thread.
    fn rest(stretch: &mut Stretch) {
        stretch.end();
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
    /// Counts the changes of `by_topic`, from 1.
    version: AtomicU64,
    pub(crate) answers: Arc<Answers>,
    pub(crate) pool: Pool<Call>,
    /// All callbacks of the bus.
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Log,
}

impl Feed {
    pub(crate) fn new(intake: Weak<Intake>, callback_threads: usize, gate: Arc<Gate>, log: Log) -> Self {
        Feed {
            by_topic: RwLock::default(),
            recalled: Epochs::default(),
            over: Epochs::default(),
            settled: Mutex::default(),
            version: AtomicU64::new(1),
            answers: Arc::new(Answers::new(intake)),
            pool: Pool::new(callback_threads),
            gate,
            log,
        }
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
        self.version.fetch_add(1, Ordering::SeqCst);
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
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The topics that have subscriptions, and what these want.
    pub(crate) fn topics(&self) -> Vec<TopicSubscription> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(topic, all): (&Arc<str>, &Vec<Arc<Subscription>>)| {
            all.first().map(|one| TopicSubscription { topic: topic.to_string(), policy: one.policy.clone() })
        };
        by_topic.iter().filter_map(wanted).collect()
    }

    fn of(&self, topic: &str) -> Arc<[Arc<Subscription>]> {
        let by_topic = self.by_topic.read().unwrap_or_else(PoisonError::into_inner);
        by_topic.get(topic).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Subscription>> {
        self.by_topic.read().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    pub(crate) fn is_recalled(&self, ticket: Ticket) -> bool {
        self.gate.is_closed() || self.recalled.covers(ticket)
    }

    /// Hands out the next delivery of a run that somebody wants.
    fn go_on(run: &Arc<Run>, stretch: Option<&Stretch>) -> Option<Call> {
        let feed = &run.feed;
        loop {
            let (delivery, wanted) = run.next()?;
            let ticket = delivery.ticket();
            let before = if delivery.attempt() > 1 { lock(&feed.settled).remove(&ticket) } else { None };
            let before = before.unwrap_or(Parts::NONE);
            let settled = before.settled.clone();
            let is_open = |one: &Arc<Subscription>| !settled.contains(&Arc::as_ptr(one).addr());
            let open = if feed.is_recalled(ticket) { 0 } else { wanted.iter().filter(|one| is_open(one)).count() };
            if open == 0 {
                // Nobody wants it, or those who failed have gone: what is settled counts.
                let fatal = before.sum == Sum::Fatal;
                feed.answers.give(&[finished(ticket, before.sum.outcome(), Duration::ZERO, before.failure)]);
                if fatal {
                    run.release();
                }
                continue;
            }
            let live = Arc::new(Live {
                delivery,
                run: run.clone(),
                progress: Mutex::new(Progress { open, settled: before, unsettled: Parts::NONE }),
                started: stretch.and_then(Stretch::ended_at).unwrap_or_else(Instant::now),
            });
            let mut first = None;
            for (number, subscription) in wanted.iter().enumerate().filter(|(_, one)| is_open(one)) {
                let handed = Handed::hand(live.clone(), Arc::as_ptr(subscription).addr());
                if matches!(subscription.kind, Kind::Pull(_)) {
                    subscription.push(handed);
                    continue;
                }
                let call = Call { handed, wanted: wanted.clone(), number };
                if stretch.is_some() && first.is_none() {
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
        Feed::go_on(&Run::new(&self.0, run), None);
    }

    fn stop(&self, slot: u16, epoch: u16) {
        let feed = &self.0;
        feed.recalled.set(slot, epoch);
        lock(&feed.settled).retain(|ticket, _| ticket.slot() != slot || !feed.recalled.covers(*ticket));
        let concerned = |handed: &Shared<evbus_delivery>| {
            let ticket = handed.delivery().ticket();
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

    fn flush(&self) {
        self.0.answers.flush();
    }
}
