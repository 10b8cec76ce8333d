//! The writer over a broker in memory, with a publisher whose client the test serves.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::codec::provenance::{self, MAX_MESSAGE};
use crate::config::Config;
use crate::error::PublishOutcome;
use crate::event::{Headers, TopicPartition};
use crate::log::Observer;
use crate::memory::{MemoryBroker, MemoryTransport};
use crate::runtime;
use crate::subscribe::mailbox::Mail;
use crate::transport::{Completion, CompletionSink, Enqueued, Published, Token};

const PATIENCE: Duration = Duration::from_secs(10);
const SOURCE: &str = "order.placed";
const LETTERS: &str = "order.placed.dead-letter";

/// Hands records straight to the transport and calls back when the broker has them.
struct Direct {
    transport: Arc<MemoryTransport>,
    waiting: Mutex<Vec<Option<Published>>>,
}

impl RecordPublisher for Direct {
    fn publish_record(&self, record: &RawRecord<'_>, done: Published) {
        let topic = crate::event::Topic { id: 0, name: record.topic.into() };
        let slot = {
            let mut waiting = lock(&self.waiting);
            waiting.push(Some(done));
            (waiting.len() - 1) as u32
        };
        match self.transport.send_on(&record.outgoing(&topic), Token::new(0, 0, slot)) {
            Ok(Enqueued::Yes) => self.transport.poll(Duration::ZERO, self),
            Ok(Enqueued::QueueFull) => panic!("the queue is large"),
            Err(error) => self.end(slot, Err(error)),
        }
    }
}

impl Direct {
    fn end(&self, slot: u32, end: Result<Receipt>) {
        let done = lock(&self.waiting)[slot as usize].take().expect("a publish ends once");
        done(end);
    }
}

impl CompletionSink for Direct {
    fn complete(&self, completions: &[Completion]) {
        for Completion { token, partition, offset, error } in completions.iter().cloned() {
            self.end(token.slot(), error.map_or(Ok(Receipt { partition, offset }), Err));
        }
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<LogRecord>>);

impl Observer for Lines {
    fn log(&self, record: &LogRecord) {
        lock(&self.0).push(record.clone());
    }
}

struct World {
    broker: MemoryBroker,
    writer: DeadLetterWriter,
    mailbox: Arc<Mailbox>,
    lines: Arc<Lines>,
    _publisher: Arc<dyn RecordPublisher>,
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> World {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let broker = MemoryBroker::open(&format!("dead-letters-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        broker.create_topic(SOURCE, 3).unwrap();
        let mut config = Config::new("test", [broker.address()]);
        change(&mut config);
        let transport = Arc::new(MemoryTransport::new(&config, &broker.address()));
        let publisher: Arc<dyn RecordPublisher> =
            Arc::new(Direct { transport: transport.clone(), waiting: Mutex::default() });
        let (mailbox, lines) = (Arc::new(Mailbox::default()), Arc::new(Lines::default()));
        let log = Log::new(Some(lines.clone()));
        let writer = DeadLetterWriter::new(transport, &publisher, mailbox.clone(), log, Some("billing".into()));
        World { broker, writer, mailbox, lines, _publisher: publisher }
    }

    /// The answers to that many letters.
    fn answers(&self, count: usize) -> Vec<(Ticket, Result<()>)> {
        let (deadline, mut mail, mut all) = (Instant::now() + PATIENCE, Mail::default(), Vec::new());
        while all.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} answers", all.len());
            self.mailbox.take(Duration::from_millis(50), &mut mail);
            assert!(mail.panics.is_empty(), "{:?}", mail.panics);
            all.append(&mut mail.dead_lettered);
        }
        all
    }

    fn answer(&self) -> Result<()> {
        self.answers(1).remove(0).1
    }

    fn letters(&self, topic: &str, partition: i32) -> Vec<Record> {
        self.broker.records(&TopicPartition::new(topic, partition))
    }
}

fn letter(sequence: u32, partition: i32, headers: Headers<'_>, value: Option<&[u8]>) -> DeadLetter {
    let failed = Instant::now();
    let source = TopicPartition::new(SOURCE, partition);
    let record = Record::new(source, i64::from(sequence), Some(1_700_000_000_000), Some(b"key"), headers, value);
    DeadLetter {
        ticket: Ticket::new(1, 2, sequence),
        record: Arc::new(record),
        topic: LETTERS.into(),
        reason: DeadLetterReason::Exhausted,
        failure: Some(Box::new(Failure {
            handler: "Invoices".into(),
            code: "TypeError".into(),
            message: "no total".into(),
            retryable: None,
        })),
        attempts: 5,
        first_failed: failed,
        last_failed: failed,
    }
}

fn plain(sequence: u32) -> DeadLetter {
    letter(sequence, 1, Headers::default(), Some(b"value"))
}

#[test]
fn a_letter_is_the_record_byte_for_byte_with_its_provenance_behind() {
    let mut world = World::new(|_| ());
    let mut own = HeadersBuf::new();
    own.push("a", Some(&[0, 255]));
    own.push("a", None);
    world.writer.write(letter(7, 2, own.as_headers(), None));
    let (ticket, answer) = world.answers(1).remove(0);
    assert_eq!(ticket, Ticket::new(1, 2, 7));
    answer.unwrap();
    let stored = world.letters(LETTERS, 2);
    assert_eq!(stored.len(), 1);
    let stored = &stored[0];
    assert_eq!((stored.key(), stored.value(), stored.timestamp), (Some(&b"key"[..]), None, Some(1_700_000_000_000)));
    let (headers, from) = Provenance::split(stored.headers()).unwrap();
    assert_eq!(headers, own.as_headers());
    assert_eq!((from.topic, from.partition, from.offset), (SOURCE, 2, 7));
    assert_eq!((from.group, from.reason, from.attempts), (Some("billing"), Some("exhausted"), Some(5)));
    assert_eq!(
        (from.handler, from.error_code, from.error_message),
        (Some("Invoices"), Some("TypeError"), Some("no total"))
    );
    let age = now_ms() - from.last_failed_at.unwrap();
    assert!((0..60_000).contains(&age), "{age} ms");
    assert_eq!((from.timestamp, from.first_failed_at.is_some(), from.reduced), (Some(1_700_000_000_000), true, None));
}

#[test]
fn the_topic_gets_as_many_partitions_and_is_used_as_it_is_where_it_exists() {
    let mut world = World::new(|_| ());
    world.writer.write(plain(1));
    world.answer().unwrap();
    assert_eq!(world.broker.end_offset(&TopicPartition::new(LETTERS, 2)), Some(0));
    assert_eq!(world.broker.end_offset(&TopicPartition::new(LETTERS, 3)), None);
    world.broker.create_topic("failures", 1).unwrap();
    let shared = DeadLetter { topic: "failures".into(), ..letter(2, 2, Headers::default(), Some(b"v")) };
    world.writer.write(shared);
    world.answer().unwrap();
    assert_eq!(world.letters("failures", 0).len(), 1);
}

#[test]
fn letters_keep_their_order_and_are_answered_each() {
    let mut world = World::new(|_| ());
    for sequence in 0..100 {
        world.writer.write(plain(sequence));
    }
    let answered: Vec<_> = world.answers(100).iter().map(|(ticket, _)| ticket.sequence()).collect();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
    let offsets: Vec<_> =
        world.letters(LETTERS, 1).iter().map(|stored| Provenance::split(stored.headers()).unwrap().1.offset).collect();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_failure_that_passes_goes_back_as_retryable() {
    let mut world = World::new(|_| ());
    world.broker.create_topic(LETTERS, 3).unwrap();
    let timeout = Error::new(ErrorKind::Timeout, "too late").outcome(PublishOutcome::Unknown);
    world.broker.fail_publishes(Some(LETTERS), 1, timeout);
    world.writer.write(plain(1));
    assert_eq!(world.answer().unwrap_err().kind(), ErrorKind::Timeout);
    world.writer.write(plain(1));
    world.answer().unwrap();
    let fatal = Error::new(ErrorKind::Fenced, "somebody else").outcome(PublishOutcome::NotSent);
    world.broker.fail_publishes(Some(LETTERS), 1, fatal);
    world.writer.write(plain(2));
    assert!(world.answer().unwrap_err().is_retryable());
}

#[test]
fn what_is_refused_for_good_becomes_a_letter_that_says_where_it_lies() {
    let mut world = World::new(|config| config.message_max_bytes = 1000);
    world.writer.write(letter(3, 0, Headers::default(), Some(&[b'x'; 2000])));
    world.answer().unwrap();
    let stored = world.letters(LETTERS, 0);
    assert_eq!((stored[0].key(), stored[0].value()), (None, None));
    let names: Vec<_> = stored[0].headers().iter().map(|(name, _)| name.to_owned()).collect();
    let expected = [provenance::TOPIC, provenance::PARTITION, provenance::OFFSET, provenance::REDUCED];
    assert_eq!(names, expected);
    let (_, from) = Provenance::split(stored[0].headers()).unwrap();
    assert_eq!((from.offset, from.reduced), (3, Some("EVBUS_TOO_LARGE")));
    let lines = lock(&world.lines.0);
    assert!(lines[0].fields.contains(&("reduced", true.into())), "{:?}", lines[0]);
}

#[test]
fn a_letter_that_is_refused_twice_goes_back_for_good() {
    let mut world = World::new(|_| ());
    world.broker.create_topic(LETTERS, 3).unwrap();
    let forbidden = Error::new(ErrorKind::Rejected, "not allowed").outcome(PublishOutcome::NotSent);
    world.broker.fail_publishes(Some(LETTERS), 2, forbidden);
    world.writer.write(plain(1));
    let error = world.answer().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, false));
    assert_eq!(world.letters(LETTERS, 1).len(), 0);
}

#[test]
fn a_topic_that_may_not_be_created_is_told_clearly() {
    let mut world = World::new(|config| config.auto_create_topics = false);
    world.writer.write(plain(1));
    let error = world.answer().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::UnknownTopic, false));
    assert!(error.message().starts_with("the dead-letter topic cannot be used: "), "{error}");
    assert_eq!(error.context("topic"), Some(LETTERS));
    assert!(error.hint_text().is_some());
    let illegal = DeadLetter { topic: "a b".into(), ..plain(2) };
    world.writer.write(illegal);
    assert_eq!(world.answer().unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn what_is_logged_names_the_event_and_never_its_payload() {
    let mut world = World::new(|_| ());
    let value = br#"{"eventId":"e-1","eventType":"order.placed","aggregateId":"a","payload":{"secret":"hush"}}"#;
    world.writer.write(letter(5, 1, Headers::default(), Some(value)));
    world.answer().unwrap();
    let lines = lock(&world.lines.0);
    let line = lines.iter().find(|line| line.event == "dead_lettered").unwrap();
    let field = |name| line.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!((field("eventId"), field("topic"), field("offset")), ("e-1".into(), SOURCE.into(), 5.into()));
    assert_eq!((field("reason"), field("attempts"), field("partition")), ("exhausted".into(), 5.into(), 1.into()));
    assert!(!format!("{line:?}").contains("hush"), "{line:?}");
}

#[test]
fn a_long_error_message_is_cut() {
    let mut world = World::new(|_| ());
    let mut long = plain(1);
    long.failure.as_mut().unwrap().message = "ü".repeat(MAX_MESSAGE);
    world.writer.write(long);
    world.answer().unwrap();
    let stored = world.letters(LETTERS, 1);
    let (_, from) = Provenance::split(stored[0].headers()).unwrap();
    assert_eq!(from.error_message.map(str::len), Some(MAX_MESSAGE));
}

#[test]
fn the_writing_thread_ends_with_the_writer() {
    let mut world = World::new(|_| ());
    world.writer.write(plain(1));
    world.answer().unwrap();
    let desk = Arc::downgrade(&world.writer.desk);
    drop(world);
    let ended = runtime::within(Instant::now() + PATIENCE, "evbus-test", move || {
        while desk.upgrade().is_some() {
            std::thread::yield_now();
        }
    });
    assert!(ended);
}
