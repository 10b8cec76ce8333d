use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::{Member, numbers, settle};
use super::*;
use crate::error::{ErrorKind, PublishOutcome};
use crate::event::{HeadersBuf, TopicPartition};
use crate::transport::ConsumerEvent;

fn sum_of_ends(broker: &MemoryBroker, topic: &str) -> i64 {
    (0..4).map(|partition| broker.end_offset(&TopicPartition::new(topic, partition)).unwrap()).sum()
}

#[test]
fn a_record_comes_back_as_it_was_sent() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let mut headers = HeadersBuf::new();
    headers.push("version", Some(b"1"));
    headers.push("none", None);
    let record = OutgoingRecord {
        topic: &topic("order.placed"),
        partition: Some(2),
        timestamp: Some(1_700_000_000_000),
        key: Some(b"order-42"),
        value: Some(b"{}"),
        headers: headers.as_headers(),
    };
    assert_eq!(client.send(&record, Token::new(7, 1, 9)).unwrap(), Enqueued::Yes);
    let tombstone = OutgoingRecord { key: None, value: None, timestamp: None, ..record };
    client.send(&tombstone, Token::new(7, 1, 10)).unwrap();

    let completions = Completions::default();
    client.poll(DEADLINE, &completions);
    let done = completions.take();
    let ends: Vec<_> = done.iter().map(|done| (done.token, done.partition, done.offset)).collect();
    assert_eq!(ends, [(Token::new(7, 1, 9), 2, 0), (Token::new(7, 1, 10), 2, 1)]);

    let mut member = Member::join(&client, &["order.placed"]);
    settle(&mut [&mut member]);
    let [first, second] = &member.handled[..] else { panic!("{:?}", member.handled) };
    assert_eq!((&*first.source.topic, first.source.partition, first.offset), ("order.placed", 2, 0));
    assert_eq!(first.timestamp, Some(1_700_000_000_000));
    assert_eq!((first.key(), first.value()), (Some(&b"order-42"[..]), Some(&b"{}"[..])));
    assert_eq!(first.headers(), headers.as_headers());
    assert_eq!((second.key(), second.value(), second.offset), (None, None, 1));
    assert!(second.timestamp.unwrap() > 1_700_000_000_000);
}

#[test]
fn keys_choose_the_partition_and_records_without_one_take_turns() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let topic = topic("t");
    let completions = Completions::default();
    for slot in 0..8 {
        send(&client, &topic, None, b"x", slot).unwrap();
    }
    for slot in 8..10 {
        send(&client, &topic, Some(b"order-42"), b"x", slot).unwrap();
    }
    client.poll(DEADLINE, &completions);
    let partitions: Vec<_> = completions.take().iter().map(|done| done.partition).collect();
    assert_eq!(partitions, [0, 1, 2, 3, 0, 1, 2, 3, 0, 0]);
}

#[test]
fn buses_that_name_the_same_broker_share_it_and_it_goes_with_the_last() {
    let first = MemoryBroker::open("shared");
    let second = MemoryBroker::open("shared");
    first.create_topic("t", 1).unwrap();
    let source = TopicPartition::new("t", 0);
    assert_eq!(second.end_offset(&source), Some(0));
    drop(first);
    assert_eq!(MemoryBroker::open(&second.address()).end_offset(&source), Some(0));
    drop(second);
    assert_eq!(MemoryBroker::open("shared").end_offset(&source), None);
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let broker = broker();
    let client = client(&broker, |settings| {
        settings.message_max_bytes = 10;
        settings.auto_create_topics = false;
    });
    broker.create_topic("t", 2).unwrap();
    let refused = |name: &str, value: &[u8], partition| {
        let topic = topic(name);
        let record = OutgoingRecord {
            topic: &topic,
            partition,
            timestamp: None,
            key: None,
            value: Some(value),
            headers: Headers::default(),
        };
        let error = client.send(&record, Token(0)).unwrap_err();
        assert_eq!(error.publish_outcome(), Some(PublishOutcome::NotSent), "{error:?}");
        assert!(error.hint_text().is_some() || error.kind() == ErrorKind::Closed, "{error:?}");
        error.kind()
    };
    assert_eq!(refused("t", b"eleven bytes", None), ErrorKind::TooLarge);
    assert_eq!(refused("t", b"x", Some(2)), ErrorKind::Argument);
    assert_eq!(refused("t", b"x", Some(-1)), ErrorKind::Argument);
    assert_eq!(refused("missing", b"x", None), ErrorKind::UnknownTopic);
    client.close();
    assert_eq!(refused("t", b"x", None), ErrorKind::Closed);
}

#[test]
fn illegal_topic_names_are_refused() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "ä", "a/b", &long] {
        let error = send(&client, &topic(name), None, b"x", 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument, "{name}");
        let mut consumer = client.consumer(no_wake()).unwrap();
        assert_eq!(consumer.subscribe(&[name.into()]).unwrap_err().kind(), ErrorKind::Argument, "{name}");
    }
    send(&client, &topic(&"x".repeat(249)), None, b"x", 0).unwrap();
}

#[test]
fn the_queue_is_bounded_in_records_and_bytes() {
    let broker = broker();
    let client = client(&broker, |settings| {
        settings.queue_records = 2;
        settings.queue_bytes = 1000;
    });
    let topic = topic("t");
    let completions = Completions::default();
    for expected in [Enqueued::Yes, Enqueued::Yes, Enqueued::QueueFull] {
        assert_eq!(send(&client, &topic, None, b"x", 0).unwrap(), expected);
    }
    client.poll(DEADLINE, &completions);
    assert_eq!(completions.take().len(), 2);
    let large = vec![0; 2000];
    assert_eq!(send(&client, &topic, None, &large, 0).unwrap(), Enqueued::Yes);
    assert_eq!(send(&client, &topic, None, b"x", 0).unwrap(), Enqueued::QueueFull);
    client.poll(DEADLINE, &completions);
    broker.fill_queues(1);
    assert_eq!(send(&client, &topic, None, b"x", 0).unwrap(), Enqueued::QueueFull);
    assert_eq!(send(&client, &topic, None, b"x", 0).unwrap(), Enqueued::Yes);
}

#[test]
fn purge_says_what_is_known_of_each_record() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let topic = topic("t");
    let completions = Completions::default();
    broker.hold_acks();
    send(&client, &topic, None, b"x", 0).unwrap();
    client.poll(Duration::ZERO, &completions);
    assert_eq!((completions.take().len(), sum_of_ends(&broker, "t")), (0, 1));
    send(&client, &topic, None, b"x", 1).unwrap();
    client.purge();
    client.poll(DEADLINE, &completions);
    let outcomes: Vec<_> = completions
        .take()
        .iter()
        .map(|done| (done.token.slot(), done.error.as_ref().unwrap().publish_outcome().unwrap()))
        .collect();
    assert_eq!(outcomes, [(0, PublishOutcome::Unknown), (1, PublishOutcome::NotSent)]);
    assert_eq!(sum_of_ends(&broker, "t"), 1);
}

#[test]
fn held_acknowledgements_come_in_order_once_released() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let completions = Completions::default();
    broker.hold_acks();
    for slot in 0..3 {
        send(&client, &topic("t"), Some(b"k"), b"x", slot).unwrap();
        client.poll(Duration::ZERO, &completions);
    }
    assert!(completions.take().is_empty());
    broker.release_acks();
    client.poll(DEADLINE, &completions);
    let done: Vec<_> = completions.take().iter().map(|done| (done.token.slot(), done.offset)).collect();
    assert_eq!(done, [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn faults_hit_the_next_records_of_their_topic() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let completions = Completions::default();
    let one = |name: &str| {
        send(&client, &Topic { id: u16::from(name == "b"), name: name.into() }, Some(b"k"), b"x", 0).unwrap();
        client.poll(DEADLINE, &completions);
    };
    broker.fail_publishes(Some("a"), 2, Error::new(ErrorKind::Rejected, "no").outcome(PublishOutcome::NotSent));
    one("b");
    assert!(completions.take()[0].error.is_none());
    for _ in 0..2 {
        one("a");
        assert_eq!(completions.only_error().kind(), ErrorKind::Rejected);
    }
    assert_eq!(sum_of_ends(&broker, "a"), 0);
    broker.lose_acks(None, 1, Error::new(ErrorKind::Timeout, "no answer").outcome(PublishOutcome::Unknown));
    one("a");
    assert_eq!(completions.only_error().publish_outcome(), Some(PublishOutcome::Unknown));
    assert_eq!(sum_of_ends(&broker, "a"), 1);
    one("a");
    assert!(completions.take()[0].error.is_none());
}

#[test]
fn publishes_wait_for_the_broker_until_their_timeout() {
    let broker = broker();
    let short = client(&broker, |settings| settings.publish_timeout = Duration::from_millis(20));
    let long = client(&broker, |_| {});
    let (late, stored) = (Completions::default(), Completions::default());
    send(&short, &topic("t"), None, b"late", 0).unwrap();
    send(&long, &topic("t"), None, b"patient", 0).unwrap();
    broker.set_reachable(false);
    assert_eq!(short.connectivity().brokers_up, 0);
    assert_eq!(short.connectivity().last_error.unwrap().kind(), ErrorKind::Unavailable);
    long.poll(Duration::ZERO, &stored);
    assert!(stored.take().is_empty());
    short.poll(DEADLINE, &late);
    let error = late.only_error();
    assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::Timeout, Some(PublishOutcome::NotSent)));

    std::thread::scope(|scope| {
        scope.spawn(|| broker.set_reachable(true));
        long.poll(DEADLINE, &stored);
    });
    assert!(stored.take()[0].error.is_none());
    assert_eq!(long.connectivity().brokers_up, 1);
}

#[test]
fn connect_waits_until_its_deadline_or_until_the_caller_gives_up() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let soon = || Instant::now() + Duration::from_millis(30);
    client.connect(soon(), &|| false).unwrap();
    broker.set_reachable(false);
    let error = client.connect(soon(), &|| false).unwrap_err();
    assert_eq!((error.kind(), error.context("broker")), (ErrorKind::Unavailable, Some(broker.address()).as_deref()));
    assert_eq!(client.connect(Instant::now() + DEADLINE, &|| true).unwrap_err().kind(), ErrorKind::Closed);
    let topics: Vec<Arc<str>> = vec!["a".into(), "b".into()];
    let refused = client.ensure_topics(&topics, soon());
    assert!(refused.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::Unavailable));
    std::thread::scope(|scope| {
        scope.spawn(|| broker.set_reachable(true));
        client.connect(Instant::now() + DEADLINE, &|| false).unwrap();
    });
}

#[test]
fn topics_are_ensured_one_by_one() {
    let broker = broker();
    let deadline = Instant::now() + DEADLINE;
    let topics: Vec<Arc<str>> = vec!["there".into(), "missing".into(), "a b".into()];
    broker.create_topic("there", 1).unwrap();
    let kinds = |results: Vec<Result<()>>| {
        results.into_iter().map(|result| result.err().map(|error| error.kind())).collect::<Vec<_>>()
    };
    let careful = client(&broker, |settings| settings.auto_create_topics = false);
    let unknown = Some(ErrorKind::UnknownTopic);
    assert_eq!(kinds(careful.ensure_topics(&topics, deadline)), [None, unknown, unknown]);
    let creating = client(&broker, |_| {});
    assert_eq!(kinds(creating.ensure_topics(&topics, deadline)), [None, None, Some(ErrorKind::Argument)]);
    assert_eq!(broker.end_offset(&TopicPartition::new("missing", 3)), Some(0));
    assert_eq!(broker.create_topic("there", 1).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(broker.create_topic("none", 0).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn wake_ends_a_wait() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| client.wake());
        client.poll(Duration::MAX, &Completions::default());
    });
    assert!(started.elapsed() < DEADLINE);
}

#[test]
fn a_partition_whose_records_are_trimmed_waits_for_a_seek() {
    let broker = broker();
    broker.create_topic("t", 1).unwrap();
    let client = client(&broker, |_| {});
    let mut member = Member::join(&client, &["t"]);
    settle(&mut [&mut member]);
    broker.set_retention(3 * 140);
    publish(&client, &topic("t"), 0..10);
    let source = TopicPartition::new("t", 0);
    let kept = broker.start_offset(&source).unwrap();
    assert!((1..10).contains(&kept), "{kept}");
    let Some(ConsumerEvent::OutOfRange(lost)) = member.consumer.poll() else { panic!("nothing was told") };
    assert_eq!(lost, source);
    settle(&mut [&mut member]);
    assert!(member.handled.is_empty());
    member.consumer.seek(&[(source, kept)]).unwrap();
    settle(&mut [&mut member]);
    assert_eq!(numbers(&member.handled), (kept as u32..10).collect::<Vec<_>>());
}
