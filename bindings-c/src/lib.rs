//! The C face of the event bus: `libevbus`, declared in `include/evbus.h`.

#![deny(missing_docs)]
// The names of the types are those of the header.
#![allow(non_camel_case_types)]

mod answers;
mod boundary;
mod bus;
mod callback;
mod config;
mod dead_letters;
mod delivery;
mod error;
mod event;
mod feed;
mod gate;
mod log;
mod options;
#[cfg(test)]
mod panics;
mod pool;
mod prometheus;
mod publish;
mod seek;
mod signal;
mod slots;
mod stretch;
mod subscribe;
mod subscription;
mod testing;
mod text;
mod verdict;
mod version;
mod wait;

pub use bus::*;
pub use callback::evbus_free_fn;
pub use config::*;
pub use dead_letters::*;
pub use delivery::*;
pub use error::*;
pub use event::*;
pub use log::*;
pub use options::*;
pub use publish::*;
pub use seek::*;
pub use slots::evbus_publish_fn;
pub use subscribe::*;
pub use testing::*;
pub use text::*;
pub use version::*;
