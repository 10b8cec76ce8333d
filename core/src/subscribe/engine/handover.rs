//! How partitions leave: revoked with a budget for what runs, or lost at once.

use std::time::Instant;

use crate::event::TopicPartition;
use crate::subscribe::engine::{Engine, Output};
use crate::subscribe::slots::Ownership;

/// Partitions that are to be handed over together.
#[derive(Debug)]
pub(super) struct Revocation {
    partitions: Vec<TopicPartition>,
    slots: Vec<u16>,
    deadline: Instant,
    force_at: Instant,
}

impl Engine {
    pub(super) fn revoked(&mut self, now: Instant, mut partitions: Vec<TopicPartition>) {
        let asked = partitions.len();
        partitions.retain(|source| !self.revocations.iter().any(|earlier| earlier.partitions.contains(source)));
        if asked > 0 && partitions.is_empty() {
            return;
        }
        let mut slots = Vec::new();
        for source in &partitions {
            let Some(&index) = self.by_source.get(source) else { continue };
            let slot = &mut self.slots[index as usize];
            if slot.ownership != Ownership::Owned {
                continue;
            }
            slot.ownership = Ownership::Revoking;
            slot.left_paused |= slot.paused.take().is_some();
            let (records, bytes) = slot.drop_waiting();
            self.bytes -= bytes;
            self.counters.handed_over += records as u64;
            if slot.open() > 0 && self.drain.is_none() {
                self.outputs.push(Output::Recall { slot: index, epoch: slot.epoch() });
            }
            slots.push(index);
        }
        let deadline = now + self.config.revoke_budget;
        let force_at = deadline + self.config.revoke_budget;
        self.revocations.push(Revocation { partitions, slots, deadline, force_at });
    }

    pub(super) fn lost(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|source| self.take_away(source));
    }

    /// Ends whatever assignment the partition has without waiting for anything.
    pub(super) fn take_away(&mut self, source: &TopicPartition) {
        let index = self.by_source.get(source).copied();
        self.revocations.retain_mut(|revocation| {
            let before = revocation.partitions.len();
            revocation.partitions.retain(|partition| partition != source);
            revocation.slots.retain(|slot| Some(*slot) != index);
            revocation.partitions.len() == before || !revocation.partitions.is_empty()
        });
        let Some(index) = index.filter(|index| self.slots[*index as usize].ownership != Ownership::Vacant) else {
            return;
        };
        if self.slots[index as usize].has_runs() {
            self.fence(index);
        }
        self.end_assignment(index);
    }

    fn fence(&mut self, index: u16) {
        let slot = &mut self.slots[index as usize];
        // Nobody waits for these lanes, so others may take their room.
        self.topics.lanes_ended(slot.topic, std::mem::take(&mut slot.lanes_out));
        self.outputs.push(Output::Fenced {
            slot: index,
            epoch: slot.epoch(),
            source: slot.source.clone(),
            unanswered: slot.open(),
        });
    }

    fn end_assignment(&mut self, index: u16) {
        let slot = &mut self.slots[index as usize];
        if let Some(drain) = &mut self.drain {
            drain.handled += slot.committed_records() - slot.drain_base;
            drain.abandoned += slot.window.received() - slot.committed_records();
        }
        self.topics.lanes_ended(slot.topic, slot.lanes_out);
        let (records, bytes) = slot.end();
        self.bytes -= bytes;
        self.counters.handed_over += records as u64;
    }

    /// Closes revoked partitions of which nothing is out, or all of a revocation when its budget is.
    pub(super) fn seal(&mut self, now: Instant) {
        for at in 0..self.revocations.len() {
            let over = now >= self.revocations[at].deadline;
            for position in 0..self.revocations[at].slots.len() {
                let index = self.revocations[at].slots[position];
                let slot = &mut self.slots[index as usize];
                if slot.ownership != Ownership::Revoking || (slot.is_busy() && !over) {
                    continue;
                }
                slot.ownership = Ownership::Sealed;
                if slot.open() > 0 {
                    self.fence(index);
                }
            }
        }
    }

    pub(super) fn hand_over(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut at = 0;
        while at < self.revocations.len() {
            let revocation = &self.revocations[at];
            let committed = revocation.slots.iter().all(|index| {
                let slot = &self.slots[*index as usize];
                slot.ownership == Ownership::Sealed && slot.to_commit().is_none() && !self.commits.names(*index)
            });
            if !committed && now < revocation.force_at {
                at += 1;
                continue;
            }
            let revocation = self.revocations.remove(at);
            for index in revocation.slots {
                let slot = &self.slots[index as usize];
                if slot.commit_given_up || slot.to_commit().is_some() {
                    self.counters.revoked_uncommitted += 1;
                }
                self.end_assignment(index);
            }
            out.push(Output::RevokeReady(revocation.partitions));
        }
    }

    /// When a revocation has something to do by time alone.
    pub(super) fn hand_over_at(&self) -> Option<Instant> {
        let revocations = self.revocations.iter().map(|revocation| {
            let sealed = |index: &u16| self.slots[*index as usize].ownership == Ownership::Sealed;
            if revocation.slots.iter().all(sealed) { revocation.force_at } else { revocation.deadline }
        });
        revocations.min()
    }
}
