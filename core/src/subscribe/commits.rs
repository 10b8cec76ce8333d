//! When to commit, and which commit is on its way.

use std::time::{Duration, Instant};

/// The longest pause between failed commits.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What a commit says about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitEntry {
    /// The partition's slot.
    pub(crate) slot: u16,
    /// The slot's epoch when the commit was made: it says nothing about a later assignment.
    pub(crate) epoch: u16,
    /// The offset of the next record to be handled.
    pub(crate) offset: i64,
    /// How many received records of this assignment lie before it.
    pub(crate) passed: u64,
}

/// Lets one commit out at a time: every interval while something new is finished, at once when it is urgent,
/// later and later while commits fail.
#[derive(Debug)]
pub(crate) struct CommitSchedule {
    interval: Duration,
    urgent_retry: Duration,
    outstanding: Option<(u64, Vec<CommitEntry>)>,
    last_id: u64,
    wanted: bool,
    not_before: Option<Instant>,
    urgent_not_before: Option<Instant>,
    failures: u32,
}

impl CommitSchedule {
    /// A schedule with an ordinary interval and the pause after an urgent commit failed.
    pub(crate) fn new(interval: Duration, urgent_retry: Duration) -> Self {
        CommitSchedule {
            interval,
            urgent_retry,
            outstanding: None,
            last_id: 0,
            wanted: false,
            not_before: None,
            urgent_not_before: None,
            failures: 0,
        }
    }

    /// Something new is finished.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether a commit should start now.
    pub(crate) fn is_due(&self, now: Instant, urgent: bool) -> bool {
        let reached = |at: Option<Instant>| at.is_none_or(|at| now >= at);
        self.outstanding.is_none()
            && ((urgent && reached(self.urgent_not_before)) || (self.wanted && reached(self.not_before)))
    }

    /// When a commit becomes due by time alone.
    pub(crate) fn due_at(&self, urgent: bool) -> Option<Instant> {
        if self.outstanding.is_some() {
            return None;
        }
        let ordinary = self.not_before.filter(|_| self.wanted);
        let urgent = self.urgent_not_before.filter(|_| urgent);
        ordinary.into_iter().chain(urgent).min()
    }

    /// A commit starts; gives its id, or `None` when there is nothing in it.
    pub(crate) fn start(&mut self, now: Instant, entries: Vec<CommitEntry>) -> Option<u64> {
        self.wanted = false;
        if entries.is_empty() {
            return None;
        }
        self.last_id += 1;
        self.not_before = Some(now + self.interval);
        self.outstanding = Some((self.last_id, entries));
        Some(self.last_id)
    }

    /// A commit ended; gives what was in it, or `None` when it is not the outstanding one.
    pub(crate) fn end(&mut self, now: Instant, id: u64, succeeded: bool) -> Option<Vec<CommitEntry>> {
        let (_, entries) = self.outstanding.take_if(|(outstanding, _)| *outstanding == id)?;
        if succeeded {
            self.failures = 0;
            self.urgent_not_before = None;
        } else {
            let delay = self.interval.saturating_mul(1 << self.failures.min(16));
            self.not_before = Some(now + delay.min(LONGEST_DELAY.max(self.interval)));
            self.urgent_not_before = Some(now + self.urgent_retry);
            self.failures += 1;
            self.wanted = true;
        }
        Some(entries)
    }

    /// A commit is on its way.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// The commit on its way names this slot's partition, whatever the epoch.
    pub(crate) fn names(&self, slot: u16) -> bool {
        self.outstanding.as_ref().is_some_and(|(_, entries)| entries.iter().any(|entry| entry.slot == slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: CommitEntry = CommitEntry { slot: 3, epoch: 1, offset: 7, passed: 7 };

    fn schedule() -> (CommitSchedule, Instant) {
        (CommitSchedule::new(Duration::from_secs(5), Duration::from_millis(250)), Instant::now())
    }

    #[test]
    fn one_commit_at_a_time_and_no_two_within_an_interval() {
        let (mut commits, start) = schedule();
        assert!(!commits.is_due(start, false), "nothing is finished");
        commits.want();
        assert!(commits.is_due(start, false));
        let id = commits.start(start, vec![ENTRY]).unwrap();
        commits.want();
        assert!(commits.names(3) && !commits.names(4));
        assert!(!commits.is_due(start + Duration::from_secs(60), true), "one is outstanding");
        assert_eq!(commits.due_at(true), None);
        assert_eq!(commits.end(start, id + 1, true), None);
        assert_eq!(commits.end(start, id, true), Some(vec![ENTRY]));
        assert_eq!(commits.end(start, id, true), None);
        assert_eq!(commits.due_at(false), Some(start + Duration::from_secs(5)));
        assert!(!commits.is_due(start + Duration::from_millis(4_999), false));
        assert!(commits.is_due(start + Duration::from_millis(4_999), true), "urgent does not wait for the interval");
        assert!(commits.is_due(start + Duration::from_secs(5), false));
    }

    #[test]
    fn failed_commits_come_again_later_and_later_and_start_over_after_a_success() {
        let (mut commits, start) = schedule();
        for seconds in [5, 10, 20, 30, 30] {
            commits.want();
            let id = commits.start(start, vec![ENTRY]).unwrap();
            commits.end(start, id, false).unwrap();
            assert_eq!(commits.due_at(false), Some(start + Duration::from_secs(seconds)));
            assert_eq!(commits.due_at(true), Some(start + Duration::from_millis(250)));
            assert!(!commits.is_due(start + Duration::from_millis(249), true));
        }
        let id = commits.start(start, vec![ENTRY]).unwrap();
        commits.end(start, id, true).unwrap();
        commits.want();
        let id = commits.start(start, vec![ENTRY]).unwrap();
        commits.end(start, id, false).unwrap();
        assert_eq!(commits.due_at(false), Some(start + Duration::from_secs(5)));
    }

    #[test]
    fn an_empty_commit_is_none() {
        let (mut commits, start) = schedule();
        commits.want();
        assert_eq!(commits.start(start, Vec::new()), None);
        assert!(!commits.is_due(start, false) && !commits.is_outstanding());
    }
}
