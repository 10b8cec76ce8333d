//! A process of the group: the poll thread between client and engine, and the handlers beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::State;
use super::broker::{Fate, Kind};
use super::client::{Client, Polled};
use super::env::{CommitRequest, Env, Event, Request};
use super::group::Group;
use super::host::{Host, Job};
use super::sabotage::Wire;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Delivery, Finished, Outcome, Ticket};
use crate::policy::{DeadLetterReason, Ordering, Policy, TopicSubscription};
use crate::subscribe::dead_letters::DeadLetter;
use crate::subscribe::engine::{Engine, Input, Output};

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

    fn carry_out(&mut self, env: &mut Env, group: &Group) {
        let mut outputs = Vec::new();
        self.wire.advance(env.schedule.instant(), &mut outputs);
        // What was passed over or buried makes room for what is handed out in the same breath.
        outputs.iter().for_each(|output| self.note(env, output));
        for output in outputs {
            assert!(self.up, "the engine goes on after its drain: {output:?}");
            match output {
                Output::Deliver(run) => self.deliver(env, group, run),
                Output::Recall { slot, epoch } => {
                    env.say(|| format!("node {}  recalls slot {slot}, epoch {epoch}", self.node));
                    self.host.stop(env, slot, epoch);
                }
                Output::Fenced { slot, epoch, source, unanswered } => {
                    let partition = env.broker.index(&source);
                    self.fence(env, partition, (slot, epoch), unanswered);
                }
                Output::Pause(sources) => {
                    let list = env.broker.indices(&sources);
                    self.pause(env, &list);
                }
                Output::Resume(sources) => {
                    let list = env.broker.indices(&sources);
                    self.resume(env, &list);
                }
                Output::Commit { id, offsets } => {
                    let offsets = offsets.iter().map(|(source, offset)| (env.broker.index(source), *offset)).collect();
                    self.commit(env, id, offsets);
                }
                Output::RevokeReady(sources) => {
                    let list = env.broker.indices(&sources);
                    self.hand_over(env, &list);
                }
                Output::Drained { handled, abandoned } => self.drained(env, (handled, abandoned)),
                Output::Abort { slot, epoch } => self.host.stop(env, slot, epoch),
                Output::DeadLetter(letter) => self.write(env, &letter),
                Output::Halted(halted) => {
                    env.say(|| format!("node {}  {} halts: {}", self.node, halted.source, halted.reason));
                    let partition = env.broker.index(&halted.source);
                    let assignment = self.assignment(env, partition);
                    env.rules.assignments[assignment].halt(halted.offset);
                    env.rules.seen.halted += 1;
                    self.halted = true;
                    if env.healed {
                        self.restart(env);
                    }
                }
                Output::Skipped(_) => {}
                Output::Failed(error) => panic!("{error}"),
            }
        }
    }

    /// The process starts again with another version of the service.
    pub(super) fn restart(&mut self, env: &mut Env) {
        let deadline = env.now() + Duration::from_secs(2);
        self.begin_drain(env, deadline);
    }

    /// The assignment of a partition that is held, or was until this turn.
    fn assignment(&self, env: &Env, partition: usize) -> usize {
        let latest = || env.rules.latest(self.node, self.life, partition).expect("a partition that was assigned");
        self.told.get(&partition).copied().unwrap_or_else(latest)
    }

    fn note(&mut self, env: &mut Env, output: &Output) {
        let now = env.now();
        let partition_of = |source| env.broker.index(source);
        match output {
            Output::DeadLetter(letter) => {
                let (partition, offset) = (partition_of(&letter.record.source), letter.record.offset);
                let assignment = self.assignment(env, partition);
                env.rules.assignments[assignment].bury(offset, letter, now);
                if letter.reason == DeadLetterReason::Parked {
                    env.rules.seen.parked += 1;
                    env.broker.see(partition, offset);
                }
            }
            Output::Skipped(skipped) => {
                let (partition, offset) = (partition_of(&skipped.record.source), skipped.record.offset);
                let assignment = self.assignment(env, partition);
                env.rules.assignments[assignment].pass_over(offset, skipped.reason);
                env.rules.seen.passed_over += 1;
                env.broker.finish(partition, offset, Fate::Skipped);
            }
            _ => {}
        }
    }

    fn write(&mut self, env: &mut Env, letter: &DeadLetter) {
        let (partition, offset) = (env.broker.index(&letter.record.source), letter.record.offset);
        let assignment = self.assignment(env, partition);
        env.say(|| format!("node {}  buries {}@{offset}: {:?}", self.node, letter.record.source, letter.reason));
        let earlier = self.writing.insert(letter.ticket.0, (assignment, offset));
        assert_eq!(earlier, None, "{offset} is buried twice at a time");
        let most = if env.strikes(|weather| weather.letter_slow) { 3_000 } else { 15 };
        let stored_at = env.now() + env.seed.time(1, most);
        let failed = match () {
            () if env.strikes(|weather| weather.letter_refused) => Some(ErrorKind::TooLarge),
            () if env.strikes(|weather| weather.letter_failed) => Some(ErrorKind::Unavailable),
            () => None,
        };
        if failed.is_none() {
            env.post_at(stored_at, Event::LetterStored { partition, offset, assignment });
        }
        let unanswered = env.strikes(|weather| weather.letter_unanswered).then_some(ErrorKind::Timeout);
        let result = match failed.or(unanswered) {
            Some(kind) => Err(Error::new(kind, "the simulated broker did not store it, or did not say so")),
            None => Ok(()),
        };
        let answered_at = stored_at + env.seed.time(1, 20);
        let (node, life, ticket) = (self.node, self.life, letter.ticket);
        env.post_at(answered_at, Event::LetterEnds { node, life, ticket, result });
    }

    fn deliver(&mut self, env: &mut Env, group: &Group, run: Vec<Delivery>) {
        assert!(self.drain.is_none(), "a delivery after the drain began");
        let partition = env.broker.index(&run[0].record().source);
        let assignment = *self.told.get(&partition).unwrap_or_else(|| panic!("{run:?} of another member"));
        let now = env.now();
        for delivery in &run {
            let ticket = delivery.ticket();
            env.rules.check_ticket(assignment, (ticket.slot(), ticket.epoch()));
            assert_eq!(env.broker.index(&delivery.record().source), partition, "the partitions of a run");
            let earlier = self.open.insert(ticket.0, Open { assignment, offset: delivery.offset() });
            assert!(earlier.is_none(), "{delivery:?} is out twice");
        }
        let again = env.rules.assignments[assignment].hand_out(&run, now);
        env.rules.seen.redeliveries += u64::from(again);
        self.check_concurrency(env, partition);
        let jobs = run.into_iter().map(|delivery| Job { delivery, assignment }).collect();
        self.host.deliver(env, jobs, self.is_zombie(group));
    }

    /// Runs out of all partitions of a topic.
    fn lanes_out(&self, env: &Env, topic: usize) -> usize {
        let of_topic = self.told.iter().filter(|(partition, _)| env.broker.partitions[**partition].topic == topic);
        of_topic.map(|(_, assignment)| env.rules.assignments[*assignment].lanes_out()).sum()
    }

    fn check_concurrency(&self, env: &Env, partition: usize) {
        let topic = env.broker.partitions[partition].topic;
        let (out, policy) = (self.lanes_out(env, topic), &self.policies[topic]);
        assert!(
            policy.ordering == Ordering::Partition || out <= policy.concurrency,
            "{out} events are handled side by side, {} are allowed",
            policy.concurrency
        );
    }

    fn fence(&mut self, env: &mut Env, partition: usize, ticket: (u16, u16), unanswered: usize) {
        let assignment = env.rules.by_ticket(self.node, self.life, ticket).expect("a fence of what was handed out");
        env.say(|| format!("node {}  gives up {unanswered} handlers of partition {partition}", self.node));
        let lost = self.to_fence.remove(&assignment);
        assert!(lost.is_some() || !env.rules.assignments[assignment].is_over(), "a fence of what was handed over");
        let out = lost.unwrap_or_else(|| self.out(assignment));
        assert_eq!((env.rules.assignments[assignment].partition, out), (partition, unanswered), "what is fenced");
        env.rules.assignments[assignment].fenced = true;
        env.rules.seen.fenced += 1;
        env.rules.excuse(assignment, "it outlived the hand-over");
        self.host.stop(env, ticket.0, ticket.1);
    }

    /// Deliveries that the engine awaits answers of.
    fn out(&self, assignment: usize) -> usize {
        self.open.values().filter(|open| open.assignment == assignment).count()
    }

    fn pause(&mut self, env: &mut Env, list: &[usize]) {
        env.say(|| format!("node {}  pauses {list:?}", self.node));
        env.rules.seen.pauses += 1;
        for partition in list {
            assert!(!self.client.is_paused(*partition), "partition {partition} was paused twice");
        }
        self.client.pause(list);
    }

    fn resume(&mut self, env: &mut Env, list: &[usize]) {
        env.say(|| format!("node {}  resumes {list:?}", self.node));
        for partition in list {
            let needless = self.client.holds(*partition) && !self.client.is_paused(*partition);
            assert!(!needless || self.rebuilt, "partition {partition} was resumed without a pause");
        }
        if !self.client.resume(list) {
            env.say(|| format!("node {}  its client refuses to resume {list:?}", self.node));
        }
        self.wake(env);
    }

    fn commit(&mut self, env: &mut Env, id: u64, offsets: Vec<(usize, i64)>) {
        assert!(self.committing.is_none(), "two commits at a time");
        let mut entries = Vec::new();
        for (partition, offset) in offsets {
            let assignment = *self.told.get(&partition).expect("a commit of a partition that is held");
            env.rules.check_commit(assignment, offset);
            entries.push((partition, offset, assignment));
        }
        env.say(|| format!("node {}  commits {:?} as {id}", self.node, pairs(&entries)));
        self.committing = Some((id, entries.clone()));
        let (node, life) = (self.node, self.life);
        if env.strikes(|weather| weather.commit_failed) {
            env.rules.seen.commits_failed += 1;
            let kind = env.seed.pick(&[ErrorKind::Unavailable, ErrorKind::Timeout]);
            let result = Err(Error::new(kind, "the simulated coordinator is away"));
            let most = env.seed.pick(&[20, 3_000]);
            env.post_in(1, most, Event::CommitEnds { node, life, id, result });
            return;
        }
        let most = if env.strikes(|weather| weather.commit_slow) { 4_000 } else { 20 };
        let request = CommitRequest {
            node,
            life,
            id,
            session: self.client.session(),
            generation: self.client.generation(),
            restamped: env.strikes(|weather| weather.commit_restamped),
            unanswered: env.strikes(|weather| weather.commit_unanswered),
            entries,
        };
        env.post_in(1, most, Event::ToGroup(Request::Commit(request)));
    }

    fn hand_over(&mut self, env: &mut Env, list: &[usize]) {
        let at = self.revocations.iter().position(|revocation| revocation.partitions == list);
        let revocation = self.revocations.remove(at.expect("a hand-over of what was to be handed over"));
        let forced = env.now() >= revocation.force_at;
        env.say(|| format!("node {}  hands over {list:?}{}", self.node, if forced { ", out of time" } else { "" }));
        for partition in list {
            let assignment = self.told.remove(partition).expect("a partition that was told");
            let out = self.out(assignment);
            let this = &mut env.rules.assignments[assignment];
            assert!(out == 0 || this.fenced, "partition {partition} was handed over while {out} deliveries are out");
            this.state = if forced { State::TornAway } else { State::HandedOver };
            let seen = &mut env.rules.seen;
            *(if forced { &mut seen.forced } else { &mut seen.handed_over }) += 1;
        }
        self.client.unassign(env, list);
        self.wake(env);
    }

    fn drained(&mut self, env: &mut Env, report: (u64, u64)) {
        env.say(|| format!("node {}  has drained: {report:?}", self.node));
        let drain = self.drain.as_ref().expect("a drain that was asked for");
        let parts = drain.assignments.iter().map(|one| env.rules.assignments[*one].drained());
        let truth = parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        assert_eq!(report, truth, "the report of the drain");
        env.rules.seen.drains += 1;
        env.rules.seen.cut_drains += u64::from(report.1 > 0);
        for assignment in self.told.values() {
            env.rules.assignments[*assignment].state = State::TornAway;
        }
        env.rules.excuse_node(self.node, "its process has shut down");
        self.up = false;
        env.post_in(1, 30, Event::ToGroup(Request::Leave { session: self.client.session() }));
        env.post_at(env.now() + self.away, Event::Return { node: self.node });
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

fn pairs(entries: &[Committing]) -> Vec<(usize, i64)> {
    entries.iter().map(|(partition, offset, _)| (*partition, *offset)).collect()
}
