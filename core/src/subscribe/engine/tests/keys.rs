//! Lanes of keys: one event at a time per key, many keys side by side.

use super::retries::{bed, policy};
use super::*;
use crate::policy::Ordering;

fn keyed(concurrency: usize) -> Policy {
    Policy { ordering: Ordering::Key, concurrency, ..policy(3) }
}

pub(super) fn record_of(partition: i32, offset: i64, key: Option<&str>) -> Input<'static> {
    let value = [0; 50];
    let record = Record::new(t(partition), offset, None, key.map(str::as_bytes), Headers::default(), Some(&value));
    Input::Record(record.into(), None)
}

/// Lane, offsets and tickets of each run.
fn runs(outputs: &[Output]) -> Vec<(u32, Vec<i64>, Vec<Ticket>)> {
    let runs = outputs.iter().filter_map(|one| match one {
        Output::Deliver(run) => {
            assert!(run.iter().all(|one| one.lane() == run[0].lane()));
            let tickets = run.iter().map(|one| one.ticket()).collect();
            Some((run[0].lane(), run.iter().map(|one| one.offset()).collect(), tickets))
        }
        _ => None,
    });
    runs.collect()
}

fn offsets_of(outputs: &[Output]) -> Vec<Vec<i64>> {
    runs(outputs).into_iter().map(|(_, offsets, _)| offsets).collect()
}

impl Bed {
    fn keys(&mut self, partition: i32, first: i64, keys: &[&str]) -> Vec<Output> {
        for (offset, key) in (first..).zip(keys) {
            self.engine
                .handle(self.now, record_of(partition, offset, Some(key).filter(|key| !key.is_empty()).copied()));
        }
        self.advance()
    }
}

#[test]
fn keys_run_side_by_side_and_each_one_after_the_other() {
    let mut bed = bed(2, keyed(10));
    let out = bed.keys(0, 0, &["a", "b", "a", "c", "b", "a"]);
    assert_eq!(offsets_of(&out), [vec![0, 2, 5], vec![1, 4], vec![3]]);
    let lanes: Vec<u32> = runs(&out).iter().map(|run| run.0).collect();
    assert!(lanes[0] != lanes[1] && lanes[1] != lanes[2] && lanes[0] != lanes[2]);
    assert_nothing(&bed.keys(0, 6, &["a", "b"]));
    let same_key_elsewhere = bed.keys(1, 0, &["a"]);
    assert_eq!(offsets_of(&same_key_elsewhere), [[0]]);
    assert!(!lanes.contains(&runs(&same_key_elsewhere)[0].0), "lanes are unique over partitions");
    let [a, b, _] = &runs(&out)[..] else { panic!("{out:?}") };
    let out = bed.answer(&b.2, Outcome::Done);
    assert_eq!(offsets_of(&out), [[7]]);
    assert_nothing(&bed.answer(&a.2[1..], Outcome::Done));
    assert_eq!(offsets_of(&bed.answer(&a.2[..1], Outcome::Done)), [[6]]);
}

#[test]
fn only_the_failing_key_waits_and_commits_stop_at_it() {
    let mut bed = bed(1, keyed(10));
    let out = bed.keys(0, 0, &["a", "b", "c"]);
    let [a, b, c] = &runs(&out)[..] else { panic!("{out:?}") };
    assert_nothing(&bed.answer(&c.2, Outcome::Done));
    assert_nothing(&bed.fail(&b.2, None));
    let id = commit(&bed.answer(&a.2, Outcome::Done), &[(0, 1)]);
    bed.committed(id);
    assert_eq!(offsets_of(&bed.keys(0, 3, &["a", "b", "c"])), [[3], [5]]);
    assert_eq!(offsets_of(&bed.wait(ms(200))), [[1]]);
    assert_eq!(offsets_of(&bed.answer(&b.2, Outcome::Done)), [[4]], "what waited behind it");
}

#[test]
fn records_without_a_key_wait_for_nobody() {
    let mut bed = bed(1, keyed(10));
    let out = bed.keys(0, 0, &["", "", "a", ""]);
    assert_eq!(offsets_of(&out), [[0], [1], [2], [3]]);
    let lanes: std::collections::HashSet<u32> = runs(&out).iter().map(|run| run.0).collect();
    assert_eq!(lanes.len(), 4);
}

#[test]
fn no_more_lanes_than_the_concurrency_are_out_and_the_oldest_come_first_from_each_partition() {
    let mut bed = bed(2, keyed(3));
    for offset in 0..4 {
        bed.engine.handle(bed.now, record_of(0, offset, Some(&format!("k{offset}"))));
    }
    let out = bed.keys(1, 0, &["x", "y", "x"]);
    let first = runs(&out);
    assert_eq!(first.iter().map(|run| &run.1[..]).collect::<Vec<_>>(), [&[0][..], &[0, 2], &[1]]);
    assert_nothing(&bed.keys(1, 3, &["x"]));
    let mut out = bed.answer(&first[0].2, Outcome::Done);
    out.retain(|one| matches!(one, Output::Deliver(_)));
    assert_eq!(offsets_of(&out), [[1]], "partition 1, key y");
    assert_eq!(offsets_of(&bed.answer(&first[1].2, Outcome::Done)), [[2]], "partition 0 again");
    assert_eq!(bed.engine.stats().in_flight, 3);
    bed.tell(Input::Topics(&[topic("t", keyed(5))]));
    assert_eq!(bed.engine.stats().in_flight, 5, "more room is used at once");
}

#[test]
fn a_waiting_retry_takes_no_room() {
    let mut bed = bed(1, keyed(1));
    let out = bed.keys(0, 0, &["a", "b"]);
    let a = runs(&out)[0].2.clone();
    assert_eq!(offsets_of(&bed.fail(&a, None)), [[1]]);
    assert_nothing(&bed.wait(ms(1_000)));
}

#[test]
fn lanes_that_ended_are_used_again_and_never_by_a_later_assignment() {
    let mut bed = bed(1, keyed(100));
    let mut seen = std::collections::HashSet::new();
    for offset in 0..1_000 {
        let out = bed.keys(0, offset, &[&format!("k{offset}")]);
        let (lane, _, tickets) = runs(&out)[0].clone();
        seen.insert(lane);
        bed.answer(&tickets, Outcome::Done);
    }
    assert_eq!(seen.len(), 1);
    bed.keys(0, 1_000, &["stuck"]);
    bed.tell(Input::Lost(vec![t(0)]));
    bed.tell(Input::Assigned(vec![t(0)]));
    let out = bed.keys(0, 1_000, &["stuck", "other"]);
    assert!(runs(&out).iter().all(|run| !seen.contains(&run.0)), "the handler that outlived it may still run there");
}

#[test]
fn a_partition_is_paused_when_too_much_lies_behind_its_first_unfinished_record() {
    let config = EngineConfig { window: 100, ..EngineConfig::default() };
    let mut bed = Bed::with(config);
    bed.tell(Input::Topics(&[topic("t", keyed(10))]));
    bed.tell(Input::Assigned(vec![t(0)]));
    let slow = runs(&bed.keys(0, 0, &["slow"]))[0].2.clone();
    let mut paused = None;
    for offset in 1..200 {
        let out = bed.keys(0, offset, &["quick"]);
        if out.iter().any(|one| matches!(one, Output::Pause(_))) {
            paused.get_or_insert(offset);
        }
        for run in runs(&out) {
            bed.answer(&run.2, Outcome::Done);
        }
    }
    assert_eq!(paused, Some(99));
    assert_nothing(&bed.wait(ms(60_000)));
    let out = bed.answer(&slow, Outcome::Done);
    assert!(matches!(&out[..], [Output::Commit { offsets, .. }, Output::Resume(_)] if offsets[0].1 == 200), "{out:?}");
}

#[test]
fn quick_handlers_get_a_moment_before_the_window_pauses_anything() {
    let config = EngineConfig { window: 100, ..EngineConfig::default() };
    let mut bed = Bed::with(config);
    bed.tell(Input::Topics(&[topic("t", keyed(10))]));
    bed.tell(Input::Assigned(vec![t(0)]));
    let names: Vec<String> = (0..51).map(|key| format!("k{key}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bed.keys(0, 0, &names);
    assert!(bed.engine.is_sated(bed.now));
    assert_eq!(bed.engine.stats().paused, 0);
    assert!(!bed.engine.is_sated(bed.now + ms(200)));
}

#[test]
fn the_order_changes_when_nothing_is_unfinished() {
    let mut bed = bed(1, policy(3));
    let first = runs(&bed.keys(0, 0, &["a", "b"]))[0].clone();
    assert_eq!(first.0, 0, "a partition's lane is its slot");
    bed.tell(Input::Topics(&[topic("t", keyed(10))]));
    assert_nothing(&bed.keys(0, 2, &["c"]));
    let out = bed.answer(&first.2, Outcome::Done);
    let last = runs(&out)[0].clone();
    bed.answer(&last.2, Outcome::Done);
    assert_eq!(offsets_of(&bed.keys(0, 3, &["a", "b"])), [[3], [4]]);
}

#[test]
fn a_topic_without_handlers_holds_all_keys_of_a_partition() {
    let mut bed = bed(1, keyed(2));
    let out = bed.keys(0, 0, &["a", "b", "c", "d"]);
    let (a, b) = (runs(&out)[0].2.clone(), runs(&out)[1].2.clone());
    assert_nothing(&bed.answer(&a, Outcome::Released));
    assert_nothing(&bed.answer(&b, Outcome::Released));
    assert_nothing(&bed.wait(ms(1_000)));
    let out = bed.tell(Input::Topics(&[topic("t", keyed(2))]));
    assert_eq!(offsets_of(&out), [[0], [1]], "the oldest first");
}

#[test]
fn records_of_many_keys_pause_their_partition_though_none_of_them_waits() {
    let mut bed = bed(1, keyed(10));
    bed.engine.config.max_bytes = 1_000;
    let out = bed.keys(0, 0, &["a", "b", "c", "d"]);
    assert_eq!(offsets_of(&out).len(), 4, "all are out");
    assert!(out.iter().any(|one| matches!(one, Output::Pause(list) if *list == [t(0)])), "{out:?}");
}
