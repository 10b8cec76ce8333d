//! The thread that commits: a commit blocks for as long as the coordinator is away, and polling must go on meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use super::mailbox::Mailbox;
use crate::error::Result;
use crate::event::TopicPartition;
use crate::runtime::Worker;
use crate::transport::GroupOffsets;

/// Offsets to be committed together; the answer carries the id back.
pub(super) struct Commit {
    pub(super) id: u64,
    pub(super) offsets: Vec<(TopicPartition, i64)>,
}

/// Hands commits to the committer thread, which ends when this is dropped.
pub(super) struct Committer(Sender<Commit>);

impl Committer {
    pub(super) fn start(offsets: Arc<dyn GroupOffsets>, mailbox: Arc<Mailbox>) -> Result<Self> {
        let (sender, receiver) = channel::<Commit>();
        let broken = mailbox.clone();
        let body = move || {
            for commit in receiver {
                mailbox.committed(commit.id, offsets.commit(&commit.offsets));
            }
        };
        Worker::start("evbus-committer", body, move |error| broken.panicked(error))?;
        Ok(Committer(sender))
    }

    pub(super) fn commit(&self, commit: Commit) {
        // The receiver is gone only after a panic, which the mailbox has been told.
        let _ = self.0.send(commit);
    }
}
