//! Random sequences of inputs against a second, slower opinion of what the engine may and must do.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{answer, invalid, record, source, topic};
use super::*;
use crate::event::{Delivery, Outcome, Ticket};
use crate::policy::{OnExhausted, Policy, RetryPolicy};
use crate::subscribe::lanes::RunLimits;

const CONFIG: EngineConfig = EngineConfig {
    max_bytes: 16_000,
    run: RunLimits { records: 4, bytes: 3_000 },
    commit_interval: Duration::from_millis(500),
    revoke_budget: Duration::from_millis(1_000),
    resume_after: Duration::from_millis(100),
    patience: Duration::from_millis(5),
    window: 10_000,
    seed: 0,
};

fn subscriptions(mask: u8) -> Vec<TopicSubscription> {
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let policy = Policy { retry, on_exhausted: OnExhausted::Skip, ..Policy::default() };
    let named = ["a", "b"].iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    named.map(|(_, name)| topic(name, policy.clone())).collect()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Assign(u8),
    Revoke(u8),
    Lose(u8),
    Records { partition: usize, count: u8, bytes: usize, insist: bool },
    Invalid { partition: usize },
    Duplicate { partition: usize },
    Answer { pick: usize, count: u8, outcome: Outcome },
    AnswerLate { pick: usize, outcome: Outcome },
    CommitEnds { how: Option<ErrorKind> },
    Wait(u64),
    Topics(u8),
    Drain(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![6 => Just(Outcome::Done), 2 => Just(Outcome::Failed), 1 => Just(Outcome::Released)];
    let how = prop_oneof![
        4 => Just(None),
        1 => Just(Some(ErrorKind::Unavailable)),
        1 => Just(Some(ErrorKind::IllegalState)),
    ];
    let partition = 0..PARTITIONS;
    let step = prop_oneof![
        4 => any::<u8>().prop_map(Step::Assign),
        2 => any::<u8>().prop_map(Step::Revoke),
        1 => any::<u8>().prop_map(Step::Lose),
        10 => (partition.clone(), 1u8..8, 0usize..1_500, any::<bool>())
            .prop_map(|(partition, count, bytes, insist)| Step::Records { partition, count, bytes, insist }),
        2 => partition.clone().prop_map(|partition| Step::Invalid { partition }),
        1 => partition.prop_map(|partition| Step::Duplicate { partition }),
        14 => (any::<usize>(), 1u8..5, outcome.clone())
            .prop_map(|(pick, count, outcome)| Step::Answer { pick, count, outcome }),
        2 => (any::<usize>(), outcome).prop_map(|(pick, outcome)| Step::AnswerLate { pick, outcome }),
        6 => how.prop_map(|how| Step::CommitEnds { how }),
        6 => (0u64..700).prop_map(Step::Wait),
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Nobody,
    Member,
    /// Revoked, with the times at which the budget and twice the budget end.
    Leaving(Instant, Instant),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waiting,
    Out(Ticket),
    /// Not handled, while the rest of its run is out.
    Returned,
    /// Revoked before it was handed out.
    Dropped,
    Finished,
    Skipped,
}

/// One partition as the model sees it: every record received in this assignment, by offset.
#[derive(Debug)]
struct Partition {
    source: TopicPartition,
    owner: Owner,
    records: BTreeMap<i64, (Fate, usize)>,
    committed: Option<i64>,
    commit_refused: bool,
    paused: Option<Instant>,
    client_paused: bool,
    held: bool,
    named_during_run: bool,
    failed_in_run: bool,
    next_offset: i64,
    assignment: u32,
}

impl Partition {
    fn watermark(&self) -> Option<i64> {
        let done = |fate: Fate| matches!(fate, Fate::Finished | Fate::Skipped);
        self.records.iter().take_while(|(_, (fate, _))| done(*fate)).map(|(offset, _)| offset + 1).last()
    }

    fn uncommitted(&self) -> bool {
        !self.commit_refused && self.watermark().is_some_and(|offset| self.committed.is_none_or(|done| done < offset))
    }

    fn out(&self) -> Vec<Ticket> {
        let out = self.records.values().filter_map(|(fate, _)| match fate {
            Fate::Out(ticket) => Some(*ticket),
            _ => None,
        });
        out.collect()
    }

    fn bytes(&self) -> usize {
        let open =
            self.records.values().filter(|(fate, _)| matches!(fate, Fate::Waiting | Fate::Out(_) | Fate::Returned));
        open.map(|(_, bytes)| bytes).sum()
    }

    /// Records for handlers, and those of them that are committed.
    fn count(&self) -> (u64, u64) {
        let records = self.records.iter().filter(|(_, (fate, _))| *fate != Fate::Skipped);
        let committed = records.clone().filter(|(offset, _)| self.committed.is_some_and(|to| **offset < to));
        (records.count() as u64, committed.count() as u64)
    }

    fn turn(&mut self, from: Fate, to: Fate) {
        self.records.values_mut().filter(|(fate, _)| *fate == from).for_each(|(fate, _)| *fate = to);
    }

    fn leave(&mut self, zombies: &mut Vec<Ticket>) {
        zombies.extend(self.out());
        self.records.clear();
        self.owner = Owner::Nobody;
        self.committed = None;
        self.commit_refused = false;
        self.client_paused |= self.paused.take().is_some();
        self.held = false;
    }
}

#[derive(Debug, Default)]
struct DrainModel {
    deadline: Option<Instant>,
    ended: bool,
    /// Received and committed when the drain began.
    base: Vec<(u32, u64)>,
    gone: (u64, u64),
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
    /// Which partition each lane belongs to.
    lanes: BTreeMap<u32, usize>,
    to_fence: Vec<(TopicPartition, usize)>,
    late: u64,
    drain: DrainModel,
}

impl Model {
    fn new(first_sequence: u32) -> Self {
        let mut engine = Engine::new(CONFIG);
        engine.first_sequence = first_sequence;
        engine.handle(Instant::now(), Input::Topics(&subscriptions(3)));
        let partition = |source| Partition {
            source,
            owner: Owner::Nobody,
            records: BTreeMap::new(),
            committed: None,
            commit_refused: false,
            paused: None,
            client_paused: false,
            held: false,
            named_during_run: false,
            failed_in_run: false,
            next_offset: 0,
            assignment: 0,
        };
        Model {
            engine,
            now: Instant::now(),
            partitions: sources().into_iter().map(partition).collect(),
            commit: None,
            revocations: Vec::new(),
            zombies: Vec::new(),
            lanes: BTreeMap::new(),
            to_fence: Vec::new(),
            late: 0,
            drain: DrainModel::default(),
        }
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
                        partition.turn(Fate::Waiting, Fate::Dropped);
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
            Step::Records { partition, count, bytes, insist } => {
                // A paused partition still brings what the client had in hand.
                if self.partitions[partition].paused.is_none() || insist {
                    (0..count).for_each(|index| self.receive(partition, index, Some(bytes)));
                }
            }
            Step::Invalid { partition } => self.receive(partition, 0, None),
            Step::Duplicate { partition } => {
                let partition = &self.partitions[partition];
                if let Some(offset) = partition.records.keys().next_back() {
                    let record = record(&partition.source, *offset, 10);
                    self.engine.handle(self.now, Input::Record(record, None));
                }
            }
            Step::Answer { pick, count, outcome } => {
                let out: Vec<(usize, Ticket)> = self.all_out();
                if !out.is_empty() {
                    let start = pick % out.len();
                    let chosen = &out[start..(start + count as usize).min(out.len())];
                    let answers: Vec<_> = chosen.iter().map(|(_, ticket)| answer(*ticket, outcome)).collect();
                    chosen.iter().for_each(|(index, ticket)| self.settle(*index, *ticket, outcome));
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
            Step::CommitEnds { how } => self.end_commit(how),
            Step::Wait(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Topics(mask) => {
                let topics = subscriptions(mask);
                for partition in self.partitions.iter_mut().filter(|partition| partition.owner == Owner::Member) {
                    if topics.iter().any(|one| *one.topic == *partition.source.topic) {
                        partition.held = false;
                        partition.named_during_run = true;
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

    fn receive(&mut self, index: usize, gap: u8, bytes: Option<usize>) {
        let taken = self.partitions[index].owner == Owner::Member && !self.draining();
        let partition = &mut self.partitions[index];
        partition.next_offset += 1 + i64::from(gap % 3 == 2);
        let offset = partition.next_offset;
        match bytes {
            Some(bytes) => {
                let record = record(&partition.source, offset, bytes);
                if taken {
                    partition.records.insert(offset, (Fate::Waiting, record.size()));
                }
                self.engine.handle(self.now, Input::Record(record, None));
            }
            None => {
                if taken {
                    partition.records.insert(offset, (Fate::Skipped, 0));
                }
                self.engine.handle(self.now, invalid(&partition.source, offset));
            }
        }
    }

    fn all_out(&self) -> Vec<(usize, Ticket)> {
        let all = self.partitions.iter().enumerate();
        all.flat_map(|(index, partition)| partition.out().into_iter().map(move |ticket| (index, ticket))).collect()
    }

    fn settle(&mut self, index: usize, ticket: Ticket, outcome: Outcome) {
        let finishes = outcome == Outcome::Done || (outcome == Outcome::Failed && !self.draining());
        let partition = &mut self.partitions[index];
        let entry = partition.records.values_mut().find(|(fate, _)| *fate == Fate::Out(ticket)).expect("it is out");
        entry.0 = if finishes { Fate::Finished } else { Fate::Returned };
        partition.failed_in_run |= outcome == Outcome::Failed;
        if partition.out().is_empty() {
            let returned = partition.records.values().any(|(fate, _)| *fate == Fate::Returned);
            partition.held = returned && !partition.named_during_run && !partition.failed_in_run;
            partition.turn(Fate::Returned, Fate::Waiting);
        }
    }

    fn end_commit(&mut self, how: Option<ErrorKind>) {
        let Some((id, entries)) = self.commit.take() else { return };
        for (index, assignment, offset) in entries {
            let partition = &mut self.partitions[index];
            if partition.owner == Owner::Nobody || partition.assignment != assignment {
                continue;
            }
            match how {
                None => partition.committed = Some(offset),
                Some(kind) if !kind.is_retryable() => {
                    partition.commit_refused =
                        matches!(partition.owner, Owner::Leaving(..)) && partition.out().is_empty();
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
        partition.leave(&mut self.zombies);
    }

    fn advance(&mut self) {
        let mut out = Vec::new();
        self.engine.advance(self.now, &mut out);
        out.into_iter().for_each(|output| self.check_output(output));
        self.check_state();
    }

    fn check_output(&mut self, output: Output) {
        let draining = self.draining();
        match output {
            Output::Deliver(run) => {
                let index = self.index(&run[0].record().source);
                let partition = &mut self.partitions[index];
                assert!(!draining && partition.owner == Owner::Member, "a delivery of {partition:?}");
                assert!(partition.out().is_empty(), "two runs of one lane");
                assert!(!partition.held, "a delivery of a held lane");
                assert!(run.len() <= CONFIG.run.records);
                let bytes: usize = run.iter().map(|delivery| delivery.record().size()).sum();
                assert!(run.len() == 1 || bytes <= CONFIG.run.bytes);
                let waiting = partition.records.iter().filter(|(_, (fate, _))| *fate == Fate::Waiting);
                let expected: Vec<i64> = waiting.map(|(offset, _)| *offset).take(run.len()).collect();
                let offsets: Vec<i64> = run.iter().map(Delivery::offset).collect();
                assert_eq!(offsets, expected, "the oldest unfinished records in their order");
                partition.named_during_run = false;
                partition.failed_in_run = false;
                let lane = *self.lanes.entry(run[0].lane()).or_insert(index);
                assert!(
                    lane == index && self.lanes.values().filter(|other| **other == index).count() == 1,
                    "swapped lanes"
                );
                for delivery in run {
                    assert_eq!(self.lanes.get(&delivery.lane()), Some(&index));
                    assert!(!self.zombies.contains(&delivery.ticket()), "a ticket of an earlier assignment");
                    partition.records.get_mut(&delivery.offset()).unwrap().0 = Fate::Out(delivery.ticket());
                }
            }
            Output::Recall { slot, epoch } => {
                let recalled = |ticket: &Ticket| (ticket.slot(), ticket.epoch()) == (slot, epoch);
                let partition = self.partitions.iter().find(|partition| partition.out().iter().any(recalled));
                let partition = partition.expect("nothing is out to be recalled");
                assert!(draining || matches!(partition.owner, Owner::Leaving(..)));
            }
            Output::Fenced { source, unanswered, .. } => {
                let position = self.to_fence.iter().position(|expected| *expected == (source.clone(), unanswered));
                if let Some(position) = position {
                    self.to_fence.remove(position);
                    return;
                }
                let index = self.index(&source);
                let partition = &mut self.partitions[index];
                let Owner::Leaving(deadline, _) = partition.owner else { panic!("fenced: {partition:?}") };
                assert!(self.now >= deadline, "fenced before the budget ended");
                let out = partition.out();
                assert_eq!(out.len(), unanswered);
                self.zombies.extend(out);
                for (fate, _) in partition.records.values_mut().filter(|(fate, _)| matches!(fate, Fate::Out(_))) {
                    *fate = Fate::Returned;
                }
            }
            Output::Pause(list) => {
                for source in list {
                    let index = self.index(&source);
                    let partition = &mut self.partitions[index];
                    assert!(partition.owner == Owner::Member && partition.paused.is_none(), "{partition:?}");
                    let waits = partition.records.values().any(|(fate, _)| *fate == Fate::Waiting);
                    assert!(waits || draining, "paused though nothing waits: {partition:?}");
                    partition.paused = Some(self.now);
                }
            }
            Output::Resume(list) => {
                for source in list {
                    let index = self.index(&source);
                    let partition = &mut self.partitions[index];
                    let left_paused = std::mem::take(&mut partition.client_paused);
                    let since = partition.paused.take();
                    assert!(partition.owner == Owner::Member && (left_paused || since.is_some()), "{partition:?}");
                    assert!(since.is_none_or(|since| self.now >= since + CONFIG.resume_after && !draining));
                }
            }
            Output::Commit { id, offsets } => {
                assert!(self.commit.is_none(), "two commits at a time");
                assert!(!offsets.is_empty());
                let mut entries = Vec::new();
                for (source, offset) in offsets {
                    let index = self.index(&source);
                    let partition = &self.partitions[index];
                    assert!(partition.owner != Owner::Nobody, "a commit of a partition that is not owned");
                    assert_eq!(Some(offset), partition.watermark(), "{partition:?}");
                    assert!(partition.committed.is_none_or(|before| before < offset), "a commit without progress");
                    entries.push((index, partition.assignment, offset));
                }
                self.commit = Some((id, entries));
            }
            Output::RevokeReady(list) => {
                let position = self.revocations.iter().position(|revocation| *revocation == list);
                self.revocations.remove(position.expect("a list that was revoked"));
                for source in list {
                    let index = self.index(&source);
                    let partition = &self.partitions[index];
                    if let Owner::Leaving(_, force_at) = partition.owner {
                        let named = self.commit.iter().flat_map(|(_, entries)| entries).any(|entry| entry.0 == index);
                        let clean = partition.out().is_empty() && !partition.uncommitted() && !named;
                        assert!(clean || self.now >= force_at, "handed over too early: {partition:?}");
                        self.leave(index);
                    } else {
                        assert_eq!(partition.owner, Owner::Nobody);
                    }
                }
            }
            Output::Drained { handled, abandoned } => {
                assert!(draining && !self.drain.ended, "drained twice");
                let settled = self.partitions.iter().all(|partition| partition.out().is_empty())
                    && self.commit.is_none()
                    && !self.partitions.iter().any(Partition::uncommitted);
                assert!(settled || Some(self.now) >= self.drain.deadline, "drained too early");
                let (mut expected, mut rest) = self.drain.gone;
                let all = self.partitions.iter().enumerate();
                for (index, partition) in all.filter(|(_, partition)| partition.owner != Owner::Nobody) {
                    let (received, committed) = partition.count();
                    let base = self.drain.base[index];
                    expected += committed - if base.0 == partition.assignment { base.1 } else { 0 };
                    rest += received - committed;
                }
                assert_eq!((handled, abandoned), (expected, rest));
                self.drain.ended = true;
            }
            Output::Abort { .. } | Output::Skipped(_) => {}
            Output::Failed(error) => panic!("{error}"),
            output => panic!("unexpected: {output:?}"),
        }
    }

    fn check_state(&self) {
        assert!(self.to_fence.is_empty(), "handlers not fenced: {:?}", self.to_fence);
        let stats = self.engine.stats();
        assert_eq!(stats.bytes, self.partitions.iter().map(Partition::bytes).sum::<usize>());
        if self.partitions.iter().all(|partition| !matches!(partition.owner, Owner::Leaving(..))) {
            assert_eq!(stats.in_flight, self.all_out().len());
        }
        assert_eq!(stats.counters.late, self.late, "late answers are counted, all and only they");
        assert!(self.engine.wake_at().is_none_or(|at| at > self.now), "a wake-up that is past would spin");
        assert!(self.drain.ended || self.drain.deadline.is_none_or(|deadline| self.now < deadline), "a drain outlived");
        for partition in &self.partitions {
            assert!(partition.owner != Owner::Member || !partition.client_paused, "assigned and not fetched");
            let waits = partition.records.values().any(|(fate, _)| *fate == Fate::Waiting);
            if partition.owner == Owner::Member && waits && !partition.held && !self.draining() {
                assert!(!partition.out().is_empty(), "nothing is out though records wait: {partition:?}");
            }
            if let Owner::Leaving(deadline, force_at) = partition.owner {
                assert!(self.now < force_at, "a revocation outlived twice its budget");
                assert!(self.now < deadline || partition.out().is_empty(), "handlers outlived the budget");
            }
        }
    }

    /// With healthy handlers and brokers everything is finished, committed and fetched again.
    fn heal(&mut self) {
        for _ in 0..10_000 {
            let before = self.all_out();
            self.apply(Step::Topics(3));
            self.apply(Step::Answer { pick: 0, count: u8::MAX, outcome: Outcome::Done });
            self.apply(Step::CommitEnds { how: None });
            let quiet = before.is_empty() && self.all_out().is_empty() && self.commit.is_none();
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
        for partition in self.partitions.iter().filter(|partition| partition.owner == Owner::Member) {
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
        steps in steps(),
    ) {
        let mut model = Model::new(first_sequence);
        steps.into_iter().for_each(|step| model.apply(step));
        model.heal();
        if !model.draining() {
            model.apply(Step::Drain(1_000));
            model.heal();
        }
    }
}
