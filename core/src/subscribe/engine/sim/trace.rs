//! What happened, in lines for a person, when somebody wants to read it.

use std::fmt::Display;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn kept() -> Self {
        Trace { lines: Some(Vec::new()) }
    }

    /// Adds a line; `what` is asked only when lines are kept.
    pub(super) fn line<D: Display>(&mut self, at: Duration, what: impl FnOnce() -> D) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>11.6} {}", at.as_secs_f64(), what()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
