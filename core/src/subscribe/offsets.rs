//! Which offsets of one partition are finished, and from where the group goes on.

use std::collections::VecDeque;

/// The received offsets of one partition, what each waits for, and how far they are finished without a gap.
///
/// Offsets need not be consecutive: compaction and transaction markers leave holes, so only what was received
/// counts. Every received offset gets a sequence number, which is also its place in the queue; sequences wrap,
/// and a number that is not in the window is recognised by its distance from the front.
#[derive(Debug)]
pub(crate) struct OffsetTracker<T> {
    entries: VecDeque<Entry<T>>,
    /// The sequence of the first entry. Counted in full, so that places can be compared after sequences wrapped.
    first: u64,
    last_received: Option<i64>,
    watermark: Option<i64>,
    received: u64,
    passed: u64,
    finished_behind: usize,
}

#[derive(Debug)]
struct Entry<T> {
    offset: i64,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Open(T),
    Finished,
    /// Never handed out, so nobody holds its sequence: neighbours of this kind share one entry.
    Skipped,
    /// Unfinished for good: whoever gets the partition next finishes it.
    Abandoned,
}

impl<T> OffsetTracker<T> {
    /// An empty tracker whose first offset gets the sequence `first`.
    pub(crate) fn new(first: u32) -> Self {
        OffsetTracker {
            entries: VecDeque::new(),
            first: u64::from(first),
            last_received: None,
            watermark: None,
            received: 0,
            passed: 0,
            finished_behind: 0,
        }
    }

    /// Forgets all offsets and goes on with the next sequence, for a new assignment of the partition.
    pub(crate) fn restart(&mut self) {
        *self = OffsetTracker::new(self.next_sequence());
    }

    /// The offset is behind the last one received. Others come from a fetch that started again.
    pub(crate) fn is_new(&self, offset: i64) -> bool {
        self.last_received.is_none_or(|last| offset > last)
    }

    /// The sequence that the next received offset gets.
    pub(crate) fn next_sequence(&self) -> u32 {
        (self.first + self.entries.len() as u64) as u32
    }

    /// Takes a received offset and gives its sequence; `None` when it is not new.
    pub(crate) fn receive(&mut self, offset: i64, item: T) -> Option<u32> {
        if !self.is_new(offset) {
            return None;
        }
        let sequence = self.next_sequence();
        self.entries.push_back(Entry { offset, state: State::Open(item) });
        self.last_received = Some(offset);
        self.received += 1;
        Some(sequence)
    }

    /// Takes an offset that needs no handler: received and finished at once. False when it is not new.
    pub(crate) fn skip(&mut self, offset: i64) -> bool {
        if !self.is_new(offset) {
            return false;
        }
        self.last_received = Some(offset);
        match self.entries.back_mut() {
            None => self.watermark = Some(offset + 1),
            Some(Entry { offset: last, state: State::Skipped }) => *last = offset,
            Some(_) => self.entries.push_back(Entry { offset, state: State::Skipped }),
        }
        true
    }

    /// What an unfinished sequence waits for.
    pub(crate) fn get(&self, sequence: u32) -> Option<&T> {
        match self.entries.get(self.index(sequence)) {
            Some(Entry { state: State::Open(item), .. }) => Some(item),
            _ => None,
        }
    }

    /// What an unfinished sequence waits for.
    pub(crate) fn get_mut(&mut self, sequence: u32) -> Option<&mut T> {
        let index = self.index(sequence);
        match self.entries.get_mut(index) {
            Some(Entry { state: State::Open(item), .. }) => Some(item),
            _ => None,
        }
    }

    /// Marks a sequence as finished; `None` when it is unknown or not open.
    pub(crate) fn finish(&mut self, sequence: u32) -> Option<T> {
        let item = self.close(sequence, State::Finished)?;
        self.finished_behind += 1;
        while let Some(entry) = self.entries.front() {
            match entry.state {
                State::Open(_) | State::Abandoned => break,
                State::Finished => {
                    self.passed += 1;
                    self.finished_behind -= 1;
                }
                State::Skipped => {}
            }
            self.watermark = Some(entry.offset + 1);
            self.entries.pop_front();
            self.first += 1;
        }
        Some(item)
    }

    /// Takes what an open sequence waits for and leaves its offset unfinished for good.
    pub(crate) fn abandon(&mut self, sequence: u32) -> Option<T> {
        self.close(sequence, State::Abandoned)
    }

    fn close(&mut self, sequence: u32, state: State<T>) -> Option<T> {
        let index = self.index(sequence);
        let entry = self.entries.get_mut(index).filter(|entry| matches!(entry.state, State::Open(_)))?;
        match std::mem::replace(&mut entry.state, state) {
            State::Open(item) => Some(item),
            _ => None,
        }
    }

    fn index(&self, sequence: u32) -> usize {
        sequence.wrapping_sub(self.first as u32) as usize
    }

    /// The place of a sequence in the order of offsets, comparable with those of others in the window.
    pub(crate) fn place(&self, sequence: u32) -> u64 {
        self.first + self.index(sequence) as u64
    }

    /// All that is open, in the order of offsets.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.state {
            State::Open(item) => Some(((self.first + index as u64) as u32, item)),
            _ => None,
        })
    }

    /// The offset of a sequence in the window.
    pub(crate) fn offset(&self, sequence: u32) -> Option<i64> {
        self.entries.get(self.index(sequence)).map(|entry| entry.offset)
    }

    /// How many entries lie between the first unfinished offset and the last one received.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many offsets are finished behind the first unfinished one.
    pub(crate) fn finished_behind(&self) -> usize {
        self.finished_behind
    }

    /// The offset behind the last one of the finished prefix: what to commit. `None` before anything finished.
    pub(crate) fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The first unfinished offset, or the one behind the last when all are finished. `None` before anything was
    /// received.
    pub(crate) fn position(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.offset).or(self.watermark)
    }

    /// The offset behind the last one received. `None` before anything was received.
    pub(crate) fn next_offset(&self) -> Option<i64> {
        self.last_received.map(|offset| offset + 1)
    }

    /// How many offsets were received for a handler since the assignment.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many of those lie in the finished prefix.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_received_is_nothing_to_commit() {
        assert_eq!(OffsetTracker::<()>::new(0).watermark(), None);
    }

    #[test]
    fn the_position_is_known_before_anything_is_finished() {
        let mut offsets = OffsetTracker::new(0);
        assert_eq!(offsets.position(), None);
        let first = offsets.receive(7, ()).unwrap();
        let second = offsets.receive(9, ()).unwrap();
        assert_eq!((offsets.position(), offsets.watermark()), (Some(7), None));
        offsets.finish(second);
        assert_eq!(offsets.position(), Some(7));
        offsets.finish(first);
        assert_eq!((offsets.position(), offsets.watermark()), (Some(10), Some(10)));
    }

    #[test]
    fn the_watermark_waits_for_the_smallest_unfinished_offset() {
        let mut offsets = OffsetTracker::new(0);
        let sequences: Vec<u32> = [10, 11, 15, 20].iter().map(|offset| offsets.receive(*offset, ()).unwrap()).collect();
        assert!(offsets.finish(sequences[1]).is_some());
        assert!(offsets.finish(sequences[2]).is_some());
        assert_eq!(offsets.watermark(), None);
        assert!(offsets.finish(sequences[0]).is_some());
        assert_eq!((offsets.watermark(), offsets.passed()), (Some(16), 3), "holes in the offsets do not count");
        assert!(offsets.finish(sequences[3]).is_some());
        assert_eq!((offsets.watermark(), offsets.received()), (Some(21), 4));
    }

    #[test]
    fn a_sequence_finishes_once() {
        let mut offsets = OffsetTracker::new(7);
        let (first, second) = (offsets.receive(0, ()).unwrap(), offsets.receive(1, ()).unwrap());
        assert_eq!((offsets.finish(second), offsets.finish(second)), (Some(()), None));
        assert!(offsets.finish(first).is_some() && offsets.finish(first).is_none() && offsets.finish(second).is_none());
        assert!(offsets.finish(99).is_none());
        assert_eq!(offsets.passed(), 2);
    }

    #[test]
    fn old_offsets_are_refused() {
        let mut offsets = OffsetTracker::new(0);
        assert_eq!(offsets.receive(5, ()), Some(0));
        assert_eq!((offsets.receive(5, ()), offsets.receive(4, ()), offsets.skip(5)), (None, None, false));
        assert_eq!(offsets.receive(6, ()), Some(1));
        assert_eq!(offsets.last_received, Some(6));
    }

    #[test]
    fn skipped_offsets_move_the_watermark_and_take_one_entry_for_many() {
        let mut offsets = OffsetTracker::new(0);
        assert!(offsets.skip(3));
        assert_eq!(offsets.watermark(), Some(4));
        let open = offsets.receive(4, ()).unwrap();
        for offset in 5..10_000 {
            assert!(offsets.skip(offset));
        }
        assert_eq!((offsets.entries.len(), offsets.watermark()), (2, Some(4)));
        let behind = offsets.receive(10_000, ()).unwrap();
        assert!(offsets.finish(open).is_some());
        assert_eq!(offsets.watermark(), Some(10_000));
        assert!(offsets.finish(behind).is_some());
        assert_eq!((offsets.watermark(), offsets.passed(), offsets.received()), (Some(10_001), 2, 2));
    }

    #[test]
    fn a_new_assignment_does_not_know_the_sequences_of_the_old_one() {
        let mut offsets = OffsetTracker::new(u32::MAX);
        let old = [offsets.receive(1, ()).unwrap(), offsets.receive(2, ()).unwrap()];
        offsets.restart();
        let new = offsets.receive(1, ()).unwrap();
        assert!(old.iter().all(|sequence| offsets.finish(*sequence).is_none()));
        assert_eq!((offsets.watermark(), new), (None, 1));
    }

    #[test]
    fn what_is_abandoned_holds_the_watermark_for_good() {
        let mut offsets = OffsetTracker::new(0);
        let sequences: Vec<u32> = (0..3).map(|offset| offsets.receive(offset, offset).unwrap()).collect();
        assert_eq!(offsets.finish(sequences[2]), Some(2));
        assert_eq!((offsets.abandon(sequences[1]), offsets.abandon(sequences[1])), (Some(1), None));
        assert_eq!((offsets.finish(sequences[1]), offsets.get(sequences[1])), (None, None));
        assert_eq!((offsets.len(), offsets.finished_behind()), (3, 1));
        assert_eq!(offsets.finish(sequences[0]), Some(0));
        assert_eq!((offsets.watermark(), offsets.position(), offsets.finished_behind()), (Some(1), Some(1), 1));
        assert_eq!(offsets.open().count(), 0);
    }

    #[test]
    fn places_keep_their_order_when_sequences_wrap() {
        let mut offsets = OffsetTracker::new(u32::MAX);
        let sequences: Vec<u32> = (0..3).map(|offset| offsets.receive(offset, ()).unwrap()).collect();
        assert_eq!(sequences, [u32::MAX, 0, 1]);
        let places: Vec<u64> = sequences.iter().map(|sequence| offsets.place(*sequence)).collect();
        assert!(places.is_sorted());
        offsets.finish(sequences[0]);
        assert_eq!(places[1..], sequences[1..].iter().map(|sequence| offsets.place(*sequence)).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn the_watermark_equals_that_of_a_plain_map(
            first in prop_oneof![Just(0u32), Just(u32::MAX - 3), any::<u32>()],
            steps in prop::collection::vec((0u8..4, 1i64..4, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut offsets = OffsetTracker::new(first);
            let mut model: BTreeMap<i64, (Option<u32>, bool)> = BTreeMap::new();
            let mut next = 100;
            for (step, gap, pick) in steps {
                match step {
                    0 | 1 => {
                        next += gap;
                        model.insert(next, (Some(offsets.receive(next, ()).unwrap()), false));
                    }
                    2 => {
                        next += gap;
                        prop_assert!(offsets.skip(next));
                        model.insert(next, (None, true));
                    }
                    _ => {
                        let open: Vec<i64> = model.iter().filter(|(_, (_, done))| !done).map(|(o, _)| *o).collect();
                        if !open.is_empty() {
                            let entry = model.get_mut(pick.get(&open)).unwrap();
                            prop_assert!(offsets.finish(entry.0.unwrap()).is_some());
                            entry.1 = true;
                        }
                    }
                }
                let prefix = model.iter().take_while(|(_, (_, done))| *done).map(|(offset, _)| offset + 1).last();
                prop_assert_eq!(offsets.watermark(), prefix);
            }
        }
    }
}
