//! The end of an engine: what is out may finish, what is finished is committed, the rest is abandoned.

use super::*;

fn deadline(bed: &Bed) -> Input<'static> {
    Input::Drain { deadline: bed.now + ms(10_000) }
}

#[test]
fn a_drain_waits_for_what_is_out_commits_it_and_abandons_the_rest() {
    let mut bed = Bed::owning(2, EngineConfig::default());
    let first = run(&bed.records(0, 0..2));
    let id = commit(&bed.answer(&first, Outcome::Done), &[(0, 2)]);
    bed.committed(id);
    let tickets = run(&bed.records(0, 2..5));
    bed.records(0, 5..9);
    let out = bed.tell(deadline(&bed));
    assert!(
        matches!(&out[..], [Output::Recall { slot: 0, epoch: 1 }, Output::Pause(all)] if all.len() == 2),
        "{out:?}"
    );
    assert_nothing(&bed.records(0, 9..12));
    assert_nothing(&bed.records(1, 0..3));
    assert_nothing(&bed.answer(&tickets[..1], Outcome::Done));
    assert_nothing(&bed.answer(&tickets[2..], Outcome::Released));
    let id = commit(&bed.answer(&tickets[1..2], Outcome::Done), &[(0, 4)]);
    assert_drained(&bed.committed(id), (2, 5));
    assert_nothing(&bed.wait(ms(60_000)));
    assert_eq!(bed.engine.wake_at(), None);
    assert_eq!(bed.counters().stray, 6);
}

#[test]
fn a_failure_while_draining_finishes_nothing() {
    let mut bed = Bed::owning(1, EngineConfig::default());
    let tickets = run(&bed.records(0, 0..3));
    bed.tell(deadline(&bed));
    let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
    assert_nothing(&bed.answer(&tickets[1..2], Outcome::Failed));
    assert_nothing(&bed.answer(&tickets[2..], Outcome::Done));
    assert_drained(&bed.committed(id), (1, 2));
    assert_eq!(bed.counters().failed, 1);
    assert_nothing(&bed.tell(Input::Topics(&topics(&["t"]))));
}

#[test]
fn an_idle_engine_is_drained_at_once() {
    assert_drained(&Bed::new().tell(Input::Drain { deadline: Instant::now() + ms(10_000) }), (0, 0));
}

#[test]
fn the_deadline_ends_a_drain_whatever_runs() {
    let mut bed = Bed::owning(1, EngineConfig::default());
    let tickets = run(&bed.records(0, 0..3));
    let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
    bed.tell(deadline(&bed));
    assert_nothing(&bed.committed(id));
    assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(10_000)));
    assert_nothing(&bed.tell(Input::Drain { deadline: bed.now + ms(20_000) }));
    assert_nothing(&bed.wait(ms(9_999)));
    let out = bed.wait(ms(1));
    assert!(matches!(out[..], [Output::Abort { slot: 0, epoch: 1 }, Output::Drained { .. }]), "{out:?}");
    assert_drained(&out[1..], (1, 2));
}

#[test]
fn a_drain_tries_a_failed_commit_again_until_its_deadline() {
    let mut bed = Bed::owning(1, EngineConfig::default());
    let tickets = run(&bed.records(0, 0..3));
    let mut id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 3)]);
    bed.tell(deadline(&bed));
    for _ in 0..4 {
        assert_nothing(&bed.commit_failed(id, ErrorKind::IllegalState));
        id = commit(&bed.wait(ms(250)), &[(0, 3)]);
    }
    assert_nothing(&bed.wait(ms(8_999)));
    assert_drained(&bed.wait(ms(1)), (0, 3));
}

#[test]
fn a_fenced_member_does_not_wait_for_commits() {
    let mut bed = Bed::owning(1, EngineConfig::default());
    let tickets = run(&bed.records(0, 0..3));
    let id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 3)]);
    bed.tell(deadline(&bed));
    assert_drained(&bed.commit_failed(id, ErrorKind::Fenced), (0, 3));
}

#[test]
fn partitions_that_leave_during_a_drain_are_part_of_its_report() {
    let mut bed = Bed::owning(2, EngineConfig::default());
    let revoked = run(&bed.records(0, 0..3));
    run(&bed.records(1, 0..4));
    bed.tell(deadline(&bed));
    bed.tell(Input::Revoked(vec![t(0)]));
    let out = bed.answer(&revoked[..2], Outcome::Done);
    let id = commit(&out, &[(0, 2)]);
    bed.committed(id);
    assert_ready(&bed.answer(&revoked[2..], Outcome::Released), &[0]);
    let out = bed.tell(Input::Lost(vec![t(1)]));
    assert!(matches!(out[..], [Output::Fenced { slot: 1, epoch: 1, .. }, Output::Drained { .. }]), "{out:?}");
    assert_drained(&out[1..], (2, 5));
}

#[test]
fn what_is_assigned_during_a_drain_is_not_fetched() {
    let mut bed = Bed::owning(1, EngineConfig::default());
    run(&bed.records(0, 0..3));
    bed.tell(deadline(&bed));
    let out = bed.tell(Input::Assigned(vec![t(1)]));
    assert!(matches!(&out[..], [Output::Pause(list)] if *list == [t(1)]), "{out:?}");
    assert_nothing(&bed.records(1, [0]));
}
