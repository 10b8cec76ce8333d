//! A member of a consumer group.

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr as Code;

use super::committer::KafkaOffsets;
use super::context::Context;
use super::ffi::{Client, Event, Failure, Kind, Partitions, Queue};
use super::{errors, producer};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{HeadersBuf, TopicPartition};
use crate::transport::{Consumer, ConsumerEvent, GroupOffsets, LogPosition};

/// How often the brokers are asked where paused partitions end, and how long they have for the answer.
const ENDS_INTERVAL: Duration = Duration::from_secs(1);

/// There is no offset to go on from: with `auto.offset.reset=error` the client stops there and says so.
const OUT_OF_RANGE: i32 = Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32;

/// A rebalance that librdkafka waits for an answer to.
enum Unanswered {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

pub(super) struct KafkaConsumer {
    /// Where the answer comes to, while the ends of paused partitions are asked for. Dropped before the client.
    asked: Option<Queue>,
    ask_at: Instant,
    paused: HashSet<TopicPartition>,
    client: Arc<Client>,
    context: Arc<Context>,
    offsets: Arc<KafkaOffsets>,
    unanswered: Option<Unanswered>,
    /// The name of a topic is shared by all of its records.
    names: HashSet<Arc<str>>,
    last_name: Option<Arc<str>>,
    packed: HeadersBuf,
}

impl KafkaConsumer {
    pub(super) fn new(client: Arc<Client>, context: Arc<Context>) -> KafkaConsumer {
        let offsets = Arc::new(KafkaOffsets::new(&client, context.clone()));
        KafkaConsumer {
            asked: None,
            ask_at: Instant::now(),
            paused: HashSet::new(),
            client,
            context,
            offsets,
            unanswered: None,
            names: HashSet::new(),
            last_name: None,
            packed: HeadersBuf::new(),
        }
    }

    /// A fetch tells where a partition ends; of a paused one, which falls behind the most, nothing is fetched.
    fn follow_ends(&mut self) {
        if let Some(answers) = &self.asked {
            let Some(event) = answers.poll(Duration::ZERO) else { return };
            if let Kind::Offsets(ends) = event.kind() {
                self.offsets.ends_are(ends);
            }
            drop(event);
            self.asked = None;
            self.ask_at = Instant::now() + ENDS_INTERVAL;
        }
        if self.paused.is_empty() || Instant::now() < self.ask_at {
            return;
        }
        let paused: Vec<_> = self.paused.iter().map(|source| (source.clone(), LogPosition::End)).collect();
        let answers = self.client.new_queue();
        if self.client.ask_offsets(&paused, ENDS_INTERVAL, &answers).is_ok() {
            self.asked = Some(answers);
        }
    }
}

fn intern(names: &mut HashSet<Arc<str>>, last: &mut Option<Arc<str>>, topic: &CStr) -> Arc<str> {
    // Records come in stretches of one topic, so most look-ups end here.
    if let Some(name) = last.as_ref().filter(|name| name.as_bytes() == topic.to_bytes()) {
        return name.clone();
    }
    let topic = topic.to_str().unwrap_or("\u{fffd}");
    let name = match names.get(topic) {
        Some(name) => name.clone(),
        None => {
            let name: Arc<str> = topic.into();
            names.insert(name.clone());
            name
        }
    };
    *last = Some(name.clone());
    name
}

fn state_error(what: &str, failure: &Failure) -> Error {
    let error = errors::error(what, failure);
    match error.kind() {
        ErrorKind::IllegalState | ErrorKind::Fenced | ErrorKind::Closed => error,
        _ => Error::new(ErrorKind::IllegalState, error.message().to_owned()).kafka(failure.code),
    }
}

impl Consumer for KafkaConsumer {
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()> {
        self.client.subscribe(topics).map_err(|failure| {
            let error = errors::error("the topics cannot be subscribed to", &failure);
            error.with("topics", topics.join(", "))
        })
    }

    fn poll(&mut self) -> Option<ConsumerEvent> {
        if !self.paused.is_empty() || self.asked.is_some() {
            self.follow_ends();
        }
        // Statistics and logs are no events of the consumer, so they do not end the loop.
        loop {
            let event = self.client.poll(Duration::ZERO)?;
            match event.kind() {
                Kind::Messages(mut messages) => {
                    let Some(message) = messages.next() else { continue };
                    let name = intern(&mut self.names, &mut self.last_name, message.topic_name());
                    if message.code() == 0 {
                        return Some(ConsumerEvent::Record(Arc::new(message.to_record(name, &mut self.packed))));
                    }
                    let failure = Failure { code: message.code(), text: String::new() };
                    let error = errors::error("a record could not be fetched", &failure).with("topic", name);
                    return Some(ConsumerEvent::Failed(error.with("partition", message.partition())));
                }
                Kind::Assigned(partitions) => {
                    self.unanswered = Some(Unanswered::Assigned(partitions.clone()));
                    return Some(ConsumerEvent::Assigned(partitions));
                }
                Kind::Revoked(partitions) => {
                    self.unanswered = Some(Unanswered::Revoked(partitions.clone()));
                    return Some(if self.client.assignment_lost() {
                        ConsumerEvent::Lost(partitions)
                    } else {
                        ConsumerEvent::Revoked(partitions)
                    });
                }
                Kind::Error { failure, fatal: true, .. } => {
                    let error = producer::fatal_error(&self.client.fatal_error().unwrap_or(failure));
                    self.context.remember(error.clone());
                    return Some(ConsumerEvent::Fatal(error));
                }
                Kind::Error { failure, at: Some((source, _)), .. } if failure.code == OUT_OF_RANGE => {
                    return Some(ConsumerEvent::OutOfRange(source));
                }
                Kind::Error { failure, fatal: false, at } => {
                    let error = if errors::is_about_connections(&failure) {
                        let error = self.context.failed(&failure);
                        // The client goes on dialling, and the bus tells whether it is connected. A refusal needs
                        // someone to act.
                        if error.kind() != ErrorKind::Auth {
                            continue;
                        }
                        error
                    } else {
                        errors::error("the consumer reported a problem", &failure)
                    };
                    let error = match at {
                        Some((source, _)) => error.with("topic", source.topic).with("partition", source.partition),
                        None => error,
                    };
                    return Some(ConsumerEvent::Failed(error));
                }
                Kind::Statistics(json) => {
                    self.context.statistics(json, |brokers| self.client.add_brokers(brokers));
                    self.offsets.statistics_are(json);
                }
                Kind::Log { level, facility, text } => self.context.logged(level, facility, text),
                _ => {}
            }
        }
    }

    fn assign(&mut self, partitions: &[(TopicPartition, Option<i64>)]) -> Result<()> {
        self.unanswered = None;
        let assigned = Partitions::with_starts(partitions).and_then(|list| self.client.incremental_assign(&list));
        assigned.map_err(|failure| state_error("the partitions cannot be assigned", &failure))?;
        self.offsets.assigned(partitions.iter().map(|(source, _)| source.clone()));
        Ok(())
    }

    fn seek(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        let failed = |failure| state_error("the partitions cannot be fetched from other offsets", &failure);
        let sources: Vec<TopicPartition> = partitions.iter().map(|(source, _)| source.clone()).collect();
        self.offsets.check_assigned(&sources)?;
        if self.client.assignment_lost() || self.unanswered.is_some() {
            return Err(Error::new(ErrorKind::IllegalState, "the group is rebalancing").hint("try again after it"));
        }
        // librdkafka's own seek does nothing in a partition whose fetching has ended, as it has after an error. What
        // comes off the queue behind this is never a record from before.
        Partitions::of(&sources).and_then(|list| self.client.incremental_unassign(&list)).map_err(failed)?;
        let assigned = Partitions::with_offsets(partitions).and_then(|list| self.client.incremental_assign(&list));
        assigned.map_err(|failure| {
            self.offsets.unassigned(&sources);
            failed(failure)
        })
    }

    fn refetch(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        let sources: Vec<TopicPartition> = partitions.iter().map(|(source, _)| source.clone()).collect();
        self.offsets.check_assigned(&sources)?;
        let sought = Partitions::with_offsets(partitions).and_then(|list| self.client.seek(&list));
        sought.map_err(|failure| state_error("the partitions cannot be fetched anew", &failure))
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.unanswered = None;
        // Gone for high watermarks even when the group has moved on already.
        self.offsets.unassigned(partitions);
        self.paused.retain(|paused| !partitions.contains(paused));
        let unassigned = Partitions::of(partitions).and_then(|list| self.client.incremental_unassign(&list));
        unassigned.map_err(|failure| state_error("the partitions cannot be handed over", &failure))
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let failed = |failure| state_error("the partitions cannot be paused", &failure);
        // librdkafka would remember the pause of a partition that is not here, and begin with it later.
        self.offsets.check_assigned(partitions)?;
        Partitions::of(partitions).and_then(|list| self.client.pause(&list)).map_err(failed)?;
        self.paused.extend(partitions.iter().cloned());
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let failed = |failure| state_error("the partitions cannot be resumed", &failure);
        self.offsets.check_assigned(partitions)?;
        Partitions::of(partitions).and_then(|list| self.client.resume(&list)).map_err(failed)?;
        self.paused.retain(|paused| !partitions.contains(paused));
        Ok(())
    }

    fn offsets(&self) -> Arc<dyn GroupOffsets> {
        self.offsets.clone()
    }

    #[cfg(feature = "embedded")]
    fn provoke_fatal_error(&self) {
        self.client.provoke_fatal_error(super::ffi::PROVOKED);
    }

    fn close(self: Box<Self>) {
        let KafkaConsumer { client, offsets, unanswered, asked, .. } = *self;
        drop(asked);
        offsets.close();
        // librdkafka does not leave the group before every rebalance has its answer.
        if let Some(rebalance) = unanswered {
            answer(&client, rebalance);
        }
        let rest = client.new_queue();
        if client.close_consumer(&rest).is_ok() {
            while !client.closed() {
                if let Some(event) = rest.poll(Duration::from_millis(100)) {
                    answer_event(&client, &event);
                }
            }
        } else {
            // After a fatal error there is no group to leave, but the client's end waits for the answer to a rebalance
            // from before.
            while let Some(event) = client.poll(Duration::ZERO) {
                answer_event(&client, &event);
            }
        }
    }
}

fn answer_event(client: &Client, event: &Event<'_>) {
    match event.kind() {
        Kind::Assigned(partitions) => answer(client, Unanswered::Assigned(partitions)),
        Kind::Revoked(partitions) => answer(client, Unanswered::Revoked(partitions)),
        _ => {}
    }
}

fn answer(client: &Client, rebalance: Unanswered) {
    let answered = match rebalance {
        Unanswered::Assigned(partitions) => {
            Partitions::of(&partitions).and_then(|list| client.incremental_assign(&list))
        }
        Unanswered::Revoked(partitions) => {
            Partitions::of(&partitions).and_then(|list| client.incremental_unassign(&list))
        }
    };
    if answered.is_err() {
        // Refused because the assignment changed meanwhile; giving up everything is always accepted, and a failure
        // of that means that nothing is left to give up.
        let _ = client.unassign_all();
    }
}
