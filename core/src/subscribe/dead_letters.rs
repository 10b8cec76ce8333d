//! Dead letters: records that nobody can handle, on their way to a topic of their own.

#[cfg(all(test, feature = "embedded"))]
mod tests;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use crate::codec;
use crate::codec::provenance::Provenance;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Failure, HeadersBuf, RawRecord, Record, Ticket, now_ms};
use crate::log::{Level, Log, LogRecord};
use crate::policy::DeadLetterReason;
use crate::runtime::{Worker, lock};
use crate::transport::{Receipt, RecordPublisher, Transport};

/// How long making sure of a dead-letter topic may take before the letters are given back for a later try.
const ENSURE_TIMEOUT: Duration = Duration::from_secs(5);

/// For so long letters to a topic that could not be made sure of fail at once, instead of each taking that time.
const REFUSE_FOR: Duration = Duration::from_secs(1);

/// A record that goes to the dead-letter topic; its offset is finished when it has been stored there.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    /// Names it in the answer.
    pub(crate) ticket: Ticket,
    /// The record, byte for byte as it was received.
    pub(crate) record: Arc<Record>,
    /// The dead-letter topic.
    pub(crate) topic: String,
    /// Why it goes there.
    pub(crate) reason: DeadLetterReason,
    /// What the last attempt failed with, where there was one.
    pub(crate) failure: Option<Box<Failure>>,
    /// How many attempts there were.
    pub(crate) attempts: u32,
    /// When the first attempt failed.
    pub(crate) first_failed: Instant,
    /// When the last attempt failed.
    pub(crate) last_failed: Instant,
}

impl DeadLetter {
    /// Publishes the record byte for byte with its provenance behind its own headers; with `reduced`, the code of the
    /// error that refused that, nothing but where it lies.
    fn with_record<T>(
        &self,
        group: Option<&str>,
        partitions: u32,
        reduced: Option<&str>,
        publish: impl FnOnce(&RawRecord<'_>) -> T,
    ) -> T {
        let record = &*self.record;
        let source = &record.source;
        let place = Provenance {
            topic: &source.topic,
            partition: source.partition,
            offset: record.offset,
            reduced,
            ..Provenance::default()
        };
        let mut headers = HeadersBuf::new();
        if reduced.is_some() {
            place.write(&mut headers);
        } else {
            headers.extend(record.headers(), |_| true);
            let failure = self.failure.as_deref();
            let at = |instant: Instant| Some(now_ms() - i64::try_from(instant.elapsed().as_millis()).unwrap_or(0));
            fn text(text: &str) -> Option<&str> {
                Some(text).filter(|text| !text.is_empty())
            }
            let full = Provenance {
                timestamp: record.timestamp,
                group,
                reason: Some(self.reason.as_str()),
                handler: failure.and_then(|failure| text(&failure.handler)),
                attempts: Some(self.attempts),
                error_code: failure.and_then(|failure| text(&failure.code)),
                error_message: failure.and_then(|failure| text(&failure.message)),
                first_failed_at: at(self.first_failed),
                last_failed_at: at(self.last_failed),
                ..place
            };
            full.write(&mut headers);
        }
        let whole = reduced.is_none();
        publish(&RawRecord {
            topic: &self.topic,
            // A topic with fewer partitions still keeps the order of each key.
            partition: u32::try_from(source.partition).is_ok_and(|at| at < partitions).then_some(source.partition),
            timestamp: record.timestamp,
            key: record.key().filter(|_| whole),
            value: record.value().filter(|_| whole),
            headers: headers.as_headers(),
        })
    }
}

/// Writes dead letters. The end of each comes back to the poll thread as mail.
pub(super) struct DeadLetterWriter {
    desk: Arc<Desk>,
    /// To the thread that writes, which starts with the first letter and ends when this is dropped.
    letters: Option<Sender<DeadLetter>>,
}

/// What the writing thread and the ends of publishes need.
struct Desk {
    transport: Arc<dyn Transport>,
    /// Weak, because the publisher keeps what waits for the ends of its publishes.
    publisher: Weak<dyn RecordPublisher>,
    mailbox: Arc<Mailbox>,
    log: Log,
    group: Option<String>,
    topics: Mutex<HashMap<String, Known>>,
}

/// What is known of a dead-letter topic.
enum Known {
    /// It has so many partitions.
    There(u32),
    /// It could not be made sure of then.
    Refused(Instant, Error),
}

impl DeadLetterWriter {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        publisher: &Arc<dyn RecordPublisher>,
        mailbox: Arc<Mailbox>,
        log: Log,
        group: Option<String>,
    ) -> Self {
        let (publisher, topics) = (Arc::downgrade(publisher), Mutex::default());
        DeadLetterWriter { desk: Arc::new(Desk { transport, publisher, mailbox, log, group, topics }), letters: None }
    }

    /// Runs on: poll thread. Hands a letter to the writing thread. Each is answered once through the mailbox, letters
    /// of one topic reach it in this order. An error that is retryable asks for the same letter later; any other one
    /// will come again.
    pub(super) fn write(&mut self, letter: DeadLetter) {
        let ticket = letter.ticket;
        let sent = match self.letters() {
            Ok(letters) => letters.send(letter).map_err(|_| gone()),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            self.letters = None;
            self.desk.mailbox.dead_lettered(ticket, Err(error));
        }
    }

    fn letters(&mut self) -> Result<&Sender<DeadLetter>> {
        if self.letters.is_none() {
            let (sender, receiver) = channel();
            let (desk, mailbox) = (self.desk.clone(), self.desk.mailbox.clone());
            let body = move || desk.serve(&receiver);
            Worker::start("evbus-dead-letters", body, move |error| mailbox.panicked(error)).map_err(later)?;
            self.letters = Some(sender);
        }
        self.letters.as_ref().ok_or_else(gone)
    }
}

/// The writing thread ended by a panic, which the mailbox has been told.
fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the thread that writes dead letters ended; the next letter starts another")
}

/// An error that goes away by itself, whatever its kind says of other calls.
fn later(error: Error) -> Error {
    Error::new(ErrorKind::Unavailable, error.message().to_owned()).caused_by(error)
}

impl Desk {
    /// Runs on: dead-letter thread.
    fn serve(self: &Arc<Self>, letters: &Receiver<DeadLetter>) {
        for letter in letters {
            match self.partitions(&letter) {
                Ok(partitions) => self.publish(letter, partitions, None),
                Err(error) => self.mailbox.dead_lettered(letter.ticket, Err(error)),
            }
        }
    }

    /// How many partitions the letter's topic has; creates it where it is missing.
    fn partitions(&self, letter: &DeadLetter) -> Result<u32> {
        match lock(&self.topics).get(&letter.topic) {
            Some(Known::There(partitions)) => return Ok(*partitions),
            Some(Known::Refused(at, error)) if at.elapsed() < REFUSE_FOR => return Err(error.clone()),
            _ => {}
        }
        let deadline = Instant::now() + ENSURE_TIMEOUT;
        let topic: Arc<str> = letter.topic.as_str().into();
        let ensured = codec::validate_topic_name(&letter.topic)
            .and_then(|()| self.transport.ensure_topic_like(&topic, &letter.record.source.topic, deadline));
        let ensured = ensured.map_err(|error| {
            let message = format!("the dead-letter topic cannot be used: {}", error.message());
            let hint = error.hint_text().unwrap_or("create it, or name another one with deadLetterTopic").to_owned();
            let told = Error::new(error.kind(), message).with("topic", &topic).hint(hint).caused_by(error);
            if told.is_fatal() { later(told) } else { told }
        });
        let known = match &ensured {
            Ok(partitions) => Known::There(*partitions),
            Err(error) => Known::Refused(Instant::now(), error.clone()),
        };
        lock(&self.topics).insert(letter.topic.clone(), known);
        ensured
    }

    /// Runs on: dead-letter thread or delivery thread.
    fn publish(self: &Arc<Self>, letter: DeadLetter, partitions: u32, reduced: Option<Error>) {
        let Some(publisher) = self.publisher.upgrade() else { return };
        let desk = self.clone();
        let code = reduced.as_ref().map(Error::code);
        let waiting = letter.clone();
        let done = Box::new(move |end| desk.ended(waiting, partitions, reduced, end));
        letter.with_record(self.group.as_deref(), partitions, code, |record| publisher.publish_record(record, done));
    }

    /// Runs on: delivery thread or dead-letter thread. A record that the broker refuses for good is replaced by a
    /// letter that says where it lies; when that is refused too, the letter goes back.
    fn ended(self: &Arc<Self>, letter: DeadLetter, partitions: u32, reduced: Option<Error>, end: Result<Receipt>) {
        match end {
            Ok(receipt) => {
                self.log_letter(&letter, receipt, reduced);
                self.mailbox.dead_lettered(letter.ticket, Ok(()));
            }
            // The topic was there before, so it is created again; and a client that ended is replaced.
            Err(error) if error.kind() == ErrorKind::UnknownTopic || error.is_fatal() => {
                lock(&self.topics).remove(&letter.topic);
                self.mailbox.dead_lettered(letter.ticket, Err(later(error)));
            }
            // The end of the bus is no fault of the letter: its record is delivered again.
            Err(error) if error.kind() == ErrorKind::Closed => {
                self.mailbox.dead_lettered(letter.ticket, Err(later(error)));
            }
            Err(error) if !error.is_retryable() && reduced.is_none() => {
                self.publish(letter, partitions, Some(error));
            }
            Err(error) => self.mailbox.dead_lettered(letter.ticket, Err(error)),
        }
    }

    fn log_letter(&self, letter: &DeadLetter, receipt: Receipt, reduced: Option<Error>) {
        let record = &*letter.record;
        let event_id = codec::decode(record).map(|event| event.event_id().to_owned()).unwrap_or_default();
        let what = if reduced.is_some() { "the place of a record, which was refused itself," } else { "a record" };
        let reason = letter.reason.as_str();
        let message = format!("{what} went to the dead-letter topic {} ({reason})", letter.topic);
        let entry = LogRecord::new(Level::Error, "dead_lettered", message)
            .with("eventId", event_id)
            .at(record)
            .with("reason", reason)
            .with("attempts", letter.attempts)
            .with("deadLetterTopic", &*letter.topic)
            .with("deadLetterPartition", receipt.partition)
            .with("deadLetterOffset", receipt.offset);
        self.log.write(match reduced {
            Some(error) => entry.with("reduced", true).because(error),
            None => entry,
        });
    }
}
