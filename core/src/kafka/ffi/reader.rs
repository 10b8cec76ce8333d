//! Reading partitions without being a member of a group.

use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;

use super::{Client, Event, Failure, Partitions, c_string, milliseconds};
use crate::event::TopicPartition;

impl Client {
    /// Fetches these partitions from these offsets on, and no others.
    pub(crate) fn assign(&self, offsets: &[(TopicPartition, i64)]) -> Result<(), Failure> {
        let list = Partitions::with_offsets(offsets)?;
        // SAFETY: `rk` and the list are live; the list is copied.
        Failure::check(unsafe { rd::rd_kafka_assign(self.raw(), list.0.as_ptr()) } as i32)
    }

    /// Asks the partition's leader for the oldest offset and the one behind the newest. Blocks.
    pub(crate) fn watermarks(&self, partition: &TopicPartition, wait: Duration) -> Result<(i64, i64), Failure> {
        let topic = c_string(&partition.topic)?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: all pointers are live for the call.
        let code = unsafe {
            let (number, wait) = (partition.partition, milliseconds(wait));
            rd::rd_kafka_query_watermark_offsets(self.raw(), topic.as_ptr(), number, &mut low, &mut high, wait)
        };
        Failure::check(code as i32).map(|()| (low, high))
    }

    /// Asks the coordinator for the offset that the group has stored. Blocks.
    pub(crate) fn stored(&self, partition: &TopicPartition, wait: Duration) -> Result<Option<i64>, Failure> {
        let list = Partitions::of(std::slice::from_ref(partition))?;
        // SAFETY: `rk` and the list are live; the list has one entry.
        let (code, offset) = unsafe {
            let code = rd::rd_kafka_committed(self.raw(), list.0.as_ptr(), milliseconds(wait)) as i32;
            (code, (*(*list.0.as_ptr()).elems).offset)
        };
        Failure::check(code).and_then(|()| list.first_error())?;
        Ok((offset >= 0).then_some(offset))
    }
}

impl Event<'_> {
    /// The partition that an error is about.
    pub(crate) fn partition(&self) -> Option<i32> {
        // SAFETY: the event is live; the entry is ours and destroyed once.
        unsafe {
            let entry = NonNull::new(rd::rd_kafka_event_topic_partition(self.0.as_ptr()))?;
            let partition = ptr::addr_of!((*entry.as_ptr()).partition).read();
            rd::rd_kafka_topic_partition_destroy(entry.as_ptr());
            Some(partition)
        }
    }
}
