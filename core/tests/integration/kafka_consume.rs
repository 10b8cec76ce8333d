//! Consuming: records, pauses, commits, failures.

use std::time::{Duration, Instant};

use event_bus::testing::Request;
use event_bus::{ErrorKind, TopicPartition, Transport};

use crate::support::{Client, Cluster, Member, config, mock, soon, texts, unique};

#[test]
fn a_new_group_starts_at_the_earliest_record_without_delay() {
    let broker = mock();
    let client = Client::connected(&config(broker.bootstrap()));
    let topic = unique("earliest");
    client.publish(&topic, 0, &["one", "two"]);
    let started = Instant::now();
    let mut member = Member::join(&client.transport, &[&topic]);
    assert_eq!(texts(&member.until_records(2)), ["one", "two"]);
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(3), "the first record came after {waited:?}");
    member.leave();
}

#[test]
fn the_wake_tells_about_records_while_nobody_polls() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let topic = unique("wake");
    client.create(&topic);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until("an assignment", |member| !member.owned.is_empty());
    client.publish(&topic, 0, &["first"]);
    member.until_records(1);
    let partition = TopicPartition::new(topic.as_str(), 0);
    // The queue is empty now, so the next thing in it rings, be it the record or statistics.
    let deadline = soon();
    client.publish(&topic, 0, &["second"]);
    loop {
        let seen = member.bell.count();
        member.turn();
        if !member.records.is_empty() {
            break;
        }
        assert!(member.bell.wait(seen, Duration::from_secs(5)), "nothing rang");
        assert!(Instant::now() < deadline);
    }
    assert_eq!(texts(&member.records), ["second"]);
    let watermarks = member.consumer.offsets().high_watermarks();
    assert!(watermarks.contains(&(partition, 2)), "{watermarks:?}");
    member.leave();
}

#[test]
fn a_paused_partition_stands_still_and_goes_on_behind_the_last_record() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let (held, flowing) = (unique("held"), unique("flowing"));
    client.create(&held);
    client.create(&flowing);
    let mut member = Member::join(&client.transport, &[&held, &flowing]);
    let paused = [TopicPartition::new(held.as_str(), 0)];
    client.publish(&held, 0, &["a"]);
    assert_eq!(texts(&member.until_records(1)), ["a"]);
    member.consumer.pause(&paused).unwrap();
    client.publish(&held, 0, &["b", "c"]);
    client.publish(&flowing, 0, &["x", "y"]);
    let flowed = member.until_records(2);
    assert_eq!(texts(&flowed), ["x", "y"]);
    member.consumer.resume(&paused).unwrap();
    assert_eq!(texts(&member.until_records(2)), ["b", "c"]);
    let stranger = [TopicPartition::new(held.as_str(), 999)];
    assert_eq!(member.consumer.pause(&stranger).unwrap_err().kind(), ErrorKind::IllegalState);
    member.leave();
}

#[test]
fn a_restarted_group_goes_on_at_the_committed_offset() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let topic = unique("restart");
    client.create(&topic);
    client.publish(&topic, 0, &["one", "two", "three"]);
    let mut member = Member::join(&client.transport, &[&topic]);
    assert_eq!(member.until_records(3).len(), 3);
    let offsets = member.consumer.offsets();
    offsets.commit(&[(TopicPartition::new(topic.as_str(), 0), 1)]).unwrap();
    offsets.commit(&[]).unwrap();
    member.leave();
    let error = offsets.commit(&[(TopicPartition::new(topic.as_str(), 0), 2)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "the client is gone");
    assert!(offsets.high_watermarks().is_empty());

    let mut member = Member::join(&client.transport, &[&topic]);
    assert_eq!(texts(&member.until_records(2)), ["two", "three"]);
    member.leave();
}

#[test]
fn a_commit_of_an_old_generation_is_refused() {
    const ILLEGAL_GENERATION: i32 = 22;
    let broker = mock();
    let client = Client::connected(&config(broker.bootstrap()));
    let topic = unique("generation");
    client.publish(&topic, 0, &["one"]);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until_records(1);
    broker.push_request_errors(Request::OffsetCommit, &[ILLEGAL_GENERATION]);
    let offsets = [(TopicPartition::new(topic.as_str(), 0), 1)];
    let error = member.consumer.offsets().commit(&offsets).unwrap_err();
    assert_eq!((error.kind(), error.kafka_code()), (ErrorKind::IllegalState, Some(ILLEGAL_GENERATION)), "{error:?}");
    // The member joins again, and may commit then.
    member.until("a commit", |member| member.consumer.offsets().commit(&offsets).is_ok());
    member.leave();
}

#[test]
fn closing_lets_a_commit_go_whose_coordinator_is_silent() {
    let broker = mock();
    let client = Client::connected(&config(broker.bootstrap()));
    let topic = unique("silent");
    client.publish(&topic, 0, &["one"]);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until_records(1);
    broker.round_trip_time(1, Duration::from_secs(600)).unwrap();
    let offsets = member.consumer.offsets();
    let partition = TopicPartition::new(topic.as_str(), 0);
    let commit = std::thread::spawn(move || offsets.commit(&[(partition, 1)]));
    let consumer = member.consumer;
    // May block for as long as the broker is silent, hence the thread that is left behind.
    std::thread::spawn(move || consumer.close());
    assert_eq!(commit.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_missing_topic_is_told_and_the_others_flow() {
    let broker = mock();
    let mut config = config(broker.bootstrap());
    config.auto_create_topics = false;
    let client = Client::connected(&config);
    let (present, missing) = (unique("present"), unique("missing"));
    broker.create_topic(&present, 1).unwrap();
    client.publish(&present, 0, &["one"]);
    let mut member = Member::join(&client.transport, &[&present, &missing]);
    assert_eq!(texts(&member.until_records(1)), ["one"]);
    member.until("the failure", |member| !member.failures.is_empty());
    let error = &member.failures[0];
    assert!(error.kind() == ErrorKind::UnknownTopic && error.message().contains(&missing), "{error:?}");
    client.publish(&present, 0, &["two"]);
    assert_eq!(texts(&member.until_records(1)), ["two"]);
    member.leave();
}

#[test]
fn another_set_of_topics_and_none_at_all() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let (one, two) = (unique("set"), unique("set"));
    client.create(&one);
    client.create(&two);
    let mut member = Member::join(&client.transport, &[&one]);
    let owns = |member: &Member, topic: &str| member.owned.iter().any(|owned| *owned.topic == *topic);
    member.until("the first topic", |member| owns(member, &one));
    member.consumer.subscribe(&[two.as_str().into()]).unwrap();
    member.until("the second topic alone", |member| owns(member, &two) && !owns(member, &one));
    client.publish(&two, 0, &["x"]);
    assert_eq!(texts(&member.until_records(1)), ["x"]);
    member.consumer.subscribe(&[]).unwrap();
    member.until("no topic", |member| member.owned.is_empty());
    member.leave();
}

#[test]
fn consuming_needs_a_group() {
    let mut config = config("127.0.0.1:1");
    config.group_id = None;
    let client = Client::without_delivery(&config);
    let error = client.transport.consumer(std::sync::Arc::new(|| ())).err().expect("refused");
    assert_eq!((error.kind(), error.context("option")), (ErrorKind::Config, Some("groupId")));
}

#[test]
fn a_partition_is_fetched_anew_and_its_progress_is_known() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let topic = unique("refetch");
    client.create(&topic);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until("an assignment", |member| !member.owned.is_empty());
    client.publish(&topic, 0, &["one", "two", "three"]);
    assert_eq!(texts(&member.until_records(3)), ["one", "two", "three"]);
    let source = TopicPartition::new(topic.as_str(), 0);
    let progress = |member: &Member| {
        let known = member.consumer.offsets().progress(std::slice::from_ref(&source), soon()).expect("known");
        (known[0].fetched, known[0].end)
    };
    // The client tells once a second how far it is.
    member.until("all is fetched", |member| progress(member) == (Some(3), Some(3)));

    member.consumer.refetch(&[(source.clone(), 1)]).expect("fetched anew");
    assert_eq!(texts(&member.until_records(2)), ["two", "three"], "and nothing from before");

    // What is not fetched is behind, by the leader's word.
    member.consumer.pause(std::slice::from_ref(&source)).expect("paused");
    client.publish(&topic, 0, &["four"]);
    member.until("the end is known", |member| progress(member) == (Some(3), Some(4)));
    let stranger = TopicPartition::new(topic.as_str(), 99);
    let error = member.consumer.refetch(&[(stranger, 0)]).expect_err("not assigned");
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    member.leave();
}
