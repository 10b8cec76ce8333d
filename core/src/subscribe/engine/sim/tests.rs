//! The runs of a test, of the soak, and of one seed.

use std::io::{Write, stderr};
use std::ops::Range;

use super::*;

/// The last lines of the trace that a failure shows.
const LINES: usize = 40;

/// Which seeds: `EVBUS_SIM_SEEDS=from..to`, 500 otherwise.
fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("EVBUS_SIM_SEEDS") else { return 0..500 };
    let parts: Option<(u64, u64)> =
        range.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let (from, to) = parts.unwrap_or_else(|| panic!("EVBUS_SIM_SEEDS={range} is not of the form 0..500"));
    from..to
}

/// What went wrong with a seed, and how to see it again.
fn report(seed: u64, why: &str) -> String {
    let again = run(seed, Trace::kept());
    let from = again.trace.len().saturating_sub(LINES);
    format!(
        "seed {seed}: {why}\nits last lines:\n{}\nreplay it with: node dev/soak.mjs --seed {seed}",
        again.trace[from..].join("\n")
    )
}

fn replay(seed: u64) {
    let run = run(seed, Trace::kept());
    let mut out = stderr().lock();
    for line in &run.trace {
        writeln!(out, "{line}").expect("standard error takes lines");
    }
    match run.result {
        Ok(seen) => writeln!(out, "seed {seed} keeps the rules: {} events, {:?}, {seen:?}", run.events, run.end),
        Err(why) => panic!("seed {seed}: {why}"),
    }
    .expect("standard error takes lines");
}

#[test]
fn no_seed_breaks_a_rule() {
    if let Ok(seed) = std::env::var("EVBUS_SIM_SEED") {
        return replay(seed.parse().unwrap_or_else(|_| panic!("EVBUS_SIM_SEED={seed} is not a number")));
    }
    let mut total = Seen::default();
    for seed in seeds() {
        match run(seed, Trace::default()).result {
            Ok(seen) => total.add(&seen),
            Err(why) => panic!("{}", report(seed, &why)),
        }
    }
    writeln!(stderr(), "simulated: {total:?}").expect("standard error takes lines");
}
