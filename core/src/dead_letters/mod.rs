//! Looking at dead letters and sending them back to where they came from.

mod browse;
mod replay;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::codec;
use crate::codec::provenance::{self, Provenance};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Headers, Record};
use crate::log::Log;
use crate::policy::DeadLetterReason;
use crate::runtime;
use crate::shutdown::PhaseCell;
use crate::transport::{Extent, RecordPublisher, TopicReader, Transport};

pub use self::replay::{ReplayOptions, ReplayReport, SkipReason, SkippedLetter};

/// How long one question to the cluster may take.
const QUESTION: Duration = Duration::from_secs(10);

impl DeadLetterReason {
    /// Every reason.
    pub const ALL: &'static [DeadLetterReason] = &[
        DeadLetterReason::Exhausted,
        DeadLetterReason::Fatal,
        DeadLetterReason::Invalid,
        DeadLetterReason::Parked,
        DeadLetterReason::Requested,
    ];

    /// The reason of that name.
    ///
    /// # Errors
    /// `Argument` for another name.
    pub fn from_name(name: &str) -> Result<DeadLetterReason> {
        DeadLetterReason::ALL.iter().copied().find(|reason| reason.as_str() == name).ok_or_else(|| {
            let all: Vec<_> = DeadLetterReason::ALL.iter().map(|reason| reason.as_str()).collect();
            Error::new(ErrorKind::Argument, format!("{name:?} is no reason of a dead letter"))
                .hint(format!("use one of {}", all.join(", ")))
        })
    }
}

/// Which dead letters are meant; all that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Any of these reasons; every reason when there is none.
    pub reasons: Vec<DeadLetterReason>,
    /// Their last attempt failed at this time, in milliseconds since the Unix epoch, or later.
    pub since: Option<i64>,
    /// Their last attempt failed before this time, in milliseconds since the Unix epoch.
    pub until: Option<i64>,
    /// They lie in this partition of the dead-letter topic.
    pub partition: Option<i32>,
    /// They lie at this offset; needs the partition.
    pub offset: Option<i64>,
    /// They have this key.
    pub key: Option<Vec<u8>>,
}

impl DeadLetterFilter {
    fn validate(&self) -> Result<()> {
        let illegal =
            |message: &'static str, hint: &'static str| Err(Error::new(ErrorKind::Argument, message).hint(hint));
        match (self.partition, self.offset) {
            (None, Some(_)) => illegal("an offset needs its partition", "give partition and offset"),
            (Some(..0), _) | (_, Some(..0)) => {
                illegal("partitions and offsets are 0 or more", "take both from the list of dead letters")
            }
            _ => Ok(()),
        }
    }

    fn matches(&self, info: &DeadLetterInfo) -> bool {
        let reason = info.reason.as_deref();
        let at = info.last_failed_at.or(info.timestamp);
        (self.reasons.is_empty() || self.reasons.iter().any(|wanted| Some(wanted.as_str()) == reason))
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until))
            && self.key.as_deref().is_none_or(|key| info.key.as_deref() == Some(key))
            && self.partition.is_none_or(|partition| info.partition == partition)
            && self.offset.is_none_or(|offset| info.offset == offset)
    }

    /// What of the extents can hold such letters.
    fn within(&self, extents: Vec<Extent>) -> Vec<Extent> {
        let wanted = extents.into_iter().filter(|extent| self.partition.is_none_or(|at| extent.partition == at));
        let cut = wanted.map(|extent| match self.offset {
            Some(offset) => Extent { start: offset.max(extent.start), end: (offset + 1).min(extent.end), ..extent },
            None => extent,
        });
        cut.filter(|extent| extent.start < extent.end).collect()
    }
}

/// What is known of a dead letter, without its value and headers.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterInfo {
    /// Its partition in the dead-letter topic.
    pub partition: i32,
    /// Its offset in the dead-letter topic.
    pub offset: i64,
    /// The topic of the record, which is the event's type.
    pub source_topic: String,
    /// The partition of the record.
    pub source_partition: i32,
    /// The offset of the record.
    pub source_offset: i64,
    /// The timestamp of the record in milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// The id of the event, if the record holds one.
    pub event_id: Option<String>,
    /// The record's key; `None` is Kafka's null.
    #[serde(skip)]
    pub key: Option<Vec<u8>>,
    /// The bytes of key, value and headers.
    pub size: usize,
    /// The consumer group that could not handle it.
    pub group: Option<String>,
    /// Why it is a dead letter: a name of [`DeadLetterReason`].
    pub reason: Option<String>,
    /// The handler that failed.
    pub handler: Option<String>,
    /// How many attempts there were.
    pub attempts: Option<u32>,
    /// The code or class of the last error.
    pub error_code: Option<String>,
    /// The message of the last error.
    pub error_message: Option<String>,
    /// When the first attempt failed, in milliseconds since the Unix epoch.
    pub first_failed_at: Option<i64>,
    /// When the last attempt failed, in milliseconds since the Unix epoch.
    pub last_failed_at: Option<i64>,
    /// The code of the error because of which the letter only says where the record lies.
    pub reduced: Option<String>,
    /// How often the event had been replayed before it became this dead letter.
    pub replays: u32,
}

impl DeadLetterInfo {
    /// `None` for a record that says of no other one that it is its dead letter.
    fn read(record: &Record) -> Option<DeadLetterInfo> {
        let (own, from) = Provenance::split(record.headers())?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(DeadLetterInfo {
            partition: record.source.partition,
            offset: record.offset,
            source_topic: from.topic.to_owned(),
            source_partition: from.partition,
            source_offset: from.offset,
            timestamp: from.timestamp,
            event_id: codec::decode(record).ok().map(|event| event.event_id().to_owned()),
            key: record.key().map(<[u8]>::to_vec),
            size: record.data().len(),
            group: owned(from.group),
            reason: owned(from.reason),
            handler: owned(from.handler),
            attempts: from.attempts,
            error_code: owned(from.error_code),
            error_message: owned(from.error_message),
            first_failed_at: from.first_failed_at,
            last_failed_at: from.last_failed_at,
            reduced: owned(from.reduced),
            replays: provenance::replays(own),
        })
    }
}

/// Says which letter it is and why; never its key, which may be confidential.
impl fmt::Debug for DeadLetterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeadLetterInfo { partition, offset, source_topic, source_partition, source_offset, reason, .. } = self;
        let reason = reason.as_deref().unwrap_or("unknown");
        write!(f, "DeadLetter({partition}@{offset}, {reason}, {source_topic}[{source_partition}]@{source_offset})")
    }
}

/// A dead letter with its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// What is known of it.
    pub info: DeadLetterInfo,
    /// The record as it lies in the dead-letter topic.
    pub record: Record,
}

impl DeadLetterRecord {
    /// The headers that the record had before it became a dead letter.
    pub fn own_headers(&self) -> Headers<'_> {
        Provenance::split(self.record.headers()).map_or_else(|| self.record.headers(), |(own, _)| own)
    }
}

/// The dead letters of one event type, from [`Bus::dead_letters`](crate::Bus::dead_letters).
///
/// ```no_run
/// use event_bus::{DeadLetterFilter, DeadLetterReason, ReplayOptions};
///
/// # async fn run(bus: &event_bus::Bus) -> event_bus::Result<()> {
/// let letters = bus.dead_letters("order.placed");
/// for letter in letters.list(&DeadLetterFilter::default(), 100).await? {
///     println!("{letter:?}: {:?}", letter.error_message);
/// }
/// let filter = DeadLetterFilter { reasons: vec![DeadLetterReason::Exhausted], ..Default::default() };
/// let report = letters.replay(ReplayOptions { filter, ..Default::default() }).await?;
/// println!("{} replayed, {} skipped", report.replayed, report.skipped);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters(Arc<Desk>);

/// Where letters lie, and what it takes to read and publish them.
#[derive(Clone)]
struct Desk {
    transport: Arc<dyn Transport>,
    publisher: Arc<dyn RecordPublisher>,
    phase: Arc<PhaseCell>,
    log: Log,
    event_type: Arc<str>,
    /// The dead-letter topic.
    topic: Arc<str>,
    /// The group whose handlers failed, in whose name replays are remembered.
    group: Option<String>,
}

impl DeadLetters {
    pub(crate) fn new(
        config: &Config,
        transport: Arc<dyn Transport>,
        publisher: Arc<dyn RecordPublisher>,
        phase: Arc<PhaseCell>,
        log: Log,
        event_type: &str,
    ) -> Self {
        let topic = config.policy.dead_letter_topic_of(event_type).into();
        let (event_type, group) = (event_type.into(), config.group_id.clone());
        DeadLetters(Arc::new(Desk { transport, publisher, phase, log, event_type, topic, group }))
    }

    /// The same letters in another topic, for a subscription with a `dead_letter_topic` of its own.
    #[must_use]
    pub fn stored_in(self, topic: &str) -> Self {
        DeadLetters(Arc::new(Desk { topic: topic.into(), ..(*self.0).clone() }))
    }

    /// The dead-letter topic.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// What is known of the letters that match, those whose last attempt failed first in front; at most `limit`.
    ///
    /// Letters that were replayed stay in the topic and in this list.
    ///
    /// # Errors
    /// `UnknownTopic` while there is no dead-letter topic, `Argument` for an offset without partition, `Timeout`,
    /// `Unavailable`, `Rejected` without the right to read, `Closed`.
    pub async fn list(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetterInfo>> {
        let filter = filter.clone();
        self.blocking(move |desk, stop| browse::list(desk, &filter, limit, stop)).await
    }

    /// One letter with its record.
    ///
    /// # Errors
    /// As [`DeadLetters::list`]; `Argument` when there is no dead letter of this event type at that place.
    pub async fn show(&self, partition: i32, offset: i64) -> Result<DeadLetterRecord> {
        let filter = DeadLetterFilter { partition: Some(partition), offset: Some(offset), ..Default::default() };
        self.blocking(move |desk, stop| browse::show(desk, &filter, stop)).await
    }

    /// Publishes the letters that match to the topic and partition that they came from, as they were, with the headers
    /// `dead-letter.replay-id` and `dead-letter.replay-count`.
    ///
    /// It goes on where the last replay with the same filter ended, and ends where the topic ended when it began. The
    /// way is kept as offsets of a consumer group, always behind the acknowledgements: a replay that is killed and
    /// started again leaves nothing out, and repeats at most the last 100 letters, which their replay id tells. A
    /// filter for one offset always replays that letter. Dropping the future ends the replay within that bound.
    ///
    /// # Errors
    /// As [`DeadLetters::list`], `UnknownTopic` when the event's topic is gone, and the error of a publish that may
    /// succeed later; its context says how many letters were replayed before. Start it again to go on.
    pub async fn replay(&self, options: ReplayOptions) -> Result<ReplayReport> {
        self.blocking(move |desk, stop| replay::replay(desk, &options, stop)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Desk, &AtomicBool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let desk = self.0.clone();
        desk.phase.check_open()?;
        for name in [&desk.event_type, &desk.topic] {
            codec::validate_topic_name(name)?;
        }
        let stop = StopOnDrop::default();
        let stopped = stop.0.clone();
        runtime::blocking(move || call(&desk, &stopped)).await?
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetters({} in {})", self.0.event_type, self.0.topic)
    }
}

/// Tells a blocking call that nobody waits for it any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Desk {
    /// A reader with what the topic holds.
    fn open(&self, group: &str) -> Result<(Box<dyn TopicReader>, Vec<Extent>)> {
        let mut reader = self.transport.reader(&self.topic, group)?;
        let extents = reader.extents(Instant::now() + QUESTION).map_err(|error| match error.kind() {
            ErrorKind::UnknownTopic => error.hint("it is created with the first dead letter; check its name"),
            _ => error,
        })?;
        Ok((reader, extents))
    }

    /// The group whose offsets are the progress of replays.
    fn progress_group(&self) -> String {
        const SUFFIX: &str = "dead-letter-replay";
        self.group.as_ref().map_or_else(|| SUFFIX.to_owned(), |group| format!("{group}.{SUFFIX}"))
    }

    /// Whether the call has to end early, and why.
    fn check(&self, stop: &AtomicBool) -> Result<()> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "nobody waits for the dead letters any more"));
        }
        self.phase.check_open()
    }
}
