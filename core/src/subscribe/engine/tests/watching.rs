//! What the watchdog sees of an engine: it barks for nothing that the engine does on purpose.

use super::retries::{bed, policy};
use super::*;
use crate::policy::{OnExhausted, Ordering};
use crate::subscribe::watchdog::{Activity, Finding, Sight, Watchdog};
use crate::transport::Progress;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Lets time pass over an engine that a watchdog looks at, while the log holds 100 records more than were received.
fn watched(bed: &mut Bed, time: Duration) -> Vec<Finding> {
    let mut watchdog = Watchdog::new(Some(TIMEOUT));
    let until = bed.now + time;
    let mut findings = Vec::new();
    while bed.now < until {
        bed.wait(ms(500));
        findings.extend(watchdog.look(bed.now, true, bed.engine.sights(bed.now)));
        if let Some((id, partitions)) = watchdog.question(bed.now) {
            let answer = |source| (source, Progress { fetched: None, end: Some(100) });
            findings.extend(watchdog.answered(bed.now, id, &partitions.into_iter().map(answer).collect::<Vec<_>>()));
        }
    }
    findings
}

fn activities(bed: &Bed) -> Vec<Activity> {
    bed.engine.sights(bed.now).map(|Sight { activity, .. }| activity).collect()
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_handler_of_ten_minutes_is_no_stall() {
    let mut bed = bed(1, policy(3));
    let tickets = run(&bed.records(0, 0..3));
    assert_eq!(activities(&bed), [Activity::Running]);
    assert_eq!(watched(&mut bed, TEN_MINUTES), []);
    bed.answer(&tickets, Outcome::Done);
    assert_eq!(activities(&bed), [Activity::Idle]);
    let findings = watched(&mut bed, TIMEOUT * 2);
    assert!(matches!(&findings[..], [Finding::Stalled(_), Finding::Heal(..)]), "{findings:?}");
}

#[test]
fn a_long_wait_for_the_next_attempt_is_no_stall() {
    let mut policy = policy(10);
    (policy.retry.initial_delay, policy.retry.max_delay) = (TEN_MINUTES, TEN_MINUTES);
    policy.retry.max_elapsed = TEN_MINUTES * 100;
    let mut bed = bed(1, policy);
    let tickets = run(&bed.records(0, 0..3));
    assert_nothing(&bed.fail(&tickets, None));
    assert_eq!(activities(&bed), [Activity::Running]);
    assert_eq!(watched(&mut bed, TEN_MINUTES - TIMEOUT), []);
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_no_stall() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..1));
    let out = bed.fail(&tickets, None);
    let [Output::DeadLetter(letter)] = &out[..] else { panic!("{out:?}") };
    let result = Err(Error::new(ErrorKind::Timeout, "the brokers are away"));
    bed.tell(Input::DeadLettered { ticket: letter.ticket, result });
    assert_eq!(activities(&bed), [Activity::Running]);
    assert_eq!(watched(&mut bed, TEN_MINUTES), []);
}

#[test]
fn a_halted_partition_is_held_back() {
    let mut bed = bed(1, Policy { on_exhausted: OnExhausted::Halt, ..policy(1) });
    let tickets = run(&bed.records(0, 0..1));
    bed.fail(&tickets, None);
    assert_eq!(activities(&bed), [Activity::HeldBack]);
    assert_eq!(watched(&mut bed, TEN_MINUTES), []);
}

#[test]
fn a_topic_without_a_handler_is_held_back() {
    let mut bed = bed(1, policy(1));
    let tickets = run(&bed.records(0, 0..1));
    bed.answer(&tickets, Outcome::Released);
    assert_eq!(activities(&bed), [Activity::HeldBack]);
    assert_eq!(watched(&mut bed, TEN_MINUTES), []);
}

#[test]
fn what_may_not_run_beside_others_is_held_back() {
    let mut bed = bed(2, Policy { ordering: Ordering::Key, concurrency: 1, ..policy(1) });
    run(&bed.records(0, 0..1));
    assert_nothing(&bed.records(1, 0..1));
    assert_eq!(activities(&bed), [Activity::Running, Activity::HeldBack]);
    assert_eq!(watched(&mut bed, TEN_MINUTES), []);
}

#[test]
fn a_full_budget_and_a_drain_hold_all_back() {
    let mut full = Bed::owning(2, EngineConfig { max_bytes: 1000, ..EngineConfig::default() });
    full.records(0, 0..50);
    assert!(full.engine.is_full());
    assert_eq!(activities(&full)[1], Activity::HeldBack);
    assert_eq!(watched(&mut full, TEN_MINUTES), []);
    let mut draining = bed(1, policy(1));
    run(&draining.records(0, 0..1));
    let deadline = draining.now + TEN_MINUTES * 2;
    draining.tell(Input::Drain { deadline });
    assert_eq!(watched(&mut draining, TEN_MINUTES), []);
}
