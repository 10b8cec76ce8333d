//! The coordinator of the group: members, rounds of cooperative rebalances, committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use super::env::{Answer, CommitRequest, Env, Event};
use super::weather::{HEARTBEAT_MS, REBALANCE_TIMEOUT};
use crate::error::{Error, ErrorKind, Result};

/// A member as the coordinator knows it. A client that joins anew is a new one.
pub(super) type MemberId = u32;

#[derive(Debug)]
struct Member {
    node: usize,
    /// What it said it holds when it joined the current round.
    claims: BTreeSet<usize>,
    topics: Vec<usize>,
    joined: bool,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    generation: u32,
    members: BTreeMap<MemberId, Member>,
    round: Option<u32>,
    rounds: u32,
}

impl Group {
    pub(super) fn knows(&self, session: MemberId) -> bool {
        self.members.contains_key(&session)
    }

    /// A rebalance waits for the member.
    pub(super) fn awaits(&self, session: MemberId) -> bool {
        self.round.is_some() && self.members.get(&session).is_some_and(|member| !member.joined)
    }

    /// No rebalance is under way.
    pub(super) fn is_stable(&self) -> bool {
        self.round.is_none()
    }

    pub(super) fn sessions_of(&self, node: usize) -> Vec<MemberId> {
        self.members.iter().filter(|(_, member)| member.node == node).map(|(session, _)| *session).collect()
    }

    pub(super) fn join(
        &mut self,
        env: &mut Env,
        node: usize,
        session: MemberId,
        claims: Vec<usize>,
        topics: Vec<usize>,
    ) {
        if !claims.is_empty() && !self.knows(session) {
            let what = Answer::Unknown;
            env.post_in(1, 20, Event::ToMember { node, session, what });
            return;
        }
        env.say(|| format!("group   member {session} of node {node} joins with {claims:?}"));
        self.members.insert(session, Member { node, claims: claims.into_iter().collect(), topics, joined: true });
        if self.round.is_none() {
            self.begin_round(env);
        }
        self.complete_soon(env);
    }

    /// The member leaves, or is taken for dead.
    pub(super) fn remove(&mut self, env: &mut Env, session: MemberId) {
        if self.members.remove(&session).is_none() {
            return;
        }
        env.say(|| format!("group   member {session} is out"));
        if self.members.is_empty() {
            self.round = None;
        } else if self.round.is_none() {
            self.begin_round(env);
        } else {
            self.complete_soon(env);
        }
    }

    fn begin_round(&mut self, env: &mut Env) {
        self.rounds += 1;
        self.round = Some(self.rounds);
        for (session, member) in self.members.iter().filter(|(_, member)| !member.joined) {
            let event = Event::ToMember { node: member.node, session: *session, what: Answer::Rebalancing };
            env.post_in(1, HEARTBEAT_MS, event);
        }
        env.post_at(env.now() + REBALANCE_TIMEOUT, Event::RoundEnds { round: self.rounds });
    }

    fn complete_soon(&mut self, env: &mut Env) {
        if let Some(round) = self.round
            && self.members.values().all(|member| member.joined)
        {
            env.post_in(0, 300, Event::Complete { round });
        }
    }

    /// Who has not joined by now is out.
    pub(super) fn end_round(&mut self, env: &mut Env, round: u32) {
        if self.round != Some(round) {
            return;
        }
        let late: Vec<_> =
            self.members.iter().filter(|(_, member)| !member.joined).map(|(session, _)| *session).collect();
        for session in late {
            env.rules.excuse_node(self.members[&session].node, "it missed a rebalance");
            self.remove(env, session);
        }
        self.complete_soon(env);
    }

    pub(super) fn complete(&mut self, env: &mut Env, round: u32) {
        if self.round != Some(round) || !self.members.values().all(|member| member.joined) {
            return;
        }
        self.round = None;
        self.generation += 1;
        env.rules.seen.rebalances += 1;
        let assignment = self.assignment(env);
        env.say(|| format!("group   generation {}: {assignment:?}", self.generation));
        for (session, partitions) in assignment {
            let member = self.members.get_mut(&session).expect("a member of the assignment");
            member.joined = false;
            let what = Answer::Synced { generation: self.generation, partitions };
            env.post_in(1, 50, Event::ToMember { node: member.node, session, what });
        }
    }

    /// Sticky and balanced. What another member holds is given to nobody before it was handed over.
    fn assignment(&mut self, env: &mut Env) -> BTreeMap<MemberId, Vec<usize>> {
        let mut target: BTreeMap<MemberId, Vec<usize>> = self.members.keys().map(|id| (*id, Vec::new())).collect();
        let mut owners = BTreeMap::new();
        for (session, member) in &self.members {
            for partition in &member.claims {
                let other = owners.insert(*partition, *session);
                assert_eq!(other, None, "the simulated group gave partition {partition} twice");
            }
        }
        let members = &self.members;
        for partition in 0..env.broker.partitions.len() {
            let topic = env.broker.partitions[partition].topic;
            let wants = |session: &MemberId| members[session].topics.contains(&topic);
            let owner = owners.get(&partition).copied().filter(wants);
            let restless = env.strikes(|weather| weather.restless / 4);
            let candidates: Vec<MemberId> = target.keys().copied().filter(wants).collect();
            let chosen = match owner {
                _ if candidates.is_empty() => continue,
                Some(owner) if !restless => owner,
                _ if restless => env.seed.pick(&candidates),
                _ => candidates.into_iter().min_by_key(|session| target[session].len()).expect("a candidate"),
            };
            target.get_mut(&chosen).expect("a member").push(partition);
        }
        self.balance(env, &mut target);
        let mut given = target;
        for (session, partitions) in &mut given {
            partitions.retain(|partition| owners.get(partition).is_none_or(|owner| owner == session));
        }
        given
    }

    fn balance(&self, env: &Env, target: &mut BTreeMap<MemberId, Vec<usize>>) {
        // Each move lowers the sum of squares, so this ends.
        loop {
            let moved = target.iter().find_map(|(from, held)| {
                held.iter().enumerate().find_map(|(at, partition)| {
                    let topic = env.broker.partitions[*partition].topic;
                    let wanting = target.iter().filter(|(id, _)| self.members[id].topics.contains(&topic));
                    let (to, least) = wanting.min_by_key(|(_, held)| held.len())?;
                    (least.len() + 1 < held.len()).then_some((*from, at, *to))
                })
            });
            let Some((from, at, to)) = moved else { return };
            let partition = target.get_mut(&from).expect("a member").remove(at);
            target.get_mut(&to).expect("a member").push(partition);
        }
    }

    /// Stores offsets, as a broker does: it checks member and generation, never who holds the partition.
    pub(super) fn commit(&mut self, env: &mut Env, request: &CommitRequest) -> Result<()> {
        if !self.knows(request.session) || request.generation != self.generation {
            env.rules.seen.commits_refused += 1;
            return Err(Error::new(ErrorKind::IllegalState, "the group has a new generation, or no such member"));
        }
        for (partition, offset, assignment) in &request.entries {
            env.rules.check_landing(&env.broker, *partition, *offset, *assignment);
            env.broker.commit(*partition, *offset);
        }
        env.rules.seen.commits += 1;
        Ok(())
    }
}
