//! Where consuming of a partition starts: found out on a thread of its own, because the poll thread must never wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use crate::error::{Error, Result};
use crate::event::TopicPartition;
use crate::policy::StartFrom;
use crate::runtime::Worker;
use crate::transport::{Committed, GroupOffsets, LogPosition, Progress};

/// How long the group may take to say what it has stored.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the leaders may take to say what they keep: one that is away must not hold up the others for long.
const BOUNDS_TIMEOUT: Duration = Duration::from_millis(750);

/// What is wanted of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Where the group left off or, where it has stored nothing, where the subscription says.
    Start(StartFrom),
    /// The same, after the client found that what the group has stored is not in the log.
    StartAnew(StartFrom),
    /// The next offset that there is, in place of this one, which is gone.
    Instead(i64),
    /// A place that somebody asked for.
    Place(LogPosition),
}

/// What is to be found out, in one go.
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) partitions: Vec<(TopicPartition, Wanted)>,
}

/// Where to start in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) source: TopicPartition,
    /// `None`: it could not be found out.
    pub(super) offset: Option<i64>,
    /// The offset that should have been the start, and is not in the log.
    pub(super) instead_of: Option<i64>,
}

/// What was found out.
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) starts: Vec<Start>,
    /// Why some offset is missing.
    pub(super) error: Option<Error>,
}

/// How far partitions are, as an answer to the watchdog's question of that number.
pub(super) struct ProgressAnswer {
    pub(super) id: u64,
    pub(super) partitions: Vec<(TopicPartition, Progress)>,
}

enum Task {
    Starts(Question),
    Progress { id: u64, partitions: Vec<TopicPartition> },
}

/// Hands questions to the lookup thread, which ends when this is dropped.
pub(super) struct Lookups(Sender<Task>);

impl Lookups {
    pub(super) fn start(offsets: Arc<dyn GroupOffsets>, mailbox: Arc<Mailbox>) -> Result<Self> {
        let (sender, receiver) = channel::<Task>();
        let broken = mailbox.clone();
        let body = move || {
            for task in receiver {
                match task {
                    Task::Starts(question) => mailbox.answered(answer(&*offsets, &question)),
                    Task::Progress { id, partitions } => mailbox.progressed(progress(&*offsets, id, partitions)),
                }
            }
        };
        Worker::start("evbus-lookup", body, move |error| broken.panicked(error))?;
        Ok(Lookups(sender))
    }

    pub(super) fn ask(&self, question: Question) {
        // The receiver is gone only after a panic, which the mailbox has been told.
        let _ = self.0.send(Task::Starts(question));
    }

    pub(super) fn ask_progress(&self, id: u64, partitions: Vec<TopicPartition>) {
        let _ = self.0.send(Task::Progress { id, partitions });
    }
}

/// Runs on: lookup thread.
fn progress(offsets: &dyn GroupOffsets, id: u64, partitions: Vec<TopicPartition>) -> ProgressAnswer {
    // Whoever does not answer is asked again soon.
    let known = offsets.progress(&partitions, Instant::now() + BOUNDS_TIMEOUT).unwrap_or_default();
    let known = known.into_iter().chain(std::iter::repeat(Progress::default()));
    ProgressAnswer { id, partitions: partitions.into_iter().zip(known).collect() }
}

/// Runs on: lookup thread.
fn answer(offsets: &dyn GroupOffsets, question: &Question) -> Answer {
    let mut lookup = Lookup { offsets, error: None };
    let starts = lookup.starts(&question.partitions);
    let error = lookup.error.filter(|_| starts.iter().any(|start| start.offset.is_none()));
    Answer { id: question.id, starts, error }
}

struct Lookup<'a> {
    offsets: &'a dyn GroupOffsets,
    error: Option<Error>,
}

/// What is known of a partition when its start is decided.
#[derive(Clone, Copy, Default)]
struct Facts {
    /// `None`: not known, `Some(None)`: nothing.
    committed: Option<Option<Committed>>,
    begin: Option<i64>,
    end: Option<i64>,
    /// The first offset at the wanted time.
    at: Option<i64>,
    /// The group consumed this topic before, so the partition is younger than the group.
    is_later: Option<bool>,
}

/// A start, and whether it is the group's first, to be stored before anything is handed out.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    offset: Option<i64>,
    instead_of: Option<i64>,
    is_first: bool,
}

impl Lookup<'_> {
    fn starts(&mut self, asked: &[(TopicPartition, Wanted)]) -> Vec<Start> {
        let mut facts: HashMap<TopicPartition, Facts> = HashMap::new();
        let of_group = |(source, wanted): &(TopicPartition, Wanted)| {
            matches!(wanted, Wanted::Start(_) | Wanted::StartAnew(_)).then(|| source.clone())
        };
        let of_group: Vec<TopicPartition> = asked.iter().filter_map(of_group).collect();
        for (source, committed) in self.committed(&of_group) {
            facts.entry(source).or_default().committed = Some(committed);
        }
        let places = |position| asked.iter().map(|(source, _)| (source.clone(), position)).collect::<Vec<_>>();
        for (source, end) in self.places(&places(LogPosition::End)) {
            facts.entry(source).or_default().end = Some(end);
        }
        for (source, begin) in self.places(&places(LogPosition::Beginning)) {
            facts.entry(source).or_default().begin = Some(begin);
        }
        self.look_into_first_starts(asked, &mut facts);
        let decisions: Vec<_> = asked
            .iter()
            .map(|(source, wanted)| decide(*wanted, &facts.get(source).copied().unwrap_or_default()))
            .collect();
        let stored = self.store_first_starts(asked, &decisions);
        let start = |((source, _), decision): (&(TopicPartition, Wanted), Decision)| Start {
            source: source.clone(),
            offset: decision.offset.filter(|_| !decision.is_first || stored),
            instead_of: decision.instead_of,
        };
        asked.iter().zip(decisions).map(start).collect()
    }

    /// What only those partitions need that the group has stored nothing for.
    fn look_into_first_starts(
        &mut self,
        asked: &[(TopicPartition, Wanted)],
        facts: &mut HashMap<TopicPartition, Facts>,
    ) {
        let (mut times, mut topics) = (Vec::new(), BTreeSet::new());
        for (source, wanted) in asked {
            let is_new = facts.get(source).is_some_and(|facts| facts.committed == Some(None));
            match wanted {
                Wanted::Place(place @ LogPosition::Timestamp(_)) => times.push((source.clone(), *place)),
                Wanted::Start(from) | Wanted::StartAnew(from) if is_new && *from != StartFrom::Earliest => {
                    topics.insert(source.topic.clone());
                    if let StartFrom::Timestamp(millis) = from {
                        times.push((source.clone(), LogPosition::Timestamp(*millis)));
                    }
                }
                _ => {}
            }
        }
        for (source, at) in self.places(&times) {
            facts.entry(source).or_default().at = Some(at);
        }
        for topic in topics {
            let Some(consumed) = self.was_consumed(&topic) else { continue };
            for (_, facts) in facts.iter_mut().filter(|(source, _)| source.topic == topic) {
                facts.is_later = Some(consumed);
            }
        }
    }

    /// Whether the group has handled something of a topic: what it has stored there is more than a start.
    fn was_consumed(&mut self, topic: &Arc<str>) -> Option<bool> {
        let deadline = Instant::now() + COMMITTED_TIMEOUT;
        let count = self.known(self.offsets.partitions_of(topic, deadline))?;
        let all: Vec<_> = (0..count).map(|number| TopicPartition::new(topic.clone(), number)).collect();
        let stored = self.known(self.offsets.committed(&all, deadline))?;
        Some(stored.into_iter().flatten().any(|committed| !committed.is_start))
    }

    fn store_first_starts(&mut self, asked: &[(TopicPartition, Wanted)], decisions: &[Decision]) -> bool {
        let first: Vec<_> = asked
            .iter()
            .zip(decisions)
            .filter(|(_, decision)| decision.is_first)
            .filter_map(|((source, _), decision)| Some((source.clone(), decision.offset?)))
            .collect();
        first.is_empty() || self.known(self.offsets.commit_starts(&first)).is_some()
    }

    fn committed(&mut self, sources: &[TopicPartition]) -> Vec<(TopicPartition, Option<Committed>)> {
        if sources.is_empty() {
            return Vec::new();
        }
        let found = self.known(self.offsets.committed(sources, Instant::now() + COMMITTED_TIMEOUT));
        sources.iter().cloned().zip(found.unwrap_or_default()).collect()
    }

    fn places(&mut self, places: &[(TopicPartition, LogPosition)]) -> Vec<(TopicPartition, i64)> {
        if places.is_empty() {
            return Vec::new();
        }
        let found = self.known(self.offsets.log_offsets(places, Instant::now() + BOUNDS_TIMEOUT)).unwrap_or_default();
        places.iter().zip(found).filter_map(|((source, _), offset)| Some((source.clone(), offset?))).collect()
    }

    fn known<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error = Some(error)).ok()
    }
}

fn decide(wanted: Wanted, facts: &Facts) -> Decision {
    let start = |offset| Decision { offset, instead_of: None, is_first: false };
    let instead = |old| Decision { offset: facts.begin, instead_of: Some(old), is_first: false };
    let at = || facts.at.and_then(|at| if at < 0 { facts.end } else { Some(at) });
    let (from, anew) = match wanted {
        Wanted::Instead(old) => return instead(old),
        Wanted::Place(LogPosition::Beginning) => return start(facts.begin),
        Wanted::Place(LogPosition::End) => return start(facts.end),
        Wanted::Place(LogPosition::Timestamp(_)) => return start(at()),
        Wanted::Start(from) => (from, false),
        Wanted::StartAnew(from) => (from, true),
    };
    match facts.committed {
        None => start(None),
        // An offset behind the end is left for the leader to judge: it alone knows its end for certain.
        Some(Some(stored)) if anew || facts.begin.is_some_and(|begin| stored.offset < begin) => instead(stored.offset),
        Some(Some(stored)) => start(Some(stored.offset)),
        Some(None) => match (from, facts.is_later) {
            (StartFrom::Earliest, _) | (_, Some(true)) => start(facts.begin),
            (_, None) => start(None),
            (StartFrom::Latest, _) => Decision { is_first: true, ..start(facts.end) },
            (StartFrom::Timestamp(_), _) => Decision { is_first: true, ..start(at()) },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: i64) -> Option<Option<Committed>> {
        Some(Some(Committed { offset, is_start: false }))
    }

    fn decided(wanted: Wanted, facts: Facts) -> (Option<i64>, Option<i64>, bool) {
        let Decision { offset, instead_of, is_first } = decide(wanted, &facts);
        (offset, instead_of, is_first)
    }

    #[test]
    fn a_group_goes_on_where_it_left_off_and_tells_when_that_is_gone() {
        let log = Facts { begin: Some(10), end: Some(20), ..Facts::default() };
        let start = |committed| decided(Wanted::Start(StartFrom::Latest), Facts { committed, ..log });
        assert_eq!(start(stored(15)), (Some(15), None, false));
        assert_eq!(start(stored(9)), (Some(10), Some(9), false));
        assert_eq!(start(stored(25)), (Some(25), None, false), "the leader judges");
        assert_eq!(start(None), (None, None, false), "unknown is not nothing");
        let anew = Facts { committed: stored(25), ..log };
        assert_eq!(decided(Wanted::StartAnew(StartFrom::Latest), anew), (Some(10), Some(25), false));
        assert_eq!(decided(Wanted::Instead(7), log), (Some(10), Some(7), false));
        let unseen = Facts { committed: stored(15), ..Facts::default() };
        assert_eq!(decided(Wanted::Start(StartFrom::Earliest), unseen), (Some(15), None, false));
    }

    #[test]
    fn a_group_that_stored_nothing_starts_where_the_subscription_says() {
        let log = Facts { committed: Some(None), begin: Some(10), end: Some(20), at: Some(12), is_later: Some(false) };
        let first = |from, facts| decided(Wanted::Start(from), facts);
        assert_eq!(first(StartFrom::Earliest, log), (Some(10), None, false));
        assert_eq!(first(StartFrom::Latest, log), (Some(20), None, true));
        assert_eq!(first(StartFrom::Timestamp(5), log), (Some(12), None, true));
        assert_eq!(first(StartFrom::Timestamp(5), Facts { at: Some(-1), ..log }), (Some(20), None, true));
        let later = Facts { is_later: Some(true), ..log };
        assert_eq!(first(StartFrom::Latest, later), (Some(10), None, false), "younger than the group");
        assert_eq!(first(StartFrom::Latest, Facts { is_later: None, ..log }), (None, None, false));
        assert_eq!(first(StartFrom::Latest, Facts { end: None, ..log }), (None, None, true));
    }

    #[test]
    fn places_are_where_they_are() {
        let log = Facts { begin: Some(10), end: Some(20), at: Some(12), ..Facts::default() };
        assert_eq!(decided(Wanted::Place(LogPosition::Beginning), log).0, Some(10));
        assert_eq!(decided(Wanted::Place(LogPosition::End), log).0, Some(20));
        assert_eq!(decided(Wanted::Place(LogPosition::Timestamp(1)), log).0, Some(12));
        assert_eq!(decided(Wanted::Place(LogPosition::Timestamp(1)), Facts { at: Some(-1), ..log }).0, Some(20));
    }
}
