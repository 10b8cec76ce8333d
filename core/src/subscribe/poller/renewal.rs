//! A consuming client that gave up for good, and the one that takes its place: same group, same subscription.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Poller;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, LogRecord};
use crate::runtime::{Worker, lock};
use crate::subscribe::committer::Committer;
use crate::subscribe::engine::Input;
use crate::transport::Consumer;

/// A client that lived shorter than this is followed by a pause, each one twice as long as the one before.
const LONG_LIFE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Makes the consumers of this bus.
pub(in crate::subscribe) type Join = Box<dyn Fn() -> Result<Box<dyn Consumer>> + Send>;

/// When the next client comes.
pub(super) struct Renewal {
    join: Join,
    born: Instant,
    pause: Duration,
    /// The client has ended, and when another one takes its place.
    due: Option<(Instant, Error)>,
    lives: u32,
}

impl Renewal {
    pub(super) fn new(now: Instant, join: Join) -> Renewal {
        Renewal { join, born: now, pause: Duration::ZERO, due: None, lives: 0 }
    }

    /// There is no client now.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Why there is no client, while there is none.
    pub(super) fn cause(&self) -> Option<&Error> {
        self.due.as_ref().map(|(_, cause)| cause)
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.due.as_ref().map(|(at, _)| *at)
    }

    fn ended(&mut self, now: Instant, cause: Error) {
        let lived_long = now.duration_since(self.born) >= LONG_LIFE;
        self.pause = if lived_long || self.lives == 0 { Duration::ZERO } else { self.longer_pause() };
        self.lives += 1;
        self.due = Some((now + self.pause, cause));
    }

    fn longer_pause(&self) -> Duration {
        (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
    }
}

impl Poller {
    /// The client cannot be used any more: what it had is lost, and another one takes its place.
    pub(super) fn client_ended(&mut self, now: Instant, error: Error) {
        self.recorder.failed(&error);
        if self.renewal.is_due() || self.shared.broken.load(Ordering::Relaxed) {
            return;
        }
        let lost = self.assignment.all_gone();
        // The client has unassigned by itself; nothing of it may be committed any more.
        self.input(Input::Lost(lost));
        if error.kind() == ErrorKind::Fenced {
            lock(&self.shared.condition).failed = Some(error.clone());
            self.shared.broken.store(true, Ordering::Relaxed);
            let message = format!("another process is this member of the group now, so this one stops: {error}");
            self.log.write(LogRecord::new(Level::Error, "consumer_failed", message).because(error));
            return;
        }
        let record = LogRecord::new(Level::Error, "client_fatal", "the Kafka client cannot be used any more");
        self.log.write(record.with("client", "consumer").because(error.clone()));
        self.renewal.ended(now, error);
        self.tell_condition(now);
    }

    /// Runs on: poll thread, in every round.
    pub(super) fn renew_client(&mut self, now: Instant) {
        let Some((_, cause)) = self.renewal.due.take_if(|(at, _)| *at <= now) else { return };
        match self.join_again() {
            Ok(()) => {
                self.renewal.born = now;
                self.watchdog.renewed();
                self.recorder.clients_rebuilt.fetch_add(1, Ordering::Relaxed);
                let message = "a new Kafka client took the place of the one that gave up; consuming goes on";
                let record = LogRecord::new(Level::Warn, "client_rebuilt", message).with("client", "consumer");
                self.log.write(record.with("generation", self.renewal.lives).because(cause));
            }
            Err(error) => {
                self.renewal.pause = self.renewal.longer_pause();
                self.renewal.due = Some((now + self.renewal.pause, cause));
                self.trouble(error);
            }
        }
    }

    fn join_again(&mut self) -> Result<()> {
        let consumer = (self.renewal.join)()?;
        let offsets = consumer.offsets();
        self.committer = Committer::start(offsets.clone(), self.shared.mailbox.clone())?;
        self.assignment.renew(offsets.clone(), self.shared.mailbox.clone())?;
        *lock(&self.shared.offsets) = Some(offsets);
        let old = std::mem::replace(&mut self.consumer, consumer);
        // Its threads end in their own time. A commit that waits in it is told now.
        drop(Worker::start("evbus-close", move || old.close(), |_| ()));
        self.applied.clear();
        self.due = Some(Instant::now());
        Ok(())
    }
}
