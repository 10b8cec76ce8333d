//! Reading a topic without being a member of a group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr as Code;

use super::context::Context;
use super::ffi::{Client, Failure, Kind, Partitions, Role};
use super::{KafkaTransport, consumer_properties, errors, producer, refused, topics};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{HeadersBuf, TopicPartition};
use crate::transport::{Extent, Found, TopicReader};

const END_OF_PARTITION: i32 = Code::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;

const NO_GROUP: i32 = Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED as i32;

/// A consumer that joins no group: it assigns partitions to itself.
pub(super) struct KafkaReader {
    client: Client,
    context: Context,
    topic: Arc<str>,
    group: String,
    packed: HeadersBuf,
}

impl KafkaReader {
    pub(super) fn new(transport: &KafkaTransport, topic: &Arc<str>, group: &str) -> Result<KafkaReader> {
        let mut config = transport.config.clone();
        config.group_id = Some(group.to_owned());
        config.group_instance_id = None;
        let mut properties = consumer_properties(&config)?;
        for (name, value) in [("enable.partition.eof", "true"), ("auto.offset.reset", "earliest")] {
            properties.push((name.to_owned(), value.to_owned()));
        }
        let client = Client::new(Role::Consumer, &properties, None).map_err(refused)?;
        let context = Context::new("reader", &config, transport.log.clone());
        let (topic, group) = (topic.clone(), group.to_owned());
        Ok(KafkaReader { client, context, topic, group, packed: HeadersBuf::new() })
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }

    fn failed(&self, what: &str, failure: &Failure) -> Error {
        errors::error(what, failure).with("topic", &self.topic)
    }

    /// The client's events besides records tell why a broker cannot be reached.
    fn serve(&mut self) {
        while let Some(event) = self.client.poll(Duration::ZERO) {
            match event.kind() {
                Kind::Error { failure, .. } => drop(self.context.failed(&failure)),
                Kind::Statistics(json) => self.context.statistics(json, |brokers| self.client.add_brokers(brokers)),
                Kind::Log { level, facility, text } => self.context.logged(level, facility, text),
                _ => {}
            }
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl TopicReader for KafkaReader {
    fn extents(&mut self, deadline: Instant) -> Result<Vec<Extent>> {
        self.serve();
        let count = loop {
            match topics::partitions(&self.client, &self.topic, left(deadline)) {
                Ok(count) => break count,
                // A partition that was just created may have no leader yet.
                Err(error) if error.is_retryable() && !left(deadline).is_zero() => self.serve(),
                Err(error) => return Err(error),
            }
        };
        let count = count.ok_or_else(|| topics::unknown(&self.topic))?;
        let mut extents = Vec::new();
        for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            let (start, end) = loop {
                match self.client.watermarks(&self.at(partition), left(deadline)) {
                    Ok(found) => break found,
                    Err(failure) => {
                        let error = self.failed("the partition's offsets are not known", &failure);
                        if !error.is_retryable() || left(deadline).is_zero() {
                            return Err(error.with("partition", partition));
                        }
                        self.serve();
                    }
                }
            };
            extents.push(Extent { partition, start, end });
        }
        Ok(extents)
    }

    fn progress(&mut self, partitions: &[i32], deadline: Instant) -> Result<Vec<Option<i64>>> {
        let stored = |partition: &i32| {
            self.client
                .stored(&self.at(*partition), left(deadline))
                .map_err(|failure| self.failed("the progress is not known", &failure).with("group", &self.group))
        };
        partitions.iter().map(stored).collect()
    }

    fn keep_progress(&mut self, progress: &[(i32, i64)], deadline: Instant) -> Result<()> {
        let offsets: Vec<_> = progress.iter().map(|(partition, offset)| (self.at(*partition), *offset)).collect();
        let failed = |failure: &Failure| self.failed("the progress was not kept", failure).with("group", &self.group);
        let list = Partitions::with_offsets(&offsets).map_err(|failure| failed(&failure))?;
        let answers = self.client.new_queue();
        self.client.commit(&list, &answers).map_err(|failure| failed(&failure))?;
        let Some(event) = answers.poll(left(deadline)) else {
            return Err(Error::new(ErrorKind::Timeout, "the progress was not kept: the coordinator did not answer")
                .with("topic", &self.topic)
                .with("group", &self.group)
                .hint("check that the brokers can be reached"));
        };
        match event.kind() {
            Kind::Committed(result) => result.map_err(|failure| failed(&failure)),
            _ => Ok(()),
        }
    }

    fn read(&mut self, from: &[(i32, i64)]) -> Result<()> {
        let from: Vec<_> = from.iter().map(|(partition, offset)| (self.at(*partition), *offset)).collect();
        self.client.assign(&from).map_err(|failure| self.failed("the partitions cannot be read", &failure))
    }

    fn next(&mut self, wait: Duration) -> Result<Found> {
        let deadline = Instant::now() + wait;
        loop {
            let Some(event) = self.client.poll(left(deadline)) else { return Ok(Found::Nothing) };
            match event.kind() {
                Kind::Messages(mut messages) => {
                    let Some(message) = messages.next() else { continue };
                    match message.code() {
                        0 => return Ok(Found::Record(message.to_record(self.topic.clone(), &mut self.packed))),
                        END_OF_PARTITION => return Ok(Found::End(message.partition())),
                        code => {
                            let failure = Failure { code, text: String::new() };
                            let error = self.failed("a record could not be fetched", &failure);
                            return Err(error.with("partition", message.partition()));
                        }
                    }
                }
                Kind::Error { failure, .. } if failure.code == END_OF_PARTITION => {
                    if let Some(partition) = event.partition() {
                        return Ok(Found::End(partition));
                    }
                }
                // Progress is asked for and kept by calls that tell it themselves; reading needs no group.
                Kind::Error { failure, .. } if failure.code == NO_GROUP => {}
                Kind::Error { failure, fatal: true, .. } => return Err(producer::fatal_error(&failure)),
                Kind::Error { failure, .. } => {
                    let error = if errors::is_about_connections(&failure) {
                        self.context.failed(&failure)
                    } else {
                        self.failed("the topic cannot be read", &failure)
                    };
                    // What may pass is waited for; a refusal needs someone to act.
                    if !error.is_retryable() {
                        return Err(error);
                    }
                }
                Kind::Statistics(json) => self.context.statistics(json, |brokers| self.client.add_brokers(brokers)),
                Kind::Log { level, facility, text } => self.context.logged(level, facility, text),
                _ => {}
            }
        }
    }
}
