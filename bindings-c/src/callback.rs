//! A function of C with the data that it gets, which is given back once.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use event_bus::{Error, ErrorKind, Result};

use crate::boundary::UserData;

/// Gives user data back: called once, when nothing will use it any more.
///
/// @param user_data What was given together with this function.
///
/// Thread: any. It must not block, and must not call functions of this library that block.
pub type evbus_free_fn = Option<extern "C" fn(user_data: *mut c_void)>;

/// A function and its data. Whoever runs it holds it, so the data goes after the last run.
pub(crate) struct Callback<F> {
    pub(crate) function: F,
    pub(crate) user_data: UserData,
    free: evbus_free_fn,
    keeps: AtomicBool,
}

impl<F> Callback<F> {
    pub(crate) fn new(function: F, user_data: UserData, free: evbus_free_fn) -> Self {
        Callback { function, user_data, free, keeps: AtomicBool::new(true) }
    }

    /// Gives the data back to the caller without a word, because the call that brought it failed.
    pub(crate) fn hand_back(&self) {
        self.keeps.store(false, Ordering::SeqCst);
    }
}

impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        if let Some(free) = self.free.filter(|_| self.keeps.load(Ordering::SeqCst)) {
            let _place = enter(Place::Notice);
            free(self.user_data.0);
        }
    }
}

/// Which function of the program runs on this thread, called by the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// None.
    Outside,
    /// A handler: bus and subscription, by their addresses. It may block.
    Handler { bus: usize, subscription: usize },
    /// A completion or the end of user data, on a thread that must go on.
    Notice,
    /// A log record, on whatever thread.
    Log,
}

thread_local! {
    static CURRENT: Cell<Place> = const { Cell::new(Place::Outside) };
}

/// Puts the former place back when dropped.
pub(crate) struct Entered(Place);

pub(crate) fn enter(place: Place) -> Entered {
    Entered(CURRENT.replace(place))
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

pub(crate) fn place() -> Place {
    CURRENT.get()
}

/// Refuses what blocks where the library itself would stand still.
///
/// # Errors
/// `IllegalState` inside completion, log and free callbacks.
pub(crate) fn may_block(call: &str) -> Result<()> {
    if !matches!(place(), Place::Notice | Place::Log) {
        return Ok(());
    }
    let message = format!("{call} blocks, and this callback runs on a thread that the bus needs");
    Err(Error::new(ErrorKind::IllegalState, message).hint("hand the work to a thread of your own"))
}
