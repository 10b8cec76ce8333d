//! Subscribing: from the records of a consumer to handlers, and back to committed offsets.

pub(crate) mod commits;
pub(crate) mod engine;
pub(crate) mod lanes;
pub(crate) mod offsets;
pub(crate) mod slots;
