//! Making sure that topics exist.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr as Code;

use super::ffi::{Client, Failure, Kind, NewTopic};
use super::{KafkaTransport, errors, producer};
use crate::error::{Error, ErrorKind, Result};

/// How long to leave the cluster alone before asking again whether the topic is there.
const PAUSE: Duration = Duration::from_millis(50);

/// Asking for a topic creates it on brokers with `auto.create.topics.enable`; on others the admin interface does.
pub(super) fn ensure(transport: &KafkaTransport, topic: &str, deadline: Instant) -> Result<()> {
    let create = transport.config.auto_create_topics;
    let mut creation_asked = false;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(topic, last));
        }
        let step = transport.with_client(|client| {
            let wait = left.min(Duration::from_secs(2));
            match client.metadata(Some(topic), wait) {
                Ok(Some((0, partitions))) if partitions > 0 => Ok(true),
                Ok(Some((code, _))) => {
                    let failure = Failure { code, text: String::new() };
                    let error = errors::error("the topic cannot be used", &failure);
                    match error.kind() {
                        ErrorKind::UnknownTopic if !create => return Err(error),
                        ErrorKind::UnknownTopic if !creation_asked => {
                            creation_asked = true;
                            let new = NewTopic { name: topic, partitions: -1, settings: &[] };
                            create_topic(client, &new, left)?;
                        }
                        // Created, but no broker leads its partitions yet.
                        ErrorKind::UnknownTopic | ErrorKind::Unavailable => {}
                        _ if code == 0 => {}
                        _ => return Err(error),
                    }
                    last = Some(error);
                    Ok(false)
                }
                Ok(None) => Ok(false),
                Err(failure) => {
                    let error = errors::error("the cluster did not tell about the topic", &failure);
                    if !error.is_retryable() {
                        return Err(error);
                    }
                    last = Some(error);
                    Ok(false)
                }
            }
        })?;
        if step.map_err(|error| error.with("topic", topic))? {
            return Ok(());
        }
        std::thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
    }
}

fn late(topic: &str, last: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::Timeout, "the topic could not be made sure of in time")
        .with("topic", topic)
        .hint("check that the brokers can be reached, or create the topic beforehand");
    match last {
        Some(last) => error.caused_by(last),
        None => error,
    }
}

fn create_topic(client: &Client, new: &NewTopic<'_>, timeout: Duration) -> Result<()> {
    let failed = |failure: &Failure| errors::error("the topic was not created", failure);
    let answers = client.new_queue();
    client.create_topic(new, timeout, &answers).map_err(|failure| failed(&failure))?;
    // The request has the same timeout, and its end is an answer too.
    let Some(event) = answers.poll(timeout + Duration::from_secs(1)) else { return Err(late(new.name, None)) };
    match event.kind() {
        Kind::TopicsCreated(Err(failure)) if failure.code == Code::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS as i32 => {
            Ok(())
        }
        Kind::TopicsCreated(result) => result.map_err(|failure| failed(&failure)),
        _ => Ok(()),
    }
}

/// How many partitions a topic has; `None` where there is none. Unlike a question for metadata this creates nothing.
pub(super) fn partitions(client: &Client, topic: &str, timeout: Duration) -> Result<Option<u32>> {
    let failed =
        |failure: &Failure| errors::error("the cluster did not tell about the topic", failure).with("topic", topic);
    let answers = client.new_queue();
    let asked = client.brokers(timeout).and_then(|brokers| {
        // Without brokers there is no answer in time, which the request will tell.
        client.describe_topic(topic, brokers.first().copied().unwrap_or(0), timeout, &answers)
    });
    asked.map_err(|failure| failed(&failure))?;
    let Some(event) = answers.poll(timeout + Duration::from_secs(1)) else { return Err(late(topic, None)) };
    match event.kind() {
        Kind::TopicDescribed(Ok(count)) => Ok(u32::try_from(count).ok().filter(|count| *count > 0)),
        Kind::TopicDescribed(Err(failure)) => match failed(&failure) {
            error if error.kind() == ErrorKind::UnknownTopic => Ok(None),
            error => Err(error),
        },
        _ => Err(late(topic, None)),
    }
}

/// Makes sure of a topic that takes in what lay in another one; the number of its partitions.
pub(super) fn ensure_like(transport: &KafkaTransport, topic: &str, like: &str, deadline: Instant) -> Result<u32> {
    let mut created = false;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(topic, last));
        }
        let wait = left.min(Duration::from_secs(2));
        match transport.with_client(|client| partitions(client, topic, wait))? {
            Ok(Some(count)) => return Ok(count),
            Ok(None) if created => {}
            Ok(None) if !transport.config.auto_create_topics => return Err(missing(topic)),
            Ok(None) => match transport.with_client(|client| create_like(transport, client, topic, like, wait))? {
                Ok(true) => created = true,
                // Such a cluster creates topics when it is asked for them.
                Ok(false) => {
                    ensure(transport, topic, deadline)?;
                    created = true;
                }
                Err(error) if error.is_retryable() => last = Some(error),
                Err(error) => return Err(error),
            },
            Err(error) if error.is_retryable() => last = Some(error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
    }
}

/// `false` for a cluster that cannot be told how to create a topic.
fn create_like(
    transport: &KafkaTransport,
    client: &Client,
    topic: &str,
    like: &str,
    timeout: Duration,
) -> Result<bool> {
    let failed = |failure: Failure| errors::error("the topic was not created", &failure).with("topic", topic);
    if !client.has_controller(timeout).map_err(failed)? {
        return Ok(false);
    }
    let count = partitions(client, like, timeout)?.unwrap_or(0);
    // Records keep their timestamps, so that a topic with the usual retention would forget old ones at once.
    let settings = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("max.message.bytes", producer::sent_on_max_bytes(&transport.config).to_string()),
    ];
    let new = NewTopic { name: topic, partitions: i32::try_from(count).unwrap_or(0), settings: &settings };
    create_topic(client, &new, timeout).map(|()| true).map_err(|error| {
        let hint = format!("create it with {count} partitions, or allow this principal to create it");
        error.with("topic", topic).hint(hint)
    })
}

/// The error for a topic that nobody may create here.
pub(super) fn unknown(topic: &str) -> Error {
    Error::new(ErrorKind::UnknownTopic, "the topic does not exist").with("topic", topic).hint("check its spelling")
}

fn missing(topic: &str) -> Error {
    Error::new(ErrorKind::UnknownTopic, "the topic does not exist, and autoCreateTopics forbids to create it")
        .with("topic", topic)
        .hint("create it with as many partitions as the topic that it belongs to")
}
