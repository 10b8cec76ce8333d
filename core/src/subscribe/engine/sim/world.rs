//! A whole run: every process, the broker, the coordinator and the troubles, one event after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::broker::{Broker, Fate};
use super::env::{Answer, Env, Event, Request};
use super::group::{Group, MemberId};
use super::member::Member;
use super::rules::{Rules, Seen};
use super::sabotage::Sabotage;
use super::schedule::Schedule;
use super::seed::Seed;
use super::trace::Trace;
use super::weather::{SESSION_TIMEOUT, Trouble, Weather};
use crate::error::{Error, ErrorKind};

/// After the troubles everything must be finished and committed within this time. The longest pause between failed
/// commits is 30 s, and a tiny bound makes a member slow.
const SETTLE_WITHIN: Duration = Duration::from_secs(1_200);
/// What happened to a member's session reaches it within this time.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// No run takes so many events, unless somebody spins.
const MOST_EVENTS: u64 = 3_000_000;

pub(super) struct World {
    pub(super) env: Env,
    group: Group,
    members: Vec<Member>,
    no_coordinator_until: Duration,
}

impl World {
    pub(super) fn new(seed: u64, trace: Trace, sabotage: Option<Sabotage>) -> Self {
        let mut seed = Seed::new(seed);
        let weather = Weather::of(&mut seed);
        let broker = Broker::new(&weather.topics);
        let (schedule, rules) = (Schedule::new(), Rules::default());
        let mut env = Env { schedule, seed, trace, broker, rules, weather, healed: false, sessions: 0, sabotage };
        env.say(|| "the run begins");
        let nodes = env.weather.nodes;
        let members = (0..nodes).map(|node| Member::new(&mut env, node, 0)).collect();
        World { env, group: Group::default(), members, no_coordinator_until: Duration::ZERO }
    }

    /// Runs to the end: troubles, peace, shutdown.
    pub(super) fn run(&mut self) -> Seen {
        let weather = format!("{:?}", self.env.weather);
        self.env.say(|| weather);
        self.plan();
        let deadline = self.env.weather.horizon + SETTLE_WITHIN;
        self.step_until("everything is finished and committed", deadline, World::is_settled);
        let deadline = self.env.now() + Duration::from_secs(10);
        for member in self.members.iter_mut().filter(|member| member.up) {
            member.away = Duration::from_secs(1_000_000);
            let drain_until = self.env.now() + Duration::from_secs(5);
            member.begin_drain(&mut self.env, drain_until);
        }
        let cut_drains = self.env.rules.seen.cut_drains;
        self.step_until("every member has drained", deadline, |world| world.members.iter().all(|member| !member.up));
        assert_eq!(self.env.rules.seen.cut_drains, cut_drains, "a drain abandoned records although all was done");
        self.env.rules.seen
    }

    fn plan(&mut self) {
        let env = &mut self.env;
        let (horizon, count) = (env.weather.horizon, env.broker.partitions.len());
        let end = horizon.as_millis() as u64;
        let mut left = env.weather.records as u64;
        while left > 0 {
            let count_here = env.seed.between(1, env.weather.burst).min(left);
            left -= count_here;
            // A third lies there from the beginning, as after a time without consumers.
            let at = if env.seed.permille(333) { Duration::ZERO } else { env.seed.time(0, end) };
            let partition = env.seed.below(count);
            env.post_at(at, Event::Produce { partition, count: count_here });
        }
        for (at, trouble) in env.weather.troubles.clone() {
            env.post_at(at, Event::Trouble(trouble));
        }
        env.post_at(horizon, Event::Heal);
        for node in 0..env.weather.nodes {
            let at = if node == 0 { Duration::ZERO } else { env.seed.time(0, 4_000) };
            env.post_at(at, Event::Return { node });
        }
    }

    fn step_until(&mut self, what: &str, deadline: Duration, done: impl Fn(&World) -> bool) {
        while !done(self) {
            let event = self.env.schedule.next();
            let late = self.env.now() > deadline || self.env.schedule.posted() > MOST_EVENTS;
            match event {
                Some(event) if !late => self.dispatch(event),
                _ => panic!("{what}: not so after {} events\n{}", self.env.schedule.posted(), self.state()),
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.env.healed
            && self.env.broker.is_done()
            && self.group.is_stable()
            && self
                .members
                .iter()
                .all(|member| member.up && self.group.knows(member.client.session()) && member.is_settled())
            && self.env.now() > self.last_trouble() + HEARD_WITHIN
    }

    /// When the last trouble is over.
    fn last_trouble(&self) -> Duration {
        let members = self.members.iter().map(|member| member.frozen_until.max(member.cut_off_until));
        members.fold(self.no_coordinator_until, Duration::max)
    }

    fn state(&self) -> String {
        let members = self.members.iter().map(Member::state);
        let partitions = self.env.broker.partitions.iter().filter(|one| !one.is_done()).map(|one| one.state());
        members.chain(partitions).collect::<Vec<_>>().join("\n")
    }

    fn dispatch(&mut self, event: Event) {
        let now = self.env.now();
        // What concerns a frozen process waits for its thaw.
        let node = match &event {
            Event::Turn { node, .. }
            | Event::CallEnds { node, .. }
            | Event::ToMember { node, .. }
            | Event::CommitEnds { node, .. }
            | Event::LetterEnds { node, .. }
            | Event::Trouble(
                Trouble::Rebuild { node } | Trouble::Rewind { node } | Trouble::Unsubscribe { node, .. },
            )
            | Event::SubscribeAgain { node, .. } => Some(*node),
            _ => None,
        };
        if let Some(node) = node {
            let member = &self.members[node];
            let heard = if matches!(event, Event::ToMember { .. }) { member.cut_off_until } else { Duration::ZERO };
            let until = member.frozen_until.max(heard);
            if until > now {
                self.env.post_at(until, event);
                return;
            }
        }
        let World { env, group, members, .. } = self;
        match event {
            Event::Produce { partition, count } => self.produce(partition, count),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Heal => self.heal(),
            Event::Glance => {}
            Event::Turn { node, life } => {
                let member = &mut members[node];
                if member.up && member.life == life {
                    member.turn(env, group);
                }
            }
            Event::CallEnds { node, life, call } => {
                let member = &mut members[node];
                if member.up && member.life == life {
                    member.call_ends(env, group, call);
                } else {
                    env.rules.end(call);
                }
            }
            Event::Return { node } => {
                if !members[node].up {
                    let life = members[node].life + 1;
                    members[node] = Member::new(env, node, life);
                    members[node].start(env);
                }
            }
            Event::HandlersBack { node, topic } => {
                let member = &mut members[node];
                if member.host.away.remove(&topic) {
                    member.name_topics(env);
                }
            }
            Event::SubscribeAgain { node, topic } => {
                let member = &mut members[node];
                let mut topics = member.client.topics().clone();
                if member.up && !member.is_draining() && topics.insert(topic) {
                    member.client.subscribe(env, topics);
                    member.wake(env);
                }
            }
            Event::ToMember { node, session, what } => {
                let member = &mut members[node];
                let stale = matches!(what, Answer::Rebalancing) && !group.awaits(session);
                if member.up && member.client.session() == session && !stale {
                    if matches!(what, Answer::Unknown) {
                        // The coordinator may not have noticed yet, and hears nothing of this session any more.
                        env.post_at(now + SESSION_TIMEOUT, Event::Expire { session });
                    }
                    member.client.told(env, what);
                    member.wake(env);
                }
            }
            Event::CommitEnds { node, life, id, result } => {
                let member = &mut members[node];
                if member.up && member.life == life {
                    member.commit_ends(env, id, result);
                }
            }
            Event::LetterStored { partition, offset, assignment } => {
                env.rules.seen.dead_letters += 1;
                env.rules.assignments[assignment].stored(offset);
                env.broker.finish(partition, offset, Fate::Buried);
            }
            Event::LetterEnds { node, life, ticket, result } => {
                let member = &mut members[node];
                if member.up && member.life == life {
                    member.letter_ends(env, ticket, result);
                }
            }
            Event::Complete { round } => group.complete(env, round),
            Event::RoundEnds { round } => group.end_round(env, round),
            Event::Expire { session } => self.expire(session),
            Event::ToGroup(request) => self.reach_group(request),
        }
    }

    fn produce(&mut self, partition: usize, count: u64) {
        let env = &mut self.env;
        for _ in 0..count {
            env.broker.append(partition, &env.weather, &mut env.seed);
        }
        for member in self.members.iter_mut().filter(|member| member.up && member.client.holds(partition)) {
            member.wake(env);
        }
    }

    fn reach_group(&mut self, request: Request) {
        let node = match &request {
            Request::Join { node, .. } => Some(*node),
            Request::Commit(commit) => Some(commit.node),
            Request::Leave { .. } => None,
        };
        let cut_off = node.map_or(Duration::ZERO, |node| self.members[node].cut_off_until);
        let until = cut_off.max(self.no_coordinator_until);
        let World { env, group, members, .. } = self;
        if until > env.now() {
            match request {
                // A commit that was not sent yet waits for the coordinator; one that was is lost.
                Request::Commit(commit) if !commit.restamped => {
                    let result = Err(Error::new(ErrorKind::Unavailable, "the simulated coordinator is away"));
                    let event = Event::CommitEnds { node: commit.node, life: commit.life, id: commit.id, result };
                    env.post_in(10, 2_000, event);
                }
                request => {
                    let at = until + env.seed.time(1, 100);
                    env.post_at(at, Event::ToGroup(request));
                }
            }
            return;
        }
        match request {
            Request::Join { node, session, claims, topics } => {
                let member = &members[node];
                if member.up && member.client.session() == session {
                    group.join(env, node, session, claims, topics);
                }
            }
            Request::Leave { session } => group.remove(env, session),
            Request::Commit(mut commit) => {
                let member = &members[commit.node];
                if commit.restamped {
                    if !member.up || member.life != commit.life {
                        return;
                    }
                    commit.session = member.client.session();
                    commit.generation = member.client.generation();
                }
                let result = group.commit(env, &commit);
                env.say(|| format!("group   commit {} of node {}: {}", commit.id, commit.node, result.is_ok()));
                let unanswered = commit.unanswered;
                let result = match result {
                    Ok(()) if unanswered => Err(Error::new(ErrorKind::Timeout, "the simulated answer got lost")),
                    result => result,
                };
                let most = if unanswered { 2_000 } else { 20 };
                let event = Event::CommitEnds { node: commit.node, life: commit.life, id: commit.id, result };
                env.post_in(1, most, event);
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        let World { env, members, .. } = self;
        env.say(|| format!("trouble {trouble:?}"));
        let now = env.now();
        match trouble {
            Trouble::Crash { node, away } => {
                let member = &mut members[node];
                if !member.up {
                    return;
                }
                member.up = false;
                let (life, horizon) = (member.life, env.weather.horizon);
                env.rules.kill(node, life);
                env.rules.seen.crashes += 1;
                env.post_at((now + away).min(horizon), Event::Return { node });
                self.watch(node);
            }
            Trouble::Leave { node, within, away } => {
                let member = &mut members[node];
                if member.up {
                    member.away = away;
                    let deadline = now + within;
                    member.begin_drain(env, deadline);
                }
            }
            Trouble::Freeze { node, time } => {
                members[node].frozen_until = members[node].frozen_until.max(now + time);
                self.silence(node, time);
            }
            Trouble::CutOff { node, time } => {
                members[node].cut_off_until = members[node].cut_off_until.max(now + time);
                self.silence(node, time);
            }
            Trouble::Expel { node } => {
                for session in self.group.sessions_of(node) {
                    self.expel(node, session);
                }
            }
            Trouble::Rebuild { node } => {
                if members[node].up && !members[node].is_draining() {
                    members[node].rebuild(env);
                    self.watch(node);
                }
            }
            Trouble::HandlersAway { node, topic, time } => {
                members[node].host.away.insert(topic);
                env.post_at(now + time, Event::HandlersBack { node, topic });
            }
            Trouble::Unsubscribe { node, topic, time } => {
                let member = &mut members[node];
                let topics: BTreeSet<usize> =
                    member.client.topics().iter().copied().filter(|one| *one != topic).collect();
                if member.up && !member.is_draining() && !topics.is_empty() {
                    member.client.subscribe(env, topics);
                    env.post_at(now + time, Event::SubscribeAgain { node, topic });
                }
            }
            Trouble::Rewind { node } => {
                members[node].client.rewind(env);
                members[node].wake(env);
            }
            Trouble::NoCoordinator { time } => self.no_coordinator_until = self.no_coordinator_until.max(now + time),
        }
    }

    /// Nothing is heard of the node for some time: its sessions may end, on both sides.
    fn silence(&mut self, node: usize, time: Duration) {
        self.watch(node);
        if time >= SESSION_TIMEOUT && self.members[node].up {
            let member = &self.members[node];
            let session = member.client.session();
            // A client that can run notices by itself, about when the coordinator does.
            let early = self.env.seed.time(0, 1_000);
            let at = self.env.now() + SESSION_TIMEOUT + early;
            let at = if member.frozen_until > at { member.frozen_until + early } else { at };
            self.env.post_at(at, Event::ToMember { node, session, what: Answer::Unknown });
        }
    }

    fn watch(&mut self, node: usize) {
        for session in self.group.sessions_of(node) {
            self.env.post_at(self.env.now() + SESSION_TIMEOUT, Event::Expire { session });
        }
    }

    /// The session timeout of a member is over, if it is still silent.
    fn expire(&mut self, session: MemberId) {
        let now = self.env.now();
        let heard = |member: &Member| {
            member.up && member.client.session() == session && member.frozen_until.max(member.cut_off_until) <= now
        };
        if self.members.iter().any(heard) {
            return;
        }
        if self.no_coordinator_until > now {
            self.env.post_at(self.no_coordinator_until + SESSION_TIMEOUT, Event::Expire { session });
            return;
        }
        let Some(node) = (0..self.members.len()).find(|node| self.group.sessions_of(*node).contains(&session)) else {
            return;
        };
        self.expel(node, session);
    }

    fn expel(&mut self, node: usize, session: MemberId) {
        self.env.rules.excuse_node(node, "its session ended");
        self.group.remove(&mut self.env, session);
        let event = Event::ToMember { node, session, what: Answer::Unknown };
        self.env.post_in(0, 1_000, event);
    }

    fn heal(&mut self) {
        let World { env, members, .. } = self;
        env.healed = true;
        env.weather.mend();
        env.say(|| "all troubles are over");
        for (node, member) in members.iter_mut().enumerate() {
            member.host.heal(env);
            if member.up && member.halted {
                member.away = Duration::ZERO;
                member.restart(env);
            }
            for topic in 0..env.weather.topics.len() {
                env.post_in(0, 500, Event::HandlersBack { node, topic });
                env.post_in(0, 500, Event::SubscribeAgain { node, topic });
            }
            member.wake(env);
        }
        let heard = self.last_trouble().max(self.env.now()) + HEARD_WITHIN;
        self.env.post_at(heard + Duration::from_millis(1), Event::Glance);
    }
}
