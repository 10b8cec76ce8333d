//! What other threads have to say to the poll thread.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::assignment::Done;
use super::starts::Answer;
use crate::error::{Error, Result};
use crate::event::{Finished, Ticket, TopicPartition};
use crate::policy::SeekTo;
use crate::runtime::{Wake, lock};

/// A request to the poll thread.
pub(super) enum Command {
    /// The wanted topics have changed; the answer comes when the client has them.
    Topics(oneshot::Sender<Result<()>>),
    /// Read a partition from another place on.
    Seek { source: TopicPartition, to: SeekTo, done: Done },
    /// End the client, for tests.
    #[cfg(feature = "embedded")]
    ProvokeFatalError,
    /// Finish what runs, commit, leave the group.
    Drain { deadline: Instant },
}

/// Everything that came since the last look.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) finished: Vec<Finished>,
    pub(super) committed: Vec<(u64, Result<()>)>,
    pub(super) dead_lettered: Vec<(Ticket, Result<()>)>,
    pub(super) commands: Vec<Command>,
    pub(super) answers: Vec<Answer>,
    pub(super) panics: Vec<Error>,
}

/// Any thread writes, the poll thread reads.
#[derive(Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    closed: AtomicBool,
    /// Mail waits: cheaper to look at than the mail itself.
    waiting: AtomicBool,
    wake: Wake,
}

impl Mailbox {
    pub(super) fn finished(&self, finished: &[Finished]) {
        let mut mail = lock(&self.mail);
        if !self.closed.load(Ordering::Relaxed) {
            mail.finished.extend_from_slice(finished);
        }
        drop(mail);
        self.deliver();
    }

    pub(super) fn committed(&self, id: u64, result: Result<()>) {
        lock(&self.mail).committed.push((id, result));
        self.deliver();
    }

    pub(super) fn dead_lettered(&self, ticket: Ticket, result: Result<()>) {
        let mut mail = lock(&self.mail);
        if !self.closed.load(Ordering::Relaxed) {
            mail.dead_lettered.push((ticket, result));
        }
        drop(mail);
        self.deliver();
    }

    /// A command that nobody will read any more is dropped, and with it whoever waits for its answer is told.
    pub(super) fn command(&self, command: Command) {
        let mut mail = lock(&self.mail);
        if !self.closed.load(Ordering::Relaxed) {
            mail.commands.push(command);
        }
        drop(mail);
        self.deliver();
    }

    pub(super) fn answered(&self, answer: Answer) {
        lock(&self.mail).answers.push(answer);
        self.deliver();
    }

    pub(super) fn panicked(&self, error: Error) {
        lock(&self.mail).panics.push(error);
        self.deliver();
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        let mut mail = lock(&self.mail);
        self.closed.store(true, Ordering::Relaxed);
        *mail = Mail::default();
    }

    fn deliver(&self) {
        self.waiting.store(true, Ordering::Release);
        self.wake.raise();
    }

    /// Somebody wrote since the last [`Mailbox::take`].
    pub(super) fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Something may be there for the consumer's next poll.
    pub(super) fn wake(&self) {
        self.wake.raise();
    }

    /// Runs on: poll thread. Waits for mail or a wake, at most `timeout`, and takes all there is.
    pub(super) fn take(&self, timeout: Duration, mail: &mut Mail) {
        self.wake.wait(timeout);
        self.waiting.store(false, Ordering::Release);
        let mut waiting = lock(&self.mail);
        // Swapped, so that both vectors keep their memory.
        std::mem::swap(&mut *waiting, mail);
    }
}
