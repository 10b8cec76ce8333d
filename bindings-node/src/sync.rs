//! What threads meet by, in the file that loom checks: there this module has loom's.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
