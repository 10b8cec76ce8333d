//! From many threads to one reader: a list and the flag that says whether the reader has been woken.
//!
//! Depends on nothing of ours but [`sync`](crate::sync), so that loom can check it by itself.

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError, fence};

/// Whether the reader has been woken and has not looked yet.
///
/// Writers push, then raise; the reader lowers, then takes. In this order nothing that was pushed stays unseen,
/// and the reader is woken at most once per look.
#[derive(Debug, Default)]
pub(crate) struct WakeFlag(AtomicBool);

impl WakeFlag {
    /// True for the writer that has to wake the reader.
    pub(crate) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn lower(&self) {
        self.0.store(false, Ordering::Release);
        // The takes that follow must not be moved before the flag is down.
        fence(Ordering::SeqCst);
    }
}

/// Rows of numbers, written in batches and read in chunks without being moved twice.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    incoming: Mutex<Vec<i32>>,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    rows: Vec<i32>,
    at: usize,
}

impl Rows {
    /// Appends what `write` writes.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<i32>)) {
        write(&mut lock(&self.incoming));
    }

    /// Copies as many whole rows as fit and gives their number; fewer than fit means that there are no more.
    pub(crate) fn take(&self, columns: usize, out: &mut [i32]) -> usize {
        let mut reading = lock(&self.reading);
        let fit = out.len() / columns * columns;
        let mut copied = 0;
        while copied < fit {
            if reading.at == reading.rows.len() {
                reading.rows.clear();
                reading.at = 0;
                std::mem::swap(&mut reading.rows, &mut *lock(&self.incoming));
                if reading.rows.is_empty() {
                    break;
                }
            }
            let count = (fit - copied).min(reading.rows.len() - reading.at);
            let from = reading.at;
            out[copied..copied + count].copy_from_slice(&reading.rows[from..from + count]);
            reading.at += count;
            copied += count;
        }
        copied / columns
    }
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
