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
    let again = run(seed, Trace::kept(), None);
    let from = again.trace.len().saturating_sub(LINES);
    format!(
        "seed {seed}: {why}\nits last lines:\n{}\nreplay it with: node dev/soak.mjs --seed {seed}",
        again.trace[from..].join("\n")
    )
}

/// Standard error past the test runner, which hides what passing tests print.
fn println(line: &str) {
    writeln!(stderr(), "{line}").expect("standard error takes lines");
}

fn replay(seed: u64) {
    let run = run(seed, Trace::kept(), None);
    run.trace.iter().for_each(|line| println(line));
    match run.result {
        Ok(seen) => println(&format!("seed {seed} keeps the rules: {} events, {:?}, {seen:?}", run.events, run.end)),
        Err(why) => panic!("seed {seed}: {why}"),
    }
}

#[test]
fn no_seed_breaks_a_rule() {
    if let Ok(seed) = std::env::var("EVBUS_SIM_SEED") {
        return replay(seed.parse().unwrap_or_else(|_| panic!("EVBUS_SIM_SEED={seed} is not a number")));
    }
    let (mut total, seeds) = (Seen::default(), seeds());
    let count = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        match run(seed, Trace::default(), None).result {
            Ok(seen) => total.add(&seen),
            Err(why) => panic!("{}", report(seed, &why)),
        }
    }
    println(&format!("{count} seeds: {total:?}"));
    // Few seeds need not meet everything.
    assert!(count < 500 || total.missing().is_empty(), "never seen in {count} runs: {:?}", total.missing());
}

#[test]
fn a_broken_engine_is_caught() {
    for sabotage in Sabotage::ALL {
        let caught = (0..500).find_map(|seed| Some((seed, run(seed, Trace::default(), Some(sabotage)).result.err()?)));
        let Some((seed, why)) = caught else { panic!("{sabotage:?} broke no rule in 500 runs") };
        println(&format!("{sabotage:?} is caught by seed {seed}: {}", why.lines().next().unwrap_or_default()));
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..10 {
        let (one, other) = (run(seed, Trace::kept(), None), run(seed, Trace::kept(), None));
        assert_eq!(one.trace, other.trace);
        assert_eq!((one.events, one.end), (other.events, other.end));
    }
}
