//! One member of a group as the coordinator sees it: what it holds and what it has been told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::bell::{Bell, Bells};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TopicPartition;
use crate::transport::ConsumerEvent;

pub(super) type MemberId = u64;

/// How far the handing over of a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Given, and the member does not know it yet.
    Offered,
    /// The member knows that it may fetch it.
    Known,
    /// Taken back, and the member does not know it yet.
    Recalled,
    /// The member knows that it has to hand it over.
    Leaving,
}

pub(super) struct Member {
    pub(super) bell: Arc<Bell>,
    pub(super) topics: BTreeSet<Arc<str>>,
    held: BTreeMap<TopicPartition, Holding>,
    /// Gone by expulsion, and the member does not know it yet.
    lost: BTreeSet<TopicPartition>,
    /// Of the latest event: not answered yet. There is one event at a time, as in Kafka's clients.
    unanswered: BTreeSet<TopicPartition>,
    /// Taken back or lost, told, and waiting for `unassign`, without belonging to the member any more.
    gone: BTreeSet<TopicPartition>,
    failures: VecDeque<Error>,
    expelled: bool,
    dead: bool,
}

impl Member {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Member {
            bell,
            topics: BTreeSet::new(),
            held: BTreeMap::new(),
            lost: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            gone: BTreeSet::new(),
            failures: VecDeque::new(),
            expelled: false,
            dead: false,
        }
    }

    /// Takes part in assignments.
    pub(super) fn is_active(&self) -> bool {
        !self.expelled && !self.dead
    }

    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        self.is_active() && self.topics.contains(topic)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &TopicPartition> {
        self.held.keys()
    }

    /// May commit it: from the time it is told of until it hands it over.
    pub(super) fn may_commit(&self, partition: &TopicPartition) -> bool {
        self.is_active() && self.held.get(partition).is_some_and(|holding| *holding != Holding::Offered)
    }

    /// Nothing is on its way to the member and nothing is asked of it.
    pub(super) fn is_settled(&self) -> bool {
        self.is_active()
            && self.unanswered.is_empty()
            && self.gone.is_empty()
            && self.held.values().all(|holding| *holding == Holding::Known)
    }

    pub(super) fn offer(&mut self, partition: TopicPartition, bells: &mut Bells) {
        self.held.insert(partition, Holding::Offered);
        self.bell.note_events(bells);
    }

    /// Takes back what is not wanted any more; what the member does not know of yet is free at once.
    pub(super) fn recall_all_but(&mut self, wanted: impl Fn(&TopicPartition) -> bool, bells: &mut Bells) {
        self.held.retain(|partition, holding| *holding != Holding::Offered || wanted(partition));
        for (partition, holding) in &mut self.held {
            match (*holding, wanted(partition)) {
                (Holding::Known, false) => {
                    *holding = Holding::Recalled;
                    self.bell.note_events(bells);
                }
                (Holding::Recalled, true) => *holding = Holding::Known,
                _ => {}
            }
        }
    }

    /// The group goes on without the member, which hears of it at its next poll.
    pub(super) fn expel(&mut self, bells: &mut Bells) {
        self.expelled = true;
        for (partition, holding) in std::mem::take(&mut self.held) {
            match holding {
                Holding::Offered => {}
                Holding::Known | Holding::Recalled => drop(self.lost.insert(partition)),
                Holding::Leaving => drop(self.gone.insert(partition)),
            }
        }
        self.bell.note_events(bells);
    }

    /// The member hears of the error at its next poll; a fatal one ends its membership.
    pub(super) fn fail(&mut self, error: Error, bells: &mut Bells) {
        if error.is_fatal() {
            self.dead = true;
            self.held.clear();
            self.lost.clear();
            self.gone.clear();
            self.unanswered.clear();
        }
        self.failures.push_back(error);
        self.bell.note_events(bells);
    }

    /// After an expulsion: everything lost is answered, so the member joins again.
    pub(super) fn wants_to_rejoin(&self) -> bool {
        self.expelled && !self.dead && self.lost.is_empty() && self.unanswered.is_empty()
    }

    pub(super) fn rejoin(&mut self) {
        self.expelled = false;
    }

    pub(super) fn next_event(&mut self) -> Option<ConsumerEvent> {
        if let Some(error) = self.failures.pop_front() {
            return Some(if error.is_fatal() { ConsumerEvent::Fatal(error) } else { ConsumerEvent::Failed(error) });
        }
        if !self.unanswered.is_empty() {
            return None;
        }
        if !self.lost.is_empty() {
            self.gone.append(&mut self.lost.clone());
            self.unanswered = std::mem::take(&mut self.lost);
            return Some(ConsumerEvent::Lost(self.unanswered.iter().cloned().collect()));
        }
        let revoked = self.tell(Holding::Recalled, Holding::Leaving);
        if !revoked.is_empty() {
            return Some(ConsumerEvent::Revoked(revoked));
        }
        let assigned = self.tell(Holding::Offered, Holding::Known);
        (!assigned.is_empty()).then_some(ConsumerEvent::Assigned(assigned))
    }

    fn tell(&mut self, from: Holding, to: Holding) -> Vec<TopicPartition> {
        let mut told = Vec::new();
        for (partition, holding) in &mut self.held {
            if *holding == from {
                *holding = to;
                told.push(partition.clone());
            }
        }
        self.unanswered.extend(told.iter().cloned());
        told
    }

    /// The member starts fetching. What was taken back or lost meanwhile is answered too; its event follows.
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let may = |partition: &TopicPartition| match self.held.get(partition) {
            Some(holding) => matches!(holding, Holding::Known | Holding::Recalled),
            None => self.lost.contains(partition),
        };
        self.check(partitions, may, "a partition was not given to this member")?;
        self.answer(partitions);
        Ok(())
    }

    /// The member hands over what was taken back or lost. Whether something is free for others now.
    pub(super) fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<bool> {
        let may = |partition: &TopicPartition| {
            self.held.get(partition).is_some_and(|holding| *holding != Holding::Offered)
                || self.gone.contains(partition)
        };
        self.check(partitions, may, "a partition is not held by this member")?;
        self.answer(partitions);
        let mut freed = false;
        for partition in partitions {
            self.gone.remove(partition);
            if self.held.get(partition) == Some(&Holding::Leaving) {
                self.held.remove(partition);
                freed = true;
            }
        }
        Ok(freed)
    }

    fn answer(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.unanswered.remove(partition);
        }
    }

    fn check(
        &self,
        partitions: &[TopicPartition],
        may: impl Fn(&TopicPartition) -> bool,
        why: &'static str,
    ) -> Result<()> {
        match partitions.iter().find(|partition| !may(partition)) {
            None => Ok(()),
            Some(stranger) => Err(Error::new(ErrorKind::IllegalState, why)
                .with("topic", &stranger.topic)
                .with("partition", stranger.partition)
                .hint("poll: the assignment has changed")),
        }
    }
}
