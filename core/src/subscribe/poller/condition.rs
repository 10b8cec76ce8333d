//! What the poll thread writes down for whoever asks how the bus is.

use std::time::Instant;

use super::Poller;
use crate::event::TopicPartition;
use crate::policy::Halted;
use crate::runtime::lock;
use crate::subscribe::condition::{Condition, HaltedPartition, StalledPartition};
use crate::subscribe::watchdog::Stall;

impl Poller {
    /// Runs on: poll thread, twice a second and when something has become worse.
    pub(super) fn tell_condition(&mut self, now: Instant) {
        if !self.halted.is_empty() {
            let standing: Vec<(&TopicPartition, Option<i64>)> =
                self.engine.partitions().map(|one| (one.source, one.halted)).collect();
            self.halted.retain(|halted| standing.contains(&(&halted.source, Some(halted.offset))));
        }
        if self.engine.refused_dead_letters() == 0 {
            self.dead_letter_error = None;
        }
        let mut condition = lock(&self.shared.condition);
        *condition = Condition {
            halted: self.halted.iter().map(halted).collect(),
            stalled: self.watchdog.stalls().map(|stall| stalled(now, stall)).collect(),
            dead_letter: self.dead_letter_error.clone(),
            client: self.renewal.cause().cloned(),
            failed: condition.failed.take(),
        };
    }
}

fn halted(halted: &Halted) -> HaltedPartition {
    HaltedPartition {
        topic: halted.source.topic.to_string(),
        partition: halted.source.partition,
        offset: halted.offset,
        reason: halted.reason.clone(),
    }
}

fn stalled(now: Instant, stall: &Stall) -> StalledPartition {
    StalledPartition {
        topic: stall.source.topic.to_string(),
        partition: stall.source.partition,
        position: stall.position,
        high_watermark: stall.end,
        stalled_ms: now.saturating_duration_since(stall.since).as_millis() as u64,
        reason: stall.reason.as_str(),
    }
}
