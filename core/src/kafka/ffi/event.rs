//! Queues, their events, and the messages in these.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::{Failure, Partitions, bytes, headers, milliseconds, number_of, text};
use crate::event::{HeadersBuf, Record, TopicPartition};

/// Stands for the error that ended a client.
const FATAL: i32 = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FATAL as i32;

/// A queue of events.
pub(crate) struct Queue(pub(super) NonNull<rd::rd_kafka_queue_t>);

// SAFETY: every call takes the queue's own lock.
unsafe impl Send for Queue {}

impl Queue {
    /// The next event, waiting up to `wait` for it.
    pub(crate) fn poll(&self, wait: Duration) -> Option<Event<'_>> {
        // SAFETY: the queue is live, and the event is ours.
        let event = unsafe { rd::rd_kafka_queue_poll(self.0.as_ptr(), milliseconds(wait)) };
        NonNull::new(event).map(|event| Event(event, PhantomData))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// An event, dropped before its queue.
pub(crate) struct Event<'q>(pub(super) NonNull<rd::rd_kafka_event_t>, PhantomData<&'q Queue>);

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// What an event is about.
pub(crate) enum Kind<'e> {
    Reports(Messages<'e>),
    Messages(Messages<'e>),
    Error {
        failure: Failure,
        fatal: bool,
        /// The partition that it is about, and the offset that was wanted, or a negative number.
        at: Option<(TopicPartition, i64)>,
    },
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Committed(Result<(), Failure>),
    TopicsCreated(Result<(), Failure>),
    /// How many partitions the topic has.
    TopicDescribed(Result<usize, Failure>),
    /// Offsets that were asked for.
    Offsets(Vec<(TopicPartition, i64)>),
    Statistics(&'e str),
    Log {
        level: i32,
        facility: &'e str,
        text: &'e str,
    },
    Other,
}

impl Event<'_> {
    pub(crate) fn kind(&self) -> Kind<'_> {
        let event = self.0.as_ptr();
        // SAFETY: the event is live as long as what this returns; its type says which questions may be asked.
        unsafe {
            match rd::rd_kafka_event_type(event) {
                rd::RD_KAFKA_EVENT_DR => Kind::Reports(Messages(self)),
                rd::RD_KAFKA_EVENT_FETCH => Kind::Messages(Messages(self)),
                rd::RD_KAFKA_EVENT_STATS => Kind::Statistics(text(rd::rd_kafka_event_stats(event))),
                rd::RD_KAFKA_EVENT_ERROR => {
                    let failure = self.failure();
                    // A consumer's fatal error comes as one of its errors, without the mark.
                    let fatal = rd::rd_kafka_event_error_is_fatal(event) != 0 || failure.code == FATAL;
                    Kind::Error { failure, fatal, at: self.partition_at() }
                }
                rd::RD_KAFKA_EVENT_REBALANCE => {
                    let partitions = Partitions::read(rd::rd_kafka_event_topic_partition_list(event));
                    let assigned = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS as i32;
                    if self.code() == assigned { Kind::Assigned(partitions) } else { Kind::Revoked(partitions) }
                }
                rd::RD_KAFKA_EVENT_OFFSET_COMMIT => {
                    let list = rd::rd_kafka_event_topic_partition_list(event);
                    let result = Failure::check(self.code()).and_then(|()| Partitions::first_error_of(list));
                    Kind::Committed(result)
                }
                rd::RD_KAFKA_EVENT_CREATETOPICS_RESULT => Kind::TopicsCreated(self.topics_created()),
                rd::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => Kind::TopicDescribed(self.described()),
                rd::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => Kind::Offsets(self.offsets()),
                rd::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    rd::rd_kafka_event_log(event, &mut facility, &mut line, &mut level);
                    Kind::Log { level, facility: text(facility), text: text(line) }
                }
                _ => Kind::Other,
            }
        }
    }

    pub(super) fn code(&self) -> i32 {
        // SAFETY: the event is live.
        unsafe { number_of(rd::rd_kafka_event_error, self.0.as_ptr()) }
    }

    pub(super) fn failure(&self) -> Failure {
        // SAFETY: the event is live, and the text is copied.
        let text = unsafe { text(rd::rd_kafka_event_error_string(self.0.as_ptr())) }.to_owned();
        Failure { code: self.code(), text }
    }

    fn partition_at(&self) -> Option<(TopicPartition, i64)> {
        // SAFETY: the event is live; the entry is ours, and its name is copied before it is destroyed.
        unsafe {
            let entry = NonNull::new(rd::rd_kafka_event_topic_partition(self.0.as_ptr()))?.as_ptr();
            let topic = Arc::from(text((*entry).topic));
            let at = (TopicPartition { topic, partition: (*entry).partition }, (*entry).offset);
            rd::rd_kafka_topic_partition_destroy(entry);
            Some(at)
        }
    }

    fn topics_created(&self) -> Result<(), Failure> {
        if self.code() != 0 {
            return Err(self.failure());
        }
        // SAFETY: the event is of this type; the array has as many entries as is said and lives with the event.
        unsafe {
            let result = rd::rd_kafka_event_CreateTopics_result(self.0.as_ptr());
            let mut count = 0;
            let topics = rd::rd_kafka_CreateTopics_result_topics(result, &mut count);
            for index in 0..count {
                let topic = *topics.add(index);
                let code = number_of(rd::rd_kafka_topic_result_error, topic);
                if code != 0 {
                    return Err(Failure { code, text: text(rd::rd_kafka_topic_result_error_string(topic)).to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// The messages of an event.
pub(crate) struct Messages<'e>(&'e Event<'e>);

impl<'e> Iterator for Messages<'e> {
    type Item = Message<'e>;

    fn next(&mut self) -> Option<Message<'e>> {
        // SAFETY: the event is live, and a message lives as long as its event.
        let message = unsafe { rd::rd_kafka_event_message_next(self.0.0.as_ptr()) };
        (!message.is_null()).then_some(Message(message, PhantomData))
    }
}

/// A delivery report or a received record.
pub(crate) struct Message<'e>(*const rd::rd_kafka_message_t, PhantomData<&'e ()>);

impl<'e> Message<'e> {
    /// 0 for success.
    pub(crate) fn code(&self) -> i32 {
        // SAFETY: the message is live; the number may come from a broker, so it is not read as the enum.
        unsafe { (&raw const (*self.0).err).cast::<i32>().read() }
    }

    pub(crate) fn opaque(&self) -> u64 {
        // SAFETY: the message is live.
        unsafe { (*self.0)._private as usize as u64 }
    }

    pub(crate) fn partition(&self) -> i32 {
        // SAFETY: the message is live.
        unsafe { (*self.0).partition }
    }

    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message is live.
        unsafe { (*self.0).offset }
    }

    pub(crate) fn topic(&self) -> &'e str {
        self.topic_name().to_str().unwrap_or("\u{fffd}")
    }

    pub(crate) fn topic_name(&self) -> &'e CStr {
        // SAFETY: the message is live and holds its topic, whose name lives at least as long.
        unsafe {
            if (*self.0).rkt.is_null() {
                return c"";
            }
            CStr::from_ptr(rd::rd_kafka_topic_name((*self.0).rkt))
        }
    }

    /// No broker can have stored it.
    pub(crate) fn surely_not_stored(&self) -> bool {
        // SAFETY: the message is live.
        let status = unsafe { rd::rd_kafka_message_status(self.0) };
        status == rd::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
    }

    /// Copies a received record; `packed` is scratch memory.
    pub(crate) fn to_record(&self, topic: Arc<str>, packed: &mut HeadersBuf) -> Record {
        packed.clear();
        // SAFETY: the message is live; pointers and lengths describe its parts, which are copied before it goes.
        unsafe {
            let message = &*self.0;
            headers::pack(self.0, packed);
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let time = rd::rd_kafka_message_timestamp(self.0, &mut kind);
            Record::new(
                TopicPartition { topic, partition: message.partition },
                message.offset,
                (time >= 0).then_some(time),
                bytes(message.key, message.key_len),
                packed.as_headers(),
                bytes(message.payload, message.len),
            )
        }
    }
}
