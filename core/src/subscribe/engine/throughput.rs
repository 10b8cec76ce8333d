//! What the engine costs the poll thread.

use std::time::Duration;

use super::tests::{Bed, answer, t, topic};
use super::*;
use crate::event::{Headers, Outcome};
use crate::policy::{Ordering, Policy};

/// Passes records of 200 bytes with so many keys through an engine alone, as the poll thread would; records a second.
fn rate(policy: Policy, keys: u64) -> f64 {
    const RECORDS: i64 = 600_000;
    const PARTITIONS: i64 = 12;
    let mut bed = Bed::with(EngineConfig::default());
    bed.engine.handle(bed.now, Input::Topics(&[topic("t", policy)]));
    bed.engine.handle(bed.now, Input::Assigned((0..PARTITIONS as i32).map(t).collect()));
    let sources: Vec<TopicPartition> = (0..PARTITIONS as i32).map(t).collect();
    let value = [0; 200];
    let mut dice = Dice::new(7);
    let start = Instant::now();
    let (mut out, mut answers) = (Vec::new(), Vec::new());
    let mut sent = 0;
    while bed.engine.stats().counters.handled < RECORDS as u64 {
        for _ in 0..400 {
            if sent < RECORDS {
                // Stretches of 50 of one partition, as a fetch brings them.
                let (partition, offset) = ((sent / 50) % PARTITIONS, sent / (50 * PARTITIONS) * 50 + sent % 50);
                let source = sources[partition as usize].clone();
                let key = (u64::from(dice.roll()) % keys).to_le_bytes();
                let record = Record::new(source, offset, None, Some(&key), Headers::default(), Some(&value));
                bed.engine.handle(bed.now, Input::Record(record.into(), None));
                sent += 1;
            }
        }
        bed.engine.handle(bed.now, Input::Finished(&answers));
        answers.clear();
        bed.now += Duration::from_micros(400);
        bed.engine.advance(bed.now, &mut out);
        for output in out.drain(..) {
            match output {
                Output::Deliver(run) => {
                    answers.extend(run.iter().map(|delivery| answer(delivery.ticket(), Outcome::Done)));
                }
                Output::Commit { id, .. } => bed.engine.handle(bed.now, Input::Committed { id, result: Ok(()) }),
                other => panic!("{other:?}"),
            }
        }
    }
    RECORDS as f64 / start.elapsed().as_secs_f64()
}

/// Engine alone, one core: the poll thread's share of the work per record.
#[test]
#[expect(clippy::print_stdout, reason = "the numbers are what the test is run for")]
fn hundreds_of_thousands_of_records_a_second_pass_through() {
    let by_key = Policy { ordering: Ordering::Key, concurrency: 1_000, ..Policy::default() };
    for (name, policy, keys) in [("partition", Policy::default(), 1_000), ("key", by_key, 1_000)] {
        let rate = rate(policy, keys);
        println!("{:.0} k records/s in order per {name}, records made included", rate / 1e3);
        assert!(rate > 100e3, "{rate:.0} records/s in order per {name}, far below what the poll thread needs");
    }
}
