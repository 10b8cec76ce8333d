//! A consumer as a bus drives it: answers the group, commits what it hands over, never later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::MemoryTransport;
use crate::error::Result;
use crate::event::{Record, TopicPartition};
use crate::transport::{Consumer, ConsumerEvent, Transport};

pub(super) struct Member {
    pub(super) consumer: Box<dyn Consumer>,
    pub(super) handled: Vec<Record>,
    pub(super) next: BTreeMap<TopicPartition, i64>,
    pub(super) revoked: Vec<TopicPartition>,
    pub(super) lost: Vec<TopicPartition>,
    pub(super) assigned: Vec<TopicPartition>,
}

impl Member {
    pub(super) fn join(client: &MemoryTransport, topics: &[&str]) -> Self {
        Member::join_with(client, topics, super::no_wake())
    }

    pub(super) fn join_with(client: &MemoryTransport, topics: &[&str], wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let mut consumer = client.consumer(wake).unwrap();
        consumer.subscribe(&topics.iter().map(|topic| Arc::from(*topic)).collect::<Vec<_>>()).unwrap();
        let (handled, next) = (Vec::new(), BTreeMap::new());
        Member { consumer, handled, next, revoked: Vec::new(), lost: Vec::new(), assigned: Vec::new() }
    }

    pub(super) fn commit(&self) -> Result<()> {
        let offsets: Vec<_> = self.next.iter().map(|(source, next)| (source.clone(), *next)).collect();
        self.consumer.offsets().commit(&offsets)
    }

    /// Does what one event asks for; `false` when there is none.
    pub(super) fn step(&mut self) -> bool {
        match self.consumer.poll() {
            None => return false,
            Some(ConsumerEvent::Record(record)) => {
                self.next.insert(record.source.clone(), record.offset + 1);
                self.handled.push(Arc::unwrap_or_clone(record));
            }
            Some(ConsumerEvent::Assigned(partitions)) => {
                let committed = self.consumer.offsets().committed(&partitions, Instant::now()).unwrap();
                let offsets = committed.into_iter().map(|stored| Some(stored.map_or(0, |stored| stored.offset)));
                self.consumer.assign(&partitions.iter().cloned().zip(offsets).collect::<Vec<_>>()).unwrap();
                self.assigned.extend(partitions);
            }
            Some(ConsumerEvent::Revoked(partitions)) => {
                self.commit().unwrap();
                self.next.retain(|source, _| !partitions.contains(source));
                self.consumer.unassign(&partitions).unwrap();
                self.revoked.extend(partitions);
            }
            Some(ConsumerEvent::Lost(partitions)) => {
                self.next.retain(|source, _| !partitions.contains(source));
                self.consumer.unassign(&partitions).unwrap();
                self.lost.extend(partitions);
            }
            Some(event) => panic!("{event:?}"),
        }
        true
    }

    pub(super) fn leave(self) -> Vec<Record> {
        self.commit().unwrap();
        self.consumer.close();
        self.handled
    }
}

/// Lets the members answer each other until nothing happens any more.
pub(super) fn settle(members: &mut [&mut Member]) {
    let mut idle = 0;
    while idle < 2 {
        let mut busy = false;
        for member in members.iter_mut() {
            while member.step() {
                busy = true;
            }
        }
        idle = if busy { 0 } else { idle + 1 };
    }
}

/// The numbers that the records carry, sorted.
pub(super) fn numbers<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u32> {
    let number = |record: &Record| std::str::from_utf8(record.value().unwrap()).unwrap().parse().unwrap();
    let mut all: Vec<u32> = records.into_iter().map(number).collect();
    all.sort_unstable();
    all
}
