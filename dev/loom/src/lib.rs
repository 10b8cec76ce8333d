//! The places where threads meet, in every order of steps that loom finds. No wait ends by its time here: what is lost
//! is a deadlock, which loom reports with the order that leads to it.
//!
//!   node dev/soak.mjs --only threads

#![cfg(test)]

#[path = "../../../core/src/runtime/inbox.rs"]
mod inbox;
#[path = "../../../bindings-node/src/ring.rs"]
mod ring;
#[path = "../../../core/src/runtime/signals.rs"]
mod signals;
mod sync;
mod tests;
