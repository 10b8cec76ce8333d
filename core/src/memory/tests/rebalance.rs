use std::collections::BTreeSet;

use super::member::{Member, numbers, settle};
use super::*;
use crate::error::ErrorKind;
use crate::event::TopicPartition;
use crate::transport::ConsumerEvent;

fn all(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

#[test]
fn each_group_gets_every_record_and_the_members_of_one_share_them() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let other = super::client(&broker, |settings| settings.group_id = Some("other".into()));
    publish(&client, &topic("t"), 0..100);
    let mut first = Member::join(&client, &["t"]);
    let mut second = Member::join(&client, &["t"]);
    let mut alone = Member::join(&other, &["t"]);
    settle(&mut [&mut first, &mut second, &mut alone]);
    assert_eq!(numbers(&alone.handled), all(0..100));
    publish(&client, &topic("t"), 100..200);
    settle(&mut [&mut first, &mut second, &mut alone]);
    assert_eq!(numbers(&alone.handled), all(0..200));
    assert_eq!(numbers(first.handled.iter().chain(&second.handled)), all(0..200));
    assert_eq!((first.next.len(), second.next.len()), (2, 2));
    assert!(broker.is_settled("group"));
    assert_eq!(broker.members("group"), 2);
}

#[test]
fn order_per_partition_is_kept() {
    let broker = broker();
    let client = client(&broker, |settings| settings.queue_records = 10_000);
    publish(&client, &topic("t"), 0..1000);
    let mut member = Member::join(&client, &["t"]);
    settle(&mut [&mut member]);
    assert_eq!(member.handled.len(), 1000);
    let mut next = [0; 4];
    for record in &member.handled {
        assert_eq!(record.offset, next[record.source.partition as usize]);
        next[record.source.partition as usize] += 1;
    }
}

#[test]
fn joining_and_leaving_move_only_what_must_move() {
    let broker = broker();
    let client = client(&broker, |_| {});
    broker.create_topic("t", 6).unwrap();
    publish(&client, &topic("t"), 0..60);
    let mut first = Member::join(&client, &["t"]);
    settle(&mut [&mut first]);
    assert_eq!((first.assigned.len(), first.handled.len()), (6, 60));

    let mut second = Member::join(&client, &["t"]);
    settle(&mut [&mut first, &mut second]);
    assert_eq!((first.revoked.len(), second.assigned.len()), (3, 3));
    assert!(second.handled.is_empty(), "what was committed came twice: {:?}", second.handled);

    publish(&client, &topic("t"), 60..120);
    settle(&mut [&mut first, &mut second]);
    let mut handled = second.leave();
    settle(&mut [&mut first]);
    assert_eq!((first.assigned.len(), first.revoked.len()), (9, 3));
    publish(&client, &topic("t"), 120..180);
    settle(&mut [&mut first]);
    handled.extend(first.leave());
    assert_eq!(numbers(&handled), all(0..180));
    assert_eq!(broker.members("group"), 0);
}

#[test]
fn a_partition_waits_for_the_one_who_holds_it() {
    let broker = broker();
    let client = client(&broker, |_| {});
    broker.create_topic("t", 1).unwrap();
    broker.create_topic("u", 1).unwrap();
    let mut first = Member::join(&client, &["t", "u"]);
    settle(&mut [&mut first]);
    let mut second = Member::join(&client, &["t", "u"]);
    let Some(ConsumerEvent::Revoked(revoked)) = first.consumer.poll() else { panic!("nothing was revoked") };
    assert_eq!(revoked.len(), 1);
    assert!(!broker.is_settled("group"));
    publish(&client, &Topic { id: 0, name: "t".into() }, 0..5);
    publish(&client, &Topic { id: 1, name: "u".into() }, 0..5);
    settle(&mut [&mut second]);
    assert!(second.assigned.is_empty());
    settle(&mut [&mut first]);
    assert_eq!(first.handled.len(), 5, "a partition that stays is fetched on");
    assert!(first.handled.iter().all(|record| !revoked.contains(&record.source)));
    first.consumer.offsets().commit(&[(revoked[0].clone(), 2)]).unwrap();
    first.consumer.unassign(&revoked).unwrap();
    settle(&mut [&mut first, &mut second]);
    assert_eq!((&second.assigned, numbers(&second.handled)), (&revoked, all(2..5)));
}

#[test]
fn a_change_of_topics_moves_the_others_only() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let mut member = Member::join(&client, &["a", "b"]);
    settle(&mut [&mut member]);
    assert_eq!(member.assigned.len(), 8);
    member.consumer.subscribe(&["b".into(), "c".into()]).unwrap();
    settle(&mut [&mut member]);
    assert_eq!(member.revoked.iter().map(|source| &*source.topic).collect::<BTreeSet<_>>(), BTreeSet::from(["a"]));
    assert_eq!((member.revoked.len(), member.assigned.len()), (4, 12));
    member.consumer.subscribe(&[]).unwrap();
    settle(&mut [&mut member]);
    assert_eq!((member.revoked.len(), broker.members("group")), (12, 0));
    assert!(broker.is_settled("group"));
}

#[test]
fn a_topic_that_appears_is_assigned() {
    let broker = broker();
    let client = client(&broker, |settings| settings.auto_create_topics = false);
    let mut member = Member::join(&client, &["later"]);
    settle(&mut [&mut member]);
    assert!(member.assigned.is_empty());
    broker.create_topic("later", 3).unwrap();
    settle(&mut [&mut member]);
    assert_eq!(member.assigned.len(), 3);
}

#[test]
fn an_expelled_member_loses_commits_nothing_and_comes_back() {
    let broker = broker();
    let client = client(&broker, |_| {});
    publish(&client, &topic("t"), 0..40);
    let mut first = Member::join(&client, &["t"]);
    let mut second = Member::join(&client, &["t"]);
    settle(&mut [&mut first, &mut second]);
    let handled_by_first = first.handled.len();
    assert!(handled_by_first > 0);

    assert!(broker.expel("group", 0));
    let refused = first.commit().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IllegalState);
    assert!(refused.context("generation").is_some(), "{refused:?}");
    assert!(first.next.keys().all(|source| broker.committed("group", source).is_none()));
    settle(&mut [&mut second]);
    assert_eq!(second.handled.len(), 40, "the one who stays handles again what was never committed");
    settle(&mut [&mut first, &mut second]);
    assert_eq!(first.lost.len(), 2);
    assert_eq!((first.next.len(), first.handled.len()), (0, handled_by_first));
    assert_eq!(broker.members("group"), 2);
    assert!(broker.is_settled("group"));
    publish(&client, &topic("t"), 40..80);
    settle(&mut [&mut first, &mut second]);
    assert_eq!(numbers(first.handled[handled_by_first..].iter().chain(&second.handled)), all(0..80));
    assert!(!broker.expel("group", 2) && !broker.expel("nobody", 0));
}

#[test]
fn expulsion_in_the_middle_of_a_hand_over_frees_the_partition_once() {
    let broker = broker();
    let client = client(&broker, |_| {});
    broker.create_topic("t", 2).unwrap();
    let mut first = Member::join(&client, &["t"]);
    settle(&mut [&mut first]);
    let mut second = Member::join(&client, &["t"]);
    let Some(ConsumerEvent::Revoked(revoked)) = first.consumer.poll() else { panic!("nothing was revoked") };
    broker.expel("group", 0);
    settle(&mut [&mut second]);
    assert_eq!(second.assigned.len(), 2);
    assert!(first.consumer.poll().is_none(), "one event at a time");
    first.consumer.unassign(&revoked).unwrap();
    settle(&mut [&mut first, &mut second]);
    assert_eq!((first.lost.len(), second.revoked.len()), (1, 1));
    assert!(broker.is_settled("group"));
    assert_eq!(first.consumer.unassign(&first.lost).unwrap_err().kind(), ErrorKind::IllegalState);
}

#[test]
fn a_consumer_that_left_commits_nothing() {
    let broker = broker();
    let client = client(&broker, |_| {});
    publish(&client, &topic("t"), 0..10);
    let mut member = Member::join(&client, &["t"]);
    settle(&mut [&mut member]);
    let offsets = member.consumer.offsets();
    let committed: Vec<_> = member.next.iter().map(|(source, next)| (source.clone(), *next)).collect();
    drop(member);
    assert_eq!(offsets.commit(&committed).unwrap_err().kind(), ErrorKind::IllegalState);
    assert!(offsets.high_watermarks().is_empty());
    let mut again = Member::join(&client, &["t"]);
    settle(&mut [&mut again]);
    assert_eq!(again.handled.len(), 10);
}

#[test]
fn a_commit_is_all_or_nothing() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let mut member = Member::join(&client, &["t"]);
    settle(&mut [&mut member]);
    let (own, strange) = (TopicPartition::new("t", 0), TopicPartition::new("u", 0));
    let offsets = member.consumer.offsets();
    let kind =
        |offsets_to_commit: &[(TopicPartition, i64)]| offsets.commit(offsets_to_commit).err().map(|error| error.kind());
    assert_eq!(kind(&[(own.clone(), 1), (strange, 1)]), Some(ErrorKind::IllegalState));
    assert_eq!(kind(&[(own.clone(), -1)]), Some(ErrorKind::Argument));
    assert_eq!(broker.committed("group", &own), None);
    broker.fail_commits(2, Error::new(ErrorKind::Timeout, "the coordinator does not answer"));
    assert_eq!(kind(&[(own.clone(), 1)]), Some(ErrorKind::Timeout));
    assert_eq!(kind(&[(own.clone(), 1)]), Some(ErrorKind::Timeout));
    broker.set_reachable(false);
    assert_eq!(kind(&[(own.clone(), 1)]), Some(ErrorKind::Unavailable));
    broker.set_reachable(true);
    assert_eq!(kind(&[(own.clone(), 1)]), None);
    assert_eq!(broker.committed("group", &own), Some(1));
}

#[test]
fn what_was_prefetched_at_a_pause_comes_after_it() {
    let broker = broker();
    let client = client(&broker, |_| {});
    broker.create_topic("t", 1).unwrap();
    publish(&client, &topic("t"), 0..10);
    let mut member = Member::join(&client, &["t"]);
    while member.handled.len() < 3 {
        assert!(member.step());
    }
    let source = [TopicPartition::new("t", 0)];
    member.consumer.pause(&source).unwrap();
    publish(&client, &topic("t"), 10..20);
    settle(&mut [&mut member]);
    assert_eq!(member.handled.len(), 3);
    member.consumer.resume(&source).unwrap();
    settle(&mut [&mut member]);
    assert_eq!(numbers(&member.handled), all(0..20));
    assert_eq!(member.consumer.offsets().high_watermarks(), [(source[0].clone(), 20)]);
    let strange = [source[0].clone(), TopicPartition::new("u", 0)];
    assert_eq!(member.consumer.pause(&strange).unwrap_err().kind(), ErrorKind::IllegalState);
    publish(&client, &topic("t"), 20..21);
    settle(&mut [&mut member]);
    assert_eq!(member.handled.len(), 21, "a refused pause pauses nothing");
}

#[test]
fn a_consumer_hears_of_errors_and_ends_at_a_fatal_one() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let mut first = Member::join(&client, &["t"]);
    settle(&mut [&mut first]);
    broker.fail_consumers("group", Error::new(ErrorKind::Unavailable, "the coordinator moved"));
    assert!(matches!(first.consumer.poll(), Some(ConsumerEvent::Failed(error)) if error.is_retryable()));
    broker.fail_consumers("group", Error::new(ErrorKind::Fenced, "another instance took over"));
    assert!(matches!(first.consumer.poll(), Some(ConsumerEvent::Fatal(error)) if error.is_fatal()));
    assert!(first.consumer.poll().is_none());
    let mut second = Member::join(&client, &["t"]);
    settle(&mut [&mut second]);
    assert_eq!(second.assigned.len(), 4);
}

#[test]
fn a_consumer_needs_a_group() {
    let client = client(&broker(), |settings| settings.group_id = None);
    let Err(error) = client.consumer(no_wake()) else { panic!("no group was needed") };
    assert_eq!((error.kind(), error.context("option")), (ErrorKind::Config, Some("groupId")));
}
