//! Faults that a test asked for, used up one by one.

use std::sync::Arc;

use crate::error::Error;

/// What the broker does to a record, a few times.
struct PublishFault {
    /// Any topic when `None`.
    topic: Option<Arc<str>>,
    left: usize,
    stored: bool,
    error: Error,
}

#[derive(Default)]
pub(super) struct Faults {
    publishes: Vec<PublishFault>,
    commits: Option<(usize, Error)>,
}

impl Faults {
    pub(super) fn add_publish(&mut self, topic: Option<&str>, count: usize, stored: bool, error: Error) {
        if count > 0 {
            self.publishes.push(PublishFault { topic: topic.map(Arc::from), left: count, stored, error });
        }
    }

    /// The error to report for a record, and whether the record is stored nevertheless.
    pub(super) fn take_publish(&mut self, topic: &str) -> Option<(bool, Error)> {
        let index =
            self.publishes.iter().position(|fault| fault.topic.as_deref().is_none_or(|wanted| wanted == topic))?;
        let fault = &mut self.publishes[index];
        fault.left -= 1;
        let taken = (fault.stored, fault.error.clone());
        if fault.left == 0 {
            self.publishes.remove(index);
        }
        Some(taken)
    }

    pub(super) fn fail_commits(&mut self, count: usize, error: Error) {
        self.commits = (count > 0).then_some((count, error));
    }

    pub(super) fn take_commit(&mut self) -> Option<Error> {
        let (left, error) = self.commits.take()?;
        if left > 1 {
            self.commits = Some((left - 1, error.clone()));
        }
        Some(error)
    }
}
