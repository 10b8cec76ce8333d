//! One partition: an append-only log that forgets its oldest records beyond a number of bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Record;

#[derive(Default)]
pub(super) struct Partition {
    records: VecDeque<Arc<Record>>,
    /// The offset of the oldest record kept, which is the end when none is.
    start: i64,
    bytes: usize,
}

impl Partition {
    /// Appends under the next offset, which is returned; the newest record always stays, however large it is.
    pub(super) fn append(&mut self, mut record: Record, retention_bytes: usize) -> i64 {
        let offset = self.end();
        record.offset = offset;
        self.bytes += record.size();
        self.records.push_back(Arc::new(record));
        while self.bytes > retention_bytes && self.records.len() > 1 {
            if let Some(oldest) = self.records.pop_front() {
                self.bytes -= oldest.size();
                self.start += 1;
            }
        }
        offset
    }

    /// The offset of the oldest record kept.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.start + self.records.len() as i64
    }

    /// The offset of the first record with that timestamp or a later one.
    pub(super) fn first_at(&self, millis: i64) -> Option<i64> {
        let found = self.records.iter().find(|record| record.timestamp.is_some_and(|at| at >= millis));
        found.map(|record| record.offset)
    }

    /// Up to `limit` records from an offset on; none when the offset is out of range.
    pub(super) fn read(&self, offset: i64, limit: usize) -> impl Iterator<Item = &Arc<Record>> {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.records.range(skip.min(self.records.len())..).take(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Headers, TopicPartition};

    fn record(bytes: usize) -> Record {
        Record::new(TopicPartition::new("t", 0), -1, None, None, Headers::default(), Some(&vec![7; bytes]))
    }

    #[test]
    fn the_oldest_records_go_and_offsets_stay() {
        let mut partition = Partition::default();
        let limit = record(100).size() * 3;
        for expected in 0..10 {
            assert_eq!(partition.append(record(100), limit), expected);
        }
        assert_eq!((partition.start(), partition.end()), (7, 10));
        assert_eq!(partition.read(8, 100).map(|record| record.offset).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(partition.read(7, 2).map(|record| record.offset).collect::<Vec<_>>(), [7, 8]);
        for outside in [6, 10, 11, -1, i64::MAX] {
            assert_eq!(partition.read(outside, 100).count(), 0, "{outside}");
        }
    }

    #[test]
    fn a_record_above_the_limit_is_kept_until_the_next() {
        let mut partition = Partition::default();
        partition.append(record(1000), 10);
        assert_eq!((partition.start(), partition.end()), (0, 1));
        partition.append(record(1000), 10);
        assert_eq!((partition.start(), partition.end()), (1, 2));
    }
}
