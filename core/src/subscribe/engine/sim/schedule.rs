//! Virtual time, and what is to happen when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Events in the order of their times; those of one time in the order in which they were posted.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    /// Where virtual time begins. Engines want instants; nothing else depends on it.
    base: Instant,
    now: Duration,
    events: BTreeMap<(Duration, u64), E>,
    posted: u64,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Schedule { base: Instant::now(), now: Duration::ZERO, events: BTreeMap::new(), posted: 0 }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// The virtual time of an instant that an engine named.
    pub(super) fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    pub(super) fn instant_of(&self, time: Duration) -> Instant {
        self.base + time
    }

    pub(super) fn post(&mut self, at: Duration, event: E) {
        self.posted += 1;
        self.events.insert((at.max(self.now), self.posted), event);
    }

    /// The next event; the clock moves to its time.
    pub(super) fn next(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }

    pub(super) fn posted(&self) -> u64 {
        self.posted
    }
}
