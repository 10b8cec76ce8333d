//! The broker: partitions with records, and what became of each record in truth, whatever engines believe.

use std::collections::BTreeMap;

use super::seed::Seed;
use super::weather::Weather;
use crate::event::{Headers, Record, TopicPartition};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    /// Every attempt at it fails.
    Poison,
    /// Holds no event.
    Invalid,
}

/// How a record came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Handled,
    /// Passed over by policy.
    Skipped,
    /// Stored in the dead-letter topic.
    Buried,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) key: Option<usize>,
    pub(super) kind: Kind,
    pub(super) fate: Option<Fate>,
    value: usize,
}

/// The events of one key in their order, and how many of them a handler has seen at least once.
#[derive(Debug, Default)]
struct Order {
    offsets: Vec<i64>,
    seen: usize,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) source: TopicPartition,
    pub(super) topic: usize,
    pub(super) committed: Option<i64>,
    /// The furthest that was ever committed. A commit that outlived its assignment may have gone back behind it.
    furthest: i64,
    entries: Vec<Entry>,
    end: i64,
    finished: usize,
    orders: BTreeMap<usize, Order>,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) partitions: Vec<Partition>,
}

impl Broker {
    pub(super) fn new(topics: &[usize]) -> Self {
        let partition = |topic: usize, number: usize| Partition {
            source: TopicPartition::new(format!("t{topic}"), number as i32),
            topic,
            committed: None,
            furthest: 0,
            entries: Vec::new(),
            end: 0,
            finished: 0,
            orders: BTreeMap::new(),
        };
        let all = topics.iter().enumerate();
        let partitions = all.flat_map(|(topic, count)| (0..*count).map(move |number| partition(topic, number)));
        Broker { partitions: partitions.collect() }
    }

    pub(super) fn index(&self, source: &TopicPartition) -> usize {
        self.partitions.iter().position(|partition| partition.source == *source).expect("a partition of the broker")
    }

    pub(super) fn indices(&self, sources: &[TopicPartition]) -> Vec<usize> {
        sources.iter().map(|source| self.index(source)).collect()
    }

    pub(super) fn sources(&self, partitions: &[usize]) -> Vec<TopicPartition> {
        partitions.iter().map(|partition| self.partitions[*partition].source.clone()).collect()
    }

    pub(super) fn append(&mut self, partition: usize, weather: &Weather, seed: &mut Seed) {
        let count = self.partitions.len();
        let partition_at = partition;
        let partition = &mut self.partitions[partition];
        if seed.permille(weather.gaps) {
            partition.end += seed.between(1, 3) as i64;
        }
        let offset = partition.end;
        partition.end += 1;
        let kind = match () {
            () if seed.permille(weather.invalid) => Kind::Invalid,
            () if seed.permille(weather.poison) => Kind::Poison,
            () => Kind::Event,
        };
        // A key lies in one partition.
        let key = (!seed.permille(weather.keyless)).then(|| seed.below(weather.keys) * count + partition_at);
        if kind != Kind::Invalid
            && let Some(key) = key
        {
            partition.orders.entry(key).or_default().offsets.push(offset);
        }
        let value = seed.between(0, weather.max_value) as usize;
        partition.entries.push(Entry { offset, key, kind, fate: None, value });
    }

    /// The first record at or behind an offset.
    pub(super) fn next(&self, partition: usize, from: i64) -> Option<&Entry> {
        let entries = &self.partitions[partition].entries;
        entries.get(entries.partition_point(|entry| entry.offset < from))
    }

    pub(super) fn entry(&self, partition: usize, offset: i64) -> &Entry {
        self.next(partition, offset).filter(|entry| entry.offset == offset).expect("a record of the partition")
    }

    pub(super) fn record(&self, partition: usize, offset: i64) -> Record {
        let entry = self.entry(partition, offset);
        let source = self.partitions[partition].source.clone();
        let key = entry.key.map(|key| format!("k{key}").into_bytes());
        Record::new(source, offset, Some(offset), key.as_deref(), Headers::default(), Some(&vec![0; entry.value]))
    }

    /// The record came to its end, for the first time or again.
    pub(super) fn finish(&mut self, partition: usize, offset: i64, fate: Fate) {
        let partition = &mut self.partitions[partition];
        let at = partition.entries.partition_point(|entry| entry.offset < offset);
        partition.entries[at].fate.get_or_insert(fate);
        while partition.entries.get(partition.finished).is_some_and(|entry| entry.fate.is_some()) {
            partition.finished += 1;
        }
    }

    /// The smallest offset that nobody finished.
    pub(super) fn first_unfinished(&self, partition: usize) -> Option<i64> {
        let partition = &self.partitions[partition];
        partition.entries.get(partition.finished).map(|entry| entry.offset)
    }

    /// A handler begins with the record, or it follows one of its key into the dead-letter topic. The first time counts: all earlier ones of its key must have had theirs.
    pub(super) fn see(&mut self, partition: usize, offset: i64) {
        // Nothing orders records without a key, and nobody sees those without an event.
        let Entry { key: Some(key), kind: Kind::Event | Kind::Poison, .. } = *self.entry(partition, offset) else {
            return;
        };
        let partition = &mut self.partitions[partition];
        let order = partition.orders.get_mut(&key).expect("a key of the partition");
        if order.offsets[..order.seen].binary_search(&offset).is_ok() {
            return;
        }
        let source = &partition.source;
        assert_eq!(
            order.offsets[order.seen], offset,
            "{source}: the first delivery of {offset} overtook an earlier one of its key k{key}"
        );
        order.seen += 1;
    }

    pub(super) fn commit(&mut self, partition: usize, offset: i64) {
        let partition = &mut self.partitions[partition];
        partition.committed = Some(offset);
        partition.furthest = partition.furthest.max(offset);
    }

    /// Everything is finished and committed.
    pub(super) fn is_done(&self) -> bool {
        self.partitions.iter().all(Partition::is_done)
    }
}

impl Partition {
    pub(super) fn is_done(&self) -> bool {
        let last = self.entries.last().map(|entry| entry.offset + 1);
        self.finished == self.entries.len() && self.furthest >= last.unwrap_or(0)
    }

    pub(super) fn state(&self) -> String {
        let unfinished = self.entries.get(self.finished).map(|entry| entry.offset);
        let last = self.entries.last().map(|entry| entry.offset);
        format!("{}: last {last:?}, first unfinished {unfinished:?}, committed {:?}", self.source, self.committed)
    }
}
