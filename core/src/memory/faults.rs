//! Faults that a test asked for, used up one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::member::MemberId;
use crate::error::Error;
use crate::event::TopicPartition;
use crate::transport::Remedy;

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
    stalls: HashMap<TopicPartition, (Remedy, MemberId)>,
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

    /// Members up to this one get nothing of the partition any more, until they try the remedy or a stronger one.
    pub(super) fn stall(&mut self, source: &TopicPartition, cure: Remedy, last: MemberId) {
        self.stalls.insert(source.clone(), (cure, last));
    }

    /// Whether the member is kept from fetching the partition.
    pub(super) fn is_stalled(&self, source: &TopicPartition, member: MemberId) -> bool {
        self.stalls.get(source).is_some_and(|(_, last)| member <= *last)
    }

    /// A remedy was tried.
    pub(super) fn cure<'a>(&mut self, sources: impl Iterator<Item = &'a TopicPartition>, remedy: Remedy) {
        for source in sources {
            if self.stalls.get(source).is_some_and(|(cure, _)| *cure <= remedy) {
                self.stalls.remove(source);
            }
        }
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
