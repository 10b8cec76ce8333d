//! What a subscription wants: order, concurrency, retries, and what becomes of events that nobody can handle.

use std::time::Duration;

use crate::event::TopicPartition;

/// What must not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// One event at a time per partition.
    #[default]
    Partition,
    /// One event at a time per key; events of different keys run side by side.
    Key,
}

/// Whether delays are spread, so that many failures do not come back at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// A random time between nothing and the delay.
    #[default]
    Full,
    /// The delay itself.
    None,
}

/// How often and when a failed event is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 5 by default, 1 is no retry.
    pub attempts: u32,
    /// The delay before the second attempt; 200 ms by default.
    pub initial_delay: Duration,
    /// No delay is longer; 30 s by default.
    pub max_delay: Duration,
    /// By what each further delay grows; 2 by default, 1 keeps them equal.
    pub multiplier: u32,
    /// How delays are spread.
    pub jitter: Jitter,
    /// No attempt starts later than this after the first failure; 5 min by default.
    pub max_elapsed: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            initial_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
            multiplier: 2,
            jitter: Jitter::Full,
            max_elapsed: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the given attempt, from 1, failed; `None` when it was the last one.
    ///
    /// `random` spreads the delay: any 32 random bits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use event_bus::{Jitter, RetryPolicy};
    ///
    /// let policy = RetryPolicy { attempts: 3, jitter: Jitter::None, ..RetryPolicy::default() };
    /// assert_eq!(policy.delay(1, 0), Some(Duration::from_millis(200)));
    /// assert_eq!(policy.delay(2, 0), Some(Duration::from_millis(400)));
    /// assert_eq!(policy.delay(3, 0), None);
    /// ```
    pub fn delay(&self, attempt: u32, random: u32) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let growth = self.multiplier.max(1).saturating_pow(attempt.saturating_sub(1));
        let delay = self.initial_delay.saturating_mul(growth).min(self.max_delay);
        Some(match self.jitter {
            Jitter::None => delay,
            Jitter::Full => delay.mul_f64(f64::from(random) / f64::from(u32::MAX)),
        })
    }
}

/// What becomes of an event whose retries are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// Its record goes to the dead-letter topic, byte for byte, before its offset is committed.
    #[default]
    DeadLetter,
    /// It is logged, counted and passed over.
    Skip,
    /// Its partition stops there as long as this member has it; whoever gets it next tries the record again.
    Halt,
}

/// What becomes of a record that holds no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInvalid {
    /// It is logged, counted and passed over.
    #[default]
    Skip,
    /// It goes to the dead-letter topic, byte for byte.
    DeadLetter,
    /// Its partition stops there as long as this member has it; whoever gets it next tries the record again.
    Halt,
}

/// Where a group starts that has committed nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record with this timestamp, in milliseconds since the Unix epoch, or a later one.
    Timestamp(i64),
}

/// Where reading a partition goes on after [`Bus::seek`](crate::Bus::seek).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At this offset.
    Offset(i64),
    /// At the oldest record.
    Beginning,
    /// Behind the newest record.
    End,
    /// At the first record with this timestamp, in milliseconds since the Unix epoch, or a later one.
    Timestamp(i64),
}

/// What a subscription wants. The configuration holds the one that holds where a subscription says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What must not overlap; partitions by default.
    pub ordering: Ordering,
    /// How many events of the topic may be with their handlers at once, with [`Ordering::Key`]; 64 by default.
    pub concurrency: usize,
    /// Retries.
    pub retry: RetryPolicy,
    /// How long one call of a handler may take; `None`, the default, is for ever.
    pub handler_timeout: Option<Duration>,
    /// What follows the last attempt; the dead-letter topic by default.
    pub on_exhausted: OnExhausted,
    /// What follows a record that holds no event; it is skipped by default.
    pub on_invalid: OnInvalid,
    /// Whether later events of a key follow one that went to the dead-letter topic; false by default.
    ///
    /// It holds as long as this member has the partition, for at most 10 000 keys of it: beyond, the partition
    /// halts. Events are handed out one at a time then, and what waits behind a dead letter waits until that is
    /// stored.
    pub park_key: bool,
    /// The name of the dead-letter topic, in which `{topic}` stands for the topic; `{topic}.dead-letter` by default.
    pub dead_letter_topic: String,
    /// Where a group starts that has committed nothing; at the earliest by default.
    pub from: StartFrom,
    /// Records are handed out as they are, whether they hold an event or not; false by default.
    ///
    /// Nothing is invalid then: `on_invalid` has nothing to say, and what a record holds is for its handler to read.
    pub raw: bool,
}

impl Ordering {
    /// The word that stands for it in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ordering::Partition => "partition",
            Ordering::Key => "key",
        }
    }
}

impl Jitter {
    /// The word that stands for it in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Jitter::Full => "full",
            Jitter::None => "none",
        }
    }
}

impl OnExhausted {
    /// The word that stands for it in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnExhausted::DeadLetter => "dead-letter",
            OnExhausted::Skip => "skip",
            OnExhausted::Halt => "halt",
        }
    }
}

impl OnInvalid {
    /// The word that stands for it in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnInvalid::Skip => "skip",
            OnInvalid::DeadLetter => "dead-letter",
            OnInvalid::Halt => "halt",
        }
    }
}

/// What stands for the topic in the name of a dead-letter topic.
pub(crate) const TOPIC_PLACEHOLDER: &str = "{topic}";

impl Default for Policy {
    fn default() -> Self {
        Policy {
            ordering: Ordering::default(),
            concurrency: 64,
            retry: RetryPolicy::default(),
            handler_timeout: None,
            on_exhausted: OnExhausted::default(),
            on_invalid: OnInvalid::default(),
            park_key: false,
            dead_letter_topic: "{topic}.dead-letter".to_owned(),
            from: StartFrom::default(),
            raw: false,
        }
    }
}

impl Policy {
    /// The dead-letter topic of a topic.
    pub fn dead_letter_topic_of(&self, topic: &str) -> String {
        self.dead_letter_topic.replace(TOPIC_PLACEHOLDER, topic)
    }
}

/// A topic to consume, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSubscription {
    /// The topic.
    pub topic: String,
    /// What the subscription wants.
    pub policy: Policy,
}

/// Why a record is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// Its last attempt failed.
    Exhausted,
    /// Its handler said that no attempt can succeed.
    Fatal,
    /// It holds no event.
    Invalid,
    /// An earlier event of its key is a dead letter.
    Parked,
    /// Its handler asked for it.
    Requested,
}

impl DeadLetterReason {
    /// The word that stands for it in headers, logs and other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadLetterReason::Exhausted => "exhausted",
            DeadLetterReason::Fatal => "fatal",
            DeadLetterReason::Invalid => "invalid",
            DeadLetterReason::Parked => "parked",
            DeadLetterReason::Requested => "requested",
        }
    }
}

/// A partition that stands still by policy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halted {
    /// The partition.
    pub source: TopicPartition,
    /// The offset of the record that nobody may pass.
    pub offset: i64,
    /// Why, for a person.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bound_and_end_with_the_attempts() {
        let policy = RetryPolicy { attempts: 20, jitter: Jitter::None, ..RetryPolicy::default() };
        let millis = |attempt| policy.delay(attempt, 7).map(|delay| delay.as_millis());
        assert_eq!([1, 2, 3, 8, 9, 19].map(millis), [200, 400, 800, 25_600, 30_000, 30_000].map(Some));
        assert_eq!(millis(20), None);
        let endless = RetryPolicy { attempts: u32::MAX, ..policy };
        assert_eq!(endless.delay(u32::MAX - 1, 0), Some(Duration::from_secs(30)));
    }

    #[test]
    fn full_jitter_takes_anything_up_to_the_delay() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, 0), Some(Duration::ZERO));
        assert_eq!(policy.delay(1, u32::MAX), Some(Duration::from_millis(200)));
        let half = policy.delay(1, u32::MAX / 2).unwrap();
        assert!((Duration::from_millis(99)..=Duration::from_millis(100)).contains(&half), "{half:?}");
    }

    #[test]
    fn a_dead_letter_topic_is_named_after_its_topic() {
        assert_eq!(Policy::default().dead_letter_topic_of("orders.placed"), "orders.placed.dead-letter");
        let shared = Policy { dead_letter_topic: "failures".into(), ..Policy::default() };
        assert_eq!(shared.dead_letter_topic_of("orders.placed"), "failures");
    }
}
