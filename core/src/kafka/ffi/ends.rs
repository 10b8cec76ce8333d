//! Asking the brokers which offsets partitions hold.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::{Client, Event, Failure, Partitions, Queue, text};
use crate::event::TopicPartition;
use crate::transport::LogPosition;

impl Client {
    /// Asks for offsets; the answer comes to `answers`, after that time at the latest. The end is that of what every
    /// consumer may read: it does not lie behind a transaction that is still open.
    pub(crate) fn ask_offsets(
        &self,
        partitions: &[(TopicPartition, LogPosition)],
        timeout: Duration,
        answers: &Queue,
    ) -> Result<(), Failure> {
        let place = |position: LogPosition| match position {
            LogPosition::Beginning => rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
            LogPosition::End => rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
            LogPosition::Timestamp(millis) => millis.max(0),
        };
        let list = partitions.iter().map(|(entry, position)| (&*entry.topic, entry.partition, place(*position)));
        let list = Partitions::new(list)?;
        // SAFETY: everything passed is live for the call; the list is copied.
        unsafe {
            let options = self.admin_options(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
            let committed = rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            let refused = rd::rd_kafka_AdminOptions_set_isolation_level(options, committed);
            debug_assert!(refused.is_null(), "the option belongs to this request");
            rd::rd_kafka_ListOffsets(self.raw(), list.0.as_ptr(), options, answers.0.as_ptr());
            rd::rd_kafka_AdminOptions_destroy(options);
        }
        Ok(())
    }
}

impl Event<'_> {
    /// The offsets that an answer to [`Client::ask_offsets`] tells, without the partitions whose leader did not answer;
    /// −1 where no record has the timestamp or a later one.
    ///
    /// # Safety
    /// The event is of that type.
    pub(super) unsafe fn offsets(&self) -> Vec<(TopicPartition, i64)> {
        let mut offsets = Vec::new();
        // SAFETY: the array has as many entries as is said and lives with the event; names are copied, and the number
        // of an error may come from a broker, so it is not read as the enum.
        unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(self.0.as_ptr());
            if result.is_null() {
                return offsets;
            }
            let mut count = 0;
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
            for index in 0..count {
                let entry = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let code = (&raw const (*entry).err).cast::<i32>().read();
                if code == 0 {
                    let topic = Arc::from(text((*entry).topic));
                    offsets.push((TopicPartition { topic, partition: (*entry).partition }, (*entry).offset));
                }
            }
        }
        offsets
    }
}
