//! What follows from a handler's answer, and what waits for its time to come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::event::{Failure, Outcome, Ticket};
use crate::policy::{DeadLetterReason, OnExhausted, OnInvalid, Policy};

/// The pause after a dead letter could not be written, the first time and at most.
const WRITE_DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What went wrong with a record so far.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// How many attempts failed.
    pub(crate) attempts: u32,
    pub(crate) first_failed: Instant,
    pub(crate) last_failed: Instant,
    /// What the last attempt failed with.
    pub(crate) failure: Option<Box<Failure>>,
    /// Why no handler shall have it (any more).
    pub(crate) doom: Option<DeadLetterReason>,
    /// Until when the next attempt, or the next try to write the dead letter, waits.
    pub(crate) due: Option<Instant>,
    /// How often its dead letter could not be written.
    pub(crate) refusals: u32,
}

impl Trouble {
    /// A record that never was with a handler.
    pub(crate) fn doomed(now: Instant, reason: DeadLetterReason, failure: Option<Box<Failure>>) -> Self {
        Trouble {
            attempts: 0,
            first_failed: now,
            last_failed: now,
            failure,
            doom: Some(reason),
            due: None,
            refusals: 0,
        }
    }

    /// One more attempt failed.
    pub(crate) fn after(earlier: Option<Box<Trouble>>, now: Instant, failure: Option<Box<Failure>>) -> Box<Self> {
        let mut trouble = earlier.unwrap_or_else(|| {
            Box::new(Trouble {
                attempts: 0,
                first_failed: now,
                last_failed: now,
                failure: None,
                doom: None,
                due: None,
                refusals: 0,
            })
        });
        trouble.attempts += 1;
        trouble.last_failed = now;
        trouble.failure = failure.or(trouble.failure);
        trouble
    }

    /// How long the dead letter waits until it is written again.
    pub(crate) fn write_delay(&self) -> Duration {
        let (first, most) = WRITE_DELAY;
        first.saturating_mul(1 << self.refusals.saturating_sub(1).min(16)).min(most)
    }
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is finished.
    Finish,
    /// It stays unfinished, at the head of its lane.
    GiveBack,
    /// It stays at the head of its lane, which waits so long.
    Retry(Duration),
    /// It goes to the dead-letter topic.
    Bury(DeadLetterReason),
    /// It is passed over.
    Skip(DeadLetterReason),
    /// Nothing passes it.
    Halt(DeadLetterReason),
}

/// How a partition stands when an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Records are handed out.
    Flowing,
    /// It is being handed over: there is no next attempt.
    Leaving,
    /// Nothing new begins and nothing that failed is finished: the engine drains, or the partition is halted.
    Ending,
}

/// The policy for answers. `trouble` is that of the record before this answer.
pub(crate) fn judge(
    policy: &Policy,
    (outcome, retryable): (Outcome, Option<bool>),
    trouble: Option<&Trouble>,
    standing: Standing,
    now: Instant,
    dice: &mut Dice,
) -> Verdict {
    let verdict = match outcome {
        Outcome::Done | Outcome::Skip => Verdict::Finish,
        Outcome::Released => Verdict::GiveBack,
        Outcome::DeadLetter => Verdict::Bury(DeadLetterReason::Requested),
        Outcome::Invalid => on_invalid(policy),
        Outcome::Failed if retryable == Some(false) => on_exhausted(policy, DeadLetterReason::Fatal),
        Outcome::Failed => match next_delay(policy, trouble, now, dice) {
            Some(delay) => Verdict::Retry(delay),
            None => on_exhausted(policy, DeadLetterReason::Exhausted),
        },
    };
    match (standing, verdict) {
        (Standing::Flowing, _) | (_, Verdict::Finish | Verdict::Skip(DeadLetterReason::Invalid)) => verdict,
        (Standing::Leaving, Verdict::Bury(_) | Verdict::Skip(_)) => verdict,
        _ => Verdict::GiveBack,
    }
}

fn next_delay(policy: &Policy, trouble: Option<&Trouble>, now: Instant, dice: &mut Dice) -> Option<Duration> {
    let attempt = trouble.map_or(0, |trouble| trouble.attempts) + 1;
    let delay = policy.retry.delay(attempt, dice.roll())?;
    let elapsed = trouble.map_or(Duration::ZERO, |trouble| now.saturating_duration_since(trouble.first_failed));
    (elapsed + delay <= policy.retry.max_elapsed).then_some(delay)
}

/// The attempt that begins now is the last one, should it fail.
pub(crate) fn is_last(policy: &Policy, trouble: Option<&Trouble>, now: Instant) -> bool {
    let attempt = trouble.map_or(0, |trouble| trouble.attempts) + 1;
    let over = |trouble: &Trouble| now.saturating_duration_since(trouble.first_failed) >= policy.retry.max_elapsed;
    attempt >= policy.retry.attempts || trouble.is_some_and(over)
}

fn on_exhausted(policy: &Policy, reason: DeadLetterReason) -> Verdict {
    match policy.on_exhausted {
        OnExhausted::DeadLetter => Verdict::Bury(reason),
        OnExhausted::Skip => Verdict::Skip(reason),
        OnExhausted::Halt => Verdict::Halt(reason),
    }
}

/// What becomes of a record that holds no event.
pub(crate) fn on_invalid(policy: &Policy) -> Verdict {
    match policy.on_invalid {
        OnInvalid::DeadLetter => Verdict::Bury(DeadLetterReason::Invalid),
        OnInvalid::Skip => Verdict::Skip(DeadLetterReason::Invalid),
        OnInvalid::Halt => Verdict::Halt(DeadLetterReason::Invalid),
    }
}

/// Records that wait for their time, the earliest first.
///
/// What is not awaited any more stays until its time: whoever takes it asks the record.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Instant, u64)>>);

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, ticket: Ticket) {
        self.0.push(Reverse((at, ticket.0)));
    }

    /// The earliest.
    pub(crate) fn first(&self) -> Option<(Instant, Ticket)> {
        self.0.peek().map(|Reverse((at, ticket))| (*at, Ticket(*ticket)))
    }

    /// Forgets the earliest.
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
}

/// Random numbers of which the seed is all: SplitMix64.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub(crate) fn roll(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Jitter, RetryPolicy};

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> Policy {
        let retry = RetryPolicy { attempts: 3, jitter: Jitter::None, max_elapsed: 450 * MS, ..RetryPolicy::default() };
        Policy { retry, ..Policy::default() }
    }

    fn verdict(policy: &Policy, answer: (Outcome, Option<bool>), earlier: Option<(u32, u32)>, at: Standing) -> Verdict {
        let now = Instant::now() + Duration::from_secs(10);
        let trouble = earlier.map(|(attempts, milliseconds)| Trouble {
            attempts,
            doom: None,
            ..Trouble::doomed(now - milliseconds * MS, DeadLetterReason::Parked, None)
        });
        judge(policy, answer, trouble.as_ref(), at, now, &mut Dice::new(0))
    }

    #[test]
    fn failures_are_tried_again_until_attempts_or_time_are_used_up() {
        let failed = (Outcome::Failed, None);
        let flowing = |earlier| verdict(&policy(), failed, earlier, Standing::Flowing);
        assert_eq!(flowing(None), Verdict::Retry(200 * MS));
        assert_eq!(flowing(Some((1, 50))), Verdict::Retry(400 * MS));
        assert_eq!(flowing(Some((1, 51))), Verdict::Bury(DeadLetterReason::Exhausted), "it would start too late");
        assert_eq!(flowing(Some((2, 0))), Verdict::Bury(DeadLetterReason::Exhausted));
        let fatal = |retryable| verdict(&policy(), (Outcome::Failed, retryable), None, Standing::Flowing);
        assert_eq!(fatal(Some(false)), Verdict::Bury(DeadLetterReason::Fatal));
        assert_eq!(fatal(Some(true)), Verdict::Retry(200 * MS));
    }

    #[test]
    fn the_policy_says_what_follows_the_last_attempt_and_an_invalid_record() {
        let failed = (Outcome::Failed, Some(false));
        for (on_exhausted, expected) in [
            (OnExhausted::DeadLetter, Verdict::Bury(DeadLetterReason::Fatal)),
            (OnExhausted::Skip, Verdict::Skip(DeadLetterReason::Fatal)),
            (OnExhausted::Halt, Verdict::Halt(DeadLetterReason::Fatal)),
        ] {
            let policy = Policy { on_exhausted, ..policy() };
            assert_eq!(verdict(&policy, failed, None, Standing::Flowing), expected);
            assert_eq!(verdict(&policy, failed, None, Standing::Ending), Verdict::GiveBack);
        }
        for (on_invalid, expected) in [
            (OnInvalid::DeadLetter, Verdict::Bury(DeadLetterReason::Invalid)),
            (OnInvalid::Skip, Verdict::Skip(DeadLetterReason::Invalid)),
            (OnInvalid::Halt, Verdict::Halt(DeadLetterReason::Invalid)),
        ] {
            let policy = Policy { on_invalid, ..policy() };
            assert_eq!(verdict(&policy, (Outcome::Invalid, None), None, Standing::Flowing), expected);
        }
        let requested = verdict(&policy(), (Outcome::DeadLetter, None), None, Standing::Flowing);
        assert_eq!(requested, Verdict::Bury(DeadLetterReason::Requested));
    }

    #[test]
    fn nothing_is_tried_again_in_a_partition_that_leaves_and_nothing_failed_is_finished_at_an_end() {
        let at = |outcome, standing| verdict(&policy(), (outcome, None), None, standing);
        for standing in [Standing::Leaving, Standing::Ending] {
            assert_eq!(at(Outcome::Done, standing), Verdict::Finish);
            assert_eq!(at(Outcome::Skip, standing), Verdict::Finish);
            assert_eq!(at(Outcome::Failed, standing), Verdict::GiveBack);
            assert_eq!(at(Outcome::Released, standing), Verdict::GiveBack);
        }
        assert_eq!(at(Outcome::DeadLetter, Standing::Leaving), Verdict::Bury(DeadLetterReason::Requested));
        assert_eq!(at(Outcome::DeadLetter, Standing::Ending), Verdict::GiveBack);
    }

    #[test]
    fn a_dead_letter_that_cannot_be_written_waits_longer_and_longer() {
        let mut trouble = Trouble::doomed(Instant::now(), DeadLetterReason::Fatal, None);
        let delays = [1, 2, 3, 8, 9, 1_000].map(|refusals| {
            trouble.refusals = refusals;
            trouble.write_delay().as_millis()
        });
        assert_eq!(delays, [200, 400, 800, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn the_last_attempt_is_known_before_it_begins() {
        let now = Instant::now();
        let trouble = |attempts| Trouble { attempts, ..Trouble::doomed(now, DeadLetterReason::Parked, None) };
        assert!(!is_last(&policy(), None, now));
        assert!(!is_last(&policy(), Some(&trouble(1)), now + 449 * MS));
        assert!(is_last(&policy(), Some(&trouble(1)), now + 450 * MS));
        assert!(is_last(&policy(), Some(&trouble(2)), now));
    }
}
