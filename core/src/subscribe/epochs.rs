//! Which deliveries a recall or an abort covers.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::Ticket;

/// Slots whose epochs lie together, and how many such pages all slots take.
const PAGE: usize = 256;

/// Marks an epoch as set, above its 16 bits.
const SET: u32 = 1 << 16;

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
pub struct Epochs {
    /// Looked at for every delivery, by many threads, and hardly ever written: hence no lock.
    pages: Box<[OnceLock<Box<[AtomicU32; PAGE]>>]>,
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs { pages: (0..PAGE).map(|_| OnceLock::new()).collect() }
    }
}

impl Epochs {
    /// It holds for this epoch of the slot now, and for all before it. Any thread.
    pub fn set(&self, slot: u16, epoch: u16) {
        let (page, place) = place(slot);
        let page = self.pages[page].get_or_init(|| Box::new([const { AtomicU32::new(0) }; PAGE]));
        page[place].store(SET | u32::from(epoch), Ordering::SeqCst);
    }

    /// Whether it holds for a delivery. Any thread.
    pub fn covers(&self, ticket: Ticket) -> bool {
        let (page, place) = place(ticket.slot());
        let last = self.pages[page].get().map_or(0, |page| page[place].load(Ordering::SeqCst));
        // A run of an earlier assignment may still wait behind a handler that outlived it. Epochs wrap.
        last & SET != 0 && (last as u16).wrapping_sub(ticket.epoch()) <= u16::MAX / 2
    }
}

fn place(slot: u16) -> (usize, usize) {
    (usize::from(slot) / PAGE, usize::from(slot) % PAGE)
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.pages.iter().enumerate().filter_map(|(index, page)| Some((index * PAGE, page.get()?)));
        let epochs = pages.flat_map(|(first, page)| {
            page.iter().enumerate().map(move |(place, last)| (first + place, last.load(Ordering::SeqCst)))
        });
        f.debug_map()
            .entries(epochs.filter(|(_, last)| last & SET != 0).map(|(slot, last)| (slot, last as u16)))
            .finish()
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

    #[test]
    fn slots_keep_apart_up_to_the_last_one() {
        let epochs = Epochs::default();
        for slot in [255, 256, u16::MAX] {
            epochs.set(slot, slot);
        }
        for (slot, covered) in [(0, false), (254, false), (255, true), (256, true), (257, false), (u16::MAX, true)] {
            assert_eq!(epochs.covers(Ticket::new(slot, slot, 0)), covered, "{slot}");
        }
        assert_eq!(format!("{epochs:?}"), "{255: 255, 256: 256, 65535: 65535}");
    }
}
