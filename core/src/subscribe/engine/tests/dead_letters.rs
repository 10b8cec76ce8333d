//! A dead letter is stored before its offset is committed, and its lane goes on meanwhile.

use super::retries::{bed, failure, policy};
use super::*;
use crate::policy::OnInvalid;
use crate::subscribe::dead_letters::DeadLetter;

/// The dead letters among outputs.
fn letters(outputs: &[Output]) -> Vec<&DeadLetter> {
    let letters = outputs.iter().filter_map(|one| match one {
        Output::DeadLetter(letter) => Some(letter),
        _ => None,
    });
    letters.collect()
}

impl Bed {
    fn stored(&mut self, ticket: Ticket) -> Vec<Output> {
        self.tell(Input::DeadLettered { ticket, result: Ok(()) })
    }

    fn refused(&mut self, ticket: Ticket, kind: ErrorKind) -> Vec<Output> {
        self.tell(Input::DeadLettered { ticket, result: Err(Error::new(kind, "by the test")) })
    }
}

#[test]
fn the_last_failure_makes_a_dead_letter_and_its_acknowledgement_precedes_the_commit() {
    let mut bed = bed(1, policy(2));
    let tickets = run(&bed.records(0, 0..2));
    bed.fail(&tickets, None);
    run(&bed.wait(ms(200)));
    bed.now += ms(30);
    let out = bed.fail(&tickets[..1], None);
    let letter = letters(&out)[0];
    assert_eq!((letter.ticket, letter.record.offset, &*letter.topic), (tickets[0], 0, "t.dead-letter"));
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 2));
    assert_eq!((letter.last_failed, letter.last_failed - letter.first_failed), (bed.now, ms(230)));
    assert_eq!(letter.failure, failure(None));
    assert_eq!(offsets(&out[1..]), [1], "its lane goes on meanwhile");
    assert_nothing(&bed.answer(&tickets[1..], Outcome::Done));
    let stats = bed.engine.stats();
    assert_eq!((stats.bytes, stats.dead_letters_pending, stats.in_flight), (228, 1, 0));
    commit(&bed.stored(tickets[0]), &[(0, 2)]);
    let stats = bed.engine.stats();
    assert_eq!((stats.bytes, stats.dead_letters_pending, stats.counters.dead_lettered), (0, 0, 1));
    assert_nothing(&bed.stored(tickets[0]));
    assert_eq!(bed.counters().dead_lettered, 1);
}

#[test]
fn what_cannot_succeed_is_not_tried_again() {
    let mut bed = bed(1, policy(5));
    let tickets = run(&bed.records(0, 0..1));
    let out = bed.fail(&tickets, Some(false));
    assert_eq!((letters(&out)[0].reason, letters(&out)[0].attempts), (DeadLetterReason::Fatal, 1));
    let tickets = run(&bed.records(0, 1..2));
    let out = bed.answer(&tickets, Outcome::DeadLetter);
    assert_eq!(letters(&out)[0].reason, DeadLetterReason::Requested);
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_written_again_later_and_later() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..1));
    bed.fail(&tickets, None);
    for milliseconds in [200, 400, 800] {
        assert_nothing(&bed.refused(tickets[0], ErrorKind::Unavailable));
        assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(milliseconds)));
        assert_eq!(letters(&bed.wait(ms(milliseconds))).len(), 1);
    }
    assert_eq!(bed.engine.stats().dead_letters_pending, 1);
    commit(&bed.stored(tickets[0]), &[(0, 1)]);
}

#[test]
fn dead_letters_that_cannot_be_written_are_bounded_in_bytes() {
    let mut bed = Bed::with(EngineConfig { max_bytes: 8 * 228, ..EngineConfig::default() });
    bed.tell(Input::Topics(&[topic("t", policy(1))]));
    bed.tell(Input::Assigned(vec![t(0), t(1)]));
    let mut pauses = Vec::new();
    for offset in 0..6 {
        let mut out = bed.records(0, [offset]);
        let tickets = run(&out[..1]);
        out.extend(bed.fail(&tickets, None));
        pauses.extend(out.iter().any(|one| matches!(one, Output::Pause(_))).then_some(offset));
    }
    assert_eq!(pauses, [4]);
    assert_eq!(offsets(&bed.records(1, [0])), [0], "the other partition goes on");
}

#[test]
fn a_dead_letter_that_is_refused_for_good_halts_its_partition() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..3));
    let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
    bed.committed(id);
    bed.fail(&tickets[1..], None);
    let out = bed.refused(tickets[1], ErrorKind::Rejected);
    assert!(matches!(&out[..], [Output::Halted(halted), Output::Pause(_)] if halted.offset == 1), "{out:?}");
    assert_nothing(&bed.wait(ms(60_000)));
}

#[test]
fn a_revocation_waits_for_dead_letters_under_way_and_drops_those_that_wait() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..3));
    bed.answer(&tickets[2..], Outcome::Done);
    bed.answer(&tickets[..2], Outcome::DeadLetter);
    bed.refused(tickets[1], ErrorKind::Unavailable);
    assert_nothing(&bed.tell(Input::Revoked(vec![t(0)])));
    let id = commit(&bed.stored(tickets[0]), &[(0, 1)]);
    assert_ready(&bed.committed(id), &[0]);
    assert_nothing(&bed.wait(ms(5_000)));
    assert_nothing(&bed.stored(tickets[1]));
    assert_eq!((bed.engine.stats().dead_letters_pending, bed.counters().handed_over), (0, 1));
}

#[test]
fn a_drain_waits_for_dead_letters_under_way_and_gives_up_what_is_refused() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..3));
    bed.answer(&tickets, Outcome::DeadLetter);
    let deadline = bed.now + ms(10_000);
    let out = bed.tell(Input::Drain { deadline });
    assert!(matches!(out[..], [Output::Pause(_)]), "no handler is to be recalled: {out:?}");
    let id = commit(&bed.stored(tickets[0]), &[(0, 1)]);
    bed.committed(id);
    assert_nothing(&bed.refused(tickets[1], ErrorKind::Rejected));
    assert_nothing(&bed.wait(ms(1_000)));
    assert_drained(&bed.refused(tickets[2], ErrorKind::Unavailable), (1, 2));
}

#[test]
fn records_without_an_event_go_there_in_their_turn() {
    let mut bed = bed(1, Policy { on_invalid: OnInvalid::DeadLetter, ..policy(1) });
    let tickets = run(&bed.records(0, 0..1));
    assert_nothing(&bed.tell(invalid(&t(0), 1)));
    assert_nothing(&bed.records(0, 2..3));
    let out = bed.answer(&tickets, Outcome::Done);
    let letter = letters(&out)[0].clone();
    assert_eq!((letter.reason, letter.attempts, letter.record.offset), (DeadLetterReason::Invalid, 0, 1));
    assert_eq!(letter.failure.unwrap().code, ErrorKind::Codec.code());
    let next: Vec<_> = out.into_iter().filter(|one| matches!(one, Output::Deliver(_))).collect();
    let next = run(&next);
    let id = 1;
    bed.committed(id);
    let out = bed.answer(&next, Outcome::Invalid);
    assert_eq!((letters(&out)[0].reason, letters(&out)[0].attempts), (DeadLetterReason::Invalid, 1));
    bed.stored(letter.ticket);
    bed.stored(next[0]);
    commit(&bed.wait(ms(1_000)), &[(0, 3)]);
    assert_eq!(bed.counters().invalid, 2);
}

fn keyed(partition: i32, offset: i64, key: Option<&str>) -> Input<'static> {
    Input::Record(
        Record::new(t(partition), offset, None, key.map(str::as_bytes), Headers::default(), None).into(),
        None,
    )
}

#[test]
fn parked_keys_follow_their_dead_letter_in_order() {
    let mut bed = bed(1, Policy { park_key: true, ..policy(1) });
    for (offset, key) in [(0, Some("a")), (1, Some("b")), (2, Some("a")), (3, None), (4, Some("a"))] {
        bed.engine.handle(bed.now, keyed(0, offset, key));
    }
    let first = run(&bed.advance());
    assert_eq!(first.len(), 1, "each record may doom the next");
    assert_eq!(letters(&bed.fail(&first, None)).len(), 1);
    assert_nothing(&bed.wait(ms(1_000)));
    let out = bed.stored(first[0]);
    let second = run(&out[..1]);
    let out = bed.answer(&second, Outcome::Done);
    let parked = letters(&out)[0].clone();
    assert_eq!((parked.record.offset, parked.reason, parked.attempts), (2, DeadLetterReason::Parked, 0));
    assert!(!out.iter().any(|one| matches!(one, Output::Deliver(_))), "no later one before it is stored: {out:?}");
    let out = bed.stored(parked.ticket);
    let third = run(&out[..1]);
    assert_eq!(letters(&bed.answer(&third, Outcome::Done))[0].record.offset, 4);
    bed.tell(Input::Lost(vec![t(0)]));
    bed.tell(Input::Assigned(vec![t(0)]));
    bed.engine.handle(bed.now, keyed(0, 4, Some("a")));
    assert_eq!(offsets(&bed.advance()), [4], "parking holds for one assignment");
}

#[test]
fn too_many_parked_keys_halt_the_partition() {
    use crate::subscribe::slots::MAX_PARKED;
    let mut bed = bed(1, Policy { park_key: true, ..policy(1) });
    let mut out = Vec::new();
    for offset in 0..=MAX_PARKED as i64 {
        bed.engine.handle(bed.now, keyed(0, offset, Some(&format!("k{offset}"))));
        out = bed.advance();
        let tickets = run(&out[..1]);
        out = bed.answer(&tickets, Outcome::DeadLetter);
        bed.stored(tickets[0]);
    }
    assert!(matches!(&out[0], Output::Halted(halted) if halted.offset == MAX_PARKED as i64), "{out:?}");
}
