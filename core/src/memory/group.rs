//! A consumer group: who is in it, who holds what, and how far each partition is handled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::bell::{Bell, Bells};
use super::member::{Member, MemberId};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TopicPartition;
use crate::transport::{Committed, ConsumerEvent};

/// Topics with their numbers of partitions, as far as the group's members subscribe to them.
pub(super) type Partitions = BTreeMap<Arc<str>, u32>;

/// Members keep what they have; a rebalance moves only what must move, and nothing is given to a member before
/// the one that held it handed it over.
#[derive(Default)]
pub(super) struct Group {
    generation: u64,
    members: BTreeMap<MemberId, Member>,
    /// Who is to hold each partition. What somebody else still holds follows when it is handed over.
    target: BTreeMap<TopicPartition, MemberId>,
    committed: HashMap<TopicPartition, Committed>,
}

impl Group {
    pub(super) fn join(&mut self, id: MemberId, bell: Arc<Bell>) {
        self.members.insert(id, Member::new(bell));
    }

    pub(super) fn leave(&mut self, id: MemberId, partitions: &Partitions, bells: &mut Bells) {
        if self.members.remove(&id).is_some() {
            self.rebalance(partitions, bells);
        }
    }

    pub(super) fn subscribe(
        &mut self,
        id: MemberId,
        topics: BTreeSet<Arc<str>>,
        partitions: &Partitions,
        bells: &mut Bells,
    ) -> Result<()> {
        let member = self.member(id)?;
        if member.topics != topics {
            member.topics = topics;
            self.rebalance(partitions, bells);
        }
        Ok(())
    }

    /// The member at an index, in the order of joining, is taken for dead.
    pub(super) fn expel(&mut self, index: usize, partitions: &Partitions, bells: &mut Bells) -> bool {
        let Some(member) = self.members.values_mut().filter(|member| member.is_active()).nth(index) else {
            return false;
        };
        member.expel(bells);
        self.rebalance(partitions, bells);
        true
    }

    pub(super) fn fail(&mut self, error: &Error, partitions: &Partitions, bells: &mut Bells) {
        for member in self.members.values_mut() {
            member.fail(error.clone(), bells);
        }
        if error.is_fatal() {
            self.rebalance(partitions, bells);
        }
    }

    pub(super) fn next_event(
        &mut self,
        id: MemberId,
        partitions: &Partitions,
        bells: &mut Bells,
    ) -> Option<ConsumerEvent> {
        let member = self.members.get_mut(&id)?;
        let event = member.next_event();
        if event.is_none() && member.wants_to_rejoin() {
            member.rejoin();
            self.rebalance(partitions, bells);
            return self.members.get_mut(&id)?.next_event();
        }
        if event.is_some() {
            member.bell.keep_events();
        }
        event
    }

    pub(super) fn assign(&mut self, id: MemberId, partitions: &[TopicPartition], bells: &mut Bells) -> Result<()> {
        let member = self.member(id)?;
        member.assign(partitions)?;
        member.bell.note_events(bells);
        Ok(())
    }

    pub(super) fn unassign(&mut self, id: MemberId, partitions: &[TopicPartition], bells: &mut Bells) -> Result<()> {
        let member = self.member(id)?;
        let freed = member.unassign(partitions)?;
        member.bell.note_events(bells);
        if freed {
            self.offer_what_is_free(bells);
        }
        Ok(())
    }

    /// All or nothing.
    pub(super) fn commit(&mut self, id: MemberId, offsets: &[(TopicPartition, i64)], is_start: bool) -> Result<()> {
        let generation = self.generation;
        let member = self.member(id)?;
        for (partition, offset) in offsets {
            if *offset < 0 {
                return Err(Error::new(ErrorKind::Argument, "an offset to commit is negative")
                    .with("topic", &partition.topic)
                    .with("partition", partition.partition)
                    .with("offset", offset));
            }
            if !member.may_commit(partition) {
                return Err(Error::new(
                    ErrorKind::IllegalState,
                    "the offset was not committed: the member does not hold the partition in this generation",
                )
                .with("topic", &partition.topic)
                .with("partition", partition.partition)
                .with("offset", offset)
                .with("generation", generation)
                .hint("whoever holds the partition now handles the record again"));
            }
        }
        let stored =
            |(source, offset): &(TopicPartition, i64)| (source.clone(), Committed { offset: *offset, is_start });
        self.committed.extend(offsets.iter().map(stored));
        Ok(())
    }

    /// Stores offsets for a client that is no member, while there is none.
    pub(super) fn commit_from_outside(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        if !self.members.is_empty() {
            return Err(Error::new(ErrorKind::IllegalState, "the group has members, and only they may commit")
                .hint("stop the consumers of that group first"));
        }
        let stored =
            |(source, offset): &(TopicPartition, i64)| (source.clone(), Committed { offset: *offset, is_start: false });
        self.committed.extend(offsets.iter().map(stored));
        Ok(())
    }

    pub(super) fn committed(&self, partition: &TopicPartition) -> Option<Committed> {
        self.committed.get(partition).copied()
    }

    /// What a member holds and knows of.
    pub(super) fn holdings(&self, id: MemberId) -> Vec<TopicPartition> {
        let Some(member) = self.members.get(&id) else { return Vec::new() };
        member.held().filter(|partition| member.may_commit(partition)).cloned().collect()
    }

    pub(super) fn members(&self) -> usize {
        self.members.values().filter(|member| member.is_active() && !member.topics.is_empty()).count()
    }

    pub(super) fn is_settled(&self) -> bool {
        let held: usize = self.members.values().map(|member| member.held().count()).sum();
        self.members.values().all(Member::is_settled) && held == self.target.len()
    }

    /// Nobody is in it and nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.committed.is_empty()
    }

    pub(super) fn topics(&self) -> BTreeSet<Arc<str>> {
        self.members.values().flat_map(|member| member.topics.iter().cloned()).collect()
    }

    pub(super) fn note_records(&self, topic: &str, bells: &mut Bells) {
        for member in self.members.values().filter(|member| member.subscribes_to(topic)) {
            member.bell.note_records(bells);
        }
    }

    pub(super) fn note_all(&self, bells: &mut Bells) {
        for member in self.members.values() {
            member.bell.note_all(bells);
        }
    }

    /// Computes who is to hold what, takes back what moves and gives what is free.
    pub(super) fn rebalance(&mut self, partitions: &Partitions, bells: &mut Bells) {
        self.generation += 1;
        let old = std::mem::take(&mut self.target);
        self.target = assignment(&self.members, old, partitions);
        let target = &self.target;
        for (id, member) in &mut self.members {
            member.recall_all_but(|partition| target.get(partition) == Some(id), bells);
        }
        self.offer_what_is_free(bells);
    }

    fn offer_what_is_free(&mut self, bells: &mut Bells) {
        let held: BTreeSet<&TopicPartition> = self.members.values().flat_map(Member::held).collect();
        let free: Vec<(TopicPartition, MemberId)> = self
            .target
            .iter()
            .filter(|(partition, _)| !held.contains(partition))
            .map(|(partition, id)| (partition.clone(), *id))
            .collect();
        for (partition, id) in free {
            if let Some(member) = self.members.get_mut(&id) {
                member.offer(partition, bells);
            }
        }
    }

    fn member(&mut self, id: MemberId) -> Result<&mut Member> {
        self.members.get_mut(&id).ok_or_else(left)
    }
}

pub(super) fn left() -> Error {
    Error::new(ErrorKind::IllegalState, "the consumer has left its group").hint("join with a new consumer")
}

/// Balanced within one partition, as far as the subscriptions allow, moving as little as possible.
fn assignment(
    members: &BTreeMap<MemberId, Member>,
    old: BTreeMap<TopicPartition, MemberId>,
    partitions: &Partitions,
) -> BTreeMap<TopicPartition, MemberId> {
    let subscribers: BTreeMap<&str, Vec<MemberId>> = partitions
        .keys()
        .map(|topic| {
            let ids = members.iter().filter(|(_, member)| member.subscribes_to(topic)).map(|(id, _)| *id);
            (&**topic, ids.collect())
        })
        .collect();
    let mut owned: BTreeMap<MemberId, BTreeSet<TopicPartition>> =
        members.keys().map(|id| (*id, BTreeSet::new())).collect();
    let mut homeless = Vec::new();
    for (topic, count) in partitions {
        for partition in 0..*count {
            let partition = TopicPartition::new(topic.clone(), partition as i32);
            match old.get(&partition).filter(|id| subscribers[&**topic].contains(id)) {
                Some(id) => drop(owned.entry(*id).or_default().insert(partition)),
                None => homeless.push(partition),
            }
        }
    }
    let idlest = |owned: &BTreeMap<MemberId, BTreeSet<TopicPartition>>, topic: &str| {
        subscribers[topic].iter().copied().min_by_key(|id| owned[id].len())
    };
    for partition in homeless {
        if let Some(id) = idlest(&owned, &partition.topic) {
            owned.entry(id).or_default().insert(partition);
        }
    }
    // Each move lowers the sum of squares of the loads, so this ends.
    while let Some((partition, from, to)) = owned.iter().find_map(|(from, held)| {
        held.iter().find_map(|partition| {
            let to = idlest(&owned, &partition.topic)?;
            (owned[&to].len() + 1 < held.len()).then(|| (partition.clone(), *from, to))
        })
    }) {
        owned.entry(from).or_default().remove(&partition);
        owned.entry(to).or_default().insert(partition);
    }
    owned.into_iter().flat_map(|(id, held)| held.into_iter().map(move |partition| (partition, id))).collect()
}
