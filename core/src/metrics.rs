//! Counters, rates and the processing-time histogram of one bus.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::runtime::lock;

/// Upper bounds of the processing-time histogram's buckets, in seconds; one more bucket is unbounded.
pub const PROCESSING_TIME_BOUNDS: [f64; 17] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Rates are averages over this window.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The state of a bus in numbers. Counters start at 0 when the bus connects.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Whether a broker can be reached and publishes make progress.
    pub connected: bool,
    /// How often the connection was lost.
    pub connections_lost: u64,
    /// Clients that gave up for good and were replaced.
    pub clients_rebuilt: u64,
    /// What became of publishes.
    pub publish: PublishMetrics,
    /// What became of received records.
    pub consume: ConsumeMetrics,
    /// Failures by the code of their kind, for example `EVBUS_TIMEOUT`.
    pub errors: BTreeMap<&'static str, u64>,
}

/// What became of publishes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishMetrics {
    /// Records that the brokers acknowledged.
    pub acknowledged: u64,
    /// Publishes that failed.
    pub failed: u64,
    /// Records handed to the client and not yet completed.
    pub in_flight: u64,
    /// Acknowledged records per second, over the last 10 seconds.
    pub per_second: f64,
}

/// What became of received records.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeMetrics {
    /// Records received.
    pub received: u64,
    /// Events whose handlers all succeeded.
    pub handled: u64,
    /// Attempts of which a handler failed.
    pub failed: u64,
    /// Attempts after an event's first one.
    pub retries: u64,
    /// Events and records that were put into a dead-letter topic.
    pub dead_lettered: u64,
    /// Events that were passed over, by policy or because a handler said so.
    pub skipped: u64,
    /// Records that are not events.
    pub invalid: u64,
    /// Handler results that came after their partition had gone to another member.
    pub handled_after_revoke: u64,
    /// Events handed to handlers and not yet finished.
    pub in_flight: u64,
    /// Bytes of received records that are not finished.
    pub in_flight_bytes: u64,
    /// Finished events per second, over the last 10 seconds.
    pub per_second: f64,
    /// Assignments and revocations of partitions.
    pub rebalances: u64,
    /// Commits that failed; they are tried again.
    pub commit_failures: u64,
    /// Partitions that went on from another offset because theirs was not in the log any more.
    pub offset_resets: u64,
    /// Partitions that are paused because their handlers are behind.
    pub paused_partitions: u64,
    /// Partitions that stand still by policy; more than 0 needs someone.
    pub halted_partitions: u64,
    /// Partitions that have records and get none, for no reason of the bus; they are being healed.
    pub stalled_partitions: u64,
    /// How often a partition began to stand still so.
    pub stalls: u64,
    /// Records on their way to a dead-letter topic; nothing behind them is committed. A number that stays above 0
    /// says that the topic cannot be written to.
    pub dead_letters_pending: u64,
    /// How far the group is behind, per partition that this member owns.
    pub lag: Vec<PartitionLag>,
    /// How long handlers took.
    pub processing_time: Histogram,
}

/// How far the group is behind on one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// Records between the first unfinished one and the end of the partition.
    pub lag: i64,
}

/// A histogram with the bounds of [`PROCESSING_TIME_BOUNDS`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Histogram {
    /// How many were measured.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
    /// Per bucket: its upper bound in seconds (`None` = unbounded) and how many fell into it.
    pub buckets: Vec<(Option<f64>, u64)>,
}

impl Histogram {
    /// The smallest bound below which at least the given share (0 to 1) lies; 0 when nothing was measured.
    ///
    /// Above the last bound it is infinite.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bound, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return bound.unwrap_or(f64::INFINITY);
            }
        }
        0.0
    }
}

/// What the threads of a bus count into.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) connections_lost: AtomicU64,
    pub(crate) clients_rebuilt: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) publish_failed: AtomicU64,
    pub(crate) publish_in_flight: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) handled: AtomicU64,
    pub(crate) handler_failed: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) handled_after_revoke: AtomicU64,
    pub(crate) consume_in_flight: AtomicU64,
    pub(crate) consume_in_flight_bytes: AtomicU64,
    pub(crate) paused_partitions: AtomicU64,
    pub(crate) halted_partitions: AtomicU64,
    pub(crate) stalled_partitions: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) dead_letters_pending: AtomicU64,
    pub(crate) rebalances: AtomicU64,
    pub(crate) commit_failures: AtomicU64,
    pub(crate) offset_resets: AtomicU64,
    errors: Vec<AtomicU64>,
    processing: [AtomicU64; PROCESSING_TIME_BOUNDS.len() + 1],
    processing_micros: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
    last_error: Mutex<Option<Error>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    acknowledged: u64,
    finished: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Recorder {
            connections_lost: zero(),
            clients_rebuilt: zero(),
            acknowledged: zero(),
            publish_failed: zero(),
            publish_in_flight: zero(),
            received: zero(),
            handled: zero(),
            handler_failed: zero(),
            retries: zero(),
            dead_lettered: zero(),
            skipped: zero(),
            invalid: zero(),
            handled_after_revoke: zero(),
            consume_in_flight: zero(),
            consume_in_flight_bytes: zero(),
            paused_partitions: zero(),
            halted_partitions: zero(),
            stalled_partitions: zero(),
            stalls: zero(),
            dead_letters_pending: zero(),
            rebalances: zero(),
            commit_failures: zero(),
            offset_resets: zero(),
            errors: ErrorKind::ALL.iter().map(|_| zero()).collect(),
            processing: std::array::from_fn(|_| zero()),
            processing_micros: zero(),
            samples: Mutex::default(),
            last_error: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Counts a failure by its kind.
    pub(crate) fn error(&self, kind: ErrorKind) {
        if let Some(index) = ErrorKind::ALL.iter().position(|known| *known == kind) {
            self.errors[index].fetch_add(1, Relaxed);
        }
    }

    /// Counts a failure that no caller hears of, and remembers it.
    pub(crate) fn failed(&self, error: &Error) {
        self.error(error.kind());
        self.remember(error);
    }

    /// Remembers a failure that no caller hears of.
    pub(crate) fn remember(&self, error: &Error) {
        *lock(&self.last_error) = Some(error.clone());
    }

    /// The failure remembered last.
    pub(crate) fn last_error(&self) -> Option<Error> {
        lock(&self.last_error).clone()
    }

    /// Counts how long handlers took.
    pub(crate) fn processed(&self, all: impl Iterator<Item = Duration>) {
        // Added up first: threads that count at the same time wait for each other.
        let mut counts = [0; PROCESSING_TIME_BOUNDS.len() + 1];
        let mut micros = 0;
        for elapsed in all {
            let seconds = elapsed.as_secs_f64();
            counts[PROCESSING_TIME_BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
            micros += elapsed.as_micros() as u64;
        }
        for (bucket, count) in self.processing.iter().zip(counts).filter(|(_, count)| *count > 0) {
            bucket.fetch_add(count, Relaxed);
        }
        self.processing_micros.fetch_add(micros, Relaxed);
    }

    /// Takes a sample for the rates; more than one a second changes nothing.
    pub(crate) fn sample(&self, now: Instant) {
        let mut samples = lock(&self.samples);
        if samples.back().is_none_or(|last| now.duration_since(last.at) >= Duration::from_secs(1)) {
            samples.push_back(self.current(now));
        }
        while samples.front().is_some_and(|first| now.duration_since(first.at) > RATE_WINDOW) {
            samples.pop_front();
        }
    }

    fn current(&self, at: Instant) -> Sample {
        Sample {
            at,
            acknowledged: self.acknowledged.load(Relaxed),
            finished: self.handled.load(Relaxed) + self.dead_lettered.load(Relaxed) + self.skipped.load(Relaxed),
        }
    }

    /// The numbers now. `connected` and the lag are for the caller to fill in.
    pub(crate) fn snapshot(&self, now: Instant) -> Metrics {
        let (published_rate, finished_rate) = self.rates(now);
        Metrics {
            connected: false,
            connections_lost: self.connections_lost.load(Relaxed),
            clients_rebuilt: self.clients_rebuilt.load(Relaxed),
            publish: PublishMetrics {
                acknowledged: self.acknowledged.load(Relaxed),
                failed: self.publish_failed.load(Relaxed),
                in_flight: self.publish_in_flight.load(Relaxed),
                per_second: published_rate,
            },
            consume: ConsumeMetrics {
                received: self.received.load(Relaxed),
                handled: self.handled.load(Relaxed),
                failed: self.handler_failed.load(Relaxed),
                retries: self.retries.load(Relaxed),
                dead_lettered: self.dead_lettered.load(Relaxed),
                skipped: self.skipped.load(Relaxed),
                invalid: self.invalid.load(Relaxed),
                handled_after_revoke: self.handled_after_revoke.load(Relaxed),
                in_flight: self.consume_in_flight.load(Relaxed),
                in_flight_bytes: self.consume_in_flight_bytes.load(Relaxed),
                per_second: finished_rate,
                rebalances: self.rebalances.load(Relaxed),
                commit_failures: self.commit_failures.load(Relaxed),
                offset_resets: self.offset_resets.load(Relaxed),
                paused_partitions: self.paused_partitions.load(Relaxed),
                halted_partitions: self.halted_partitions.load(Relaxed),
                stalled_partitions: self.stalled_partitions.load(Relaxed),
                stalls: self.stalls.load(Relaxed),
                dead_letters_pending: self.dead_letters_pending.load(Relaxed),
                lag: Vec::new(),
                processing_time: self.processing_time(),
            },
            errors: ErrorKind::ALL
                .iter()
                .zip(&self.errors)
                .map(|(kind, count)| (kind.code(), count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }

    fn rates(&self, now: Instant) -> (f64, f64) {
        let Some(first) = lock(&self.samples).front().copied() else {
            return (0.0, 0.0);
        };
        let seconds = now.saturating_duration_since(first.at).as_secs_f64();
        if seconds == 0.0 {
            return (0.0, 0.0);
        }
        let current = self.current(now);
        let rate = |from: u64, to: u64| (to.saturating_sub(from)) as f64 / seconds;
        (rate(first.acknowledged, current.acknowledged), rate(first.finished, current.finished))
    }

    fn processing_time(&self) -> Histogram {
        let counts: Vec<u64> = self.processing.iter().map(|count| count.load(Relaxed)).collect();
        let bounds = PROCESSING_TIME_BOUNDS.iter().copied().map(Some).chain([None]);
        Histogram {
            count: counts.iter().sum(),
            sum: self.processing_micros.load(Relaxed) as f64 / 1e6,
            buckets: bounds.zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processing_times_fall_into_their_buckets() {
        let recorder = Recorder::default();
        recorder.processed([50, 100, 101, 999].into_iter().map(Duration::from_micros));
        recorder.processed([70].into_iter().map(Duration::from_secs));
        let histogram = recorder.snapshot(Instant::now()).consume.processing_time;
        assert_eq!(histogram.count, 5);
        assert_eq!(histogram.buckets[0], (Some(0.0001), 2));
        assert_eq!(histogram.buckets[1], (Some(0.0005), 1));
        assert_eq!(histogram.buckets[2], (Some(0.001), 1));
        assert_eq!(histogram.buckets.last(), Some(&(None, 1)));
        assert_eq!(histogram.quantile(0.5), 0.0005);
        assert_eq!(histogram.quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn rates_are_averages_over_the_window() {
        let recorder = Recorder::default();
        let start = Instant::now();
        recorder.sample(start);
        recorder.acknowledged.fetch_add(500, Relaxed);
        let metrics = recorder.snapshot(start + Duration::from_secs(5));
        assert_eq!(metrics.publish.per_second, 100.0);
        recorder.sample(start + Duration::from_secs(30));
        let metrics = recorder.snapshot(start + Duration::from_secs(35));
        assert_eq!(metrics.publish.per_second, 0.0);
    }

    #[test]
    fn errors_are_counted_by_the_code_of_their_kind() {
        let recorder = Recorder::default();
        recorder.error(ErrorKind::Timeout);
        recorder.error(ErrorKind::Timeout);
        assert_eq!(recorder.snapshot(Instant::now()).errors, BTreeMap::from([("EVBUS_TIMEOUT", 2)]));
    }
}
