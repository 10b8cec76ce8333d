//! Months of a consumer group in seconds, all from one number.
//!
//! Several processes, each a poll loop around a real [engine](super::Engine), with a simulated Kafka client, broker
//! and coordinator, simulated handlers and troubles, in virtual time. Nothing but the seed decides what happens, so
//! a run that breaks a rule is replayed exactly: `EVBUS_SIM_SEED=N`, or `node dev/soak.mjs --seed N`.
//!
//! What must hold lies in [`rules`], [`assignment`], [`broker`] and [`member`], next to what it is about.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rules::Seen;
use sabotage::Sabotage;
use trace::Trace;
use world::World;

mod assignment;
mod broker;
mod client;
mod env;
mod group;
mod host;
mod member;
mod rules;
mod sabotage;
mod schedule;
mod seed;
mod tests;
mod trace;
mod weather;
mod world;

/// How a run ended.
struct Run {
    result: Result<Seen, String>,
    /// Events posted, and how far virtual time went.
    events: u64,
    end: std::time::Duration,
    trace: Vec<String>,
}

fn run(seed: u64, trace: Trace, sabotage: Option<Sabotage>) -> Run {
    let mut world = World::new(seed, trace, sabotage);
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).map_err(|panic| text(&*panic));
    let (events, end) = (world.env.schedule.posted(), world.env.now());
    Run { result, events, end, trace: world.env.trace.into_lines() }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text").to_owned()
}
