//! Random sequences of inputs against a second, slower opinion of what the engine may and must do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{answer, invalid_of, record_with, source, topic};
use super::*;
use crate::event::{Finished, Outcome, Ticket};
use crate::policy::{Jitter, OnExhausted, Ordering, Policy, RetryPolicy};
use crate::subscribe::lanes::RunLimits;
use crate::subscribe::retry::Standing;
use partition::{Fate, LaneKey, Owner, Partition, Rec};

mod check;
mod partition;

const CONFIG: EngineConfig = EngineConfig {
    max_bytes: 16_000,
    run: RunLimits { records: 4, bytes: 3_000 },
    commit_interval: Duration::from_millis(500),
    revoke_budget: Duration::from_millis(1_000),
    resume_after: Duration::from_millis(100),
    patience: Duration::from_millis(5),
    window: 25,
    seed: 0,
};

/// The first pause of a dead letter that could not be written, which doubles with each.
const WRITE_DELAY: Duration = Duration::from_millis(200);
const LONGEST_WRITE_DELAY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Step {
    Assign(u8),
    Revoke(u8),
    Lose(u8),
    Records { partition: usize, count: u8, bytes: usize, keys: u8, insist: bool },
    Invalid { partition: usize, key: u8 },
    Duplicate { partition: usize },
    Answer { pick: usize, count: u8, outcome: Outcome, retryable: Option<bool> },
    AnswerLate { pick: usize, outcome: Outcome },
    LetterEnds { pick: usize, how: Option<ErrorKind> },
    LetterEndsLate { pick: usize },
    CommitEnds { how: Option<ErrorKind> },
    Wait(u64),
    Topics(u8),
    Drain(u64),
}

fn policies() -> impl Strategy<Value = Policy> {
    let ordering = prop_oneof![Just(Ordering::Partition), Just(Ordering::Key)];
    let on_exhausted =
        prop_oneof![4 => Just(OnExhausted::DeadLetter), 2 => Just(OnExhausted::Skip), 1 => Just(OnExhausted::Halt)];
    let on_invalid =
        prop_oneof![3 => Just(OnInvalid::DeadLetter), 3 => Just(OnInvalid::Skip), 1 => Just(OnInvalid::Halt)];
    let retry = (1u32..4, 1u64..3).prop_map(|(attempts, times)| RetryPolicy {
        attempts,
        initial_delay: Duration::from_millis(100),
        jitter: Jitter::None,
        max_elapsed: Duration::from_millis(times * 200),
        ..RetryPolicy::default()
    });
    (ordering, 1usize..4, retry, on_exhausted, on_invalid, prop::bool::weighted(0.25)).prop_map(
        |(ordering, concurrency, retry, on_exhausted, on_invalid, park_key)| Policy {
            ordering,
            concurrency,
            retry,
            on_exhausted,
            on_invalid,
            park_key,
            ..Policy::default()
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        12 => Just(Outcome::Done),
        6 => Just(Outcome::Failed),
        2 => Just(Outcome::Released),
        1 => Just(Outcome::Skip),
        1 => Just(Outcome::DeadLetter),
        1 => Just(Outcome::Invalid),
    ];
    let retryable = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let how = prop_oneof![
        4 => Just(None),
        1 => Just(Some(ErrorKind::Unavailable)),
        1 => Just(Some(ErrorKind::IllegalState)),
    ];
    let letter = prop_oneof![
        8 => Just(None),
        4 => Just(Some(ErrorKind::Unavailable)),
        1 => Just(Some(ErrorKind::Rejected)),
    ];
    let partition = 0..PARTITIONS;
    let step = prop_oneof![
        4 => any::<u8>().prop_map(Step::Assign),
        2 => any::<u8>().prop_map(Step::Revoke),
        1 => any::<u8>().prop_map(Step::Lose),
        12 => (partition.clone(), 1u8..8, 0usize..1_000, any::<u8>(), any::<bool>()).prop_map(
            |(partition, count, bytes, keys, insist)| Step::Records { partition, count, bytes, keys, insist }
        ),
        2 => (partition.clone(), any::<u8>()).prop_map(|(partition, key)| Step::Invalid { partition, key }),
        1 => partition.prop_map(|partition| Step::Duplicate { partition }),
        16 => (any::<usize>(), 1u8..5, outcome.clone(), retryable)
            .prop_map(|(pick, count, outcome, retryable)| Step::Answer { pick, count, outcome, retryable }),
        2 => (any::<usize>(), outcome).prop_map(|(pick, outcome)| Step::AnswerLate { pick, outcome }),
        5 => (any::<usize>(), letter).prop_map(|(pick, how)| Step::LetterEnds { pick, how }),
        1 => any::<usize>().prop_map(|pick| Step::LetterEndsLate { pick }),
        6 => how.prop_map(|how| Step::CommitEnds { how }),
        8 => (0u64..700).prop_map(Step::Wait),
        2 => any::<u8>().prop_map(Step::Topics),
    ];
    (prop::collection::vec(step, 1..200), prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0u64..3_000)))
        .prop_map(|(mut steps, drain)| {
            if let Some((at, time)) = drain {
                let at = at.index(steps.len());
                steps.insert(at, Step::Drain(time));
            }
            steps
        })
}

const PARTITIONS: usize = 5;

fn sources() -> Vec<TopicPartition> {
    (0..PARTITIONS as i32).map(|index| source(if index < 3 { "a" } else { "b" }, index % 3)).collect()
}

#[derive(Debug, Default)]
struct DrainModel {
    deadline: Option<Instant>,
    ended: bool,
    /// Received and committed when the drain began.
    base: Vec<(u32, u64)>,
    gone: (u64, u64),
}

/// What an answer makes the engine say at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Letter(DeadLetterReason),
    Skipped(DeadLetterReason),
    Halted,
}

/// Partition, assignment, offset.
type Committing = (usize, u32, i64);

struct Model {
    engine: Engine,
    now: Instant,
    partitions: Vec<Partition>,
    commit: Option<(u64, Vec<Committing>)>,
    revocations: Vec<Vec<TopicPartition>>,
    zombies: Vec<Ticket>,
    late_letters: Vec<Ticket>,
    /// Which lane of which partition and assignment each number stands for while it is out, and for ever when it
    /// outlived its assignment.
    lanes: BTreeMap<u32, (usize, u32, LaneKey)>,
    /// What is to be said, by partition and offset.
    to_say: BTreeSet<(usize, i64)>,
    said: BTreeMap<(usize, i64), Said>,
    to_fence: Vec<(TopicPartition, usize)>,
    late: u64,
    drain: DrainModel,
}

impl Model {
    fn new(first_sequence: u32, policies: &[Policy; 2]) -> Self {
        let mut engine = Engine::new(CONFIG);
        engine.first_sequence = first_sequence;
        let policy_of = |source: &TopicPartition| policies[usize::from(&*source.topic == "b")].clone();
        let partition = |source: TopicPartition| {
            let policy = policy_of(&source);
            Partition::new(source, policy)
        };
        let mut model = Model {
            engine,
            now: Instant::now(),
            partitions: sources().into_iter().map(partition).collect(),
            commit: None,
            revocations: Vec::new(),
            zombies: Vec::new(),
            late_letters: Vec::new(),
            lanes: BTreeMap::new(),
            to_say: BTreeSet::new(),
            said: BTreeMap::new(),
            to_fence: Vec::new(),
            late: 0,
            drain: DrainModel::default(),
        };
        model.engine.handle(model.now, Input::Topics(&model.subscriptions(3)));
        model
    }

    fn subscriptions(&self, mask: u8) -> Vec<TopicSubscription> {
        let named = [0, 3].into_iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        let partition = |index: usize| &self.partitions[index];
        named.map(|(_, at)| topic(&partition(at).source.topic, partition(at).policy.clone())).collect()
    }

    fn index(&self, source: &TopicPartition) -> usize {
        self.partitions.iter().position(|partition| partition.source == *source).expect("a partition of the model")
    }

    fn chosen(&self, mask: u8) -> Vec<TopicPartition> {
        let chosen = self.partitions.iter().enumerate().filter(|(index, _)| mask & (1 << index) != 0);
        chosen.map(|(_, partition)| partition.source.clone()).collect()
    }

    /// The partition goes without waiting: its handlers are to be fenced, and no hand-over names it.
    fn take_away(&mut self, source: &TopicPartition) {
        self.revocations.retain_mut(|revocation| {
            let before = revocation.len();
            revocation.retain(|other| other != source);
            before == revocation.len() || !revocation.is_empty()
        });
        let index = self.index(source);
        let running = self.partitions[index].out().len();
        if running > 0 {
            self.to_fence.push((source.clone(), running));
        }
        self.leave(index);
    }

    fn draining(&self) -> bool {
        self.drain.deadline.is_some()
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Assign(mask) => {
                let list = self.chosen(mask);
                for source in &list {
                    let index = self.index(source);
                    if self.partitions[index].owner != Owner::Member {
                        self.take_away(source);
                        self.partitions[index].owner = Owner::Member;
                        self.partitions[index].assignment += 1;
                    }
                }
                self.engine.handle(self.now, Input::Assigned(list));
            }
            Step::Revoke(mask) => {
                let list = self.chosen(mask);
                let pending = |source: &TopicPartition| self.revocations.iter().any(|list| list.contains(source));
                let fresh: Vec<_> = list.iter().filter(|source| !pending(source)).cloned().collect();
                let budget = CONFIG.revoke_budget;
                for source in &fresh {
                    let index = self.index(source);
                    let partition = &mut self.partitions[index];
                    if partition.owner == Owner::Member {
                        partition.owner = Owner::Leaving(self.now + budget, self.now + 2 * budget);
                        partition.client_paused |= partition.paused.take().is_some();
                        partition.drop_waiting();
                    }
                }
                if list.is_empty() || !fresh.is_empty() {
                    self.revocations.push(fresh);
                }
                self.engine.handle(self.now, Input::Revoked(list));
            }
            Step::Lose(mask) => {
                let list = self.chosen(mask);
                list.iter().for_each(|source| self.take_away(source));
                self.engine.handle(self.now, Input::Lost(list));
            }
            Step::Records { partition, count, bytes, keys, insist } => {
                // A paused partition still brings what the client had in hand.
                if self.partitions[partition].paused.is_none() || insist {
                    for index in 0..count {
                        let key = (keys >> (index % 6)) & 3;
                        self.receive(partition, index, Some(key).filter(|key| *key != 3), Some(bytes));
                    }
                }
            }
            Step::Invalid { partition, key } => self.receive(partition, 0, Some(key % 4).filter(|key| *key != 3), None),
            Step::Duplicate { partition } => {
                let partition = &self.partitions[partition];
                if let Some(offset) = partition.records.keys().next_back() {
                    let record = record_with(&partition.source, *offset, None, 10);
                    self.engine.handle(self.now, Input::Record(record.into(), None));
                }
            }
            Step::Answer { pick, count, outcome, retryable } => {
                let out: Vec<(usize, Ticket)> = self.all_out();
                if !out.is_empty() {
                    let start = pick % out.len();
                    let chosen = &out[start..(start + count as usize).min(out.len())];
                    let failure = Some(Box::new(Failure { retryable, ..Failure::default() }));
                    let finished = |ticket| Finished { failure: failure.clone(), ..answer(ticket, outcome) };
                    let answers: Vec<_> = chosen.iter().map(|(_, ticket)| finished(*ticket)).collect();
                    chosen.iter().for_each(|(index, ticket)| self.settle(*index, *ticket, outcome, retryable));
                    self.engine.handle(self.now, Input::Finished(&answers));
                }
            }
            Step::AnswerLate { pick, outcome } => {
                if !self.zombies.is_empty() {
                    let ticket = self.zombies[pick % self.zombies.len()];
                    self.late += 1;
                    self.engine.handle(self.now, Input::Finished(&[answer(ticket, outcome)]));
                }
            }
            Step::LetterEnds { pick, how } => self.letter_ends(pick, how),
            Step::LetterEndsLate { pick } => {
                if !self.late_letters.is_empty() {
                    let ticket = self.late_letters[pick % self.late_letters.len()];
                    self.engine.handle(self.now, Input::DeadLettered { ticket, result: Ok(()) });
                }
            }
            Step::CommitEnds { how } => self.end_commit(how),
            Step::Wait(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Topics(mask) => {
                let topics = self.subscriptions(mask);
                for partition in self.partitions.iter_mut().filter(|partition| partition.owner == Owner::Member) {
                    if topics.iter().any(|one| *one.topic == *partition.source.topic) {
                        partition.held = false;
                        partition.named = partition.lanes();
                    }
                }
                self.engine.handle(self.now, Input::Topics(&topics));
            }
            Step::Drain(milliseconds) => {
                let deadline = self.now + Duration::from_millis(milliseconds);
                self.drain.deadline = Some(deadline);
                self.drain.base =
                    self.partitions.iter().map(|partition| (partition.assignment, partition.count().1)).collect();
                self.engine.handle(self.now, Input::Drain { deadline });
            }
        }
        self.advance();
    }

    fn receive(&mut self, index: usize, gap: u8, key: Option<u8>, bytes: Option<usize>) {
        let taken = self.partitions[index].owner == Owner::Member && !self.draining();
        let partition = &mut self.partitions[index];
        partition.next_offset += 1 + i64::from(gap % 3 == 2);
        let offset = partition.next_offset;
        let record = record_with(&partition.source, offset, key, bytes.unwrap_or(10));
        let skipped = bytes.is_none() && partition.policy.on_invalid == OnInvalid::Skip;
        if taken {
            let fate = if skipped { Fate::Skipped } else { Fate::Waiting };
            let (bytes, invalid) = (record.size(), bytes.is_none());
            let rec = Rec { fate, bytes, key, invalid, fails: 0, first_failed: None, due: None, refusals: 0 };
            partition.records.insert(offset, rec);
        }
        let input = if bytes.is_some() { Input::Record(record.into(), None) } else { invalid_of(record) };
        self.engine.handle(self.now, input);
    }

    fn all_out(&self) -> Vec<(usize, Ticket)> {
        let all = self.partitions.iter().enumerate();
        all.flat_map(|(index, partition)| partition.out().into_iter().map(move |ticket| (index, ticket))).collect()
    }

    fn standing(&self, index: usize) -> Standing {
        let partition = &self.partitions[index];
        match partition.owner {
            _ if self.draining() || partition.halted => Standing::Ending,
            Owner::Member => Standing::Flowing,
            _ => Standing::Leaving,
        }
    }

    /// What an answer means.
    fn settle(&mut self, index: usize, ticket: Ticket, outcome: Outcome, retryable: Option<bool>) {
        let standing = self.standing(index);
        let now = self.now;
        let partition = &mut self.partitions[index];
        let policy = partition.policy.clone();
        let out = partition.records.iter_mut().find(|(_, record)| record.fate == Fate::Out(ticket));
        let (&offset, record) = out.expect("it is out");
        let first = *record.first_failed.get_or_insert(now);
        record.fails += u32::from(!matches!(outcome, Outcome::Done | Outcome::Released | Outcome::Skip));
        let give_up = |reason| match policy.on_exhausted {
            OnExhausted::DeadLetter => Some(Said::Letter(reason)),
            OnExhausted::Skip => Some(Said::Skipped(reason)),
            OnExhausted::Halt => Some(Said::Halted),
        };
        let mut due = None;
        let said = match outcome {
            Outcome::Done | Outcome::Skip | Outcome::Released => None,
            Outcome::DeadLetter => Some(Said::Letter(DeadLetterReason::Requested)),
            Outcome::Invalid => Some(match policy.on_invalid {
                OnInvalid::DeadLetter => Said::Letter(DeadLetterReason::Invalid),
                OnInvalid::Skip => Said::Skipped(DeadLetterReason::Invalid),
                OnInvalid::Halt => Said::Halted,
            }),
            Outcome::Failed if retryable == Some(false) => give_up(DeadLetterReason::Fatal),
            Outcome::Failed => {
                let delay = Duration::from_millis(100) * 2u32.pow(record.fails - 1);
                let again = record.fails < policy.retry.attempts && now - first + delay <= policy.retry.max_elapsed;
                due = again.then_some(now + delay);
                if again { None } else { give_up(DeadLetterReason::Exhausted) }
            }
        };
        let said = match (standing, said) {
            (Standing::Flowing, said) | (_, said @ Some(Said::Skipped(DeadLetterReason::Invalid))) => said,
            (Standing::Leaving, said @ Some(Said::Letter(_) | Said::Skipped(_))) => said,
            _ => None,
        };
        record.due = due.filter(|_| standing == Standing::Flowing);
        record.first_failed = record.first_failed.filter(|_| record.fails > 0);
        record.fate = match said {
            Some(Said::Letter(_)) => Fate::Buried(ticket, None),
            Some(Said::Skipped(_)) => Fate::Finished,
            None if matches!(outcome, Outcome::Done | Outcome::Skip) => Fate::Finished,
            Some(Said::Halted) | None => Fate::Returned,
        };
        let key = record.key;
        let lane = partition.lane_of(offset);
        if outcome == Outcome::Failed {
            partition.failed.insert(lane);
        }
        if !partition.lane_is_out(lane) {
            self.end_run(index, lane);
        }
        let partition = &mut self.partitions[index];
        match said {
            Some(Said::Letter(_)) => partition.park(key),
            Some(Said::Halted) => {
                partition.halted = true;
                partition.drop_waiting();
            }
            _ => {}
        }
        if let Some(said) = said {
            self.said.insert((index, offset), said);
            self.to_say.insert((index, offset));
        }
    }

    fn end_run(&mut self, index: usize, lane: LaneKey) {
        let partition = &mut self.partitions[index];
        let offsets: Vec<i64> = partition.lane(lane).map(|(offset, _)| offset).collect();
        let explained = partition.named.contains(&lane) || partition.failed.contains(&lane);
        for offset in offsets {
            let record = partition.records.get_mut(&offset).expect("a record of the lane");
            if record.fate == Fate::Returned {
                record.fate = Fate::Waiting;
                partition.held |= !explained;
            }
        }
        self.lanes.retain(|_, one| *one != (index, self.partitions[index].assignment, lane));
    }

    /// Dead letters whose ends still count.
    fn all_writing(&self) -> Vec<(usize, Ticket)> {
        let sealed = |one: &Partition| matches!(one.owner, Owner::Leaving(deadline, _) if self.now >= deadline);
        let all = self.partitions.iter().enumerate().filter(|(_, one)| !sealed(one));
        all.flat_map(|(index, one)| one.writing().into_iter().map(move |ticket| (index, ticket))).collect()
    }

    fn letter_ends(&mut self, pick: usize, how: Option<ErrorKind>) {
        let writing = self.all_writing();
        if writing.is_empty() {
            return;
        }
        let (index, ticket) = writing[pick % writing.len()];
        let standing = self.standing(index);
        let partition = &mut self.partitions[index];
        let buried = partition.records.iter_mut().find(|(_, one)| one.fate == Fate::Buried(ticket, None));
        let (&offset, record) = buried.expect("a dead letter that is written");
        record.refusals += 1;
        let delay = (WRITE_DELAY * 2u32.pow(record.refusals.min(9) - 1)).min(LONGEST_WRITE_DELAY);
        record.fate = match how {
            None => Fate::Finished,
            Some(_) => Fate::Buried(ticket, Some(self.now + delay)),
        };
        if how.is_some_and(|kind| !kind.is_retryable()) && standing == Standing::Flowing {
            partition.halted = true;
            partition.drop_waiting();
            self.said.insert((index, offset), Said::Halted);
            self.to_say.insert((index, offset));
        }
        let result = how.map_or(Ok(()), |kind| Err(Error::new(kind, "by the model")));
        self.engine.handle(self.now, Input::DeadLettered { ticket, result });
    }

    fn end_commit(&mut self, how: Option<ErrorKind>) {
        let Some((id, entries)) = self.commit.take() else { return };
        for (index, assignment, offset) in entries {
            let now = self.now;
            let partition = &mut self.partitions[index];
            if partition.owner == Owner::Nobody || partition.assignment != assignment {
                continue;
            }
            match how {
                None => partition.committed = Some(offset),
                Some(kind) if !kind.is_retryable() => {
                    partition.commit_refused = matches!(partition.owner, Owner::Leaving(deadline, _)
                        if !partition.is_busy() || now >= deadline);
                }
                Some(_) => {}
            }
        }
        let result = how.map_or(Ok(()), |kind| Err(Error::new(kind, "by the model")));
        self.engine.handle(self.now, Input::Committed { id, result });
    }

    fn leave(&mut self, index: usize) {
        let partition = &mut self.partitions[index];
        if partition.owner == Owner::Nobody {
            return;
        }
        if self.drain.deadline.is_some() && !self.drain.ended {
            let (received, committed) = partition.count();
            let base = self.drain.base[index];
            let before = if base.0 == partition.assignment { base.1 } else { 0 };
            self.drain.gone.0 += committed - before;
            self.drain.gone.1 += received - committed;
        }
        self.zombies.extend(partition.out());
        let lanes: Vec<LaneKey> = partition.lanes().into_iter().filter(|lane| partition.lane_is_out(*lane)).collect();
        // The lane of a partition is its slot for ever; handlers of a key that outlived it keep their lane's number.
        let outlived = |lane: &LaneKey| lanes.contains(lane) && *lane != LaneKey::Whole;
        self.lanes.retain(|_, (at, _, lane)| *at != index || outlived(lane));
        self.late_letters.extend(partition.writing());
        partition.leave();
    }

    fn advance(&mut self) {
        let mut out = Vec::new();
        self.engine.advance(self.now, &mut out);
        out.into_iter().for_each(|output| self.check_output(output));
        self.check_state();
    }

    /// With healthy handlers, brokers and dead-letter topics everything is finished, committed and fetched again.
    fn heal(&mut self) {
        for _ in 0..10_000 {
            let before = self.all_out();
            self.apply(Step::Topics(3));
            self.apply(Step::Answer { pick: 0, count: u8::MAX, outcome: Outcome::Done, retryable: None });
            self.apply(Step::LetterEnds { pick: 0, how: None });
            self.apply(Step::CommitEnds { how: None });
            let settled = self.all_out().is_empty() && self.all_writing().is_empty() && self.commit.is_none();
            let quiet = before.is_empty() && settled;
            match self.engine.wake_at() {
                Some(at) if quiet => {
                    self.now = at;
                    self.advance();
                }
                None if quiet => break,
                _ => {}
            }
        }
        assert!(self.revocations.is_empty(), "a hand-over that never came: {:?}", self.revocations);
        assert!(!self.draining() || self.drain.ended);
        if self.draining() {
            return;
        }
        let flowing = |partition: &&Partition| partition.owner == Owner::Member && !partition.halted;
        for partition in self.partitions.iter().filter(flowing) {
            assert_eq!(partition.bytes(), 0, "unfinished for ever: {partition:?}");
            assert!(!partition.uncommitted(), "uncommitted for ever: {partition:?}");
            assert!(partition.paused.is_none(), "paused for ever: {partition:?}");
        }
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: 512.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]
    #[test]
    fn the_engine_keeps_its_rules_in_any_order_of_events(
        first_sequence in prop_oneof![Just(0u32), Just(u32::MAX - 5)],
        policies in [policies(), policies()],
        steps in steps(),
    ) {
        let mut model = Model::new(first_sequence, &policies);
        steps.into_iter().for_each(|step| model.apply(step));
        model.heal();
        if !model.draining() {
            model.apply(Step::Drain(1_000));
            model.heal();
        }
    }
}
