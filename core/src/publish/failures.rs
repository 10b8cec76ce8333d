//! What the log says of publishes that failed: at once, but in an outage not of every one.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::log::{Level, LogRecord};

/// The least time between two records about failures of one kind; each publish has its own error besides.
const INTERVAL: Duration = Duration::from_secs(10);

/// Failures by kind, and which of them the log knows.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<Kind>);

#[derive(Debug)]
struct Kind {
    kind: ErrorKind,
    told: Option<Instant>,
    /// Since then.
    count: u64,
}

impl Failures {
    /// Counts failures and gives what is to be logged of them.
    pub(super) fn tell<'a>(&mut self, now: Instant, errors: impl Iterator<Item = &'a Error>) -> Vec<LogRecord> {
        let mut firsts: Vec<&Error> = Vec::new();
        for error in errors {
            match self.0.iter_mut().find(|one| one.kind == error.kind()) {
                Some(one) => one.count += 1,
                None => self.0.push(Kind { kind: error.kind(), told: None, count: 1 }),
            }
            if !firsts.iter().any(|first| first.kind() == error.kind()) {
                firsts.push(error);
            }
        }
        firsts.into_iter().filter_map(|first| self.record(now, first)).collect()
    }

    fn record(&mut self, now: Instant, first: &Error) -> Option<LogRecord> {
        let one = self.0.iter_mut().find(|one| one.kind == first.kind())?;
        if one.told.is_some_and(|told| now.saturating_duration_since(told) < INTERVAL) {
            return None;
        }
        one.told = Some(now);
        let count = std::mem::take(&mut one.count);
        let message = format!("{count} publishes failed, for example: {first}");
        Some(LogRecord::new(Level::Warn, "publish_failed", message).with("count", count).because(first.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(records: &[LogRecord]) -> Vec<(ErrorKind, u64)> {
        let count = |record: &LogRecord| record.fields[0].1.as_u64().unwrap();
        records.iter().map(|record| (record.error.as_ref().unwrap().kind(), count(record))).collect()
    }

    #[test]
    fn failures_of_a_kind_are_told_at_once_and_then_summed_up() {
        use ErrorKind::{Timeout, TooLarge};
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut tell = |seconds: u64, kinds: &[ErrorKind]| {
            let errors: Vec<Error> = kinds.iter().map(|kind| Error::new(*kind, "no")).collect();
            counts(&failures.tell(start + Duration::from_secs(seconds), errors.iter()))
        };
        assert_eq!(tell(0, &[Timeout, Timeout]), [(Timeout, 2)]);
        assert_eq!(tell(1, &[Timeout, TooLarge]), [(TooLarge, 1)], "another kind is told at once");
        assert_eq!(tell(9, &[Timeout; 5]), []);
        assert_eq!(tell(10, &[Timeout]), [(Timeout, 7)], "those that were not told are counted");
        assert_eq!(tell(100, &[Timeout]), [(Timeout, 1)]);
    }
}
