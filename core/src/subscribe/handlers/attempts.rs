//! Which handlers succeeded in earlier attempts at an event.

use std::collections::{BTreeMap, HashMap};

use crate::event::Ticket;

/// How many events of a partition are remembered. Of one that is forgotten, all handlers are called again.
const MAX_EVENTS: usize = 10_000;

/// Remembers, per partition and for its current assignment, who need not be called again.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<u16, Slot>);

#[derive(Debug, Default)]
struct Slot {
    epoch: u16,
    /// By the ticket's sequence: ids of handlers.
    done: BTreeMap<u32, Vec<u64>>,
}

impl Attempts {
    /// The handlers that succeeded, forgotten from now on.
    pub(super) fn take(&mut self, ticket: Ticket) -> Vec<u64> {
        let slot = self.0.get_mut(&ticket.slot()).filter(|slot| slot.epoch == ticket.epoch());
        slot.and_then(|slot| slot.done.remove(&ticket.sequence())).unwrap_or_default()
    }

    /// Remembers the handlers that succeeded for the next attempt.
    pub(super) fn keep(&mut self, ticket: Ticket, done: Vec<u64>) {
        if done.is_empty() {
            return;
        }
        let slot = self.0.entry(ticket.slot()).or_default();
        if slot.epoch != ticket.epoch() {
            *slot = Slot { epoch: ticket.epoch(), done: BTreeMap::new() };
        }
        if slot.done.len() >= MAX_EVENTS {
            slot.done.pop_first();
        }
        slot.done.insert(ticket.sequence(), done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_lasts_for_one_attempt_and_one_assignment_and_is_bounded() {
        let mut attempts = Attempts::default();
        let ticket = Ticket::new(3, 7, 1);
        attempts.keep(ticket, vec![1, 2]);
        assert_eq!(attempts.take(Ticket::new(4, 7, 1)), [0u64; 0]);
        assert_eq!((attempts.take(ticket), attempts.take(ticket)), (vec![1, 2], vec![]));
        attempts.keep(ticket, vec![1]);
        attempts.keep(Ticket::new(4, 7, 9), vec![2]);
        assert_eq!(attempts.take(ticket), [0u64; 0], "of an earlier assignment");
        for sequence in 0..=MAX_EVENTS as u32 {
            attempts.keep(Ticket::new(4, 7, sequence), vec![1]);
        }
        assert_eq!(attempts.0[&7].done.len(), MAX_EVENTS);
    }
}
