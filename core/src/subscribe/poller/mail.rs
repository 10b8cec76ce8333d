//! What other threads tell the poll thread.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Poller;
use crate::error::ErrorKind;
use crate::log::{Level, LogRecord};
use crate::subscribe::engine::Input;
use crate::subscribe::mailbox::{Command, Mail};

/// Changes of the topic set within this time are one change.
const COALESCE: Duration = Duration::from_millis(50);

impl Poller {
    /// Takes in what came, and leaves the memory for what comes next.
    pub(super) fn read(&mut self, mail: &mut Mail) {
        if !mail.finished.is_empty() {
            self.input(Input::Finished(&mail.finished));
            mail.finished.clear();
        }
        for (ticket, result) in mail.dead_lettered.drain(..) {
            if let Err(error) = &result {
                self.recorder.failed(error);
                self.dead_letter_error = Some(error.clone());
                let again =
                    if error.is_retryable() { "is tried again" } else { "was refused, which halts the partition" };
                let message = format!("a dead letter could not be written and {again}: {error}");
                self.log.write(LogRecord::new(Level::Error, "dead_letter_failed", message).because(error.clone()));
            }
            self.input(Input::DeadLettered { ticket, result });
        }
        for (id, result) in mail.committed.drain(..) {
            match &result {
                // A coordinator answers a member that joins again one request at a time, so a commit behind the join
                // names the generation before it. That is no failure: the partitions are still here.
                Err(error) if error.kind() == ErrorKind::IllegalState => {
                    let message = "a rebalance overtook a commit; its offsets will be committed again";
                    self.log.write(LogRecord::new(Level::Debug, "commit_overtaken", message).because(error.clone()));
                }
                Err(error) => {
                    self.recorder.commit_failures.fetch_add(1, Ordering::Relaxed);
                    self.recorder.failed(error);
                    let message = format!("offsets could not be committed and will be again: {error}");
                    self.log.write(LogRecord::new(Level::Warn, "commit_failed", message).because(error.clone()));
                }
                Ok(()) => (),
            }
            self.input(Input::Committed { id, result });
        }
        for answer in mail.answers.drain(..) {
            self.answered(Instant::now(), answer);
        }
        for answer in mail.progress.drain(..) {
            self.progressed(Instant::now(), &answer);
        }
        for error in mail.panics.drain(..) {
            self.log.write(LogRecord::new(Level::Error, "internal_error", error.to_string()).because(error));
        }
        for command in mail.commands.drain(..) {
            match command {
                Command::Topics(waiting) => {
                    self.waiting.push(waiting);
                    self.due.get_or_insert_with(|| Instant::now() + COALESCE);
                }
                #[cfg(feature = "embedded")]
                Command::ProvokeFatalError => self.consumer.provoke_fatal_error(),
                Command::Seek { source, to, done } => self.assignment.seek(source, to, done),
                Command::Drain { deadline } => self.input(Input::Drain { deadline }),
            }
        }
    }
}
