//! Making sure that topics exist.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr as Code;

use super::ffi::{Client, Failure, Kind};
use super::{KafkaTransport, errors};
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
                            create_topic(client, topic, left)?;
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

fn create_topic(client: &Client, topic: &str, timeout: Duration) -> Result<()> {
    let failed = |failure: &Failure| errors::error("the topic was not created", failure);
    let answers = client.new_queue();
    client.create_topic(topic, timeout, &answers).map_err(|failure| failed(&failure))?;
    // The request has the same timeout, and its end is an answer too.
    let Some(event) = answers.poll(timeout + Duration::from_secs(1)) else { return Err(late(topic, None)) };
    match event.kind() {
        Kind::TopicsCreated(Err(failure)) if failure.code == Code::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS as i32 => {
            Ok(())
        }
        Kind::TopicsCreated(result) => result.map_err(|failure| failed(&failure)),
        _ => Ok(()),
    }
}
