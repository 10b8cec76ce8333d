//! What lets callbacks run until it is closed, and knows how many run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const CLOSED: usize = 1 << (usize::BITS - 1);

/// Open until closed: from then on nothing starts, and the last one that runs wakes who waits.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number of those inside, and the bit [`CLOSED`].
    state: AtomicUsize,
    waiting: Mutex<()>,
    left: Condvar,
}

/// Someone inside, until dropped.
pub(crate) struct Inside(Arc<Gate>);

impl Gate {
    /// `None` when it is closed.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Inside> {
        let before = self.state.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(self.clone());
        (before & CLOSED == 0).then_some(inside)
    }

    /// `false` when it was closed before.
    pub(crate) fn close(&self) -> bool {
        self.state.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Waits until no more than `own` are inside, or until the deadline; gives how many others still are.
    pub(crate) fn wait(&self, own: usize, deadline: Option<Instant>) -> usize {
        let mut waiting = lock(&self.waiting);
        loop {
            let others = (self.state.load(Ordering::SeqCst) & !CLOSED).saturating_sub(own);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if others == 0 || left.is_some_and(|left| left.is_zero()) {
                return others;
            }
            // An entrant that was turned away leaves without a word, hence the bound.
            let step = left.unwrap_or(Duration::MAX).min(Duration::from_millis(100));
            waiting = self.left.wait_timeout(waiting, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0.state.fetch_sub(1, Ordering::SeqCst) & CLOSED != 0 {
            let _waiting = lock(&self.0.waiting);
            self.0.left.notify_all();
        }
    }
}

/// Locks even when another thread panicked while it held the lock: a bus that reports a defect must still close.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_waits_for_those_inside_and_admits_nobody() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter().expect("an open gate");
        assert!(gate.close());
        assert!(!gate.close());
        assert!(gate.enter().is_none());
        assert_eq!(gate.wait(0, Some(Instant::now() + Duration::from_millis(5))), 1);
        assert_eq!(gate.wait(1, None), 0);
        let other = gate.clone();
        let waiting = std::thread::spawn(move || other.wait(0, Some(Instant::now() + Duration::from_secs(10))));
        drop(inside);
        assert_eq!(waiting.join().unwrap(), 0);
    }
}
