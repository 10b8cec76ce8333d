//! What all parts of a run share: the clock, the chance, the broker, the rules.

use std::fmt::Display;
use std::time::Duration;

use super::broker::Broker;
use super::group::MemberId;
use super::rules::Rules;
use super::sabotage::Sabotage;
use super::schedule::Schedule;
use super::seed::Seed;
use super::trace::Trace;
use super::weather::{Trouble, Weather};
use crate::error::Result;
use crate::event::Ticket;

/// What is under way to somebody.
#[derive(Debug)]
pub(super) enum Event {
    Produce {
        partition: usize,
        count: u64,
    },
    Trouble(Trouble),
    Heal,
    /// Nothing happens, so that somebody can look at the clock.
    Glance,
    /// The poll thread of a process runs.
    Turn {
        node: usize,
        life: u32,
    },
    CallEnds {
        node: usize,
        life: u32,
        call: u64,
    },
    /// The broker stores a dead letter.
    LetterStored {
        partition: usize,
        offset: i64,
        assignment: usize,
    },
    LetterEnds {
        node: usize,
        life: u32,
        ticket: Ticket,
        result: Result<()>,
    },
    /// A process starts again.
    Return {
        node: usize,
    },
    HandlersBack {
        node: usize,
        topic: usize,
    },
    SubscribeAgain {
        node: usize,
        topic: usize,
    },
    ToGroup(Request),
    ToMember {
        node: usize,
        session: MemberId,
        what: Answer,
    },
    Complete {
        round: u32,
    },
    RoundEnds {
        round: u32,
    },
    /// Nothing was heard of the member for its session timeout.
    Expire {
        session: MemberId,
    },
    CommitEnds {
        node: usize,
        life: u32,
        id: u64,
        result: Result<()>,
    },
}

/// From a member's client to the coordinator.
#[derive(Debug)]
pub(super) enum Request {
    Join { node: usize, session: MemberId, claims: Vec<usize>, topics: Vec<usize> },
    Leave { session: MemberId },
    Commit(CommitRequest),
}

#[derive(Clone, Debug)]
pub(super) struct CommitRequest {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) id: u64,
    pub(super) session: MemberId,
    pub(super) generation: u32,
    /// The client waited for the coordinator, and names the member and generation of the time when it found it.
    pub(super) restamped: bool,
    /// It is carried out, and the answer gets lost.
    pub(super) unanswered: bool,
    /// Partition, offset, and the assignment under which the engine asked for it.
    pub(super) entries: Vec<(usize, i64, usize)>,
}

/// From the coordinator to a member's client.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// By a heartbeat: a rebalance has begun.
    Rebalancing,
    /// The group does not know the member.
    Unknown,
    Synced {
        generation: u32,
        partitions: Vec<usize>,
    },
    /// Where fetching of an assigned partition begins.
    Offset {
        partition: usize,
        assigned: u64,
    },
}

#[derive(Debug)]
pub(super) struct Env {
    pub(super) schedule: Schedule<Event>,
    pub(super) seed: Seed,
    pub(super) trace: Trace,
    pub(super) broker: Broker,
    pub(super) rules: Rules,
    pub(super) weather: Weather,
    /// Troubles are over, for good.
    pub(super) healed: bool,
    pub(super) sessions: MemberId,
    /// How the engines are broken.
    pub(super) sabotage: Option<Sabotage>,
}

impl Env {
    pub(super) fn now(&self) -> Duration {
        self.schedule.now()
    }

    /// Posts an event some milliseconds from now.
    pub(super) fn post_in(&mut self, low_ms: u64, high_ms: u64, event: Event) {
        let at = self.now() + self.seed.time(low_ms, high_ms);
        self.schedule.post(at, event);
    }

    pub(super) fn post_at(&mut self, at: Duration, event: Event) {
        self.schedule.post(at, event);
    }

    pub(super) fn say<D: Display>(&mut self, what: impl FnOnce() -> D) {
        self.trace.line(self.schedule.now(), what);
    }

    pub(super) fn new_session(&mut self) -> MemberId {
        self.sessions += 1;
        self.sessions
    }

    /// Chance strikes, in 1 of 1 000, unless troubles are over.
    pub(super) fn strikes(&mut self, chance: impl FnOnce(&Weather) -> u64) -> bool {
        let chance = chance(&self.weather);
        !self.healed && self.seed.permille(chance)
    }
}
