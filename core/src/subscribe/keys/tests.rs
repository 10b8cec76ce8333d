use std::collections::BTreeMap;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::event::{Delivery, Headers, Record, Ticket, TopicPartition};
use crate::policy::Policy;
use crate::subscribe::lanes::{Item, RunLimits};

const LIMITS: RunLimits = RunLimits { records: 3, bytes: usize::MAX };

/// Where a record is, by what the lanes were told and gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Waiting,
    Out,
    Returned,
    Finished,
}

/// The lanes of a partition beside a plain list of its records.
struct Scene {
    now: Instant,
    source: TopicPartition,
    window: Window,
    keys: Keys,
    ids: LaneIds,
    policy: Policy,
    /// By offset: the key, the sequence, and where it is. A record without a key is a key of its own.
    records: BTreeMap<i64, (i64, u32, Where)>,
}

impl Scene {
    fn new(first: u32) -> Scene {
        Scene {
            now: Instant::now(),
            source: TopicPartition::new("orders", 0),
            window: Window::new(first),
            keys: Keys::default(),
            ids: LaneIds::default(),
            policy: Policy::default(),
            records: BTreeMap::new(),
        }
    }

    fn receive(&mut self, key: Option<u8>) {
        let offset = self.records.len() as i64;
        let bytes = key.map(|key| [key]);
        let key_bytes = bytes.as_ref().map(|key| &key[..]);
        let record = Record::new(self.source.clone(), offset, None, key_bytes, Headers::default(), Some(b"x"));
        let lane = self.keys.of_key(record.key(), &mut self.ids);
        let sequence = self.window.next_sequence();
        self.window.receive(offset, Item::new(record.into(), None, None, lane));
        self.keys.lane(lane).push(&mut self.window, sequence);
        self.keys.settle(lane, &self.window, self.now);
        let key = key.map_or(-1 - offset, i64::from);
        self.records.insert(offset, (key, sequence, Where::Waiting));
    }

    /// Of one key, the unfinished records in the order of their offsets.
    fn of_key(&self, key: i64) -> Vec<(i64, Where)> {
        let own = self.records.iter().filter(|(_, one)| one.0 == key && one.2 != Where::Finished);
        own.map(|(offset, one)| (*offset, one.2)).collect()
    }

    fn hand_out(&mut self) -> Vec<Delivery> {
        let Some(lane) = self.keys.next_ready() else { return Vec::new() };
        let ticket = |sequence| Ticket::new(0, 0, sequence);
        self.keys.lane(lane).next_run(&mut self.window, LIMITS, &self.policy, self.now, ticket)
    }

    /// Hands out what can start and checks it; how many runs.
    fn hand_out_all(&mut self, most: usize) -> Result<usize, TestCaseError> {
        for runs in 0..most {
            let run = self.hand_out();
            let Some(first) = run.first() else { return Ok(runs) };
            let key = self.records[&first.offset()].0;
            let unfinished = self.of_key(key);
            prop_assert!(
                unfinished.iter().all(|(_, place)| *place == Where::Waiting),
                "others of the key are out: {unfinished:?}"
            );
            let offsets: Vec<i64> = run.iter().map(Delivery::offset).collect();
            let oldest: Vec<i64> = unfinished.iter().map(|(offset, _)| *offset).take(run.len()).collect();
            prop_assert_eq!(&offsets, &oldest, "not the oldest of the key in their order");
            for offset in offsets {
                self.records.get_mut(&offset).unwrap().2 = Where::Out;
            }
        }
        Ok(most)
    }

    fn answer(&mut self, pick: &prop::sample::Index, done: bool) {
        let out: Vec<i64> = self.records.iter().filter(|(_, one)| one.2 == Where::Out).map(|(at, _)| *at).collect();
        if out.is_empty() {
            return;
        }
        let offset = *pick.get(&out);
        let (key, sequence, _) = self.records[&offset];
        let lane = self.window.get(sequence).unwrap().lane;
        let back = (!done).then_some(sequence);
        if done {
            self.window.finish(sequence).unwrap();
        }
        self.records.get_mut(&offset).unwrap().2 = if done { Where::Finished } else { Where::Returned };
        let ended = self.keys.lane(lane).answered(&mut self.window, back, !done).is_some();
        if ended {
            self.keys.settle(lane, &self.window, self.now);
            let of_run = self.records.values_mut().filter(|one| one.0 == key && one.2 == Where::Returned);
            of_run.for_each(|one| one.2 = Where::Waiting);
        }
    }

    /// What may be committed lies before the smallest offset that is not finished.
    fn check_watermark(&self) -> Result<(), TestCaseError> {
        let smallest = self.records.iter().find(|(_, one)| one.2 != Where::Finished).map(|(offset, _)| *offset);
        let finished = smallest.unwrap_or(self.records.len() as i64);
        prop_assert_eq!(self.window.watermark().unwrap_or(0), finished);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Receive(Option<u8>),
    HandOut(usize),
    Answer(prop::sample::Index, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![6 => (0u8..4).prop_map(Some), 1 => Just(None)];
    let step = prop_oneof![
        3 => key.prop_map(Step::Receive),
        2 => (1usize..4).prop_map(Step::HandOut),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.8)).prop_map(|(pick, done)| Step::Answer(pick, done)),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn records_of_a_key_never_overlap_keep_their_order_and_all_get_their_turn(
        first in prop_oneof![Just(0u32), Just(u32::MAX - 20)],
        steps in steps(),
        rest in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut scene = Scene::new(first);
        for step in steps {
            match step {
                Step::Receive(key) => scene.receive(key),
                Step::HandOut(most) => drop(scene.hand_out_all(most)?),
                Step::Answer(pick, done) => scene.answer(&pick, done),
            }
            scene.check_watermark()?;
        }
        // Whatever came before: what is unfinished is handed out and finished in the end.
        for pick in rest.iter().cycle().take(4 * scene.records.len()) {
            scene.hand_out_all(usize::MAX)?;
            scene.answer(pick, true);
        }
        prop_assert!(scene.records.values().all(|one| one.2 == Where::Finished), "{:?}", scene.records);
        scene.check_watermark()?;
        prop_assert!(scene.keys.by_key.is_empty(), "lanes of keys that have nothing stay");
        prop_assert_eq!(scene.keys.free.len(), scene.keys.lanes.len());
    }
}
