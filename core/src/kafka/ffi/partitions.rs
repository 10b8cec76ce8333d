//! Lists of partitions.

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as rd;

use super::{Failure, bytes, c_string, error_text, text};
use crate::event::TopicPartition;

/// An offset that a group has stored, and the note beside it.
pub(crate) type Stored = (i64, Vec<u8>);

/// A list of partitions with offsets.
pub(crate) struct Partitions(pub(super) NonNull<rd::rd_kafka_topic_partition_list_t>);

impl Partitions {
    pub(super) fn new<'a>(entries: impl ExactSizeIterator<Item = (&'a str, i32, i64)>) -> Result<Partitions, Failure> {
        // SAFETY: the result is never null.
        let list = unsafe {
            let capacity = c_int::try_from(entries.len()).unwrap_or(0);
            Partitions(NonNull::new_unchecked(rd::rd_kafka_topic_partition_list_new(capacity)))
        };
        for (topic, partition, offset) in entries {
            let topic = c_string(topic)?;
            // SAFETY: list and name are live; the name is copied, and the new entry is valid until the next call.
            unsafe {
                let entry = rd::rd_kafka_topic_partition_list_add(list.0.as_ptr(), topic.as_ptr(), partition);
                (*entry).offset = offset;
            }
        }
        Ok(list)
    }

    /// Without offsets: where the group left off.
    pub(crate) fn of(partitions: &[TopicPartition]) -> Result<Partitions, Failure> {
        let offset = rd::RD_KAFKA_OFFSET_INVALID.into();
        Partitions::new(partitions.iter().map(|entry| (&*entry.topic, entry.partition, offset)))
    }

    pub(crate) fn with_offsets(offsets: &[(TopicPartition, i64)]) -> Result<Partitions, Failure> {
        Partitions::new(offsets.iter().map(|(entry, offset)| (&*entry.topic, entry.partition, *offset)))
    }

    /// With the offsets to start at; without one, where the group left off.
    pub(crate) fn with_starts(starts: &[(TopicPartition, Option<i64>)]) -> Result<Partitions, Failure> {
        let stored = rd::RD_KAFKA_OFFSET_INVALID.into();
        let entries = starts.iter().map(|(entry, start)| (&*entry.topic, entry.partition, start.unwrap_or(stored)));
        Partitions::new(entries)
    }

    /// Stores a note beside each offset; at most a few bytes.
    pub(crate) fn note(&mut self, note: &[u8]) {
        // SAFETY: the list is live and has as many entries as is said. The memory of a note is librdkafka's own kind,
        // because the list frees it; a new entry has none yet.
        unsafe {
            let list = self.0.as_ptr();
            for index in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                let entry = (*list).elems.add(index);
                let memory = rd::rd_kafka_mem_malloc(ptr::null_mut(), note.len());
                ptr::copy_nonoverlapping(note.as_ptr(), memory.cast::<u8>(), note.len());
                (*entry).metadata = memory;
                (*entry).metadata_size = note.len();
            }
        }
    }

    /// What the group has stored, as [`Client::committed`](super::Client::committed) found it: offset and note, or
    /// why that is not known.
    pub(crate) fn stored(&self) -> Vec<Result<Option<Stored>, Failure>> {
        // SAFETY: owned and live; offsets and notes are copied.
        unsafe {
            let read = |entry: *const rd::rd_kafka_topic_partition_t| {
                Failure::check((&raw const (*entry).err).cast::<i32>().read())?;
                let note = bytes((*entry).metadata, (*entry).metadata_size).unwrap_or_default().to_vec();
                Ok(((*entry).offset >= 0).then_some(((*entry).offset, note)))
            };
            Partitions::entries(self.0.as_ptr()).map(read).collect()
        }
    }

    /// # Safety
    /// `list` is null or live.
    unsafe fn entries<'a>(
        list: *const rd::rd_kafka_topic_partition_list_t,
    ) -> impl Iterator<Item = *const rd::rd_kafka_topic_partition_t> + 'a {
        let (first, count) = if list.is_null() {
            (ptr::null(), 0)
        } else {
            // SAFETY: live, as the caller vouches.
            unsafe { ((*list).elems.cast_const(), usize::try_from((*list).cnt).unwrap_or(0)) }
        };
        // SAFETY: the array has `count` entries.
        (0..count).map(move |index| unsafe { first.add(index) })
    }

    /// # Safety
    /// `list` is null or live.
    pub(super) unsafe fn read(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<TopicPartition> {
        let mut all: Vec<TopicPartition> = Vec::new();
        // SAFETY: the caller vouches for the list; names end with NUL and are copied.
        unsafe {
            for entry in Partitions::entries(list) {
                let name = text((*entry).topic);
                let topic = match all.last() {
                    Some(last) if *last.topic == *name => last.topic.clone(),
                    _ => Arc::from(name),
                };
                all.push(TopicPartition { topic, partition: (*entry).partition });
            }
        }
        all
    }

    pub(super) fn first_error(&self) -> Result<(), Failure> {
        // SAFETY: owned and live.
        unsafe { Partitions::first_error_of(self.0.as_ptr()) }
    }

    /// # Safety
    /// `list` is null or live.
    pub(super) unsafe fn first_error_of(list: *const rd::rd_kafka_topic_partition_list_t) -> Result<(), Failure> {
        // SAFETY: the caller vouches for the list; the number may come from a broker.
        unsafe {
            for entry in Partitions::entries(list) {
                let code = (&raw const (*entry).err).cast::<i32>().read();
                if code != 0 {
                    let (topic, partition) = (text((*entry).topic), (*entry).partition);
                    return Err(Failure { code, text: format!("{topic}[{partition}]: {}", error_text(code)) });
                }
            }
        }
        Ok(())
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}
