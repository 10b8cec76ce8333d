//! The watchdog: partitions that have records and stand still for no reason of ours, and what is done about them.
//!
//! A state machine without thread, clock or Kafka, as the [engine](super::engine) is: the poll thread tells it what it
//! sees ([`Watchdog::look`]), has its questions answered ([`Watchdog::question`], [`Watchdog::answered`]) and carries
//! out what it finds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::event::TopicPartition;
use crate::transport::{Progress, Remedy};

/// A client that did not help is replaced again after twice the time, up to this many times the timeout.
const LONGEST_WAIT: u32 = 16;

/// How long an answer may take before the question is put again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is going on in a partition of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nothing of it runs, nothing waits for a time, and nobody keeps it back.
    Idle,
    /// It has records with handlers, on their way to a dead-letter topic, or waiting for their next attempt.
    Running,
    /// It stands still on purpose: paused, halted, without a handler, at the bound of what may run or be kept, being
    /// handed over, or moved elsewhere.
    HeldBack,
}

/// What the poll thread sees of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) source: TopicPartition,
    /// The first unfinished offset, or where fetching began; `None` while nobody knows.
    pub(crate) position: Option<i64>,
    /// The offset behind the last record received, or where fetching began.
    pub(crate) received: Option<i64>,
    pub(crate) activity: Activity,
}

/// Why a partition stands still, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallReason {
    /// The client does not fetch what lies behind its position.
    NotFetched,
    /// The client does not find out where to begin.
    NoPosition,
    /// Records wait although their handlers are free.
    NotHandedOut,
}

impl StallReason {
    /// A stable word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            StallReason::NotFetched => "not_fetched",
            StallReason::NoPosition => "no_position",
            StallReason::NotHandedOut => "not_handed_out",
        }
    }

    /// For a person.
    pub(crate) const fn explained(self) -> &'static str {
        match self {
            StallReason::NotFetched => "the client does not fetch on",
            StallReason::NoPosition => "the client does not find out where to begin",
            StallReason::NotHandedOut => "records wait although handlers are free",
        }
    }
}

/// A partition that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) source: TopicPartition,
    /// The first unfinished offset.
    pub(crate) position: Option<i64>,
    /// Behind the newest record that can be read.
    pub(crate) end: i64,
    /// Since when it has been known to be behind.
    pub(crate) since: Instant,
    pub(crate) reason: StallReason,
}

/// What the watchdog has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A partition stands still.
    Stalled(Stall),
    /// This is to be tried.
    Heal(Stall, Remedy),
    /// A partition goes on, or has nothing left to go on with.
    Recovered(Stall),
}

/// Watches the partitions of one member.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// `None`: it sleeps.
    timeout: Option<Duration>,
    watches: HashMap<TopicPartition, Watch>,
    looks: u64,
    asked: Option<Asked>,
    last_id: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    id: u64,
    at: Instant,
}

/// What is remembered of a partition.
#[derive(Debug)]
struct Watch {
    /// The look that saw it last.
    seen: u64,
    seen_at: Instant,
    position: Option<i64>,
    received: Option<i64>,
    /// Since when nothing has happened that should; `None` while something does or need not.
    idle_since: Option<Instant>,
    /// It may be somewhere else when it is seen again, which is no progress.
    is_moved: bool,
    ask_at: Instant,
    /// How far the client is, with records behind that, and since when.
    behind: Option<(i64, Instant)>,
    trouble: Option<Trouble>,
}

/// A stall and what was done about it.
#[derive(Debug)]
struct Trouble {
    stall: Stall,
    last: Remedy,
    wait: Duration,
}

impl Watchdog {
    /// A watchdog that knows of no partition. Without a timeout it finds nothing.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Watchdog { timeout, watches: HashMap::new(), looks: 0, asked: None, last_id: 0 }
    }

    /// It watches.
    pub(crate) fn is_awake(&self) -> bool {
        self.timeout.is_some()
    }

    /// Takes in all partitions of this member as they are now. While no broker can be reached nothing counts as a
    /// stall.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        is_reachable: bool,
        sights: impl Iterator<Item = Sight>,
    ) -> Vec<Finding> {
        let Some(timeout) = self.timeout else { return Vec::new() };
        self.looks += 1;
        let mut findings = Vec::new();
        for sight in sights {
            if let Some(watch) = self.watches.get_mut(&sight.source) {
                let was_here = watch.seen + 1 == self.looks;
                watch.seen = self.looks;
                watch.seen_at = now;
                watch.look(now, timeout, is_reachable, was_here, &sight, &mut findings);
            } else {
                self.watches.insert(sight.source.clone(), Watch::new(now, timeout, self.looks, &sight));
            }
        }
        // What left while it stood still may come back with the next client, and is not new to the trouble then.
        let looks = self.looks;
        self.watches.retain(|_, watch| {
            watch.seen == looks || (watch.trouble.is_some() && now < watch.seen_at + timeout * LONGEST_WAIT)
        });
        findings
    }

    /// The partitions to ask the brokers about, when it is time, and the number of the question.
    pub(crate) fn question(&mut self, now: Instant) -> Option<(u64, Vec<TopicPartition>)> {
        let timeout = self.timeout?;
        if self.asked.is_some_and(|asked| now < asked.at + ANSWER_TIMEOUT.max(timeout)) {
            return None;
        }
        let looks = self.looks;
        let here = |watch: &Watch| watch.seen == looks && watch.idle_since.is_some();
        if !self.watches.values().any(|watch| here(watch) && watch.ask_at <= now) {
            return None;
        }
        // Those that are due soon come along.
        let soon = now + timeout / 8;
        let due = self.watches.iter().filter(|(_, watch)| here(watch) && watch.ask_at <= soon);
        let partitions = due.map(|(source, _)| source.clone()).collect();
        self.last_id += 1;
        self.asked = Some(Asked { id: self.last_id, at: now });
        Some((self.last_id, partitions))
    }

    /// The brokers have answered, or have not: then nothing is known of how far they are.
    pub(crate) fn answered(&mut self, now: Instant, id: u64, answers: &[(TopicPartition, Progress)]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (Some(timeout), Some(asked)) = (self.timeout, self.asked.take_if(|asked| asked.id == id)) else {
            return findings;
        };
        for (source, progress) in answers {
            let Some(watch) = self.watches.get_mut(source).filter(|watch| watch.seen == self.looks) else { continue };
            // What moved since says nothing about what it was asked for.
            if watch.idle_since.is_some_and(|since| since <= asked.at) {
                watch.learn(now, timeout, source, progress, &mut findings);
            }
        }
        findings
    }

    /// The partition is told to go on from where it is, and may seem to be elsewhere for that.
    pub(crate) fn moved(&mut self, source: &TopicPartition) {
        if let Some(watch) = self.watches.get_mut(source) {
            watch.is_moved = true;
        }
    }

    /// Another client serves from now on; what the old one was asked is not answered any more.
    pub(crate) fn renewed(&mut self) {
        self.asked = None;
    }

    /// The partitions of this member that stand still.
    pub(crate) fn stalls(&self) -> impl Iterator<Item = &Stall> {
        let here = self.watches.values().filter(|watch| watch.seen == self.looks);
        here.filter_map(|watch| Some(&watch.trouble.as_ref()?.stall))
    }
}

impl Watch {
    fn new(now: Instant, timeout: Duration, look: u64, sight: &Sight) -> Self {
        let mut watch = Watch {
            seen: look,
            seen_at: now,
            position: sight.position,
            received: sight.received,
            idle_since: None,
            is_moved: false,
            ask_at: now,
            behind: None,
            trouble: None,
        };
        watch.restart(now, timeout, sight.activity);
        watch
    }

    fn look(
        &mut self,
        now: Instant,
        timeout: Duration,
        is_reachable: bool,
        was_here: bool,
        sight: &Sight,
        findings: &mut Vec<Finding>,
    ) {
        let is_rebased = std::mem::take(&mut self.is_moved) || !was_here;
        let moved = !is_rebased && (self.position, self.received) != (sight.position, sight.received);
        (self.position, self.received) = (sight.position, sight.received);
        if moved || sight.activity == Activity::Running {
            findings.extend(self.trouble.take().map(|trouble| Finding::Recovered(trouble.stall)));
        }
        if moved || !was_here || !is_reachable || (sight.activity == Activity::Idle) != self.idle_since.is_some() {
            self.restart(now, timeout, sight.activity);
        }
    }

    /// The time begins anew.
    fn restart(&mut self, now: Instant, timeout: Duration, activity: Activity) {
        self.idle_since = (activity == Activity::Idle).then_some(now);
        self.ask_at = now + timeout / 2;
        self.behind = None;
    }

    fn learn(
        &mut self,
        now: Instant,
        timeout: Duration,
        source: &TopicPartition,
        progress: &Progress,
        findings: &mut Vec<Finding>,
    ) {
        self.ask_at = now + timeout / 2;
        // Without an answer there is no telling, and the time begins anew.
        let Some(end) = progress.end else {
            self.behind = None;
            return;
        };
        let reason = match (self.position, self.received) {
            (Some(position), Some(received)) if position < received => StallReason::NotHandedOut,
            (_, None) if progress.fetched.is_none() => StallReason::NoPosition,
            _ => StallReason::NotFetched,
        };
        // What holds no record for anyone, as the marks of transactions, is behind the client but not received.
        let place = self.received.max(progress.fetched).unwrap_or(-1);
        if place >= end && reason != StallReason::NotHandedOut {
            self.behind = None;
            findings.extend(self.trouble.take().map(|trouble| Finding::Recovered(trouble.stall)));
            return;
        }
        self.ask_at = now + timeout / 4;
        let since = match self.behind {
            Some((at, since)) if at == place => since,
            _ => {
                self.behind = Some((place, now));
                return;
            }
        };
        let wait = self.trouble.as_ref().map_or(timeout, |trouble| trouble.wait);
        if now < since + wait {
            return;
        }
        self.behind = Some((place, now));
        let trouble = match &mut self.trouble {
            Some(trouble) => {
                trouble.escalate(timeout);
                trouble.stall.end = end;
                trouble
            }
            none => {
                let stall = Stall { source: source.clone(), position: self.position, end, since, reason };
                findings.push(Finding::Stalled(stall.clone()));
                none.insert(Trouble { stall, last: Remedy::Seek, wait: timeout })
            }
        };
        findings.push(Finding::Heal(trouble.stall.clone(), trouble.last));
    }
}

impl Trouble {
    /// What was tried last did not help.
    fn escalate(&mut self, timeout: Duration) {
        match self.last {
            Remedy::Seek => self.last = Remedy::Reassign,
            Remedy::Reassign => self.last = Remedy::NewClient,
            Remedy::NewClient => self.wait = (self.wait * 2).min(timeout * LONGEST_WAIT),
        }
    }
}

#[cfg(test)]
mod tests;
