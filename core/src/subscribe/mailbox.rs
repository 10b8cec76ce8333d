//! What other threads have to say to the poll thread.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::assignment::Done;
use super::starts::{Answer, ProgressAnswer};
use crate::error::{Error, Result};
use crate::event::{Finished, Ticket, TopicPartition};
use crate::policy::SeekTo;
use crate::runtime::Inbox;

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
    pub(super) progress: Vec<ProgressAnswer>,
    pub(super) panics: Vec<Error>,
}

/// Any thread writes, the poll thread reads.
#[derive(Default)]
pub(super) struct Mailbox(Inbox<Mail>);

impl Mailbox {
    pub(super) fn finished(&self, finished: &[Finished]) {
        self.0.write_unless_closed(|mail| mail.finished.extend_from_slice(finished));
    }

    pub(super) fn committed(&self, id: u64, result: Result<()>) {
        self.0.write(|mail| mail.committed.push((id, result)));
    }

    pub(super) fn dead_lettered(&self, ticket: Ticket, result: Result<()>) {
        self.0.write_unless_closed(|mail| mail.dead_lettered.push((ticket, result)));
    }

    /// A command that nobody will read any more is dropped, and with it whoever waits for its answer is told.
    pub(super) fn command(&self, command: Command) {
        self.0.write_unless_closed(|mail| mail.commands.push(command));
    }

    pub(super) fn answered(&self, answer: Answer) {
        self.0.write(|mail| mail.answers.push(answer));
    }

    pub(super) fn progressed(&self, answer: ProgressAnswer) {
        self.0.write(|mail| mail.progress.push(answer));
    }

    pub(super) fn panicked(&self, error: Error) {
        self.0.write(|mail| mail.panics.push(error));
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Somebody wrote since the last [`Mailbox::take`].
    pub(super) fn has_mail(&self) -> bool {
        self.0.has_mail()
    }

    /// Something may be there for the consumer's next poll.
    pub(super) fn wake(&self) {
        self.0.wake();
    }

    /// Runs on: poll thread. Waits for mail or a wake, at most `timeout`, and takes all there is.
    pub(super) fn take(&self, timeout: Duration, mail: &mut Mail) {
        self.0.take(timeout, mail);
    }
}
