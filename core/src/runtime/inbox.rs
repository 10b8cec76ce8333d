//! From many threads to the one that owns a state.
//!
//! Depends on nothing of ours but [`sync`](crate::sync), so that loom can check it by itself.

use std::time::Duration;

use super::signals::{Wake, lock};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Any thread writes into it, one thread waits and takes everything at once.
#[derive(Debug, Default)]
pub(crate) struct Inbox<T> {
    mail: Mutex<T>,
    closed: AtomicBool,
    /// Mail waits: cheaper to look at than the mail itself.
    waiting: AtomicBool,
    wake: Wake,
}

impl<T: Default> Inbox<T> {
    /// Adds something and wakes the reader.
    pub(crate) fn write(&self, add: impl FnOnce(&mut T)) {
        add(&mut lock(&self.mail));
        self.deliver();
    }

    /// The same while somebody reads. What is not added is dropped, and with it whoever waits for its answer is told.
    pub(crate) fn write_unless_closed(&self, add: impl FnOnce(&mut T)) {
        let mut mail = lock(&self.mail);
        if !self.closed.load(Ordering::Relaxed) {
            add(&mut mail);
        }
        drop(mail);
        self.deliver();
    }

    /// Nobody reads any more.
    pub(crate) fn close(&self) {
        let mut mail = lock(&self.mail);
        self.closed.store(true, Ordering::Relaxed);
        let unread = std::mem::take(&mut *mail);
        drop(mail);
        drop(unread);
    }

    fn deliver(&self) {
        self.waiting.store(true, Ordering::Release);
        self.wake.raise();
    }

    /// Somebody wrote since the last [`Inbox::take`].
    pub(crate) fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Ends the reader's wait, without mail.
    pub(crate) fn wake(&self) {
        self.wake.raise();
    }

    /// Waits for mail or a wake, at most `timeout`, and takes all there is, in exchange for `mail`.
    pub(crate) fn take(&self, timeout: Duration, mail: &mut T) {
        self.wake.wait(timeout);
        // Before the mail is taken: what comes behind it raises the flag again.
        self.waiting.store(false, Ordering::Release);
        // Swapped, so that what holds the mail keeps its memory.
        std::mem::swap(&mut *lock(&self.mail), mail);
    }
}
