//! The engine under test, and what it would say and hear if it were broken on purpose.

use std::time::Instant;

use crate::subscribe::engine::{Engine, Input, Output};

/// The engine's only door in the simulation.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) engine: Engine,
}

impl Wire {
    pub(super) fn new(engine: Engine) -> Self {
        Wire { engine }
    }

    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(now, input);
    }

    pub(super) fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.engine.advance(now, out);
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.engine.wake_at()
    }
}
