//! Asking about topics and creating them.

use rdkafka::bindings as rd;
use std::ptr;
use std::time::Duration;

use super::{Client, Event, Failure, Queue, c_string, milliseconds, number_of, text};

/// A topic to be created; a number of partitions below 1 leaves it to the broker, as do settings that are not named.
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) settings: &'a [(&'a str, String)],
}

impl Client {
    /// Starts the creation of a topic; the answer comes to `answers`.
    pub(crate) fn create_topic(&self, new: &NewTopic<'_>, timeout: Duration, answers: &Queue) -> Result<(), Failure> {
        let name = c_string(new.name)?;
        let partitions = if new.partitions < 1 { -1 } else { new.partitions };
        let mut reason = [0; 256];
        // SAFETY: everything passed is live for the call; librdkafka copies names, values and the description, which
        // is destroyed on every way out.
        unsafe {
            let (size, buffer) = (reason.len(), reason.as_mut_ptr());
            let topic = rd::rd_kafka_NewTopic_new(name.as_ptr(), partitions, -1, buffer, size);
            if topic.is_null() {
                let code = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_ARG as i32;
                return Err(Failure { code, text: text(reason.as_ptr()).to_owned() });
            }
            let mut described = Ok(());
            for (setting, value) in new.settings {
                described = described.and_then(|()| {
                    let (setting, value) = (c_string(setting)?, c_string(value)?);
                    Failure::check(rd::rd_kafka_NewTopic_set_config(topic, setting.as_ptr(), value.as_ptr()) as i32)
                });
            }
            if described.is_ok() {
                let options = self.admin_options(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout);
                rd::rd_kafka_CreateTopics(self.raw(), [topic].as_mut_ptr(), 1, options, answers.0.as_ptr());
                rd::rd_kafka_AdminOptions_destroy(options);
            }
            rd::rd_kafka_NewTopic_destroy(topic);
            described
        }
    }

    /// The brokers, the one that answered first in front. Blocks.
    pub(crate) fn brokers(&self, wait: Duration) -> Result<Vec<i32>, Failure> {
        let mut metadata = ptr::null();
        // SAFETY: `metadata` is valid until destroyed, and its count says how many entries its array has.
        unsafe {
            let code = rd::rd_kafka_metadata(self.raw(), 0, ptr::null_mut(), &mut metadata, milliseconds(wait)) as i32;
            Failure::check(code)?;
            let all = &*metadata;
            let count = usize::try_from(all.broker_cnt).unwrap_or(0);
            let mut ids: Vec<i32> = (0..count).map(|index| (*all.brokers.add(index)).id).collect();
            let first = all.orig_broker_id;
            ids.sort_by_key(|id| *id != first);
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(ids)
        }
    }

    /// Whether the broker that creates topics is one of the cluster's. The mock cluster has none. Blocks.
    pub(crate) fn has_controller(&self, wait: Duration) -> Result<bool, Failure> {
        let brokers = self.brokers(wait)?;
        // SAFETY: `rk` is live.
        let controller = unsafe { rd::rd_kafka_controllerid(self.raw(), milliseconds(wait)) };
        Ok(controller < 0 || brokers.contains(&controller))
    }

    /// Asks a broker for a topic's partitions without creating it; the answer comes to `answers`.
    pub(crate) fn describe_topic(
        &self,
        name: &str,
        broker: i32,
        timeout: Duration,
        answers: &Queue,
    ) -> Result<(), Failure> {
        let name = c_string(name)?;
        let mut reason = [0; 256];
        // SAFETY: everything passed is live for the call; the name is copied.
        unsafe {
            let mut names = [name.as_ptr()];
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let options = self.admin_options(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
            // Every broker knows, and the default, the controller, may be away.
            rd::rd_kafka_AdminOptions_set_broker(options, broker, reason.as_mut_ptr(), reason.len());
            rd::rd_kafka_DescribeTopics(self.raw(), topics, options, answers.0.as_ptr());
            rd::rd_kafka_AdminOptions_destroy(options);
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
        Ok(())
    }
}

impl Event<'_> {
    /// How many partitions the described topic has.
    ///
    /// # Safety
    /// The event answers [`Client::describe_topic`].
    pub(super) unsafe fn described(&self) -> Result<usize, Failure> {
        if self.code() != 0 {
            return Err(self.failure());
        }
        // SAFETY: the array has as many entries as is said and lives with the event, as does the entry's error, whose
        // text is copied.
        unsafe {
            let result = rd::rd_kafka_event_DescribeTopics_result(self.0.as_ptr());
            let mut count = 0;
            let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            if topics.is_null() || count == 0 {
                let code = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32;
                return Err(Failure { code, text: String::new() });
            }
            let topic = *topics;
            let error = rd::rd_kafka_TopicDescription_error(topic);
            let code = if error.is_null() { 0 } else { number_of(rd::rd_kafka_error_code, error) };
            if code != 0 {
                return Err(Failure { code, text: text(rd::rd_kafka_error_string(error)).to_owned() });
            }
            let mut partitions = 0;
            rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            Ok(partitions)
        }
    }
}
