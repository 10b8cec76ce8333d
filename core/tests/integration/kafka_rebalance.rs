//! Partitions change hands between the members of a group.

use std::time::{Duration, Instant};

use event_bus::{ConsumerEvent, TopicPartition};

use crate::support::{Client, Cluster, Member, config, soon, texts, unique};

/// Polls both until the condition holds.
fn until(members: &mut [&mut Member; 2], what: &str, holds: impl Fn(&[&mut Member; 2]) -> bool) {
    let deadline = soon();
    loop {
        let seen = members[0].bell.count();
        for member in members.iter_mut() {
            member.turn();
        }
        if holds(members) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}");
        members[0].bell.wait(seen, Duration::from_millis(20));
    }
}

#[test]
fn a_second_member_gets_its_share_after_the_first_handed_over() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    // Two topics, so that there is something to share even where a broker makes topics of one partition.
    let topics = [unique("shared"), unique("shared")];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    names.iter().for_each(|name| client.create(name));
    let mut first = Member::join(&client.transport, &names);
    first.until("all partitions", |member| names.iter().all(|name| member.owned.iter().any(|o| *o.topic == **name)));
    let all = first.owned.len();
    first.hands_over = false;
    let mut second = Member::join(&client.transport, &names);
    until(&mut [&mut first, &mut second], "a revocation", |members| !members[0].revoked.is_empty());

    // Until it is answered the first one keeps its membership, and the second one gets nothing.
    first.turn();
    second.turn();
    assert!(second.owned.is_empty());
    let revoked = std::mem::take(&mut first.revoked);
    first.hands_over = true;
    first.hand_over(revoked.clone());
    until(&mut [&mut first, &mut second], "a share", |members| {
        !members[1].owned.is_empty() && members[0].owned.len() + members[1].owned.len() == all
    });
    let mut got = second.owned.clone();
    got.sort();
    let mut handed_over = revoked;
    handed_over.sort();
    assert_eq!(got, handed_over);

    let TopicPartition { topic, partition } = got[0].clone();
    client.publish(&topic, partition, &["for the second"]);
    until(&mut [&mut first, &mut second], "the record", |members| !members[1].records.is_empty());
    assert_eq!(texts(&second.records), ["for the second"]);
    assert!(first.records.is_empty());

    second.leave();
    first.until("everything back", |member| member.owned.len() == all);
    first.leave();
}

#[test]
fn closing_answers_a_revocation_that_was_left_open() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let topic = unique("open");
    client.create(&topic);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until("an assignment", |member| !member.owned.is_empty());
    member.hands_over = false;
    member.consumer.subscribe(&[]).unwrap();
    member.until("a revocation", |member| !member.revoked.is_empty());
    let started = Instant::now();
    member.leave();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn closing_answers_an_assignment_that_was_left_open() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let topic = unique("unanswered");
    client.create(&topic);
    let mut member = Member::join(&client.transport, &[&topic]);
    let deadline = soon();
    loop {
        let seen = member.bell.count();
        match member.consumer.poll() {
            Some(ConsumerEvent::Assigned(partitions)) => {
                assert!(!partitions.is_empty());
                break;
            }
            _ => assert!(Instant::now() < deadline, "no assignment"),
        }
        member.bell.wait(seen, Duration::from_millis(20));
    }
    let started = Instant::now();
    member.leave();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
