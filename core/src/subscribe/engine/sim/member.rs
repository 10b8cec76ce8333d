//! A process of the group: the poll thread between client and engine, and the handlers beside it.

mod outputs;

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::State;
use super::broker::{Fate, Kind};
use super::client::{Client, Polled};
use super::env::{Env, Event};
use super::group::Group;
use super::host::Host;
use super::sabotage::Wire;
use crate::error::{Error, Result};
use crate::event::{Finished, Outcome, Ticket};
use crate::policy::{Ordering, Policy, TopicSubscription};
use crate::subscribe::engine::{Engine, Input};

/// A poll thread that holds records back looks after its client at least this often.
const MAX_PARK: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Revocation {
    partitions: Vec<usize>,
    force_at: Duration,
}

#[derive(Debug)]
struct Drain {
    deadline: Duration,
    /// The assignments that its report is about.
    assignments: Vec<usize>,
}

/// A delivery that the engine has not read the answer of.
#[derive(Debug)]
struct Open {
    assignment: usize,
    offset: i64,
}

/// Partition, offset, assignment.
type Committing = (usize, i64, usize);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) up: bool,
    pub(super) client: Client,
    pub(super) host: Host,
    pub(super) frozen_until: Duration,
    pub(super) cut_off_until: Duration,
    /// The process starts again so long after it has left.
    pub(super) away: Duration,
    wire: Wire,
    turn_at: Option<Duration>,
    polled_at: Duration,
    /// The client was not polled although it may have records.
    held_back: bool,
    committed: Vec<(u64, Result<()>)>,
    letters: Vec<(Ticket, Result<()>)>,
    /// Letters that are being written: assignment and offset.
    writing: BTreeMap<u64, (usize, i64)>,
    /// What its topics want.
    policies: Vec<Policy>,
    /// A partition stands still until somebody else tries.
    pub(super) halted: bool,
    drain_at: Option<Duration>,
    /// Handlers were added; the engine hears of it at that time.
    named_at: Option<Duration>,
    /// The assignment of each partition that the engine was told of and has not handed over.
    told: BTreeMap<usize, usize>,
    open: BTreeMap<u64, Open>,
    /// Assignments that were lost with so many deliveries out, and not fenced yet.
    to_fence: BTreeMap<usize, usize>,
    revocations: Vec<Revocation>,
    committing: Option<(u64, Vec<Committing>)>,
    drain: Option<Drain>,
    /// The client was made anew, and with it its flags.
    rebuilt: bool,
}

impl Member {
    pub(super) fn new(env: &mut Env, node: usize, life: u32) -> Self {
        let mut engine = Engine::new(env.weather.config);
        engine.first_sequence = env.weather.first_sequence;
        let topics = (0..env.weather.topics.len()).collect();
        Member {
            node,
            life,
            up: false,
            client: Client::new(node, env.new_session(), topics),
            host: Host::new(node, life),
            frozen_until: Duration::ZERO,
            cut_off_until: Duration::ZERO,
            away: Duration::ZERO,
            wire: Wire::new(engine, env.sabotage),
            turn_at: None,
            polled_at: Duration::ZERO,
            held_back: false,
            committed: Vec::new(),
            letters: Vec::new(),
            writing: BTreeMap::new(),
            policies: env.weather.policies.clone(),
            halted: false,
            drain_at: None,
            named_at: None,
            told: BTreeMap::new(),
            open: BTreeMap::new(),
            to_fence: BTreeMap::new(),
            revocations: Vec::new(),
            committing: None,
            drain: None,
            rebuilt: false,
        }
    }

    pub(super) fn start(&mut self, env: &mut Env) {
        env.say(|| format!("node {}  starts, life {}", self.node, self.life));
        self.up = true;
        self.subscribe(env, (0..env.weather.topics.len()).collect());
        self.client.join(env);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some() || self.drain_at.is_some()
    }

    /// Lets the poll thread run soon.
    pub(super) fn wake(&mut self, env: &mut Env) {
        let late = if env.strikes(|weather| weather.late_turn) { env.seed.time(1, 60) } else { Duration::ZERO };
        let at = env.now() + Duration::from_micros(env.seed.between(10, 300)) + late;
        self.turn_by(env, at);
    }

    fn turn_by(&mut self, env: &mut Env, at: Duration) {
        if self.turn_at.is_none_or(|earlier| at < earlier) {
            self.turn_at = Some(at);
            env.post_at(at, Event::Turn { node: self.node, life: self.life });
        }
    }

    pub(super) fn commit_ends(&mut self, env: &mut Env, id: u64, result: Result<()>) {
        self.committed.push((id, result));
        self.wake(env);
    }

    pub(super) fn letter_ends(&mut self, env: &mut Env, ticket: Ticket, result: Result<()>) {
        self.letters.push((ticket, result));
        self.wake(env);
    }

    pub(super) fn call_ends(&mut self, env: &mut Env, group: &Group, call: u64) {
        self.host.call_ends(env, call, self.is_zombie(group));
        self.wake(env);
    }

    pub(super) fn begin_drain(&mut self, env: &mut Env, deadline: Duration) {
        self.drain_at.get_or_insert(deadline);
        self.wake(env);
    }

    pub(super) fn name_topics(&mut self, env: &mut Env) {
        let at = env.now() + env.seed.time(0, 80);
        self.named_at = Some(at);
        self.turn_by(env, at);
    }

    /// The client is gone for good; another takes its place.
    pub(super) fn rebuild(&mut self, env: &mut Env) {
        env.say(|| format!("node {}  makes its client anew", self.node));
        let held: Vec<usize> = self.told.keys().copied().collect();
        self.lose(env, &held);
        self.rebuilt = true;
        self.client = Client::new(self.node, env.new_session(), self.client.topics().clone());
        self.client.join(env);
        self.wake(env);
    }

    fn is_zombie(&self, group: &Group) -> bool {
        !group.knows(self.client.session())
    }

    /// One pass of the poll thread.
    pub(super) fn turn(&mut self, env: &mut Env, group: &Group) {
        if self.turn_at.is_none_or(|at| at > env.now()) {
            return;
        }
        self.turn_at = None;
        self.read_mail(env);
        let more = self.poll(env);
        self.tell_topics(env);
        self.carry_out(env, group);
        self.check(env);
        if !self.up {
            return;
        }
        let held_back_in_vain = self.held_back && !self.wire.engine.is_sated(env.schedule.instant());
        if more || held_back_in_vain || !self.host.answers.is_empty() {
            self.wake(env);
        }
        if self.held_back {
            let at = env.now() + MAX_PARK;
            self.turn_by(env, at);
        }
        if let Some(at) = self.named_at.filter(|_| !self.wire.engine.is_revoking()) {
            self.turn_by(env, at);
        }
        if let Some(at) = self.wire.wake_at() {
            let at = env.schedule.time_of(at);
            assert!(at > env.now(), "the engine wants to be woken in the past");
            let late = Duration::from_micros(env.seed.between(0, 200));
            self.turn_by(env, at + late);
        }
    }

    fn handle(&mut self, env: &Env, input: Input<'_>) {
        self.wire.handle(env.schedule.instant(), input);
    }

    fn read_mail(&mut self, env: &mut Env) {
        let answers = std::mem::take(&mut self.host.answers);
        if !answers.is_empty() {
            answers.iter().for_each(|answer| self.settle(env, answer));
            self.handle(env, Input::Finished(&answers));
        }
        for (ticket, result) in std::mem::take(&mut self.letters) {
            let (assignment, offset) = self.writing.remove(&ticket.0).expect("a letter that is being written");
            let this = &mut env.rules.assignments[assignment];
            env.trace
                .line(env.schedule.now(), || format!("node {}  dead letter {offset}: {}", self.node, result.is_ok()));
            if !this.is_over() {
                this.written(offset, result.is_ok());
            }
            self.handle(env, Input::DeadLettered { ticket, result });
        }
        for (id, result) in std::mem::take(&mut self.committed) {
            let (outstanding, entries) = self.committing.take().expect("a commit that is outstanding");
            assert_eq!(outstanding, id);
            env.say(|| format!("node {}  commit {id} ended: {:?}", self.node, result.as_ref().map_err(Error::kind)));
            for (_, offset, assignment) in entries {
                let assignment = &mut env.rules.assignments[assignment];
                if result.is_ok() && !assignment.is_over() {
                    assignment.committed = Some(offset);
                }
            }
            self.handle(env, Input::Committed { id, result });
        }
        if let Some(deadline) = self.drain_at.take()
            && self.drain.is_none()
        {
            env.say(|| format!("node {}  drains until {deadline:?}", self.node));
            let assignments: Vec<usize> = self.told.values().copied().collect();
            assignments.iter().for_each(|one| env.rules.assignments[*one].begin_drain());
            self.drain = Some(Drain { deadline, assignments });
            let deadline = env.schedule.instant_of(deadline);
            self.handle(env, Input::Drain { deadline });
        }
    }

    /// What an answer means in truth, before the engine reads it.
    fn settle(&mut self, env: &mut Env, answer: &Finished) {
        let Open { assignment, offset } =
            self.open.remove(&answer.ticket.0).expect("an answer to a delivery that is out");
        let now = env.now();
        let this = &mut env.rules.assignments[assignment];
        if this.is_over() || this.fenced {
            return;
        }
        let retryable = answer.failure.as_ref().and_then(|failure| failure.retryable);
        this.answer(offset, (answer.outcome, retryable), now);
        env.rules.seen.released += u64::from(answer.outcome == Outcome::Released);
    }

    /// `true` when there may be more.
    fn poll(&mut self, env: &mut Env) -> bool {
        let (now, instant) = (env.now(), env.schedule.instant());
        self.held_back = self.wire.engine.is_sated(instant) && now < self.polled_at + MAX_PARK;
        if self.held_back {
            return false;
        }
        self.polled_at = now;
        let most = env.seed.pick(&[1, 8, 1_000]);
        for _ in 0..most {
            let Some(polled) = self.client.poll(env) else { return false };
            match polled {
                Polled::Record { partition, offset } => self.record(env, partition, offset),
                Polled::Assigned(list) => self.assigned(env, &list),
                Polled::Revoked(list) => self.revoked(env, list),
                Polled::Lost(list) => {
                    self.lose(env, &list);
                    self.client.unassign(env, &list);
                }
            }
            if self.wire.engine.is_full() {
                return true;
            }
        }
        true
    }

    fn record(&mut self, env: &mut Env, partition: usize, offset: i64) {
        let entry = env.broker.entry(partition, offset);
        let (key, invalid) = (entry.key, entry.kind == Kind::Invalid);
        if self.drain.is_none()
            && let Some(assignment) = self.told.get(&partition)
        {
            let skipped = env.rules.assignments[*assignment].receive(offset, key, invalid);
            env.rules.seen.duplicates += u64::from(skipped.is_none());
            if skipped == Some(true) {
                env.broker.finish(partition, offset, Fate::Skipped);
            }
        }
        let record = env.broker.record(partition, offset);
        let input =
            if invalid { Input::Invalid(record.into(), Box::default()) } else { Input::Record(record.into(), None) };
        self.handle(env, input);
    }

    fn assigned(&mut self, env: &mut Env, list: &[usize]) {
        env.say(|| format!("node {}  got {list:?}", self.node));
        self.client.assign(env, list);
        for partition in list {
            let policy = self.policies[env.broker.partitions[*partition].topic].clone();
            let assignment = env.rules.assign(self.node, self.life, *partition, policy);
            let earlier = self.told.insert(*partition, assignment);
            assert_eq!(earlier, None, "the simulated client gave partition {partition} twice");
        }
        self.handle(env, Input::Assigned(env.broker.sources(list)));
    }

    fn revoked(&mut self, env: &mut Env, list: Vec<usize>) {
        env.say(|| format!("node {}  is to hand over {list:?}", self.node));
        for partition in &list {
            env.rules.assignments[self.told[partition]].state = State::Revoking;
        }
        let sources = env.broker.sources(&list);
        let force_at = env.now() + 2 * env.weather.config.revoke_budget;
        self.revocations.push(Revocation { partitions: list, force_at });
        self.handle(env, Input::Revoked(sources));
    }

    fn lose(&mut self, env: &mut Env, list: &[usize]) {
        env.say(|| format!("node {}  lost {list:?}", self.node));
        for partition in list {
            let Some(assignment) = self.told.remove(partition) else { continue };
            env.rules.seen.lost += 1;
            env.rules.assignments[assignment].state = State::TornAway;
            let fenced = env.rules.assignments[assignment].fenced;
            let out = self.out(assignment);
            if !fenced && out > 0 {
                self.to_fence.insert(assignment, out);
            }
            env.rules.excuse(assignment, "its partition was lost");
        }
        self.revocations.retain_mut(|revocation| {
            revocation.partitions.retain(|partition| !list.contains(partition));
            !revocation.partitions.is_empty()
        });
        self.handle(env, Input::Lost(env.broker.sources(list)));
    }

    fn tell_topics(&mut self, env: &mut Env) {
        if self.wire.engine.is_revoking() || self.named_at.is_none_or(|at| env.now() < at) {
            return;
        }
        self.named_at = None;
        let topics: Vec<usize> =
            (0..env.weather.topics.len()).filter(|topic| !self.host.away.contains(topic)).collect();
        env.say(|| format!("node {}  handles the topics {topics:?}", self.node));
        for (partition, assignment) in &self.told {
            if topics.contains(&env.broker.partitions[*partition].topic) {
                env.rules.assignments[*assignment].name();
            }
        }
        self.subscribe(env, topics);
    }

    fn subscribe(&mut self, env: &Env, topics: Vec<usize>) {
        let wanted =
            |topic: usize| TopicSubscription { topic: format!("t{topic}"), policy: self.policies[topic].clone() };
        let topics: Vec<_> = topics.into_iter().map(wanted).collect();
        self.handle(env, Input::Topics(&topics));
    }

    /// The process starts again with another version of the service.
    pub(super) fn restart(&mut self, env: &mut Env) {
        let deadline = env.now() + Duration::from_secs(2);
        self.begin_drain(env, deadline);
    }

    /// Deliveries that the engine awaits answers of.
    fn out(&self, assignment: usize) -> usize {
        self.open.values().filter(|open| open.assignment == assignment).count()
    }

    /// Runs out of all partitions of a topic.
    fn lanes_out(&self, env: &Env, topic: usize) -> usize {
        let of_topic = self.told.iter().filter(|(partition, _)| env.broker.partitions[**partition].topic == topic);
        of_topic.map(|(_, assignment)| env.rules.assignments[*assignment].lanes_out()).sum()
    }

    /// What holds after every turn.
    fn check(&mut self, env: &mut Env) {
        let engine = &self.wire.engine;
        assert!(self.to_fence.is_empty(), "handlers of lost partitions were not fenced");
        let late = self.revocations.iter().find(|revocation| env.now() >= revocation.force_at);
        assert!(late.is_none(), "a hand-over took longer than twice its budget: {late:?}");
        if let Some(drain) = &self.drain {
            assert!(!self.up || env.now() < drain.deadline, "the drain outlived its deadline {:?}", drain.deadline);
        } else {
            for (partition, assignment) in &self.told {
                let topic = env.broker.partitions[*partition].topic;
                let policy = &self.policies[topic];
                let room = policy.ordering == Ordering::Partition || self.lanes_out(env, topic) < policy.concurrency;
                let idle = env.rules.assignments[*assignment].idle(env.now(), room);
                assert!(idle.is_none(), "{idle:?} of partition {partition} waits for nothing");
            }
        }
        let bytes = engine.stats().bytes;
        let most = env.weather.config.max_bytes;
        // One pass may fill the bound from one partition, before the others take their shares of its half. And each may
        // have one record with its handler and one that waits, however small the bound is.
        let largest = env.weather.max_value as usize + 200;
        let most = most + most / 2 + 2 * largest * env.broker.partitions.len();
        assert!(bytes <= most, "{bytes} bytes are held, {most} allowed");
    }

    /// Nothing is left to do.
    pub(super) fn is_settled(&self) -> bool {
        let stats = self.wire.engine.stats();
        self.client.is_settled()
            && self.revocations.is_empty()
            && self.committing.is_none()
            && self.writing.is_empty()
            && !self.halted
            && (stats.bytes, stats.in_flight, stats.waiting, stats.paused) == (0, 0, 0, 0)
    }

    pub(super) fn state(&self) -> String {
        let Member { node, up, client, revocations, committing, turn_at, wire, .. } = self;
        let stats = wire.engine.stats();
        format!(
            "node {node}: up {up}, turn at {turn_at:?}, revoked {revocations:?}, committing {committing:?}\n  {client:?}\n  {stats:?}"
        )
    }
}
