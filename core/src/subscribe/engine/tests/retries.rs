//! A failed record waits in its lane for its next attempt, and nothing else waits for it.

use super::*;
use crate::policy::{Jitter, OnExhausted, OnInvalid, RetryPolicy};

pub(super) fn policy(attempts: u32) -> Policy {
    let retry = RetryPolicy { attempts, jitter: Jitter::None, ..RetryPolicy::default() };
    Policy { retry, ..Policy::default() }
}

/// Owns partitions of topic `t` whose subscription wants this.
pub(super) fn bed(partitions: i32, policy: Policy) -> Bed {
    let mut bed = Bed::new();
    assert_nothing(&bed.tell(Input::Topics(&[topic("t", policy)])));
    assert_nothing(&bed.tell(Input::Assigned((0..partitions).map(t).collect())));
    bed
}

pub(super) fn failure(retryable: Option<bool>) -> Option<Box<Failure>> {
    let (handler, code, message) = ("h".to_owned(), "E_STOCK".to_owned(), "no stock".to_owned());
    Some(Box::new(Failure { handler, code, message, retryable }))
}

impl Bed {
    /// The first delivery fails, those behind it are released, as hosts do.
    pub(super) fn fail(&mut self, tickets: &[Ticket], retryable: Option<bool>) -> Vec<Output> {
        let mut answers = vec![Finished { failure: failure(retryable), ..answer(tickets[0], Outcome::Failed) }];
        answers.extend(tickets[1..].iter().map(|ticket| answer(*ticket, Outcome::Released)));
        self.tell(Input::Finished(&answers))
    }
}

/// Offset, attempt and whether it is the last one, of the only output.
fn attempts(outputs: &[Output]) -> Vec<(i64, u32, bool)> {
    match outputs {
        [Output::Deliver(run)] => run.iter().map(|one| (one.offset(), one.attempt(), one.is_last_attempt())).collect(),
        other => panic!("not one run: {other:?}"),
    }
}

#[test]
fn a_failed_record_comes_again_alone_with_its_ticket_and_the_rest_behind_it() {
    let mut bed = bed(2, policy(3));
    let tickets = run(&bed.records(0, 0..3));
    let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
    bed.committed(id);
    assert_nothing(&bed.fail(&tickets[1..], None));
    assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(200)));
    assert_eq!(offsets(&bed.records(1, 0..2)), [0, 1], "the other partition does not wait");
    assert_nothing(&bed.wait(ms(199)));
    let out = bed.wait(ms(1));
    assert_eq!(attempts(&out), [(1, 2, false)]);
    assert_eq!(run(&out), tickets[1..2]);
    assert_nothing(&bed.fail(&tickets[1..2], Some(true)));
    assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(400)));
    assert_eq!(attempts(&bed.wait(ms(400))), [(1, 3, true)]);
    assert_eq!(offsets(&bed.answer(&tickets[1..2], Outcome::Done)), [2]);
    let counters = bed.counters();
    assert_eq!((counters.failed, counters.retries, counters.handled, counters.released), (2, 2, 2, 1));
}

#[test]
fn released_behind_a_failure_is_no_want_of_handlers_in_whatever_order_the_answers_come() {
    let mut bed = bed(1, policy(2));
    let tickets = run(&bed.records(0, 0..3));
    assert_nothing(&bed.answer(&tickets[1..], Outcome::Released));
    assert_nothing(&bed.fail(&tickets[..1], None));
    assert!(!bed.engine.partitions().next().unwrap().held);
    assert_eq!(offsets(&bed.wait(ms(200))), [0]);
    let out = bed.answer(&tickets[..1], Outcome::Done);
    assert_eq!(offsets(&out[..1]), [1], "what was released, but not all of it at once");
}

#[test]
fn runs_are_halved_by_a_failure_and_grow_again() {
    let mut bed = bed(1, policy(9));
    let first = run(&bed.records(0, 0..100));
    assert_eq!(first.len(), 100);
    assert_nothing(&bed.answer(&first[1..], Outcome::Released));
    bed.fail(&first[..1], None);
    let mut out = bed.wait(ms(200));
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let tickets = out.iter().find_map(|one| match one {
            Output::Deliver(run) => Some(run.iter().map(|one| one.ticket()).collect::<Vec<_>>()),
            _ => None,
        });
        let tickets = tickets.unwrap();
        sizes.push(tickets.len());
        out = bed.answer(&tickets, Outcome::Done);
    }
    assert_eq!(sizes, [1, 50, 49], "alone, then half, then all that is left");
}

#[test]
fn a_revoked_partition_drops_a_waiting_retry_at_once() {
    let mut bed = bed(1, policy(3));
    let tickets = run(&bed.records(0, 0..3));
    assert_nothing(&bed.fail(&tickets, None));
    assert_ready(&bed.tell(Input::Revoked(vec![t(0)])), &[0]);
    assert_eq!((bed.engine.stats().bytes, bed.counters().handed_over), (0, 3));
    assert_eq!(bed.engine.wake_at(), None, "nobody waits any more");
    assert_nothing(&bed.tell(Input::Assigned(vec![t(0)])));
    assert_nothing(&bed.wait(ms(1_000)));
    assert_eq!(attempts(&bed.records(0, 0..1)), [(0, 1, false)], "attempts count within one assignment");
}

#[test]
fn a_failure_in_a_partition_that_leaves_is_left_to_the_next_owner() {
    let mut bed = bed(1, policy(3));
    let tickets = run(&bed.records(0, 0..2));
    bed.tell(Input::Revoked(vec![t(0)]));
    assert_ready(&bed.fail(&tickets, None), &[0]);
    assert_eq!(bed.counters().handed_over, 2);
}

#[test]
fn a_drain_drops_waiting_retries_and_begins_none() {
    let mut bed = bed(2, policy(3));
    let waiting = run(&bed.records(0, 0..2));
    let running = run(&bed.records(1, 0..1));
    bed.fail(&waiting, None);
    let deadline = bed.now + ms(10_000);
    let out = bed.tell(Input::Drain { deadline });
    assert!(matches!(out[..], [Output::Recall { slot: 1, .. }, Output::Pause(_)]), "{out:?}");
    assert_nothing(&bed.wait(ms(1_000)));
    assert_drained(&bed.fail(&running, None), (0, 3));
}

#[test]
fn no_attempt_begins_after_the_time_for_retries() {
    let mut wanted = policy(100);
    wanted.retry.max_elapsed = ms(500);
    wanted.on_exhausted = OnExhausted::Skip;
    let mut bed = bed(1, wanted);
    let tickets = run(&bed.records(0, 0..1));
    bed.fail(&tickets, None);
    assert_eq!(attempts(&bed.wait(ms(200))), [(0, 2, false)]);
    let out = bed.fail(&tickets, None);
    assert!(
        matches!(&out[..], [Output::Skipped(Skipped { attempts: 2, failure: Some(why), .. }), Output::Commit { .. }]
            if why.message == "no stock"),
        "400 ms later would be too late: {out:?}"
    );
    assert_eq!(bed.counters().skipped, 1);
}

#[test]
fn a_halted_partition_hands_out_nothing_and_commits_nothing_behind_its_record() {
    let mut bed = bed(2, Policy { on_exhausted: OnExhausted::Halt, ..policy(1) });
    let tickets = run(&bed.records(0, 0..3));
    let other = run(&bed.records(1, 0..1));
    bed.records(0, 3..9);
    let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
    bed.committed(id);
    let out = bed.fail(&tickets[1..], None);
    assert!(
        matches!(&out[..], [Output::Halted(halted), Output::Pause(list)]
            if (&halted.source, halted.offset) == (&t(0), 1) && *list == [t(0)]),
        "{out:?}"
    );
    assert_nothing(&bed.wait(ms(60_000)));
    assert_nothing(&bed.records(0, 9..12));
    assert_nothing(&bed.tell(Input::Topics(&[topic("t", policy(1))])));
    let stats = bed.engine.stats();
    assert_eq!((stats.halted, stats.paused, stats.in_flight), (1, 1, 1));
    commit(&bed.answer(&other, Outcome::Done), &[(1, 1)]);
    assert_ready(&bed.tell(Input::Revoked(vec![t(0)])), &[0]);
    assert_eq!(bed.engine.stats().halted, 0);
}

#[test]
fn a_record_without_an_event_takes_its_turn_unless_it_is_skipped() {
    let mut bed = bed(1, Policy { on_invalid: OnInvalid::Halt, ..policy(1) });
    let tickets = run(&bed.records(0, 0..2));
    assert_nothing(&bed.tell(invalid(&t(0), 2)));
    assert_nothing(&bed.records(0, 3..4));
    let out = bed.answer(&tickets, Outcome::Done);
    assert!(
        matches!(&out[..], [Output::Halted(halted), Output::Commit { .. }, Output::Pause(_)] if halted.offset == 2),
        "what lies before it was handled: {out:?}"
    );
    assert_eq!(bed.counters().invalid, 1);
}
