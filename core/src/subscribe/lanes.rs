//! A lane: records that must be handled one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Delivery, Record, Ticket};

/// How much one run may hold; a larger record travels alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    /// Records.
    pub(crate) records: usize,
    /// Bytes, as [`Record::size`] counts them.
    pub(crate) bytes: usize,
}

/// A queue of records of which one run, a piece of its head, is out for handling at a time.
///
/// A record stays here until it is finished, so that one that nobody handled is still there to be handed out
/// again. The lane knows nothing of offsets: a sequence names a record.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    waiting: VecDeque<Item>,
    run: Vec<Handed>,
    open: usize,
    /// Where the next answer is expected: hosts answer in order, so this saves the search.
    cursor: usize,
    held: bool,
    named_during_run: bool,
}

#[derive(Debug)]
struct Item {
    sequence: u32,
    occurred_on: Option<i64>,
    record: Arc<Record>,
}

#[derive(Debug)]
struct Handed {
    sequence: u32,
    state: HandedState,
}

#[derive(Debug)]
enum HandedState {
    Open(Item),
    Finished,
    Returned(Item),
}

/// What an answer did to the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Bytes that the lane holds no more.
    pub(crate) freed: usize,
    /// It was the last answer of its run.
    pub(crate) run_over: bool,
}

impl Lane {
    /// Adds a record at the end.
    pub(crate) fn push(&mut self, sequence: u32, record: Arc<Record>, occurred_on: Option<i64>) {
        self.waiting.push_back(Item { sequence, occurred_on, record });
    }

    /// Hands out the next run; `None` while one is out, while the lane is held, and when nothing waits.
    pub(crate) fn next_run(
        &mut self,
        limits: RunLimits,
        lane: u32,
        ticket: impl Fn(u32) -> Ticket,
    ) -> Option<Vec<Delivery>> {
        if self.open > 0 || self.held || self.waiting.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let count = self.waiting.iter().take(limits.records.max(1)).take_while(|item| {
            let first = bytes == 0;
            bytes += item.record.size();
            first || bytes <= limits.bytes
        });
        let count = count.count();
        self.run.clear();
        self.cursor = 0;
        self.open = count;
        self.named_during_run = false;
        let mut deliveries = Vec::with_capacity(count);
        for item in self.waiting.drain(..count) {
            deliveries.push(Delivery {
                record: Arc::clone(&item.record),
                ticket: ticket(item.sequence),
                lane,
                attempt: 1,
                last: false,
                occurred_on: item.occurred_on,
            });
            self.run.push(Handed { sequence: item.sequence, state: HandedState::Open(item) });
        }
        Some(deliveries)
    }

    /// The record is finished and leaves the lane; `None` when its answer is not awaited.
    pub(crate) fn finish(&mut self, sequence: u32) -> Option<Answered> {
        self.answer(sequence, |item| (HandedState::Finished, item.record.size()))
    }

    /// The record was not handled: after its run it is at the head again and the lane is held; `None` when its
    /// answer is not awaited.
    pub(crate) fn give_back(&mut self, sequence: u32) -> Option<Answered> {
        self.answer(sequence, |item| (HandedState::Returned(item), 0))
    }

    fn answer(&mut self, sequence: u32, settle: impl FnOnce(Item) -> (HandedState, usize)) -> Option<Answered> {
        let index = match self.run.get(self.cursor) {
            Some(handed) if handed.sequence == sequence => self.cursor,
            _ => {
                let first = self.run.first()?.sequence;
                let distance = sequence.wrapping_sub(first);
                self.run.binary_search_by_key(&distance, |handed| handed.sequence.wrapping_sub(first)).ok()?
            }
        };
        let handed = &mut self.run[index];
        let item = match std::mem::replace(&mut handed.state, HandedState::Finished) {
            HandedState::Open(item) => item,
            settled => {
                handed.state = settled;
                return None;
            }
        };
        let (state, freed) = settle(item);
        handed.state = state;
        self.cursor = index + 1;
        self.open -= 1;
        if self.open == 0 {
            self.end_run();
        }
        Some(Answered { freed, run_over: self.open == 0 })
    }

    fn end_run(&mut self) {
        for handed in self.run.drain(..).rev() {
            if let HandedState::Returned(item) = handed.state {
                self.waiting.push_front(item);
                self.held = !self.named_during_run;
            }
        }
    }

    /// Somebody can handle the records now. Also counts for what the outstanding run gives back: whoever came
    /// during the run may have come too late for it.
    pub(crate) fn unhold(&mut self) {
        self.held = false;
        self.named_during_run = true;
    }

    /// Drops what is not handed out; gives how many records and bytes.
    pub(crate) fn drop_waiting(&mut self) -> (usize, usize) {
        let bytes = self.waiting.iter().map(|item| item.record.size()).sum();
        let records = self.waiting.len();
        self.waiting.clear();
        (records, bytes)
    }

    /// Drops everything and gives how many unfinished records that were.
    pub(crate) fn clear(&mut self) -> usize {
        let records = self.waiting.len() + self.unfinished_in_run();
        *self = Lane::default();
        records
    }

    /// Records handed out and not yet answered.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Records that are not handed out.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The lane stands still because nobody handles its records.
    #[cfg(test)]
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    fn unfinished_in_run(&self) -> usize {
        self.run.iter().filter(|handed| !matches!(handed.state, HandedState::Finished)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HeadersBuf, TopicPartition};

    const LIMITS: RunLimits = RunLimits { records: 3, bytes: 1_000 };

    fn lane(first: u32, sizes: &[usize]) -> Lane {
        let mut lane = Lane::default();
        for (index, size) in sizes.iter().enumerate() {
            let headers = HeadersBuf::new();
            let value = vec![0; *size];
            let source = TopicPartition::new("t", 0);
            let record = Record::new(source, index as i64, None, None, headers.as_headers(), Some(&value));
            lane.push(first.wrapping_add(index as u32), Arc::new(record), None);
        }
        lane
    }

    fn next(lane: &mut Lane) -> Option<Vec<i64>> {
        let run = lane.next_run(LIMITS, 9, |sequence| Ticket::new(1, 2, sequence))?;
        assert!(run.iter().all(|delivery| delivery.lane() == 9 && delivery.attempt() == 1));
        Some(run.iter().map(Delivery::offset).collect())
    }

    #[test]
    fn one_run_is_out_at_a_time_and_the_next_follows_its_last_answer() {
        let mut lane = lane(0, &[1, 1, 1, 1]);
        assert_eq!(next(&mut lane), Some(vec![0, 1, 2]));
        assert_eq!(next(&mut lane), None);
        for sequence in [2, 0] {
            assert_eq!(lane.finish(sequence), Some(Answered { freed: 129, run_over: false }));
            assert_eq!(next(&mut lane), None);
        }
        assert_eq!(lane.finish(1), Some(Answered { freed: 129, run_over: true }));
        assert_eq!(next(&mut lane), Some(vec![3]));
    }

    #[test]
    fn runs_are_bounded_in_bytes_and_a_larger_record_travels_alone() {
        let mut lane = lane(0, &[5_000, 300, 300, 300]);
        assert_eq!(next(&mut lane), Some(vec![0]));
        lane.finish(0);
        assert_eq!(next(&mut lane), Some(vec![1, 2]));
    }

    #[test]
    fn sequences_wrap_within_a_run() {
        let mut lane = lane(u32::MAX, &[1, 1, 1]);
        assert_eq!(next(&mut lane), Some(vec![0, 1, 2]));
        assert!(lane.finish(1).is_some() && lane.finish(u32::MAX).is_some());
        assert_eq!(lane.finish(0), Some(Answered { freed: 129, run_over: true }));
    }

    #[test]
    fn only_awaited_answers_count_and_each_once() {
        let mut lane = lane(5, &[1, 1]);
        assert_eq!(lane.finish(5), None, "not handed out");
        next(&mut lane);
        assert!(lane.finish(5).is_some());
        assert_eq!((lane.finish(5), lane.give_back(5), lane.finish(4), lane.finish(7)), (None, None, None, None));
        assert_eq!(lane.open(), 1);
    }

    #[test]
    fn what_nobody_handled_is_the_head_again_in_its_order() {
        let mut lane = lane(0, &[1, 1, 1, 1]);
        next(&mut lane);
        lane.finish(0);
        lane.give_back(1);
        assert_eq!(lane.give_back(2), Some(Answered { freed: 0, run_over: true }));
        assert!(lane.is_held());
        assert_eq!(next(&mut lane), None);
        lane.unhold();
        assert_eq!(next(&mut lane), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_handler_that_came_during_the_run_gets_what_the_run_gives_back() {
        let mut lane = lane(0, &[1, 1]);
        next(&mut lane);
        lane.give_back(0);
        lane.unhold();
        lane.give_back(1);
        assert_eq!(next(&mut lane), Some(vec![0, 1]));
        lane.give_back(0);
        lane.give_back(1);
        assert_eq!(next(&mut lane), None, "a name counts for one run only, or the lane would spin");
    }

    #[test]
    fn dropping_counts_what_was_unfinished() {
        let mut lane = lane(0, &[1, 1, 1, 1, 1]);
        next(&mut lane);
        lane.finish(0);
        assert_eq!(lane.drop_waiting(), (2, 258));
        assert_eq!(lane.clear(), 2);
        assert_eq!((lane.open(), lane.waiting()), (0, 0));
    }
}
