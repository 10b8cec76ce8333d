//! What threads wait for.
//!
//! Depends on nothing of ours but [`sync`](crate::sync), so that loom can check it by itself.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Opens once; threads wait for it against a deadline.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// Lets everyone through, now and later.
    pub(crate) fn open(&self) {
        *lock(&self.open) = true;
        self.changed.notify_all();
    }

    /// Waits until it is open; `false` when the deadline came first.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        let mut open = lock(&self.open);
        while !*open {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A flag that one thread waits for and any other raises; raising it twice before a wait counts once.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Ends the current wait, or the next one.
    pub(crate) fn raise(&self) {
        let mut raised = lock(&self.raised);
        if !*raised {
            *raised = true;
            self.changed.notify_one();
        }
    }

    /// Waits for at most `timeout` and lowers the flag.
    pub(crate) fn wait(&self, timeout: Duration) {
        let mut raised = lock(&self.raised);
        if !*raised && !timeout.is_zero() {
            raised = self.changed.wait_timeout(raised, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        *raised = false;
    }
}

/// Locks even when another thread panicked while it held the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
