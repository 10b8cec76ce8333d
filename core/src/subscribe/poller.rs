//! The poll thread: it owns consumer and engine, feeds the one into the other and carries out what the engine says.

mod condition;
mod healing;
mod mail;
mod numbers;
mod renewal;
mod starts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub(super) use self::renewal::Join;
use self::renewal::Renewal;
use super::assignment::Assignment;
use super::committer::{Commit, Committer};
use super::condition::Condition;
use super::dead_letters::DeadLetterWriter;
use super::engine::{Engine, EngineConfig, Input, Output, Skipped};
use super::mailbox::{Mail, Mailbox};
use super::watchdog::{Stall, Watchdog};
use crate::codec;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Failure, Record, TopicPartition};
use crate::log::{Level, Log, LogRecord};
use crate::metrics::Recorder;
use crate::policy::{Halted, TopicSubscription};
use crate::runtime::{Gate, lock};
use crate::transport::{Consumer, ConsumerEvent, GroupOffsets, RecordSink, Remedy};

/// The thread looks after timers and the client at least this often.
const MAX_PARK: Duration = Duration::from_millis(100);

/// Records taken from the client before everything else has its turn.
const MAX_POLLS: usize = 1000;

/// Records taken in one go although answers wait: looking at each answer by itself costs more than a record does.
const STRETCH: usize = 32;

/// How often the sink gives what it has gathered, while the thread does not wait.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1);

/// The same trouble of the client is logged once in this time.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// What the poll thread shares with the rest of the bus.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) mailbox: Arc<Mailbox>,
    /// The topics that the group shall consume.
    pub(super) wanted: Mutex<Vec<TopicSubscription>>,
    /// Those of the current client.
    pub(super) offsets: Mutex<Option<Arc<dyn GroupOffsets>>>,
    /// The first unfinished offset of each owned partition.
    pub(super) positions: Mutex<Vec<(TopicPartition, i64)>>,
    /// What keeps partitions from going on.
    pub(super) condition: Mutex<Condition>,
    /// Nothing is consumed any more, for good.
    pub(super) broken: AtomicBool,
    pub(super) drained: Gate,
    /// Handled and abandoned events of the drain.
    pub(super) report: Mutex<(u64, u64)>,
}

pub(super) struct Poller {
    consumer: Box<dyn Consumer>,
    renewal: Renewal,
    engine: Engine,
    sink: Arc<dyn RecordSink>,
    dead_letters: DeadLetterWriter,
    committer: Committer,
    assignment: Assignment,
    watchdog: Watchdog,
    /// What the watchdog wants to be tried.
    remedies: Vec<(Stall, Remedy)>,
    shared: Arc<Shared>,
    recorder: Arc<Recorder>,
    log: Log,
    outputs: Vec<Output>,
    applied: Vec<Arc<str>>,
    /// When a changed set of topics is due, and who waits for it.
    due: Option<Instant>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
    polled_at: Instant,
    /// The client was not polled although it may have records.
    held_back: bool,
    flushed_at: Instant,
    positions_at: Instant,
    last_trouble: Option<(String, Instant)>,
    /// Partitions that stand still by policy, and maybe such that have gone since.
    halted: Vec<Halted>,
    dead_letter_error: Option<Error>,
    drained: bool,
}

impl Poller {
    pub(super) fn new(
        config: &Config,
        join: Join,
        (sink, dead_letters): (Arc<dyn RecordSink>, DeadLetterWriter),
        shared: Arc<Shared>,
        recorder: Arc<Recorder>,
        log: Log,
    ) -> Result<Self> {
        let consumer = join()?;
        let offsets = consumer.offsets();
        let committer = Committer::start(offsets.clone(), shared.mailbox.clone())?;
        let assignment = Assignment::new(offsets.clone(), shared.mailbox.clone())?;
        *lock(&shared.offsets) = Some(offsets);
        let now = Instant::now();
        let engine = Engine::new(EngineConfig {
            max_bytes: config.max_in_flight_bytes,
            commit_interval: config.commit_interval,
            seed: seed()?,
            ..EngineConfig::default()
        });
        Ok(Poller {
            consumer,
            renewal: Renewal::new(now, join),
            engine,
            sink,
            dead_letters,
            committer,
            assignment,
            watchdog: Watchdog::new(config.stall_timeout),
            remedies: Vec::new(),
            shared,
            recorder,
            log,
            outputs: Vec::new(),
            applied: Vec::new(),
            due: None,
            waiting: Vec::new(),
            polled_at: now,
            held_back: false,
            flushed_at: now,
            positions_at: now,
            last_trouble: None,
            halted: Vec::new(),
            dead_letter_error: None,
            drained: false,
        })
    }

    /// Runs on: poll thread. Ends when the engine has drained; closing the consumer may block past any deadline.
    pub(super) fn run(mut self) {
        let mut mail = Mail::default();
        let mut more = false;
        while !self.drained {
            let park = if more { Duration::ZERO } else { self.park() };
            self.shared.mailbox.take(park, &mut mail);
            self.read(&mut mail);
            let now = Instant::now();
            if now >= self.flushed_at + FLUSH_INTERVAL {
                self.flushed_at = now;
                self.sink.flush();
            }
            self.renew_client(now);
            more = self.poll();
            self.apply_topics();
            self.attend_to_starts();
            self.attend_to_stalls(Instant::now());
            self.carry_out();
            self.publish_numbers();
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(Err(crate::shutdown::closed()));
        }
        self.assignment.end();
        self.shared.mailbox.close();
        self.shared.drained.open();
        self.consumer.close();
    }

    fn park(&self) -> Duration {
        let now = Instant::now();
        if self.held_back && !self.engine.is_sated(now) {
            return Duration::ZERO;
        }
        let timers = [self.engine.wake_at(), self.due, self.assignment.wake_at(), self.renewal.wake_at()];
        let next = timers.into_iter().flatten().map(|at| at.saturating_duration_since(now)).min();
        next.unwrap_or(MAX_PARK).min(MAX_PARK)
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle(Instant::now(), input);
    }

    /// Takes what the client has; `true` when there may be more.
    fn poll(&mut self) -> bool {
        let now = Instant::now();
        if self.renewal.is_due() {
            return false;
        }
        self.held_back = self.engine.is_sated(now) && now < self.polled_at + MAX_PARK;
        if self.held_back {
            return false;
        }
        self.polled_at = now;
        let mut empty = 0;
        for number in 1..=MAX_POLLS {
            match self.consumer.poll() {
                Some(event) => {
                    empty = 0;
                    self.take(now, event);
                    // A lane may be waiting for its next run: answers come before many more records.
                    if self.engine.is_full() || number % STRETCH == 0 && self.shared.mailbox.has_mail() {
                        return true;
                    }
                }
                // A rebalance is served inside a poll that returns nothing.
                None if empty == 1 => return false,
                None => empty += 1,
            }
        }
        true
    }

    fn take(&mut self, now: Instant, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Record(record) => self.record(now, record),
            ConsumerEvent::Assigned(partitions) => {
                self.rebalanced("partitions_assigned", "this member got", &partitions);
                self.offered(now, partitions);
            }
            ConsumerEvent::Revoked(partitions) => {
                self.rebalanced("partitions_revoked", "this member hands over", &partitions);
                self.settle_offer();
                self.input(Input::Revoked(partitions));
            }
            ConsumerEvent::Lost(partitions) => {
                self.rebalanced("partitions_lost", "this member lost", &partitions);
                self.settle_offer();
                self.assignment.gone(&partitions);
                self.input(Input::Lost(partitions.clone()));
                if let Err(error) = self.consumer.unassign(&partitions) {
                    self.trouble(error);
                }
            }
            ConsumerEvent::OutOfRange(source) => self.out_of_range(source),
            ConsumerEvent::Failed(error) => self.trouble(error),
            ConsumerEvent::Fatal(error) => self.client_ended(now, error),
        }
    }

    fn record(&mut self, now: Instant, record: Arc<Record>) {
        self.recorder.received.fetch_add(1, Ordering::Relaxed);
        if self.engine.takes_raw(&record.source) {
            self.engine.handle(now, Input::Record(record, None));
            return;
        }
        match codec::decode(&record).map(|event| event.occurred_on()) {
            Ok(occurred_on) => self.engine.handle(now, Input::Record(record, occurred_on)),
            Err(error) => {
                self.recorder.error(error.kind());
                let failure = Failure {
                    handler: String::new(),
                    code: error.code().to_owned(),
                    message: error.message().to_owned(),
                    retryable: Some(false),
                };
                let message = format!("a record is not an event: {error}");
                self.log.write(LogRecord::new(Level::Warn, "invalid_message", message).at(&record).because(error));
                self.engine.handle(now, Input::Invalid(record, Box::new(failure)));
            }
        }
    }

    fn rebalanced(&self, event: &'static str, what: &str, partitions: &[TopicPartition]) {
        self.recorder.rebalances.fetch_add(1, Ordering::Relaxed);
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        let message = format!("rebalance: {what} {} partitions", partitions.len());
        self.log.write(LogRecord::new(Level::Info, event, message).with("partitions", names));
    }

    /// Logs what the client goes on from by itself, without repeating itself.
    fn trouble(&mut self, error: Error) {
        self.recorder.failed(&error);
        let text = error.to_string();
        let now = Instant::now();
        if let Some((last, at)) = &self.last_trouble
            && *last == text
            && now.duration_since(*at) < REPEAT_INTERVAL
        {
            return;
        }
        let message = format!("the subscription has trouble: {text}");
        self.log.write(LogRecord::new(Level::Warn, "subscription_error", message).because(error));
        self.last_trouble = Some((text, now));
    }

    fn carry_out(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.engine.advance(Instant::now(), &mut outputs);
        for output in outputs.drain(..) {
            let done = match output {
                Output::Pause(partitions) => self.consumer.pause(&partitions),
                Output::Resume(partitions) => self.consumer.resume(&partitions),
                Output::RevokeReady(partitions) => {
                    self.assignment.gone(&partitions);
                    self.consumer.unassign(&partitions)
                }
                Output::Failed(error) => Err(error),
                output => {
                    self.pass_on(output);
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.trouble(error);
            }
        }
        self.outputs = outputs;
    }

    /// What does not concern the client.
    fn pass_on(&mut self, output: Output) {
        match output {
            Output::Deliver(run) => self.sink.deliver(run),
            Output::Recall { slot, epoch } => self.sink.stop(slot, epoch),
            Output::Fenced { slot, epoch, source, unanswered } => {
                self.sink.stop(slot, epoch);
                self.sink.abort(slot, epoch);
                let message =
                    format!("{unanswered} handlers of {source} outlived its hand-over; the events come again");
                self.log.write(LogRecord::new(Level::Warn, "handlers_outlived_revoke", message));
            }
            Output::Abort { slot, epoch } => {
                self.sink.stop(slot, epoch);
                self.sink.abort(slot, epoch);
            }
            Output::DeadLetter(letter) => self.dead_letters.write(letter),
            Output::Skipped(skipped) => self.log.write(skipped_record(skipped)),
            Output::Halted(halted) => {
                self.log.write(partition_halted(&halted));
                self.halted.push(halted);
                self.tell_condition(Instant::now());
            }
            Output::Commit { id, offsets } => self.committer.commit(Commit { id, offsets }),
            Output::Drained { handled, abandoned } => {
                *lock(&self.shared.report) = (handled, abandoned);
                self.drained = true;
            }
            Output::Pause(_) | Output::Resume(_) | Output::RevokeReady(_) | Output::Failed(_) => (),
        }
    }

    /// Tells the client a changed set of topics, when it is due and no partition is being handed over.
    fn apply_topics(&mut self) {
        if self.engine.is_revoking() || self.renewal.is_due() || self.due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.due = None;
        let wanted = lock(&self.shared.wanted).clone();
        let names: Vec<Arc<str>> = wanted.iter().map(|one| Arc::from(one.topic.as_str())).collect();
        let result = if names == self.applied { Ok(()) } else { self.consumer.subscribe(&names) };
        if result.is_ok() {
            self.applied = names;
            self.input(Input::Topics(&wanted));
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}

/// A number that differs from process to process.
fn seed() -> Result<u64> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the system gives no random numbers: {error}"))
            .hint("give the process access to the system's source of random numbers")
    })
}

/// The log record of what the policy passed over.
fn skipped_record(skipped: Skipped) -> LogRecord {
    let Skipped { record, reason, failure, attempts } = skipped;
    let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    let message = format!("a record was passed over by policy after {attempts} attempts ({}){why}", reason.as_str());
    LogRecord::new(Level::Error, "event_skipped", message)
        .at(&record)
        .with("reason", reason.as_str())
        .with("attempts", attempts)
}

/// The log record of a partition that stands still.
fn partition_halted(halted: &Halted) -> LogRecord {
    let Halted { source, offset, reason } = halted;
    let message =
        format!("{source} stands still at offset {offset}, until another member or a restart tries it again: {reason}");
    LogRecord::new(Level::Error, "partition_halted", message)
        .with("topic", &*source.topic)
        .with("partition", source.partition)
        .with("offset", *offset)
}
