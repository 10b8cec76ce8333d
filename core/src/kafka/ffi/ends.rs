//! Asking the brokers where partitions end.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::{Client, Event, Failure, Partitions, Queue, text};
use crate::event::TopicPartition;

impl Client {
    /// Asks for the offsets behind the newest records; the answer comes to `answers`, after that time at the latest.
    pub(crate) fn ask_ends(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
        answers: &Queue,
    ) -> Result<(), Failure> {
        let latest = rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
        let list = Partitions::new(partitions.iter().map(|entry| (&*entry.topic, entry.partition, latest)))?;
        // SAFETY: everything passed is live for the call; the list is copied.
        unsafe {
            let options = self.admin_options(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
            rd::rd_kafka_ListOffsets(self.raw(), list.0.as_ptr(), options, answers.0.as_ptr());
            rd::rd_kafka_AdminOptions_destroy(options);
        }
        Ok(())
    }
}

impl Event<'_> {
    /// The ends that an answer to [`Client::ask_ends`] tells, without the partitions whose leader did not answer.
    ///
    /// # Safety
    /// The event is of that type.
    pub(super) unsafe fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let mut ends = Vec::new();
        // SAFETY: the array has as many entries as is said and lives with the event; names are copied, and the number
        // of an error may come from a broker, so it is not read as the enum.
        unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(self.0.as_ptr());
            if result.is_null() {
                return ends;
            }
            let mut count = 0;
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
            for index in 0..count {
                let entry = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let code = (&raw const (*entry).err).cast::<i32>().read();
                if code == 0 && (*entry).offset >= 0 {
                    let topic = Arc::from(text((*entry).topic));
                    ends.push((TopicPartition { topic, partition: (*entry).partition }, (*entry).offset));
                }
            }
        }
        ends
    }
}
