//! Publishing: queue, failures and what they say about the record.

use std::time::{Duration, Instant};

use event_bus::testing::Request;
use event_bus::{Enqueued, ErrorKind, PublishOutcome, Transport};

use crate::support::{Bell, Client, Cluster, config, mock, soon, unique};

#[test]
fn a_full_queue_takes_nothing_and_has_room_again() {
    let cluster = Cluster::any();
    let mut config = config(&cluster.bootstrap);
    config.max_in_flight = 5;
    let client = Client::without_delivery(&config);
    let topic = unique("full");
    client.create(&topic);
    for _ in 0..5 {
        assert_eq!(client.send(&topic, None, Some(b"v")).unwrap(), Enqueued::Yes);
    }
    assert_eq!(client.send(&topic, None, Some(b"v")).unwrap(), Enqueued::QueueFull);
    let deadline = soon();
    while client.completions.count() < 5 {
        assert!(Instant::now() < deadline, "{} completions", client.completions.count());
        client.transport.poll(Duration::from_millis(100), &*client.completions);
    }
    assert_eq!(client.send(&topic, None, Some(b"v")).unwrap(), Enqueued::Yes);
}

#[test]
fn bytes_in_flight_are_bounded_too() {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    (config.publish_max_in_flight_bytes, config.message_max_bytes) = (64 << 10, 64 << 10);
    let client = Client::without_delivery(&config);
    let value = vec![b'x'; 40 << 10];
    let sent: Vec<_> = (0..5).map(|_| client.send("bytes", None, Some(&value)).unwrap()).collect();
    assert_eq!(sent.iter().filter(|one| **one == Enqueued::Yes).count(), 3, "{sent:?}");
}

#[test]
fn a_record_above_the_limit_is_refused_at_once() {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    config.message_max_bytes = 10_000;
    let client = Client::connected(&config);
    let error = client.send("large", Some(b"k"), Some(&[b'x'; 20_000])).unwrap_err();
    assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::TooLarge, Some(PublishOutcome::NotSent)));
    assert_eq!((error.context("topic"), error.context("bytes")), (Some("large"), Some("20001")));
    assert_eq!(error.context("messageMaxBytes"), Some("10000"));
}

#[test]
fn a_refusal_of_the_broker_is_told_with_its_number() {
    const TOO_LARGE: i32 = 10;
    const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    let broker = mock();
    let client = Client::connected(&config(broker.bootstrap()));
    let topic = unique("refused");
    for (code, kind) in [(TOO_LARGE, ErrorKind::TooLarge), (TOPIC_AUTHORIZATION_FAILED, ErrorKind::Rejected)] {
        broker.push_request_errors(Request::Produce, &[code]);
        client.send(&topic, Some(b"k"), Some(b"v")).unwrap();
        let error = client.completions.take(1)[0].error.clone().expect("refused");
        assert_eq!((error.kind(), error.kafka_code()), (kind, Some(code)), "{error:?}");
        assert_eq!(error.context("topic"), Some(&*topic));
        assert_eq!(error.publish_outcome(), Some(PublishOutcome::NotSent), "{error:?}");
        assert!(error.hint_text().is_some());
    }
    // The client goes on when it has asked about the topic again.
    let (bell, deadline) = (Bell::default(), soon());
    while client.send(&topic, Some(b"k"), Some(b"v")).is_err() {
        assert!(Instant::now() < deadline, "the topic is refused for ever");
        bell.wait(0, Duration::from_millis(50));
    }
    assert!(client.completions.take(1)[0].error.is_none());
}

#[test]
fn an_unknown_topic_fails_clearly_and_works_once_it_exists() {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    (config.auto_create_topics, config.publish_timeout) = (false, Duration::from_secs(3));
    let client = Client::connected(&config);
    let topic = unique("missing");
    client.send(&topic, Some(b"k"), Some(b"v")).unwrap();
    let error = client.completions.take(1)[0].error.clone().expect("no such topic");
    assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::UnknownTopic, Some(PublishOutcome::NotSent)));
    assert!(error.context("topic") == Some(&*topic) && error.hint_text().is_some(), "{error:?}");

    let error = client.transport.ensure_topics(&[topic.as_str().into()], soon()).remove(0).unwrap_err();
    assert_eq!((error.kind(), error.context("topic")), (ErrorKind::UnknownTopic, Some(&*topic)));
    broker.create_topic(&topic, 1).unwrap();
    client.create(&topic);
    client.publish(&topic, 0, &["v"]);
}

#[test]
fn missing_topics_are_created_where_that_is_wanted() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let (one, two) = (unique("created"), unique("created"));
    let topics = [one.as_str().into(), two.as_str().into(), one.as_str().into()];
    for _ in 0..2 {
        let results = client.transport.ensure_topics(&topics, soon());
        assert_eq!(results.len(), 3);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
    client.publish(&two, 0, &["v"]);
}

#[test]
fn an_outage_ends_publishes_as_timeouts_that_say_why() {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    config.publish_timeout = Duration::from_secs(2);
    let client = Client::connected(&config);
    let topic = unique("outage");
    client.publish(&topic, 0, &["before"]);
    broker.broker_down(1).unwrap();
    client.send(&topic, Some(b"k"), Some(b"v")).unwrap();
    let error = client.completions.take(1)[0].error.clone().expect("nobody answers");
    assert_eq!(
        (error.kind(), error.publish_outcome()),
        (ErrorKind::Timeout, Some(PublishOutcome::NotSent)),
        "{error:?}"
    );
    assert!(error.is_retryable() && error.context("connection").is_some(), "{error:?}");

    broker.broker_up(1).unwrap();
    let deadline = soon();
    loop {
        client.send(&topic, Some(b"k"), Some(b"v")).unwrap();
        if client.completions.take(1)[0].error.is_none() {
            return;
        }
        assert!(Instant::now() < deadline, "no connection again");
    }
}

/// Sends one record that is on its way to a broker that answers in a minute, and one that is not.
fn in_flight_and_queued(timeout: Duration) -> (event_bus::testing::TestBroker, Client) {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    config.publish_timeout = timeout;
    // One request at a time, so that the second record waits.
    config.kafka.insert("max.in.flight".into(), "1".into());
    let client = Client::connected(&config);
    client.publish("flight", 0, &["before"]);
    broker.round_trip_time(1, Duration::from_secs(60)).unwrap();
    client.send_to("flight", Some(0), None, Some(b"in flight")).unwrap();
    (broker, client)
}

#[test]
fn what_may_have_been_stored_is_unknown() {
    let (_broker, client) = in_flight_and_queued(Duration::from_secs(2));
    let error = client.completions.take(1)[0].error.clone().expect("no answer in time");
    assert_eq!(
        (error.kind(), error.publish_outcome()),
        (ErrorKind::Timeout, Some(PublishOutcome::Unknown)),
        "{error:?}"
    );
}

#[test]
fn purging_tells_the_queued_from_those_in_flight() {
    let (_broker, client) = in_flight_and_queued(Duration::from_secs(60));
    // The first record has left the queue when the statistics of the next second are in.
    let (bell, before) = (Bell::default(), Instant::now());
    let deadline = soon();
    while client.transport.connectivity().observed_at.is_none_or(|at| at < before + Duration::from_millis(500)) {
        assert!(Instant::now() < deadline, "no statistics");
        bell.wait(0, Duration::from_millis(20));
    }
    client.send_to("flight", Some(0), None, Some(b"queued")).unwrap();
    client.transport.purge();
    let outcomes: Vec<_> = client.completions.take(2).iter().map(|one| one.error.clone().unwrap()).collect();
    let outcome = |index: usize| outcomes[index].publish_outcome().unwrap();
    assert_eq!((outcome(0), outcome(1)), (PublishOutcome::Unknown, PublishOutcome::NotSent), "{outcomes:?}");
    assert!(outcomes.iter().all(|error| error.kind() == ErrorKind::Timeout), "{outcomes:?}");
}

#[test]
fn a_waiting_poll_can_be_woken() {
    let broker = mock();
    let client = Client::without_delivery(&config(broker.bootstrap()));
    let transport = client.transport.clone();
    let completions = client.completions.clone();
    let started = Instant::now();
    let waiting = std::thread::spawn(move || transport.poll(Duration::from_secs(20), &*completions));
    while !waiting.is_finished() {
        client.transport.wake();
        std::thread::yield_now();
    }
    waiting.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
}
