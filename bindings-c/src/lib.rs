//! The C face of the event bus: `libevbus`, declared in `include/evbus.h`.

#![deny(missing_docs)]

mod boundary;
mod error;
mod version;

pub use error::*;
pub use version::*;
