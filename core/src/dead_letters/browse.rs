//! Reading dead letters from end to end.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{DeadLetterFilter, DeadLetterInfo, DeadLetterRecord, Desk};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Record;
use crate::transport::{Extent, Found, TopicReader};

/// How often a wait looks whether anybody still waits for its result.
const STEP: Duration = Duration::from_millis(100);

/// The longest time without a record or an end of a partition.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads partitions from and to given offsets.
pub(super) struct Scan<'a> {
    desk: &'a Desk,
    pub(super) reader: Box<dyn TopicReader>,
    /// Where each partition that is not read to its end is to end.
    open: BTreeMap<i32, i64>,
    /// The offset behind what was read of each partition.
    pub(super) positions: BTreeMap<i32, i64>,
}

impl<'a> Scan<'a> {
    /// Reads these extents, none of which is empty.
    pub(super) fn start(desk: &'a Desk, mut reader: Box<dyn TopicReader>, extents: &[Extent]) -> Result<Scan<'a>> {
        let from: Vec<_> = extents.iter().map(|extent| (extent.partition, extent.start)).collect();
        reader.read(&from)?;
        let open = extents.iter().map(|extent| (extent.partition, extent.end)).collect();
        Ok(Scan { desk, reader, open, positions: from.into_iter().collect() })
    }

    /// The next record, or `None` when all partitions are read to their ends.
    pub(super) fn next(&mut self, stop: &AtomicBool) -> Result<Option<Record>> {
        let mut heard = Instant::now();
        while !self.open.is_empty() {
            self.desk.check(stop)?;
            match self.reader.next(STEP)? {
                Found::Record(record) => {
                    heard = Instant::now();
                    let partition = record.source.partition;
                    let Some(end) = self.open.get(&partition).copied() else { continue };
                    if record.offset + 1 >= end {
                        self.close(partition, end);
                    } else {
                        self.positions.insert(partition, record.offset + 1);
                    }
                    // Behind the end lies what came since the beginning.
                    if record.offset < end {
                        return Ok(Some(record));
                    }
                }
                Found::End(partition) => {
                    heard = Instant::now();
                    if let Some(end) = self.open.get(&partition).copied() {
                        self.close(partition, end);
                    }
                }
                Found::Nothing if heard.elapsed() > PATIENCE => {
                    return Err(Error::new(ErrorKind::Timeout, "the dead-letter topic could not be read on")
                        .with("topic", &self.desk.topic)
                        .with("seconds", PATIENCE.as_secs())
                        .hint("check that the leaders of its partitions can be reached"));
                }
                Found::Nothing => {}
            }
        }
        Ok(None)
    }

    fn close(&mut self, partition: i32, end: i64) {
        self.open.remove(&partition);
        self.positions.insert(partition, end);
    }

    /// Nothing further of this partition is wanted.
    pub(super) fn leave_out(&mut self, partition: i32) {
        self.open.remove(&partition);
    }
}

impl Desk {
    /// The letter that a record is, if it is one of this event type and is meant.
    pub(super) fn letter(&self, record: &Record, filter: &DeadLetterFilter) -> Option<DeadLetterInfo> {
        let info = DeadLetterInfo::read(record)?;
        (*info.source_topic == *self.event_type && filter.matches(&info)).then_some(info)
    }
}

/// Runs on: runtime, as a blocking call.
pub(super) fn list(
    desk: &Desk,
    filter: &DeadLetterFilter,
    limit: usize,
    stop: &AtomicBool,
) -> Result<Vec<DeadLetterInfo>> {
    filter.validate()?;
    let (reader, extents) = desk.open(&desk.progress_group())?;
    let mut scan = Scan::start(desk, reader, &filter.within(extents))?;
    let mut found: BTreeMap<i32, Vec<DeadLetterInfo>> = BTreeMap::new();
    while let Some(record) = scan.next(stop)? {
        let Some(letter) = desk.letter(&record, filter) else { continue };
        // Letters of one partition came in the order of their offsets, so its first ones are enough.
        let of_partition = found.entry(letter.partition).or_default();
        if of_partition.len() < limit {
            of_partition.push(letter);
        }
        if of_partition.len() >= limit {
            scan.leave_out(record.source.partition);
        }
    }
    let mut all: Vec<_> = found.into_values().flatten().collect();
    all.sort_by_key(|letter| (letter.last_failed_at, letter.partition, letter.offset));
    all.truncate(limit);
    Ok(all)
}

/// Runs on: runtime, as a blocking call.
pub(super) fn show(desk: &Desk, filter: &DeadLetterFilter, stop: &AtomicBool) -> Result<DeadLetterRecord> {
    filter.validate()?;
    let (reader, extents) = desk.open(&desk.progress_group())?;
    let mut scan = Scan::start(desk, reader, &filter.within(extents))?;
    while let Some(record) = scan.next(stop)? {
        if let Some(info) = desk.letter(&record, filter) {
            return Ok(DeadLetterRecord { info, record });
        }
    }
    Err(Error::new(ErrorKind::Argument, format!("there is no dead letter of {} there", desk.event_type))
        .with("topic", &desk.topic)
        .with("partition", filter.partition.unwrap_or_default())
        .with("offset", filter.offset.unwrap_or_default())
        .hint("take partition and offset from the list; what is older than the topic's retention is gone"))
}
