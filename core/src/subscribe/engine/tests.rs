//! One test per rule; `model` holds random sequences against a second opinion.

use std::time::Duration;

use super::*;
use crate::event::{Finished, Headers, Outcome, Ticket};
use crate::policy::Policy;
use crate::subscribe::lanes::RunLimits;

pub(super) fn source(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub(super) fn record(source: &TopicPartition, offset: i64, bytes: usize) -> Record {
    Record::new(source.clone(), offset, None, None, Headers::default(), Some(&vec![0; bytes]))
}

pub(super) fn answer(ticket: Ticket, outcome: Outcome) -> Finished {
    Finished { ticket, outcome, elapsed: Duration::ZERO, failure: None }
}

pub(super) fn record_with(source: &TopicPartition, offset: i64, key: Option<u8>, bytes: usize) -> Record {
    let key = key.map(|key| [key]);
    let key = key.as_ref().map(|key| &key[..]);
    Record::new(source.clone(), offset, None, key, Headers::default(), Some(&vec![0; bytes]))
}

pub(super) fn invalid_of(record: impl Into<Arc<Record>>) -> Input<'static> {
    let code = ErrorKind::Codec.code().to_owned();
    Input::Invalid(record.into(), Box::new(Failure { code, ..Failure::default() }))
}

fn invalid(source: &TopicPartition, offset: i64) -> Input<'static> {
    invalid_of(record(source, offset, 10))
}

pub(super) fn topic(name: &str, policy: Policy) -> TopicSubscription {
    TopicSubscription { topic: name.to_owned(), policy }
}

fn topics(names: &[&str]) -> Vec<TopicSubscription> {
    names.iter().map(|name| topic(name, Policy::default())).collect()
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An engine under a clock of its own, and a host that keeps what it was told.
pub(super) struct Bed {
    pub(super) engine: Engine,
    pub(super) now: Instant,
}

impl Bed {
    fn new() -> Self {
        Bed::with(EngineConfig::default())
    }

    pub(super) fn with(config: EngineConfig) -> Self {
        Bed { engine: Engine::new(config), now: Instant::now() }
    }

    /// A bed that owns partitions 0 to `count` of topic `t`.
    pub(super) fn owning(count: i32, config: EngineConfig) -> Self {
        let mut bed = Bed::with(config);
        assert!(bed.tell(Input::Assigned((0..count).map(t).collect())).is_empty());
        bed
    }

    fn tell(&mut self, input: Input<'_>) -> Vec<Output> {
        self.engine.handle(self.now, input);
        self.advance()
    }

    fn advance(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.engine.advance(self.now, &mut out);
        out
    }

    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.advance()
    }

    fn records(&mut self, partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<Output> {
        for offset in offsets {
            self.engine.handle(self.now, Input::Record(record(&t(partition), offset, 100).into(), None));
        }
        self.advance()
    }

    fn answer(&mut self, tickets: &[Ticket], outcome: Outcome) -> Vec<Output> {
        let answers: Vec<_> = tickets.iter().map(|ticket| answer(*ticket, outcome)).collect();
        self.tell(Input::Finished(&answers))
    }

    fn committed(&mut self, id: u64) -> Vec<Output> {
        self.tell(Input::Committed { id, result: Ok(()) })
    }

    fn commit_failed(&mut self, id: u64, kind: ErrorKind) -> Vec<Output> {
        self.tell(Input::Committed { id, result: Err(Error::new(kind, "the coordinator is away")) })
    }

    fn counters(&self) -> Counters {
        self.engine.stats().counters
    }
}

pub(super) fn t(partition: i32) -> TopicPartition {
    source("t", partition)
}

/// The only output, a run: its tickets.
fn run(outputs: &[Output]) -> Vec<Ticket> {
    match outputs {
        [Output::Deliver(run)] => run.iter().map(|delivery| delivery.ticket()).collect(),
        other => panic!("not one run: {other:?}"),
    }
}

fn offsets(outputs: &[Output]) -> Vec<i64> {
    match outputs {
        [Output::Deliver(run)] => run.iter().map(|delivery| delivery.offset()).collect(),
        other => panic!("not one run: {other:?}"),
    }
}

/// The only output, a commit: its id, checked to hold these offsets.
fn commit(outputs: &[Output], expected: &[(i32, i64)]) -> u64 {
    let expected: Vec<_> = expected.iter().map(|(partition, offset)| (t(*partition), *offset)).collect();
    match outputs {
        [Output::Commit { id, offsets }] => {
            assert_eq!(*offsets, expected);
            *id
        }
        other => panic!("not one commit: {other:?}"),
    }
}

fn assert_ready(outputs: &[Output], expected: &[i32]) {
    match outputs {
        [Output::RevokeReady(list)] => assert_eq!(*list, expected.iter().copied().map(t).collect::<Vec<_>>()),
        other => panic!("not one hand-over: {other:?}"),
    }
}

fn assert_drained(outputs: &[Output], expected: (u64, u64)) {
    match outputs {
        [Output::Drained { handled, abandoned }] => assert_eq!((*handled, *abandoned), expected),
        other => panic!("not the end of a drain: {other:?}"),
    }
}

#[track_caller]
fn assert_nothing(outputs: &[Output]) {
    assert!(outputs.is_empty(), "{outputs:?}");
}

mod dead_letters;
mod draining;
mod keys;
mod retries;
mod watching;

mod handing_out {
    use super::*;

    #[test]
    fn a_partition_has_one_run_out_and_gets_the_next_with_its_last_answer() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let first = run(&bed.records(0, 0..3));
        assert_nothing(&bed.records(0, 3..5));
        assert_eq!(offsets(&bed.records(1, 0..2)), [0, 1], "another partition does not wait");
        let out = bed.answer(&first[1..], Outcome::Done);
        assert_nothing(&out);
        let out = bed.answer(&first[..1], Outcome::Done);
        assert!(matches!(&out[..], [Output::Deliver(run), Output::Commit { .. }] if run[0].offset() == 3), "{out:?}");
        assert_eq!(bed.engine.stats().in_flight, 4);
    }

    #[test]
    fn runs_are_bounded_in_records_and_bytes() {
        let limits = RunLimits { records: 4, bytes: 600 };
        let mut bed = Bed::owning(2, EngineConfig { run: limits, ..EngineConfig::default() });
        assert_eq!(offsets(&bed.records(0, 0..10)), [0, 1], "228 bytes each");
        let mut bed =
            Bed::owning(2, EngineConfig { run: RunLimits { bytes: 1 << 20, ..limits }, ..EngineConfig::default() });
        assert_eq!(offsets(&bed.records(0, 0..10)), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_passed_over_on_purpose_is_counted_and_its_partition_goes_on() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        let id = commit(&bed.answer(&tickets, Outcome::Skip), &[(0, 2)]);
        assert_nothing(&bed.committed(id));
        assert_eq!((bed.counters().skipped, bed.counters().handled), (2, 0));
        assert_eq!(offsets(&bed.records(0, [2])), [2]);
    }

    #[test]
    fn a_released_delivery_stays_at_the_head_until_its_topic_has_handlers() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..3));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        assert_nothing(&bed.committed(id));
        assert_nothing(&bed.answer(&tickets[1..], Outcome::Released));
        assert_nothing(&bed.records(0, 3..5));
        assert!(bed.engine.partitions().next().unwrap().held);
        assert_eq!(offsets(&bed.records(1, [0])), [0], "the other partition goes on");
        assert_nothing(&bed.tell(Input::Topics(&topics(&["other"]))));
        assert_nothing(&bed.wait(ms(60_000)));
        assert_eq!(offsets(&bed.tell(Input::Topics(&topics(&["other", "t"])))), [1, 2, 3, 4]);
        assert_eq!(bed.counters().released, 2);
    }

    #[test]
    fn duplicates_and_records_of_others_are_dropped_and_counted() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        assert_eq!(offsets(&bed.records(0, [5, 5, 3, 6, 6])), [5, 6]);
        assert_nothing(&bed.records(1, [0]));
        assert_nothing(&bed.tell(invalid(&t(0), 6)));
        assert_nothing(&bed.tell(invalid(&t(1), 6)));
        let counters = bed.counters();
        assert_eq!((counters.received, counters.duplicates, counters.stray, counters.invalid), (2, 4, 2, 0));
        assert_eq!(bed.engine.stats().bytes, 2 * 228);
    }

    #[test]
    fn an_answer_counts_once() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        bed.answer(&[tickets[0], tickets[0]], Outcome::Done);
        bed.answer(&[Ticket(u64::MAX), Ticket::new(tickets[0].epoch(), 0, 77)], Outcome::Released);
        let stats = bed.engine.stats();
        assert_eq!((stats.counters.handled, stats.counters.late, stats.in_flight, stats.bytes), (1, 3, 1, 228));
        assert_eq!(stats.counters.handled_after_revoke, 0);
    }

    #[test]
    fn sequences_wrap_without_notice() {
        let mut bed = Bed::new();
        bed.engine.first_sequence = u32::MAX - 2;
        bed.tell(Input::Assigned(vec![t(0)]));
        let tickets = run(&bed.records(0, 0..6));
        assert_eq!((tickets[2].sequence(), tickets[3].sequence()), (u32::MAX, 0));
        let id = commit(&bed.answer(&[tickets[4], tickets[0], tickets[1], tickets[2]], Outcome::Done), &[(0, 3)]);
        assert_nothing(&bed.committed(id));
        assert_nothing(&bed.answer(&[tickets[3], tickets[5]], Outcome::Done));
        commit(&bed.wait(ms(1_000)), &[(0, 6)]);
    }
}

mod committing {
    use super::*;

    #[test]
    fn what_is_finished_without_a_gap_is_committed_every_interval() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let tickets = run(&bed.records(0, [10, 20, 30, 40]));
        assert_nothing(&bed.answer(&tickets[1..2], Outcome::Done));
        assert_nothing(&bed.wait(ms(5_000)));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 21)]);
        bed.answer(&tickets[2..3], Outcome::Done);
        assert_nothing(&bed.wait(ms(5_000)));
        let id_2 = commit(&bed.committed(id), &[(0, 31)]);
        assert_ne!(id, id_2);
        assert_nothing(&bed.committed(id_2));
        bed.answer(&tickets[3..], Outcome::Done);
        assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(1_000)));
        assert_nothing(&bed.wait(ms(999)));
        let id_3 = commit(&bed.wait(ms(1)), &[(0, 41)]);
        assert_nothing(&bed.committed(id_3));
        assert_eq!(bed.engine.wake_at(), None, "an idle engine needs no clock");
        assert_eq!(bed.counters().commits, 3);
    }

    #[test]
    fn invalid_records_are_committed_over_in_their_order() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let id = commit(&bed.tell(invalid(&t(0), 7)), &[(0, 8)]);
        bed.committed(id);
        let tickets = run(&bed.records(0, [8]));
        assert_nothing(&bed.tell(invalid(&t(0), 9)));
        assert_nothing(&bed.wait(ms(5_000)));
        commit(&bed.answer(&tickets, Outcome::Done), &[(0, 10)]);
        assert_eq!(bed.counters().invalid, 2);
    }

    #[test]
    fn a_failed_commit_is_made_again_later_and_later_with_what_is_finished_then() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        assert_nothing(&bed.commit_failed(id, ErrorKind::Unavailable));
        bed.answer(&tickets[1..], Outcome::Done);
        assert_nothing(&bed.wait(ms(999)));
        let id = commit(&bed.wait(ms(1)), &[(0, 2)]);
        assert_nothing(&bed.commit_failed(id, ErrorKind::IllegalState));
        assert_nothing(&bed.wait(ms(1_999)));
        let id = commit(&bed.wait(ms(1)), &[(0, 2)]);
        assert_nothing(&bed.committed(id));
        assert_nothing(&bed.wait(ms(60_000)));
        assert_eq!((bed.counters().commits, bed.counters().commit_failures), (1, 2));
    }
}

mod handing_over {
    use super::*;

    #[test]
    fn an_idle_partition_is_committed_and_then_handed_over() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let first = run(&bed.records(0, 0..3));
        let id = commit(&bed.answer(&first, Outcome::Done), &[(0, 3)]);
        bed.committed(id);
        let second = run(&bed.records(0, 3..5));
        assert_nothing(&bed.answer(&second, Outcome::Done));
        let id = commit(&bed.tell(Input::Revoked(vec![t(0)])), &[(0, 5)]);
        assert!(bed.engine.is_revoking());
        assert_ready(&bed.committed(id), &[0]);
        assert!(!bed.engine.is_revoking());
        assert_eq!(bed.engine.wake_at(), None);
    }

    #[test]
    fn a_running_partition_hands_over_when_its_run_is_over_and_committed() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..3));
        bed.records(0, 3..9);
        let out = bed.tell(Input::Revoked(vec![t(0), t(1)]));
        assert!(matches!(out[..], [Output::Recall { slot: 0, epoch: 1 }]), "{out:?}");
        assert_eq!((bed.engine.stats().waiting, bed.engine.stats().bytes), (0, 3 * 228));
        assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(1_000)));
        bed.now += ms(900);
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        assert_nothing(&bed.committed(id));
        assert_nothing(&bed.answer(&tickets[2..], Outcome::Released));
        let id = commit(&bed.answer(&tickets[1..2], Outcome::Done), &[(0, 2)]);
        assert_ready(&bed.committed(id), &[0, 1]);
        assert_eq!((bed.counters().handed_over, bed.counters().late, bed.engine.stats().bytes), (7, 0, 0));
    }

    #[test]
    fn the_budget_ends_the_wait_for_handlers_and_their_answers_are_late() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..3));
        bed.tell(Input::Revoked(vec![t(0)]));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        assert_nothing(&bed.committed(id));
        let out = bed.wait(ms(1_000));
        assert!(
            matches!(&out[..], [Output::Fenced { slot: 0, epoch: 1, source, unanswered: 2 }, Output::RevokeReady(_)] if *source == t(0)),
            "{out:?}"
        );
        assert_nothing(&bed.tell(Input::Assigned(vec![t(0)])));
        assert_eq!(offsets(&bed.records(0, 1..3)), [1, 2]);
        assert_nothing(&bed.answer(&tickets[1..], Outcome::Done));
        let stats = bed.engine.stats();
        assert_eq!((stats.counters.late, stats.counters.handled_after_revoke, stats.in_flight), (2, 2, 2));
    }

    #[test]
    fn answers_between_the_budget_and_the_hand_over_are_late_too() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        bed.tell(Input::Revoked(vec![t(0)]));
        bed.wait(ms(1_000));
        assert_nothing(&bed.answer(&tickets[1..], Outcome::Done));
        assert_eq!(bed.counters().handled_after_revoke, 1);
        assert_ready(&bed.committed(id), &[0]);
    }

    #[test]
    fn the_hand_over_waits_for_a_commit_that_names_the_partition_and_at_most_two_budgets() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        let id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 2)]);
        assert_nothing(&bed.tell(Input::Revoked(vec![t(0)])));
        assert_ready(&bed.tell(Input::Revoked(vec![t(1)])), &[1]);
        assert_nothing(&bed.wait(ms(1_999)));
        assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(1)));
        assert_ready(&bed.wait(ms(1)), &[0]);
        assert_eq!(bed.counters().revoked_uncommitted, 1);
        assert_nothing(&bed.committed(id));
    }

    #[test]
    fn a_list_is_handed_over_as_a_whole() {
        let mut bed = Bed::owning(3, EngineConfig::default());
        let tickets = run(&bed.records(1, [0]));
        bed.tell(Input::Revoked(vec![t(0), t(1), t(2)]));
        assert_nothing(&bed.tell(Input::Revoked(vec![t(1)])));
        assert_nothing(&bed.wait(ms(500)));
        let id = commit(&bed.answer(&tickets, Outcome::Done), &[(1, 1)]);
        assert_ready(&bed.committed(id), &[0, 1, 2]);
        assert_nothing(&bed.wait(ms(5_000)));
    }

    #[test]
    fn a_failed_commit_of_a_revoked_partition_is_tried_again_within_the_budget() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        bed.tell(Input::Revoked(vec![t(0)]));
        let id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 2)]);
        assert_nothing(&bed.commit_failed(id, ErrorKind::Timeout));
        assert_nothing(&bed.wait(ms(249)));
        let id = commit(&bed.wait(ms(1)), &[(0, 2)]);
        assert_ready(&bed.committed(id), &[0]);
    }

    #[test]
    fn a_refused_commit_of_a_revoked_partition_is_not_tried_again() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        bed.tell(Input::Revoked(vec![t(0)]));
        let id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 2)]);
        assert_ready(&bed.commit_failed(id, ErrorKind::IllegalState), &[0]);
        assert_eq!(bed.counters().revoked_uncommitted, 1);
    }

    #[test]
    fn nothing_of_a_lost_partition_is_committed_and_its_answers_are_late() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        let lost = run(&bed.records(0, 0..2));
        bed.records(0, 2..4);
        let kept = run(&bed.records(1, 0..2));
        let id = commit(&bed.answer(&lost[..1], Outcome::Done), &[(0, 1)]);
        let out = bed.tell(Input::Lost(vec![t(0), t(7)]));
        assert!(matches!(&out[..], [Output::Fenced { slot: 0, epoch: 1, unanswered: 1, .. }]), "{out:?}");
        assert_eq!(bed.engine.stats().bytes, 2 * 228);
        assert_nothing(&bed.answer(&lost[1..], Outcome::Done));
        assert_nothing(&bed.answer(&kept, Outcome::Done));
        assert_nothing(&bed.commit_failed(id, ErrorKind::Unavailable));
        commit(&bed.wait(ms(1_000)), &[(1, 2)]);
        let counters = bed.counters();
        assert_eq!((counters.handled_after_revoke, counters.handled, counters.handed_over), (1, 3, 3));
    }

    #[test]
    fn a_partition_lost_while_it_is_revoked_is_not_handed_over() {
        let mut bed = Bed::owning(2, EngineConfig::default());
        run(&bed.records(0, [0]));
        run(&bed.records(1, [0]));
        bed.tell(Input::Revoked(vec![t(0), t(1)]));
        bed.tell(Input::Lost(vec![t(0)]));
        let out = bed.wait(ms(1_000));
        assert!(matches!(out[..], [Output::Fenced { slot: 1, epoch: 1, .. }, Output::RevokeReady(_)]), "{out:?}");
        assert_ready(&out[1..], &[1]);
        bed.tell(Input::Assigned(vec![t(0)]));
        run(&bed.records(0, [0]));
        bed.tell(Input::Revoked(vec![t(0)]));
        bed.tell(Input::Lost(vec![t(0)]));
        assert_nothing(&bed.wait(ms(5_000)));
    }

    #[test]
    fn what_was_never_assigned_is_handed_over_at_once() {
        let mut bed = Bed::new();
        assert_ready(&bed.tell(Input::Revoked(vec![t(3)])), &[3]);
        assert_ready(&bed.tell(Input::Revoked(vec![])), &[]);
        assert_nothing(&bed.tell(Input::Lost(vec![t(3)])));
    }

    #[test]
    fn a_commit_of_an_earlier_assignment_says_nothing_about_this_one() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..9));
        let id = commit(&bed.answer(&tickets, Outcome::Done), &[(0, 9)]);
        bed.tell(Input::Lost(vec![t(0)]));
        bed.tell(Input::Assigned(vec![t(0)]));
        let tickets = run(&bed.records(0, 0..3));
        assert_nothing(&bed.answer(&tickets, Outcome::Done));
        assert_nothing(&bed.committed(id));
        assert_eq!(bed.engine.partitions().next().unwrap().committed, None);
        commit(&bed.wait(ms(1_000)), &[(0, 3)]);
    }

    #[test]
    fn a_second_assignment_changes_nothing_for_an_owner_and_ends_a_revocation() {
        let mut bed = Bed::owning(1, EngineConfig::default());
        let tickets = run(&bed.records(0, 0..2));
        assert_nothing(&bed.tell(Input::Assigned(vec![t(0)])));
        let id = commit(&bed.answer(&tickets[..1], Outcome::Done), &[(0, 1)]);
        bed.committed(id);
        bed.tell(Input::Revoked(vec![t(0)]));
        let out = bed.tell(Input::Assigned(vec![t(0)]));
        assert!(matches!(out[..], [Output::Fenced { unanswered: 1, .. }]), "{out:?}");
        assert_nothing(&bed.wait(ms(5_000)));
        assert_eq!(offsets(&bed.records(0, 1..3)), [1, 2]);
    }

    #[test]
    fn partitions_beyond_the_slots_are_refused_aloud() {
        let mut bed = Bed::owning(65_536, EngineConfig::default());
        let out = bed.tell(Input::Assigned(vec![t(65_536)]));
        assert!(matches!(&out[..], [Output::Failed(error)] if error.context("partition") == Some("65536")), "{out:?}");
        assert_eq!(offsets(&bed.records(65_535, [0])), [0]);
    }
}

mod bounds {
    use super::*;

    fn small() -> EngineConfig {
        EngineConfig { max_bytes: 8 * 228, ..EngineConfig::default() }
    }

    fn list(outputs: &[Output]) -> (Vec<i32>, Vec<i32>) {
        let (mut paused, mut resumed) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Pause(list) => paused.extend(list.iter().map(|source| source.partition)),
                Output::Resume(list) => resumed.extend(list.iter().map(|source| source.partition)),
                _ => {}
            }
        }
        (paused, resumed)
    }

    #[test]
    fn the_partition_above_its_share_is_paused_and_resumed_after_a_while_below_half() {
        let mut bed = Bed::owning(2, small());
        let first = run(&bed.records(0, [0]));
        run(&bed.records(1, [0]));
        assert_eq!(list(&bed.records(0, 1..2)), (vec![], vec![]));
        assert_eq!(list(&bed.records(0, 2..4)), (vec![0], vec![]));
        assert_eq!(list(&bed.records(0, 4..5)), (vec![], vec![]), "what the client had in hand is taken");
        let out = bed.answer(&first, Outcome::Done);
        let next = run(&out[..1]);
        assert_eq!(list(&out), (vec![], vec![]));
        assert_eq!(list(&bed.answer(&next, Outcome::Done)), (vec![], vec![]), "not before 100 ms");
        assert_eq!(bed.engine.stats().paused, 1);
        assert_eq!(bed.engine.wake_at(), Some(bed.now + ms(100)));
        assert_eq!(list(&bed.wait(ms(99))), (vec![], vec![]));
        assert_eq!(list(&bed.wait(ms(1))), (vec![], vec![0]));
        assert_eq!((bed.engine.stats().paused, bed.counters().pauses), (0, 1));
    }

    #[test]
    fn a_partition_with_a_stuck_handler_stops_no_other() {
        let mut bed = Bed::owning(2, small());
        run(&bed.records(0, [0]));
        assert_eq!(list(&bed.records(0, 1..20)), (vec![0], vec![]));
        assert!(bed.engine.is_full());
        for offset in 0..50 {
            let out = bed.records(1, [offset]);
            assert_eq!(list(&out), (vec![], vec![]));
            bed.answer(&run(&out[..1]), Outcome::Done);
            bed.wait(ms(500));
        }
        assert_eq!(bed.engine.stats().paused, 1);
    }

    #[test]
    fn a_record_above_the_budget_flows_and_pauses_nothing_by_itself() {
        let mut bed = Bed::owning(1, small());
        let first = run(&bed.tell(Input::Record(record(&t(0), 0, 1 << 20).into(), None)));
        let out = bed.tell(Input::Record(record(&t(0), 1, 1 << 20).into(), None));
        assert_eq!(list(&out), (vec![0], vec![]));
        let out = bed.answer(&first, Outcome::Done);
        let second = run(&out[..1]);
        assert_eq!(list(&bed.wait(ms(60_000))), (vec![], vec![]), "still above half of its share");
        assert_eq!(list(&bed.answer(&second, Outcome::Done)), (vec![], vec![0]));
        assert_eq!(bed.engine.stats().bytes, 0);
    }

    #[test]
    fn a_partition_that_comes_and_goes_at_once_is_resumed_when_it_stays() {
        let mut bed = Bed::owning(1, small());
        run(&bed.records(0, [0]));
        assert_eq!(list(&bed.records(0, 1..20)), (vec![0], vec![]));
        bed.tell(Input::Lost(vec![t(0)]));
        bed.engine.handle(bed.now, Input::Assigned(vec![t(0)]));
        assert_eq!(list(&bed.tell(Input::Lost(vec![t(0)]))), (vec![], vec![]), "the client would refuse");
        assert_eq!(list(&bed.tell(Input::Assigned(vec![t(0)]))), (vec![], vec![0]));
    }

    #[test]
    fn a_partition_that_left_while_paused_is_resumed_when_it_comes_back() {
        for lost in [false, true] {
            let mut bed = Bed::owning(1, small());
            run(&bed.records(0, [0]));
            assert_eq!(list(&bed.records(0, 1..20)), (vec![0], vec![]));
            bed.tell(if lost { Input::Lost(vec![t(0)]) } else { Input::Revoked(vec![t(0)]) });
            bed.wait(ms(1_000));
            assert_eq!(bed.engine.stats().paused, 0);
            assert_eq!(list(&bed.tell(Input::Assigned(vec![t(0)]))), (vec![], vec![0]));
        }
    }
}
