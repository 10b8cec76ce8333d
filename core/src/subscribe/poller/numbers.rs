//! What the poll thread writes down for the metrics.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Poller;
use crate::runtime::lock;
use crate::subscribe::engine::stats::PartitionStats;

/// How often positions are written down for the lag metric.
const POSITIONS_INTERVAL: Duration = Duration::from_millis(500);

impl Poller {
    pub(super) fn publish_numbers(&mut self) {
        let stats = self.engine.stats();
        let recorder = &self.recorder;
        recorder.handled.store(stats.counters.handled, Ordering::Relaxed);
        recorder.handler_failed.store(stats.counters.failed, Ordering::Relaxed);
        recorder.invalid.store(stats.counters.invalid, Ordering::Relaxed);
        recorder.retries.store(stats.counters.retries, Ordering::Relaxed);
        recorder.dead_lettered.store(stats.counters.dead_lettered, Ordering::Relaxed);
        recorder.skipped.store(stats.counters.skipped, Ordering::Relaxed);
        recorder.dead_letters_pending.store(stats.dead_letters_pending as u64, Ordering::Relaxed);
        recorder.halted_partitions.store(stats.halted as u64, Ordering::Relaxed);
        recorder.handled_after_revoke.store(stats.counters.handled_after_revoke, Ordering::Relaxed);
        recorder.consume_in_flight.store(stats.in_flight as u64, Ordering::Relaxed);
        recorder.consume_in_flight_bytes.store(stats.bytes as u64, Ordering::Relaxed);
        recorder.paused_partitions.store(stats.paused as u64, Ordering::Relaxed);
        let now = Instant::now();
        if now.duration_since(self.positions_at) >= POSITIONS_INTERVAL {
            self.positions_at = now;
            let position = |one: PartitionStats<'_>| {
                let position = one.position.or_else(|| self.assignment.start_of(one.source))?;
                Some((one.source.clone(), position))
            };
            *lock(&self.shared.positions) = self.engine.partitions().filter_map(position).collect();
            self.watch(now);
            self.tell_condition(now);
        }
    }
}
