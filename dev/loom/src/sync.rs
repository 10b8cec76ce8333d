//! loom's locks in place of std's.

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
