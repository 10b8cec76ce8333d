//! A member's Kafka client: its place in the group, what it fetches, and one rebalance event at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::env::{Answer, Env, Event, Request};
use super::group::MemberId;

/// What a poll brings.
#[derive(Debug)]
pub(super) enum Polled {
    Assigned(Vec<usize>),
    Revoked(Vec<usize>),
    Lost(Vec<usize>),
    Record { partition: usize, offset: i64 },
}

/// A rebalance event that was not polled, or not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Assign(Vec<usize>),
    Revoke(Vec<usize>),
    Lose(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Out,
    Joining,
    Joined,
}

/// What is fetched of one assigned partition.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    /// Numbers the assignments of this client.
    assigned: u64,
    /// Unknown until the committed offset was asked for.
    position: Option<i64>,
    start: i64,
}

#[derive(Debug)]
pub(super) struct Client {
    node: usize,
    session: MemberId,
    generation: u32,
    membership: Membership,
    held: BTreeMap<usize, Fetch>,
    /// The flags outlive assignments.
    paused: BTreeSet<usize>,
    unpolled: Option<Change>,
    unanswered: Option<Change>,
    /// Comes after what is revoked was handed over.
    then_assign: Option<Vec<usize>>,
    rejoin: bool,
    /// The group does not know the member any more.
    expelled: bool,
    topics: BTreeSet<usize>,
    assignments: u64,
    /// Records come in stretches of one partition.
    stretch: Option<(usize, u64)>,
}

impl Client {
    pub(super) fn new(node: usize, session: MemberId, topics: BTreeSet<usize>) -> Self {
        Client {
            node,
            session,
            generation: 0,
            membership: Membership::Out,
            held: BTreeMap::new(),
            paused: BTreeSet::new(),
            unpolled: None,
            unanswered: None,
            then_assign: None,
            rejoin: false,
            expelled: false,
            topics,
            assignments: 0,
            stretch: None,
        }
    }

    pub(super) fn session(&self) -> MemberId {
        self.session
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn topics(&self) -> &BTreeSet<usize> {
        &self.topics
    }

    pub(super) fn holds(&self, partition: usize) -> bool {
        self.held.contains_key(&partition)
    }

    pub(super) fn held(&self) -> Vec<usize> {
        self.held.keys().copied().collect()
    }

    pub(super) fn is_paused(&self, partition: usize) -> bool {
        self.paused.contains(&partition)
    }

    pub(super) fn join(&mut self, env: &mut Env) {
        self.rejoin = false;
        self.membership = Membership::Joining;
        let topics = self.topics.iter().copied().collect();
        let request = Request::Join { node: self.node, session: self.session, claims: self.held(), topics };
        env.post_in(1, 30, Event::ToGroup(request));
    }

    pub(super) fn subscribe(&mut self, env: &mut Env, topics: BTreeSet<usize>) {
        self.topics = topics;
        self.rejoin = true;
        self.go_on(env);
    }

    /// What the coordinator says.
    pub(super) fn told(&mut self, env: &mut Env, what: Answer) {
        match what {
            Answer::Rebalancing => {
                self.rejoin = true;
                self.go_on(env);
            }
            Answer::Unknown => {
                self.expelled = true;
                self.go_on(env);
            }
            // Overtaken by the news that the group goes on without this member.
            Answer::Synced { .. } if self.expelled => {}
            Answer::Synced { generation, partitions } => self.synced(env, generation, partitions),
            Answer::Offset { partition, assigned } => {
                let committed = env.broker.partitions[partition].committed;
                if let Some(fetch) = self.held.get_mut(&partition).filter(|fetch| fetch.assigned == assigned) {
                    fetch.start = committed.unwrap_or(0);
                    fetch.position = Some(fetch.start);
                }
            }
        }
    }

    fn synced(&mut self, env: &mut Env, generation: u32, partitions: Vec<usize>) {
        self.generation = generation;
        self.membership = Membership::Joined;
        let revoked: Vec<usize> = self.held.keys().copied().filter(|held| !partitions.contains(held)).collect();
        let added: Vec<usize> = partitions.into_iter().filter(|partition| !self.holds(*partition)).collect();
        // A client tells of an empty assignment now and then.
        let tell_added = !added.is_empty() || env.seed.permille(100);
        if !revoked.is_empty() {
            self.then_assign = tell_added.then_some(added);
            self.unpolled = Some(Change::Revoke(revoked));
            self.rejoin = true;
        } else if tell_added {
            self.unpolled = Some(Change::Assign(added));
        } else {
            self.go_on(env);
        }
    }

    /// What comes next when no rebalance event waits for its poll or its answer.
    fn go_on(&mut self, env: &mut Env) {
        if self.unpolled.is_some() || self.unanswered.is_some() {
            return;
        }
        if self.expelled {
            self.then_assign = None;
            if self.held.is_empty() {
                self.expelled = false;
                self.session = env.new_session();
                self.join(env);
            } else {
                self.unpolled = Some(Change::Lose(self.held()));
            }
        } else if let Some(added) = self.then_assign.take() {
            self.unpolled = Some(Change::Assign(added));
        } else if self.rejoin && self.membership == Membership::Joined {
            self.join(env);
        }
    }

    pub(super) fn poll(&mut self, env: &mut Env) -> Option<Polled> {
        if let Some(change) = self.unpolled.take() {
            // What the group has forgotten cannot be handed over any more.
            let change = match change {
                Change::Revoke(list) if self.expelled => Change::Lose(list),
                change => change,
            };
            self.unanswered = Some(change.clone());
            return Some(match change {
                Change::Assign(list) => Polled::Assigned(list),
                Change::Revoke(list) => Polled::Revoked(list),
                Change::Lose(list) => Polled::Lost(list),
            });
        }
        // While a hand-over is awaited, fetching stands still.
        if self.unanswered.is_some() {
            return None;
        }
        self.fetch(env)
    }

    fn fetch(&mut self, env: &mut Env) -> Option<Polled> {
        let ready = |client: &Client, partition: usize| {
            let position = client.held.get(&partition)?.position?;
            let entry = (!client.is_paused(partition)).then(|| env.broker.next(partition, position)).flatten()?;
            Some(entry.offset)
        };
        let going_on = self.stretch.filter(|(_, left)| *left > 0).map(|(partition, _)| partition);
        let (partition, offset) = match going_on.and_then(|partition| Some((partition, ready(self, partition)?))) {
            Some(next) => next,
            None => {
                let all: Vec<_> =
                    self.held.keys().filter_map(|partition| Some((*partition, ready(self, *partition)?))).collect();
                if all.is_empty() {
                    return None;
                }
                let next = env.seed.pick(&all);
                self.stretch = Some((next.0, env.seed.between(1, 12)));
                next
            }
        };
        if let Some((_, left)) = &mut self.stretch {
            *left -= 1;
        }
        self.held.get_mut(&partition).expect("a held partition").position = Some(offset + 1);
        Some(Polled::Record { partition, offset })
    }

    pub(super) fn assign(&mut self, env: &mut Env, partitions: &[usize]) {
        assert_eq!(self.unanswered.take(), Some(Change::Assign(partitions.to_vec())), "an assignment was answered");
        for partition in partitions {
            self.assignments += 1;
            let assigned = self.assignments;
            self.held.insert(*partition, Fetch { assigned, position: None, start: 0 });
            let what = Answer::Offset { partition: *partition, assigned };
            env.post_in(1, 40, Event::ToMember { node: self.node, session: self.session, what });
        }
        self.go_on(env);
    }

    pub(super) fn unassign(&mut self, env: &mut Env, partitions: &[usize]) {
        let answered = match self.unanswered.take() {
            Some(Change::Revoke(list) | Change::Lose(list)) => list,
            other => panic!("{partitions:?} were handed over although {other:?} was asked"),
        };
        assert_eq!(answered, partitions, "a part was handed over, which the client takes for the whole");
        for partition in partitions {
            self.held.remove(partition);
        }
        self.go_on(env);
    }

    /// Whether the client took it: it refuses the whole list for one partition that is not assigned.
    pub(super) fn pause(&mut self, partitions: &[usize]) -> bool {
        let all_held = partitions.iter().all(|partition| self.holds(*partition));
        if all_held {
            self.paused.extend(partitions);
        }
        all_held
    }

    pub(super) fn resume(&mut self, partitions: &[usize]) -> bool {
        let all_held = partitions.iter().all(|partition| self.holds(*partition));
        if all_held {
            self.paused.retain(|paused| !partitions.contains(paused));
        }
        all_held
    }

    /// Goes back a little in what it fetched, as after a fetch that was started again.
    pub(super) fn rewind(&mut self, env: &mut Env) {
        for fetch in self.held.values_mut() {
            if let Some(position) = &mut fetch.position {
                *position = (*position - env.seed.between(0, 6) as i64).max(fetch.start);
            }
        }
    }

    /// Nothing of the group is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.unpolled.is_none()
            && self.unanswered.is_none()
            && self.then_assign.is_none()
            && !self.rejoin
            && !self.expelled
            && self.membership == Membership::Joined
    }
}
