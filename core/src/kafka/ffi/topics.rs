//! Asking about topics and creating them.

use rdkafka::bindings as rd;
use std::ptr;
use std::time::Duration;

use super::{Client, Event, Failure, Queue, c_string, number_of, text};

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

    /// Asks for a topic's partitions without creating it; the answer comes to `answers`.
    pub(crate) fn describe_topic(&self, name: &str, timeout: Duration, answers: &Queue) -> Result<(), Failure> {
        let name = c_string(name)?;
        // SAFETY: everything passed is live for the call; the name is copied.
        unsafe {
            let mut names = [name.as_ptr()];
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let options = self.admin_options(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
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
            let code = if error == ptr::null() { 0 } else { number_of(rd::rd_kafka_error_code, error) };
            if code != 0 {
                return Err(Failure { code, text: text(rd::rd_kafka_error_string(error)).to_owned() });
            }
            let mut partitions = 0;
            rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            Ok(partitions)
        }
    }
}
