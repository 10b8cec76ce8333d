//! What can be seen of an engine.

use std::time::Instant;

use crate::event::TopicPartition;
use crate::subscribe::engine::Engine;
use crate::subscribe::slots::{Ownership, Slot};
use crate::subscribe::watchdog::{Activity, Sight};

/// What the engine counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Records accepted for handlers.
    pub(crate) received: u64,
    /// Deliveries that were handled in time.
    pub(crate) handled: u64,
    /// Attempts whose handler failed in time.
    pub(crate) failed: u64,
    /// Attempts after the first one.
    pub(crate) retries: u64,
    /// Records stored in a dead-letter topic.
    pub(crate) dead_lettered: u64,
    /// Records passed over, by policy or because a handler said so; without those that held no event.
    pub(crate) skipped: u64,
    /// Deliveries that nobody handled.
    pub(crate) released: u64,
    /// Records that held no event.
    pub(crate) invalid: u64,
    /// Answers that came too late or twice.
    pub(crate) late: u64,
    /// Those of them whose handler ran after its partition was gone.
    pub(crate) handled_after_revoke: u64,
    /// Records whose offset had been received already.
    pub(crate) duplicates: u64,
    /// Records of partitions that are not owned, and those that came after the drain began.
    pub(crate) stray: u64,
    /// Unfinished records that went with their partition.
    pub(crate) handed_over: u64,
    /// Commits that succeeded.
    pub(crate) commits: u64,
    /// Commits that failed.
    pub(crate) commit_failures: u64,
    /// Partitions handed over although something finished could not be committed.
    pub(crate) revoked_uncommitted: u64,
    /// Pauses of partitions.
    pub(crate) pauses: u64,
}

/// The engine's load at this moment, and its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineStats {
    /// What was counted.
    pub(crate) counters: Counters,
    /// Bytes of unfinished records.
    pub(crate) bytes: usize,
    /// Records handed out and not yet answered.
    pub(crate) in_flight: usize,
    /// Records that wait to be handed out.
    pub(crate) waiting: usize,
    /// Partitions owned.
    pub(crate) owned: usize,
    /// Partitions of those whose fetching is paused.
    pub(crate) paused: usize,
    /// Partitions of those that stand still by policy.
    pub(crate) halted: usize,
    /// Records on their way to a dead-letter topic.
    pub(crate) dead_letters_pending: usize,
}

/// One owned partition at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionStats<'a> {
    /// Which one.
    pub(crate) source: &'a TopicPartition,
    /// The first unfinished offset; `None` before anything was received.
    pub(crate) position: Option<i64>,
    /// The offset of the record that it stands still for, by policy.
    pub(crate) halted: Option<i64>,
    /// The offset committed last.
    #[cfg(test)]
    pub(crate) committed: Option<i64>,
    /// Nothing is handed out because nobody handles the topic.
    #[cfg(test)]
    pub(crate) held: bool,
}

impl Engine {
    /// The load at this moment and what was counted. One pass over the partitions.
    pub(crate) fn stats(&self) -> EngineStats {
        let mut stats = EngineStats { counters: self.counters, bytes: self.bytes, ..EngineStats::default() };
        for slot in &self.slots {
            stats.in_flight += slot.open();
            stats.waiting += slot.waiting();
            stats.dead_letters_pending += slot.dead_letters();
            stats.halted += usize::from(slot.halted.is_some());
            stats.owned += usize::from(slot.ownership == Ownership::Owned);
            stats.paused += usize::from(slot.paused.is_some());
        }
        stats
    }

    /// Dead letters that could not be written and are tried again.
    pub(crate) fn refused_dead_letters(&self) -> usize {
        self.slots.iter().map(Slot::refused_dead_letters).sum()
    }

    /// The owned partitions as the watchdog looks at them; where nothing was received its host knows more.
    pub(crate) fn sights(&self, now: Instant) -> impl Iterator<Item = Sight> {
        let owned = self.slots.iter().filter(|slot| slot.ownership != Ownership::Vacant);
        owned.map(move |slot| Sight {
            source: slot.source.clone(),
            position: slot.window.position(),
            received: slot.window.next_offset(),
            activity: self.activity(now, slot),
        })
    }

    fn activity(&self, now: Instant, slot: &Slot) -> Activity {
        let held_back = slot.ownership != Ownership::Owned || slot.held || slot.paused.is_some();
        if slot.open() > 0 || slot.dead_letters() > 0 {
            return Activity::Running;
        }
        if held_back || slot.halted.is_some() || self.drain.is_some() || self.is_full() {
            return Activity::HeldBack;
        }
        if slot.waiting() == 0 {
            return Activity::Idle;
        }
        if slot.waits_for_time(now) {
            return Activity::Running;
        }
        if self.topics.get(slot.topic).has_room() { Activity::Idle } else { Activity::HeldBack }
    }

    /// The owned partitions at this moment.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionStats<'_>> {
        self.slots.iter().filter(|slot| slot.ownership != Ownership::Vacant).map(|slot| PartitionStats {
            source: &slot.source,
            position: slot.window.position(),
            halted: slot.halted,
            #[cfg(test)]
            committed: slot.committed_offset(),
            #[cfg(test)]
            held: slot.held,
        })
    }
}
