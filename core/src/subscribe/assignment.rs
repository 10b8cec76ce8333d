//! The partitions of this member and where they start: what the poll thread remembers between a question to the
//! lookup thread and its answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::mailbox::Mailbox;
use super::starts::{Answer, Lookups, Question, Start, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TopicPartition;
use crate::policy::{SeekTo, StartFrom};
use crate::transport::{GroupOffsets, LogPosition};

/// After this time the group gets its answer without the starts.
const OFFER_TIMEOUT: Duration = Duration::from_secs(4);

/// The pause before a start that was not found out is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Who gets to know that a seek is done.
pub(super) type Done = oneshot::Sender<Result<()>>;

/// What the group gave and the client was not told yet.
struct Offer {
    id: u64,
    partitions: Vec<TopicPartition>,
    until: Instant,
}

/// A partition that shall go on from another offset.
struct Search {
    source: TopicPartition,
    wanted: Wanted,
    /// `None`: the client lost its place.
    done: Option<Done>,
    step: Step,
}

/// How far a search is.
#[derive(Clone, Copy)]
enum Step {
    Asked(u64),
    Again(Instant),
    Found { offset: i64, instead_of: Option<i64> },
}

/// A partition whose new offset is known.
pub(super) struct Move {
    pub(super) source: TopicPartition,
    pub(super) offset: i64,
    pub(super) instead_of: Option<i64>,
    pub(super) done: Option<Done>,
}

pub(super) struct Assignment {
    lookups: Lookups,
    last_id: u64,
    offer: Option<Offer>,
    /// What the client fetches, and from where it began.
    owned: HashMap<TopicPartition, Option<i64>>,
    searches: Vec<Search>,
}

impl Assignment {
    pub(super) fn new(offsets: Arc<dyn GroupOffsets>, mailbox: Arc<Mailbox>) -> Result<Self> {
        Ok(Assignment {
            lookups: Lookups::start(offsets, mailbox)?,
            last_id: 0,
            offer: None,
            owned: HashMap::new(),
            searches: Vec::new(),
        })
    }

    /// Another client serves from now on. Numbers of questions go on, so that late answers of the old one fit nothing.
    pub(super) fn renew(&mut self, offsets: Arc<dyn GroupOffsets>, mailbox: Arc<Mailbox>) -> Result<()> {
        self.lookups = Lookups::start(offsets, mailbox)?;
        Ok(())
    }

    fn ask(&mut self, partitions: Vec<(TopicPartition, Wanted)>) -> u64 {
        self.last_id += 1;
        self.lookups.ask(Question { id: self.last_id, partitions });
        self.last_id
    }

    /// Asks how far partitions are, for the watchdog.
    pub(super) fn ask_progress(&self, id: u64, partitions: Vec<TopicPartition>) {
        self.lookups.ask_progress(id, partitions);
    }

    /// The group gave partitions; their starts are looked for.
    pub(super) fn offered(&mut self, now: Instant, partitions: Vec<TopicPartition>, from: Vec<StartFrom>) {
        let wanted = partitions.iter().cloned().zip(from.into_iter().map(Wanted::Start)).collect();
        let id = self.ask(wanted);
        self.offer = Some(Offer { id, partitions, until: now + OFFER_TIMEOUT });
    }

    /// The offer that was not answered yet, without starts: the client looks for them by itself.
    pub(super) fn take_offer(&mut self) -> Option<Vec<Start>> {
        let start = |source| Start { source, offset: None, instead_of: None };
        self.offer.take().map(|offer| offer.partitions.into_iter().map(start).collect())
    }

    /// The same, when it has waited too long.
    pub(super) fn take_late_offer(&mut self, now: Instant) -> Option<Vec<Start>> {
        self.offer.as_ref().filter(|offer| now >= offer.until)?;
        self.take_offer()
    }

    /// A rebalance waits for its answer.
    pub(super) fn is_offered(&self) -> bool {
        self.offer.is_some()
    }

    /// The client has begun to fetch.
    pub(super) fn begun(&mut self, starts: &[Start]) {
        self.owned.extend(starts.iter().map(|start| (start.source.clone(), start.offset)));
    }

    /// The client has let go.
    pub(super) fn gone(&mut self, partitions: &[TopicPartition]) {
        let gone: HashSet<&TopicPartition> = partitions.iter().collect();
        self.owned.retain(|source, _| !gone.contains(source));
        let all = std::mem::take(&mut self.searches);
        let (dropped, kept) = all.into_iter().partition(|search| gone.contains(&search.source));
        self.searches = kept;
        let dropped: Vec<Search> = dropped;
        dropped.into_iter().for_each(|search| tell(search.done, Err(not_assigned(&search.source))));
    }

    /// Everything is gone, with the client that had it.
    pub(super) fn all_gone(&mut self) -> Vec<TopicPartition> {
        self.offer = None;
        let all: Vec<TopicPartition> = self.owned.keys().cloned().collect();
        self.gone(&all);
        all
    }

    /// Where fetching began, when nothing is known of later positions.
    pub(super) fn start_of(&self, source: &TopicPartition) -> Option<i64> {
        self.owned.get(source).copied().flatten()
    }

    /// The client has no place to go on from; `position` is where it was.
    pub(super) fn out_of_range(&mut self, source: TopicPartition, position: Option<i64>, from: StartFrom) {
        if !self.owned.contains_key(&source) {
            return;
        }
        let wanted = match position.or_else(|| self.start_of(&source)) {
            Some(position) => Wanted::Instead(position),
            None => Wanted::StartAnew(from),
        };
        self.search(source, wanted, None);
    }

    /// The client does not find out where the group left off.
    pub(super) fn find_start(&mut self, source: TopicPartition, from: StartFrom) {
        if self.owned.contains_key(&source) && !self.is_sought(&source) {
            self.search(source, Wanted::Start(from), None);
        }
    }

    /// A partition that the client fetches.
    pub(super) fn owns(&self, source: &TopicPartition) -> bool {
        self.owned.contains_key(source)
    }

    /// It is not known yet from where the partition goes on.
    pub(super) fn is_sought(&self, source: &TopicPartition) -> bool {
        self.searches.iter().any(|search| search.source == *source)
    }

    /// Somebody wants a partition to be read from another place.
    pub(super) fn seek(&mut self, source: TopicPartition, to: SeekTo, done: Done) {
        if !self.owned.contains_key(&source) {
            return tell(Some(done), Err(not_assigned(&source)));
        }
        let place = match to {
            SeekTo::Offset(offset) => {
                let (step, wanted) = (Step::Found { offset, instead_of: None }, Wanted::Instead(offset));
                return self.searches.push(Search { source, wanted, done: Some(done), step });
            }
            SeekTo::Beginning => LogPosition::Beginning,
            SeekTo::End => LogPosition::End,
            SeekTo::Timestamp(millis) => LogPosition::Timestamp(millis),
        };
        self.search(source, Wanted::Place(place), Some(done));
    }

    fn search(&mut self, source: TopicPartition, wanted: Wanted, done: Option<Done>) {
        let step = Step::Asked(self.ask(vec![(source.clone(), wanted)]));
        self.searches.push(Search { source, wanted, done, step });
    }

    /// The lookup thread has answered. Gives the starts of the offer, if it was for that.
    pub(super) fn answered(&mut self, now: Instant, answer: Answer) -> Option<Vec<Start>> {
        let Answer { id, mut starts, error } = answer;
        if self.offer.as_ref().is_some_and(|offer| offer.id == id) {
            self.offer = None;
            return Some(starts);
        }
        let at = self.searches.iter().position(|search| matches!(search.step, Step::Asked(asked) if asked == id))?;
        let Start { offset, instead_of, .. } = starts.pop()?;
        match offset {
            Some(offset) => self.searches[at].step = Step::Found { offset, instead_of },
            // What the client lost has to be found; who asked hears of it.
            None if self.searches[at].done.is_none() => self.searches[at].step = Step::Again(now + RETRY),
            None => {
                let Search { source, done, .. } = self.searches.swap_remove(at);
                tell(done, Err(error.unwrap_or_else(|| not_found(&source))));
            }
        }
        None
    }

    /// Asks again for what is due.
    pub(super) fn look_again(&mut self, now: Instant) {
        for at in 0..self.searches.len() {
            let Search { source, wanted, step, .. } = &self.searches[at];
            if matches!(step, Step::Again(due) if *due <= now) {
                let question = vec![(source.clone(), *wanted)];
                self.searches[at].step = Step::Asked(self.ask(question));
            }
        }
    }

    /// When something is to be done by time alone.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let again = self.searches.iter().filter_map(|search| match search.step {
            Step::Again(at) => Some(at),
            _ => None,
        });
        again.chain(self.offer.as_ref().map(|offer| offer.until)).min()
    }

    /// What is to go on from another offset, to be carried out while no rebalance waits for its answer.
    pub(super) fn take_moves(&mut self) -> Vec<Move> {
        if !self.searches.iter().any(|search| matches!(search.step, Step::Found { .. })) {
            return Vec::new();
        }
        let (mut moves, mut rest) = (Vec::new(), Vec::new());
        for search in std::mem::take(&mut self.searches) {
            match search.step {
                Step::Found { offset, instead_of } => {
                    moves.push(Move { source: search.source, offset, instead_of, done: search.done });
                }
                _ => rest.push(search),
            }
        }
        self.searches = rest;
        moves
    }

    /// What the client lost could not be moved.
    pub(super) fn find_again(&mut self, now: Instant, one: Move) {
        let Move { source, offset, instead_of, done } = one;
        let wanted = Wanted::Instead(instead_of.unwrap_or(offset));
        self.searches.push(Search { source, wanted, done, step: Step::Again(now + RETRY) });
    }

    /// A partition goes on from another offset.
    pub(super) fn moved(&mut self, source: &TopicPartition, offset: i64) {
        if let Some(start) = self.owned.get_mut(source) {
            *start = Some(offset);
        }
    }

    /// Nothing is sought any more.
    pub(super) fn end(&mut self) {
        let all = std::mem::take(&mut self.searches).into_iter();
        all.for_each(|search| tell(search.done, Err(crate::shutdown::closed())));
    }
}

/// Whoever asked may have lost interest.
pub(super) fn tell(done: Option<Done>, result: Result<()>) {
    if let Some(done) = done {
        let _ = done.send(result);
    }
}

pub(super) fn not_assigned(source: &TopicPartition) -> Error {
    Error::new(ErrorKind::IllegalState, "the partition is not assigned to this member of the group")
        .with("topic", &source.topic)
        .with("partition", source.partition)
        .hint("seek on the bus that owns the partition; metrics().consume.lag lists the partitions of a bus")
}

fn not_found(source: &TopicPartition) -> Error {
    Error::new(ErrorKind::Timeout, "the partition's leader did not say in time which offsets it keeps")
        .with("topic", &source.topic)
        .with("partition", source.partition)
        .hint("try again; if it stays, check the brokers that hold the partition")
}
