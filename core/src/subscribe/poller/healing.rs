//! What the poll thread does for the watchdog: it shows it the partitions, tells what it finds and tries the remedies.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Poller;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, LogRecord};
use crate::runtime::lock;
use crate::subscribe::engine::Input;
use crate::subscribe::starts::ProgressAnswer;
use crate::subscribe::watchdog::{Activity, Finding, Sight, Stall, StallReason};
use crate::transport::Remedy;

impl Poller {
    /// Runs on: poll thread, twice a second.
    pub(super) fn watch(&mut self, now: Instant) {
        if !self.watchdog.is_awake() {
            return;
        }
        // Without a broker, or without a client, nothing can come; the connection's own watch tells.
        let connectivity = lock(&self.shared.offsets).as_ref().map(|offsets| offsets.connectivity());
        let is_reachable = connectivity.is_some_and(|known| known.brokers_up > 0) && !self.renewal.is_due();
        let (engine, assignment) = (&self.engine, &self.assignment);
        let sights = engine.sights(now).map(|sight| {
            let start = || assignment.start_of(&sight.source);
            let (position, received) = (sight.position.or_else(start), sight.received.or_else(start));
            let is_elsewhere = sight.activity == Activity::Idle && assignment.is_sought(&sight.source);
            let activity = if is_elsewhere { Activity::HeldBack } else { sight.activity };
            Sight { position, received, activity, ..sight }
        });
        let findings = self.watchdog.look(now, is_reachable, sights);
        self.found(now, findings);
        if let Some((id, partitions)) = self.watchdog.question(now) {
            self.assignment.ask_progress(id, partitions);
        }
    }

    /// The lookup thread knows how far partitions are.
    pub(super) fn progressed(&mut self, now: Instant, answer: &ProgressAnswer) {
        let findings = self.watchdog.answered(now, answer.id, &answer.partitions);
        self.found(now, findings);
    }

    fn found(&mut self, now: Instant, findings: Vec<Finding>) {
        // Before the log says so: whoever reads it may ask.
        self.recorder.stalled_partitions.store(self.watchdog.stalls().count() as u64, Ordering::Relaxed);
        if !findings.is_empty() {
            self.tell_condition(now);
        }
        for finding in findings {
            match finding {
                Finding::Stalled(stall) => {
                    self.recorder.stalls.fetch_add(1, Ordering::Relaxed);
                    self.log.write(told_stalled(now, &stall));
                }
                Finding::Heal(stall, remedy) => self.remedies.push((stall, remedy)),
                Finding::Recovered(stall) => self.log.write(told_recovered(now, &stall)),
            }
        }
    }

    /// Runs on: poll thread, in every round. Tries what was found to be due, unless the group waits for an answer, which
    /// the client would take it for.
    pub(super) fn attend_to_stalls(&mut self, now: Instant) {
        if self.remedies.is_empty() || self.engine.is_revoking() || self.assignment.is_offered() {
            return;
        }
        for (stall, remedy) in std::mem::take(&mut self.remedies) {
            // It may have gone to another member, or with the client that an earlier one was replaced for.
            if self.assignment.owns(&stall.source) && !self.renewal.is_due() {
                self.log.write(told_remedy(&stall, remedy));
                if let Err(error) = self.heal(now, &stall, remedy) {
                    self.trouble(error);
                }
            }
        }
    }

    fn heal(&mut self, now: Instant, stall: &Stall, remedy: Remedy) -> Result<()> {
        let source = &stall.source;
        let position = match (remedy, stall.position) {
            (Remedy::NewClient, _) => {
                let why = "a partition stands still, whatever the client is told";
                let error = Error::new(ErrorKind::Unavailable, why)
                    .with("topic", &source.topic)
                    .with("partition", source.partition)
                    .hint("if it comes again, look at the log of the partition's leader");
                self.watchdog.renewed();
                self.client_ended(now, error);
                return Ok(());
            }
            (_, None) => {
                let from = self.from(source);
                self.assignment.find_start(source.clone(), from);
                return Ok(());
            }
            (_, Some(position)) => position,
        };
        let place = [(source.clone(), position)];
        match remedy {
            Remedy::Seek => self.consumer.refetch(&place)?,
            _ => self.consumer.seek(&place)?,
        }
        if stall.reason == StallReason::NotHandedOut {
            // What waits here comes again from the client.
            self.assignment.moved(source, position);
            self.watchdog.moved(source);
            self.input(Input::Lost(vec![source.clone()]));
            self.input(Input::Assigned(vec![source.clone()]));
        }
        Ok(())
    }
}

fn at(record: LogRecord, stall: &Stall) -> LogRecord {
    let record = record.with("topic", &*stall.source.topic).with("partition", stall.source.partition);
    record.with("position", stall.position).with("highWatermark", stall.end)
}

fn millis(now: Instant, stall: &Stall) -> u64 {
    now.saturating_duration_since(stall.since).as_millis() as u64
}

fn told_stalled(now: Instant, stall: &Stall) -> LogRecord {
    let Stall { source, end, reason, .. } = stall;
    let position = stall.position.map_or("nowhere".to_owned(), |offset| format!("at {offset}"));
    let seconds = millis(now, stall) as f64 / 1000.0;
    let why = reason.explained();
    let message =
        format!("{source} has stood still {position} for {seconds:.1} s, though its log ends at {end}: {why}");
    let record = at(LogRecord::new(Level::Error, "partition_stalled", message), stall);
    record.with("stalledMs", millis(now, stall)).with("reason", reason.as_str())
}

fn told_remedy(stall: &Stall, remedy: Remedy) -> LogRecord {
    let what = match remedy {
        Remedy::Seek => "is fetched anew",
        Remedy::Reassign => "is taken from the client and given back",
        Remedy::NewClient => "stays still, so the client is replaced",
    };
    let message = format!("{} {what}", stall.source);
    at(LogRecord::new(Level::Warn, "partition_healing", message), stall).with("remedy", remedy.as_str())
}

fn told_recovered(now: Instant, stall: &Stall) -> LogRecord {
    let message = format!("{} goes on after {:.1} s", stall.source, millis(now, stall) as f64 / 1000.0);
    at(LogRecord::new(Level::Info, "partition_recovered", message), stall).with("stalledMs", millis(now, stall))
}
