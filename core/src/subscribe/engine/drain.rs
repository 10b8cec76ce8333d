//! How the engine ends: nothing new is handed out, what is out may finish, what is finished is committed.

use std::time::Instant;

use crate::subscribe::engine::{Engine, Output};
use crate::subscribe::slots::{Ownership, Slot};

/// The end of an engine under way.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) deadline: Instant,
    pub(super) handled: u64,
    pub(super) abandoned: u64,
    pub(super) commit_given_up: bool,
    pub(super) reported: bool,
}

impl Engine {
    pub(super) fn begin_drain(&mut self, deadline: Instant) {
        if let Some(drain) = &mut self.drain {
            drain.deadline = drain.deadline.min(deadline);
            return;
        }
        self.drain = Some(Drain { deadline, handled: 0, abandoned: 0, commit_given_up: false, reported: false });
        for slot in &mut self.slots {
            slot.drain_base = slot.committed_records();
            if slot.ownership == Ownership::Owned && slot.open() > 0 {
                self.outputs.push(Output::Recall { slot: slot.index, epoch: slot.epoch() });
            }
        }
    }

    pub(super) fn end_drain(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(drain) = self.drain.as_ref().filter(|drain| !drain.reported) else { return };
        let settled = !self.slots.iter().any(Slot::is_running);
        let committed = !self.commits.is_outstanding() && self.slots.iter().all(|slot| slot.to_commit().is_none());
        if now < drain.deadline && !(settled && (committed || drain.commit_given_up)) {
            return;
        }
        let (mut handled, mut abandoned) = (drain.handled, drain.abandoned);
        for slot in &self.slots {
            handled += slot.committed_records() - slot.drain_base;
            abandoned += slot.window.received() - slot.committed_records();
        }
        let running = self.slots.iter().filter(|slot| slot.has_runs());
        out.extend(running.map(|slot| Output::Abort { slot: slot.index, epoch: slot.epoch() }));
        out.push(Output::Drained { handled, abandoned });
        if let Some(drain) = &mut self.drain {
            drain.reported = true;
        }
    }

    /// When the drain ends whatever runs.
    pub(super) fn drain_ends_at(&self) -> Option<Instant> {
        self.drain.as_ref().filter(|drain| !drain.reported).map(|drain| drain.deadline)
    }
}
