//! What the engine costs the poll thread.

use std::time::Duration;

use super::tests::{Bed, t};
use super::*;
use crate::event::Headers;

/// Engine alone, one core: the poll thread's share of the work per record.
#[test]
#[expect(clippy::print_stdout, reason = "the number is what the test is run for")]
fn half_a_million_records_a_second_pass_through() {
    const RECORDS: i64 = 600_000;
    const PARTITIONS: i64 = 12;
    let mut bed = Bed::owning(PARTITIONS as i32, EngineConfig::default());
    let sources: Vec<TopicPartition> = (0..PARTITIONS as i32).map(t).collect();
    let value = [0; 200];
    let start = Instant::now();
    let (mut out, mut answers) = (Vec::new(), Vec::new());
    let mut sent = 0;
    while bed.engine.stats().counters.handled < RECORDS as u64 {
        for _ in 0..400 {
            if sent < RECORDS {
                // Stretches of 50 of one partition, as a fetch brings them.
                let (partition, offset) = ((sent / 50) % PARTITIONS, sent / (50 * PARTITIONS) * 50 + sent % 50);
                let source = sources[partition as usize].clone();
                let record = Record::new(source, offset, None, Some(b"key"), Headers::default(), Some(&value));
                bed.engine.handle(bed.now, Input::Record(record, None));
                sent += 1;
            }
        }
        bed.engine.handle(bed.now, Input::Finished(&answers));
        answers.clear();
        bed.now += Duration::from_micros(400);
        bed.engine.advance(bed.now, &mut out);
        for output in out.drain(..) {
            match output {
                Output::Deliver(run) => answers.extend(run.iter().map(|delivery| (delivery.ticket(), Outcome::Done))),
                Output::Commit { id, .. } => bed.engine.handle(bed.now, Input::Committed { id, result: Ok(()) }),
                other => panic!("{other:?}"),
            }
        }
    }
    let rate = RECORDS as f64 / start.elapsed().as_secs_f64();
    println!("{:.0} k records/s through the engine, records made included", rate / 1e3);
    assert!(rate > 100e3, "{rate:.0} records/s, far below what the poll thread needs");
}
