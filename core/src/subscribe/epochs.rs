//! Which deliveries a recall or an abort covers.

use std::sync::{PoisonError, RwLock};

use crate::event::Ticket;

/// Per slot, the last epoch that something holds for; it holds for earlier ones too.
///
/// For sinks: what [`RecordSink::stop`](crate::RecordSink::stop) and [`RecordSink::abort`](crate::RecordSink::abort)
/// said.
///
/// ```
/// use event_bus::{Epochs, Ticket};
///
/// let stopped = Epochs::default();
/// stopped.set(3, 7);
/// assert!(stopped.covers(Ticket::new(7, 3, 0)) && stopped.covers(Ticket::new(6, 3, 0)));
/// assert!(!stopped.covers(Ticket::new(8, 3, 0)) && !stopped.covers(Ticket::new(7, 4, 0)));
/// ```
#[derive(Debug, Default)]
pub struct Epochs(RwLock<Vec<Option<u16>>>);

impl Epochs {
    /// It holds for this epoch of the slot now, and for all before it. Any thread.
    pub fn set(&self, slot: u16, epoch: u16) {
        let mut epochs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::from(slot);
        if epochs.len() <= slot {
            epochs.resize(slot + 1, None);
        }
        epochs[slot] = Some(epoch);
    }

    /// Whether it holds for a delivery. Any thread.
    pub fn covers(&self, ticket: Ticket) -> bool {
        let epochs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // A run of an earlier assignment may still wait behind a handler that outlived it. Epochs wrap.
        let is_behind = |last: u16| last.wrapping_sub(ticket.epoch()) <= u16::MAX / 2;
        epochs.get(usize::from(ticket.slot())).is_some_and(|last| last.is_some_and(is_behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_wrap() {
        let epochs = Epochs::default();
        epochs.set(0, 1);
        for (epoch, covered) in [(1, true), (0, true), (u16::MAX, true), (2, false), (1000, false)] {
            assert_eq!(epochs.covers(Ticket::new(epoch, 0, 9)), covered, "{epoch}");
        }
    }
}
