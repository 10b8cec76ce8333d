//! How large a run is and what troubles it has, all drawn from its seed.

use std::time::Duration;

use super::seed::Seed;
use crate::policy::{Jitter, OnExhausted, OnInvalid, Ordering, Policy, RetryPolicy};
use crate::subscribe::engine::EngineConfig;
use crate::subscribe::lanes::RunLimits;

/// The coordinator takes a silent member for dead after this time.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// A member that has not joined a rebalance within this time is left out.
pub(super) const REBALANCE_TIMEOUT: Duration = Duration::from_secs(10);
/// A member hears of a rebalance at the latest after this many milliseconds.
pub(super) const HEARTBEAT_MS: u64 = 1_000;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The process ends between two instructions and is started again.
    Crash { node: usize, away: Duration },
    /// The bus is shut down with a deadline, and the process is started again.
    Leave { node: usize, within: Duration, away: Duration },
    /// The process stands still, as under SIGSTOP.
    Freeze { node: usize, time: Duration },
    /// No broker hears the member.
    CutOff { node: usize, time: Duration },
    /// The coordinator forgets the member although it is well.
    Expel { node: usize },
    /// The client fails for good and is made anew under the same engine.
    Rebuild { node: usize },
    /// The handlers of a topic are unregistered for a while.
    HandlersAway { node: usize, topic: usize, time: Duration },
    /// The member subscribes to one topic less for a while.
    Unsubscribe { node: usize, topic: usize, time: Duration },
    /// The client fetches again what it had fetched.
    Rewind { node: usize },
    /// The coordinator answers nobody.
    NoCoordinator { time: Duration },
}

/// All that is fixed before a run begins. Chances are in 1 of 1 000.
#[derive(Debug)]
pub(super) struct Weather {
    pub(super) nodes: usize,
    /// Numbers of partitions, by topic.
    pub(super) topics: Vec<usize>,
    pub(super) keys: usize,
    pub(super) records: usize,
    /// Records of the largest batch of one partition.
    pub(super) burst: u64,
    pub(super) max_value: u64,
    /// Troubles end at this time.
    pub(super) horizon: Duration,
    pub(super) config: EngineConfig,
    /// By topic.
    pub(super) policies: Vec<Policy>,
    pub(super) keyless: u64,
    pub(super) first_sequence: u32,
    pub(super) gaps: u64,
    pub(super) invalid: u64,
    pub(super) poison: u64,
    pub(super) failing: u64,
    /// Failures that no retry can help.
    pub(super) hopeless: u64,
    /// Handlers that ask for something else than success or a retry.
    pub(super) asking: u64,
    pub(super) slow: u64,
    pub(super) outliving: u64,
    pub(super) stuck: u64,
    pub(super) commit_failed: u64,
    pub(super) commit_unanswered: u64,
    pub(super) commit_slow: u64,
    pub(super) commit_restamped: u64,
    pub(super) letter_failed: u64,
    pub(super) letter_refused: u64,
    pub(super) letter_unanswered: u64,
    pub(super) letter_slow: u64,
    pub(super) late_turn: u64,
    pub(super) restless: u64,
    pub(super) troubles: Vec<(Duration, Trouble)>,
}

impl Weather {
    /// What halts partitions is mended by a new version of the service, which lets them go on.
    pub(super) fn mend(&mut self) {
        for policy in &mut self.policies {
            if policy.on_exhausted == OnExhausted::Halt {
                policy.on_exhausted = OnExhausted::DeadLetter;
            }
            if policy.on_invalid == OnInvalid::Halt {
                policy.on_invalid = OnInvalid::Skip;
            }
        }
    }

    pub(super) fn of(seed: &mut Seed) -> Self {
        let nodes = seed.between(2, 5) as usize;
        let topics: Vec<usize> = (0..seed.between(1, 2)).map(|_| seed.between(1, 6) as usize).collect();
        let horizon = seed.time(5_000, 50_000);
        let max_value = seed.pick(&[20, 200, 1_500]);
        let ms = Duration::from_millis;
        let config = EngineConfig {
            max_bytes: seed.pick(&[3_000, 8_000, 30_000, 1_000_000]),
            run: RunLimits { records: seed.between(1, 12) as usize, bytes: seed.pick(&[500, 4_000, 100_000]) },
            commit_interval: ms(seed.pick(&[50, 500, 1_000, 2_500])),
            revoke_budget: ms(seed.pick(&[100, 500, 1_000])),
            resume_after: ms(seed.pick(&[0, 20, 100, 400])),
            patience: ms(seed.pick(&[0, 50, 200])),
            window: seed.pick(&[5, 50, 10_000]),
            seed: seed.next(),
        };
        let troubles = troubles(seed, nodes, topics.len(), horizon);
        let policies = topics.iter().map(|_| policy(seed)).collect();
        Weather {
            nodes,
            policies,
            keyless: some(seed, 300),
            keys: seed.pick(&[1, 3, 10, 40]),
            records: seed.between(20, 1_500) as usize,
            burst: seed.pick(&[1, 5, 40]),
            max_value,
            horizon,
            config,
            first_sequence: seed.pick(&[0, u32::MAX - 5]),
            gaps: some(seed, 300),
            invalid: some(seed, 200),
            poison: some(seed, 60),
            failing: some(seed, 300),
            hopeless: some(seed, 300),
            asking: some(seed, 50),
            slow: some(seed, 300),
            outliving: some(seed, 60),
            stuck: some(seed, 30),
            commit_failed: some(seed, 500),
            commit_unanswered: some(seed, 300),
            commit_slow: some(seed, 400),
            commit_restamped: some(seed, 800),
            letter_failed: some(seed, 400),
            letter_refused: some(seed, 30),
            letter_unanswered: some(seed, 200),
            letter_slow: some(seed, 300),
            late_turn: some(seed, 100),
            restless: some(seed, 600),
            troubles,
            topics,
        }
    }
}

fn policy(seed: &mut Seed) -> Policy {
    let ms = Duration::from_millis;
    let retry = RetryPolicy {
        attempts: seed.pick(&[1, 2, 3, 6]),
        initial_delay: ms(seed.pick(&[0, 20, 200])),
        max_delay: ms(seed.pick(&[200, 3_000])),
        multiplier: seed.pick(&[1, 2, 3]),
        jitter: seed.pick(&[Jitter::Full, Jitter::None]),
        max_elapsed: ms(seed.pick(&[100, 1_000, 300_000])),
    };
    Policy {
        ordering: seed.pick(&[Ordering::Partition, Ordering::Key]),
        concurrency: seed.pick(&[1, 3, 64]),
        retry,
        on_exhausted: seed.pick(&[
            OnExhausted::DeadLetter,
            OnExhausted::DeadLetter,
            OnExhausted::DeadLetter,
            OnExhausted::Skip,
            OnExhausted::Halt,
        ]),
        on_invalid: seed.pick(&[
            OnInvalid::Skip,
            OnInvalid::Skip,
            OnInvalid::DeadLetter,
            OnInvalid::DeadLetter,
            OnInvalid::Halt,
        ]),
        park_key: seed.permille(300),
        ..Policy::default()
    }
}

/// Half of the runs are spared each kind of trouble, so that the others are seen alone.
fn some(seed: &mut Seed, most: u64) -> u64 {
    if seed.permille(500) { 0 } else { seed.between(1, most) }
}

fn troubles(seed: &mut Seed, nodes: usize, topics: usize, horizon: Duration) -> Vec<(Duration, Trouble)> {
    const KINDS: usize = 10;
    let kinds: Vec<usize> = (0..KINDS).filter(|_| seed.permille(400)).collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let end = horizon.as_millis() as u64;
    let count = seed.between(0, 25);
    let draw = |seed: &mut Seed| {
        let at = seed.time(200, end);
        let node = seed.below(nodes);
        let topic = seed.below(topics);
        let time = if seed.permille(300) { seed.time(5_000, 12_000) } else { seed.time(1, 3_000) };
        let trouble = match seed.pick(&kinds) {
            0 => Trouble::Crash { node, away: time },
            1 => Trouble::Leave { node, within: seed.time(0, 3_000), away: time },
            2 => Trouble::Freeze { node, time },
            3 => Trouble::CutOff { node, time },
            4 => Trouble::Expel { node },
            5 => Trouble::Rebuild { node },
            6 => Trouble::HandlersAway { node, topic, time },
            7 => Trouble::Unsubscribe { node, topic, time },
            8 => Trouble::Rewind { node },
            _ => Trouble::NoCoordinator { time },
        };
        (at, trouble)
    };
    (0..count).map(|_| draw(seed)).collect()
}
