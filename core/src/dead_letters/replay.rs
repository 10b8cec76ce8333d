//! Sending dead letters back to where they came from.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::browse::Scan;
use super::{DeadLetterFilter, DeadLetterInfo, Desk, QUESTION};
use crate::codec::provenance::{self, Provenance};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{HeadersBuf, RawRecord, Record};
use crate::log::{Level, LogRecord};
use crate::runtime::lock;
use crate::shutdown::{Phase, closed};
use crate::transport::{Extent, Receipt};

/// Letters published before the way is kept again: as many may come twice after a replay was killed.
const WINDOW: usize = 100;

/// How many skipped letters a report names.
const MAX_NAMED: usize = 1000;

/// How often a wait looks whether it has to end.
const STEP: Duration = Duration::from_millis(100);

/// What to replay, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayOptions {
    /// Which letters; all by default.
    pub filter: DeadLetterFilter,
    /// How many letters at most; no bound by default.
    pub limit: Option<u64>,
    /// How many letters per second at most; no bound by default.
    pub rate: Option<f64>,
    /// Only tells what would be replayed; false by default.
    pub dry_run: bool,
    /// An event that was replayed so often already is skipped and reported; 3 by default.
    pub max_replays: u32,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        ReplayOptions { filter: DeadLetterFilter::default(), limit: None, rate: None, dry_run: false, max_replays: 3 }
    }
}

impl ReplayOptions {
    fn validate(&self) -> Result<()> {
        self.filter.validate()?;
        match self.rate {
            Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
                Err(Error::new(ErrorKind::Argument, format!("a rate is a number of letters per second, not {rate}"))
                    .hint("give a number above 0, or leave it out for no bound"))
            }
            _ => Ok(()),
        }
    }
}

/// Why a letter was not replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its event was replayed as often as [`ReplayOptions::max_replays`] allows.
    MaxReplays,
    /// It only says where its record lies, because the broker refused the record itself.
    Reduced,
    /// The broker refused it for good.
    Refused {
        /// The code of the error, for example `EVBUS_TOO_LARGE`.
        code: String,
        /// What the error says.
        message: String,
    },
}

/// A letter that was not replayed. It stays in the dead-letter topic; a replay with the same filter does not come
/// back to it, one for its partition and offset does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedLetter {
    /// Its partition in the dead-letter topic.
    pub partition: i32,
    /// Its offset in the dead-letter topic.
    pub offset: i64,
    /// How often its event was replayed before.
    pub replays: u32,
    /// Why it was not replayed.
    #[serde(flatten)]
    pub reason: SkipReason,
}

/// What a replay did, or, as a dry run, would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayReport {
    /// Records of the dead-letter topic that were read.
    pub read: u64,
    /// Letters that are stored in the event's topic again.
    pub replayed: u64,
    /// Letters that match and were not replayed.
    pub skipped: u64,
    /// The first 1000 of those.
    pub skipped_letters: Vec<SkippedLetter>,
    /// Nothing was published.
    pub dry_run: bool,
    /// Nothing that matches is left: the end was reached, not the limit.
    pub complete: bool,
}

impl ReplayReport {
    fn skip(&mut self, letter: &DeadLetterInfo, reason: SkipReason) {
        self.skipped += 1;
        if self.skipped_letters.len() < MAX_NAMED {
            let DeadLetterInfo { partition, offset, replays, .. } = *letter;
            self.skipped_letters.push(SkippedLetter { partition, offset, replays, reason });
        }
    }
}

/// Runs on: runtime, as a blocking call.
pub(super) fn replay(desk: &Desk, options: &ReplayOptions, stop: &AtomicBool) -> Result<ReplayReport> {
    options.validate()?;
    let group = desk.replay_group(&options.filter);
    let (mut reader, extents) = desk.open(&group)?;
    let mut extents = options.filter.within(extents);
    let keeps_progress = options.filter.offset.is_none();
    if keeps_progress {
        let partitions: Vec<_> = extents.iter().map(|extent| extent.partition).collect();
        let progress = reader.progress(&partitions, Instant::now() + QUESTION)?;
        for (extent, progress) in extents.iter_mut().zip(progress) {
            go_on(extent, progress);
        }
        extents.retain(|extent| extent.start < extent.end);
    }
    let partitions = desk.transport.partitions(&desk.event_type, Instant::now() + QUESTION).map_err(|error| {
        let message = format!("the letters have nowhere to go back to: {}", error.message());
        Error::new(error.kind(), message).with("topic", &desk.event_type).caused_by(error)
    })?;
    let scan = Scan::start(desk, reader, &extents)?;
    let keeps_progress = keeps_progress && !options.dry_run;
    let pace = Pace::new(options.rate);
    let mut run = Run { desk, options, partitions, scan, keeps_progress, pace, report: ReplayReport::default() };
    run.report.dry_run = options.dry_run;
    let ended = run.run(stop);
    let report = run.report;
    let message =
        format!("{} dead letters of {} replayed, {} skipped", report.replayed, desk.event_type, report.skipped);
    let entry = LogRecord::new(Level::Info, "dead_letters_replayed", message)
        .with("topic", &*desk.event_type)
        .with("deadLetterTopic", &*desk.topic)
        .with("replayed", report.replayed)
        .with("skipped", report.skipped)
        .with("dryRun", report.dry_run);
    match ended {
        Ok(()) => {
            desk.log.write(entry);
            Ok(report)
        }
        Err(error) => {
            desk.log.write(LogRecord { level: Level::Warn, ..entry }.because(error.clone()));
            Err(error.with("replayed", report.replayed).with("skipped", report.skipped))
        }
    }
}

/// Begins behind what was replayed. What lies behind the end belongs to a topic that is no more.
fn go_on(extent: &mut Extent, progress: Option<i64>) {
    if let Some(progress) = progress.filter(|progress| (extent.start..=extent.end).contains(progress)) {
        extent.start = progress;
    }
}

impl Desk {
    /// Replays with the same filter go on where the last one ended; others have their own way.
    fn replay_group(&self, filter: &DeadLetterFilter) -> String {
        let mut parts = String::new();
        if !self.topic.contains(&*self.event_type) {
            parts += &format!("type={};", self.event_type);
        }
        let mut reasons: Vec<_> = filter.reasons.iter().map(|reason| reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if !reasons.is_empty() {
            parts += &format!("reasons={};", reasons.join(","));
        }
        let numbers =
            [("since", filter.since), ("until", filter.until), ("partition", filter.partition.map(i64::from))];
        for (name, number) in numbers {
            if let Some(number) = number {
                parts += &format!("{name}={number};");
            }
        }
        if let Some(key) = &filter.key {
            parts += "key=";
            parts.extend(key.iter().map(|byte| format!("{byte:02x}")));
        }
        let group = self.progress_group();
        if parts.is_empty() { group } else { format!("{group}.{:016x}", fnv1a(parts.as_bytes())) }
    }
}

/// The 64-bit FNV-1a hash: the same in every version of this crate, so that replays go on after an update.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One replay under way.
struct Run<'a> {
    desk: &'a Desk,
    options: &'a ReplayOptions,
    /// Of the event's topic.
    partitions: u32,
    scan: Scan<'a>,
    keeps_progress: bool,
    pace: Pace,
    report: ReplayReport,
}

impl Run<'_> {
    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        loop {
            let (letters, more) = self.window(stop)?;
            let mut unsent = Unsent::default();
            if self.options.dry_run {
                self.report.replayed += letters.len() as u64;
            } else {
                self.publish(letters, &mut unsent, stop)?;
            }
            self.keep_progress(&unsent.first)?;
            if let Some(why) = unsent.why {
                return Err(why);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The next letters, and whether others may follow.
    fn window(&mut self, stop: &AtomicBool) -> Result<(Vec<(DeadLetterInfo, Record)>, bool)> {
        let mut letters = Vec::new();
        // A slow replay keeps its way every second, too.
        let size = self.options.rate.map_or(WINDOW, |rate| (rate.ceil() as usize).clamp(1, WINDOW));
        while letters.len() < size {
            let wanted = self.options.limit.map(|limit| limit - self.report.replayed);
            if wanted.is_some_and(|wanted| letters.len() as u64 >= wanted) {
                return Ok((letters, false));
            }
            let Some(record) = self.scan.next(stop)? else {
                self.report.complete = true;
                return Ok((letters, false));
            };
            self.report.read += 1;
            let Some(letter) = self.desk.letter(&record, &self.options.filter) else { continue };
            if letter.reduced.is_some() {
                self.report.skip(&letter, SkipReason::Reduced);
            } else if letter.replays >= self.options.max_replays {
                self.report.skip(&letter, SkipReason::MaxReplays);
            } else {
                letters.push((letter, record));
            }
        }
        Ok((letters, true))
    }

    /// Publishes letters and waits for their ends.
    fn publish(
        &mut self,
        letters: Vec<(DeadLetterInfo, Record)>,
        unsent: &mut Unsent,
        stop: &AtomicBool,
    ) -> Result<()> {
        let ends = Arc::new(Ends::default());
        let mut headers = HeadersBuf::new();
        let mut sent = 0;
        let mut ended = None;
        for (letter, record) in &letters {
            // Whoever gives up between two letters leaves the others for the next replay.
            if let Err(error) = self.pace.wait(|| self.desk.check(stop)) {
                ended = Some(error);
                break;
            }
            self.publish_one(letter, record, &mut headers, ends.clone());
            sent += 1;
        }
        let results = ends.wait(sent, || self.desk.phase.get() < Phase::Closed)?;
        for (letter, _) in letters {
            match results.get(&(letter.partition, letter.offset)) {
                Some(Ok(_)) => self.report.replayed += 1,
                Some(Err(error)) if !error.is_retryable() && !is_of_the_bus(error) => {
                    let (code, message) = (error.code().to_owned(), error.to_string());
                    self.report.skip(&letter, SkipReason::Refused { code, message });
                }
                Some(Err(error)) => unsent.add(&letter, error.clone()),
                None => unsent.add(&letter, ended.clone().unwrap_or_else(closed)),
            }
        }
        Ok(())
    }

    fn publish_one(&self, letter: &DeadLetterInfo, record: &Record, headers: &mut HeadersBuf, ends: Arc<Ends>) {
        let Some((own, from)) = Provenance::split(record.headers()) else { return };
        let id = format!("{}/{}/{}", self.desk.topic, letter.partition, letter.offset);
        provenance::write_replay(own, &id, letter.replays + 1, headers);
        let raw = RawRecord {
            topic: &self.desk.event_type,
            partition: u32::try_from(from.partition).is_ok_and(|at| at < self.partitions).then_some(from.partition),
            timestamp: from.timestamp,
            key: record.key(),
            value: record.value(),
            headers: headers.as_headers(),
        };
        let at = (letter.partition, letter.offset);
        self.desk.publisher.publish_record(&raw, Box::new(move |end| ends.end(at, end)));
    }

    /// Keeps the way behind what ended, in front of what did not.
    fn keep_progress(&mut self, unsent: &BTreeMap<i32, i64>) -> Result<()> {
        if !self.keeps_progress || self.scan.positions.is_empty() {
            return Ok(());
        }
        let position = |(partition, position): (&i32, &i64)| {
            (*partition, unsent.get(partition).map_or(*position, |first| *first.min(position)))
        };
        let progress: Vec<_> = self.scan.positions.iter().map(position).collect();
        self.scan.reader.keep_progress(&progress, Instant::now() + QUESTION)
    }
}

/// Letters that a later replay has to come back to.
#[derive(Default)]
struct Unsent {
    /// The smallest offset of each partition.
    first: BTreeMap<i32, i64>,
    why: Option<Error>,
}

impl Unsent {
    fn add(&mut self, letter: &DeadLetterInfo, why: Error) {
        let first = self.first.entry(letter.partition).or_insert(letter.offset);
        *first = letter.offset.min(*first);
        self.why.get_or_insert(why);
    }
}

/// The error is none of the letter's: the same one is accepted later or by another bus.
fn is_of_the_bus(error: &Error) -> bool {
    error.is_fatal() || matches!(error.kind(), ErrorKind::Closed | ErrorKind::Auth)
}

/// The ends of the publishes of one window.
#[derive(Default)]
struct Ends {
    all: Mutex<EndsByPlace>,
    changed: Condvar,
}

/// By partition and offset of the letter.
type EndsByPlace = HashMap<(i32, i64), Result<Receipt>>;

impl Ends {
    /// Runs on: delivery thread, or the replay's for what is refused at once.
    fn end(&self, at: (i32, i64), end: Result<Receipt>) {
        lock(&self.all).insert(at, end);
        self.changed.notify_all();
    }

    /// Waits for that many, as long as the bus is `open`.
    fn wait(&self, count: usize, open: impl Fn() -> bool) -> Result<EndsByPlace> {
        let mut all = lock(&self.all);
        while all.len() < count {
            if !open() {
                return Err(closed());
            }
            all = self.changed.wait_timeout(all, STEP).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(std::mem::take(&mut *all))
    }
}

/// Spreads letters over time.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<f64>) -> Pace {
        let interval = rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX).min(Duration::from_secs(86_400))
        });
        Pace { interval, next: Instant::now() }
    }

    /// Waits until the next letter is due, and looks meanwhile whether the wait has to end.
    fn wait(&mut self, check: impl Fn() -> Result<()>) -> Result<()> {
        loop {
            check()?;
            let now = Instant::now();
            if now >= self.next {
                // Time that passed without a letter is not made up for.
                self.next = now.max(self.next) + self.interval;
                return Ok(());
            }
            std::thread::sleep(STEP.min(self.next - now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_on_inside_of_what_is_kept_only() {
        let extent = Extent { partition: 0, start: 10, end: 20 };
        for (progress, start) in [(None, 10), (Some(15), 15), (Some(20), 20), (Some(5), 10), (Some(21), 10)] {
            let mut one = extent;
            go_on(&mut one, progress);
            assert_eq!(one.start, start, "{progress:?}");
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_pace_spreads_and_does_not_make_up() {
        let mut pace = Pace::new(Some(1000.0));
        let start = Instant::now();
        for _ in 0..20 {
            pace.wait(|| Ok(())).unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(19), "{:?}", start.elapsed());
        let refused = Pace { next: Instant::now() + Duration::from_secs(60), ..pace }.wait(|| Err(closed()));
        assert!(refused.is_err());
    }
}
