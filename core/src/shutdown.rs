//! The phases of a bus, the one deadline of its end, and the report of what became of everything.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, ErrorKind, PublishOutcome, Result};

/// What a bus still does. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Everything.
    Open = 0,
    /// No new work from outside; running handlers finish and may still publish.
    Draining = 1,
    /// Only what was published is still delivered.
    Flushing = 2,
    /// Nothing.
    Closed = 3,
}

/// The phase of one bus, shared by its threads.
#[derive(Debug)]
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    pub(crate) const fn new() -> Self {
        PhaseCell(AtomicU8::new(Phase::Open as u8))
    }

    pub(crate) fn get(&self) -> Phase {
        match self.0.load(SeqCst) {
            0 => Phase::Open,
            1 => Phase::Draining,
            2 => Phase::Flushing,
            _ => Phase::Closed,
        }
    }

    /// Moves forward; `false` when the phase was reached before.
    pub(crate) fn advance(&self, to: Phase) -> bool {
        self.0.fetch_max(to as u8, SeqCst) < to as u8
    }

    /// Refuses new publishes once the end has begun; those of running handlers until it comes to flushing.
    pub(crate) fn check_publish(&self, inside_handler: bool) -> Result<()> {
        let last = if inside_handler { Phase::Draining } else { Phase::Open };
        if self.get() <= last { Ok(()) } else { Err(closed().outcome(PublishOutcome::NotSent)) }
    }

    /// Refuses calls once the end has begun.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.get() == Phase::Open { Ok(()) } else { Err(closed()) }
    }
}

/// The error of every call that comes too late.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the event bus is closed or closing").hint("connect a new bus")
}

/// One time budget, spent in order by the steps of a shutdown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    budget: Duration,
}

impl Deadline {
    pub(crate) fn after(budget: Duration) -> Self {
        Deadline { start: Instant::now(), budget }
    }

    /// When a share of the whole budget (0 to 1) is spent.
    pub(crate) fn share(&self, share: f64) -> Instant {
        self.start + self.budget.mul_f64(share)
    }

    pub(crate) fn end(&self) -> Instant {
        self.share(1.0)
    }
}

/// What became of everything when a bus was shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownReport {
    /// Events whose handlers finished while the bus drained.
    pub handled: u64,
    /// Received events that were not finished; they stay uncommitted and are delivered again.
    pub abandoned: u64,
    /// Records acknowledged while the bus shut down.
    pub published: u64,
    /// Publishes that were given up at the deadline; each failed with its own error.
    pub lost: u64,
    /// Whether every step ended before the deadline.
    pub clean: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_forward() {
        let phase = PhaseCell::new();
        assert!(phase.advance(Phase::Flushing));
        assert!(!phase.advance(Phase::Draining));
        assert_eq!(phase.get(), Phase::Flushing);
    }

    #[test]
    fn publishes_of_running_handlers_are_accepted_while_draining() {
        let phase = PhaseCell::new();
        phase.advance(Phase::Draining);
        assert!(phase.check_publish(true).is_ok());
        let refused = phase.check_publish(false).unwrap_err();
        assert_eq!((refused.kind(), refused.publish_outcome()), (ErrorKind::Closed, Some(PublishOutcome::NotSent)));
        phase.advance(Phase::Flushing);
        assert!(phase.check_publish(true).is_err());
    }
}
