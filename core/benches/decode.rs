//! Nanoseconds to read the envelope of a record, which the poll thread does for each one.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use event_bus::{Envelope, HeadersBuf, Record, TopicPartition};

const ROUNDS: usize = 300;
const CALLS: u32 = 5_000;

fn main() {
    let filler = "x".repeat(61);
    let value = format!(
        r#"{{"eventId":"5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50","eventType":"order.placed","occurredOn":"2024-06-01T12:00:00.123Z","aggregateId":"order-42","version":1,"payload":{{"timestamp":"2024-06-01T12:00:00.123Z","text":"{filler}"}}}}"#
    );
    let source = TopicPartition::new("order.placed", 0);
    let record = Record::new(source, 0, None, None, HeadersBuf::new().as_headers(), Some(value.as_bytes()));
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                let event = Envelope::try_from(black_box(&record)).expect("the event is valid");
                black_box(event.occurred_on());
            }
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    // The fastest round is the one that no other process interrupted.
    let line = format!(
        "decode, {} bytes: {:.0} ns (fastest of {ROUNDS} rounds), {:.0} ns (median)\n",
        value.len(),
        times[0],
        times[ROUNDS / 2]
    );
    std::io::stdout().write_all(line.as_bytes()).expect("stdout is open");
}
