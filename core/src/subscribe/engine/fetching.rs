//! What bounds an engine: bytes over all, and records that overtake others in each partition.

use std::time::Instant;

use crate::subscribe::engine::{Engine, Output};
use crate::subscribe::slots::{Ownership, Slot};

impl Engine {
    /// The bytes of unfinished records have reached the bound: the host should advance before it polls on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.config.max_bytes
    }

    /// Handlers are given a moment to catch up before more is taken from the client. Quick ones never fall so far
    /// behind that partitions are paused, which throws away what was fetched.
    pub(crate) fn is_sated(&self, now: Instant) -> bool {
        self.ahead_since.is_some_and(|since| now < since + self.config.patience)
    }

    /// Lets partitions be fetched that left while paused and are here again. A client refuses a list with one that is
    /// gone already, so what was assigned is not said before all that followed is known.
    pub(super) fn unpause_assigned(&mut self, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.came_paused) {
            return;
        }
        let back = self.slots.iter_mut().filter(|slot| slot.ownership == Ownership::Owned);
        let resume: Vec<_> =
            back.filter_map(|slot| std::mem::take(&mut slot.left_paused).then(|| slot.source.clone())).collect();
        out.extend((!resume.is_empty()).then_some(Output::Resume(resume)));
    }

    /// Pauses partitions that hold more than a fair share once half of the budget is taken: what they hold then
    /// and a share for each of the others fit the budget together, and one slow partition stops no other.
    ///
    /// A partition whose order keeps much that is finished from being committed is paused too, or a crash would
    /// deliver all of it again.
    pub(super) fn control_fetching(&mut self, now: Instant, out: &mut Vec<Output>) {
        let draining = self.drain.is_some();
        let half = self.config.max_bytes / 2;
        let over_half = self.bytes > half;
        let level = self.level();
        let mut ahead = self.bytes > self.config.max_bytes / 8;
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for slot in self.slots.iter_mut().filter(|slot| slot.ownership == Ownership::Owned) {
            match slot.paused {
                None if draining || level.is_above(slot, over_half) => {
                    slot.paused = Some(now);
                    pause.push(slot.source.clone());
                }
                None => ahead |= slot.is_by_key() && slot.disorder() > level.window / 2,
                Some(since) if !draining && level.is_below(slot) && now >= since + self.config.resume_after => {
                    slot.paused = None;
                    resume.push(slot.source.clone());
                }
                Some(_) => {}
            }
        }
        self.ahead_since = ahead.then(|| self.ahead_since.unwrap_or(now));
        self.counters.pauses += pause.len() as u64;
        out.extend((!pause.is_empty()).then_some(Output::Pause(pause)));
        out.extend((!resume.is_empty()).then_some(Output::Resume(resume)));
    }

    fn level(&self) -> Level {
        let half = self.config.max_bytes / 2;
        let owned = self.slots.iter().filter(|slot| slot.ownership == Ownership::Owned).count();
        Level { share: half / owned.max(1), below_quarter: self.bytes < half / 2, window: self.config.window }
    }

    /// When fetching may have something to do by time alone.
    pub(super) fn fetching_at(&self, now: Instant) -> Option<Instant> {
        let level = self.level();
        let resume = self.slots.iter().filter(|_| self.drain.is_none()).filter_map(|slot| {
            let since = slot.paused?;
            level.is_below(slot).then(|| since + self.config.resume_after)
        });
        let patience = self.ahead_since.map(|since| since + self.config.patience).filter(|end| *end > now);
        resume.chain(patience).min()
    }
}

/// What one partition may hold.
struct Level {
    /// In bytes, once half of the budget is taken.
    share: usize,
    /// All partitions together hold little.
    below_quarter: bool,
    /// In records that stand in the way of a bounded redelivery.
    window: usize,
}

impl Level {
    fn is_above(&self, slot: &Slot, over_half: bool) -> bool {
        // A record above the budget that is alone flows; dead letters that cannot be written pile up, and so do records
        // of many keys, of which none waits while there is room.
        let side_by_side = slot.is_by_key() && slot.open() > 1;
        let piling_up = slot.waiting() > 0 || slot.dead_letters() > 0 || side_by_side;
        let greedy = over_half && slot.bytes > self.share && piling_up;
        greedy || slot.disorder() >= self.window || slot.halted.is_some()
    }

    /// A paused partition goes on when it holds at most half of what it may, or when all together hold little.
    fn is_below(&self, slot: &Slot) -> bool {
        let light = self.below_quarter || slot.bytes <= self.share / 2;
        light && slot.disorder() <= self.window / 2 && slot.halted.is_none()
    }
}
