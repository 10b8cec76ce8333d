//! What must hold at every moment of a run. Breaking a rule panics, and the run is reported with its seed.

use std::collections::BTreeMap;

use super::assignment::{Assignment, State};
use super::broker::Broker;
use crate::policy::Policy;

macro_rules! seen {
    ($( $(#[$doc:meta])* $name:ident, )+) => {
        /// What a run got to see: a simulation without rebalances or failures would prove nothing.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct Seen { $( $(#[$doc])* pub(super) $name: u64, )+ }

        impl Seen {
            pub(super) fn add(&mut self, other: &Seen) { $( self.$name += other.$name; )+ }

            /// What never happened.
            pub(super) fn missing(&self) -> Vec<&'static str> {
                [$( (stringify!($name), self.$name) ),+].iter().filter(|one| one.1 == 0).map(|one| one.0).collect()
            }
        }
    };
}

seen! {
    deliveries,
    /// Within one assignment.
    redeliveries,
    failures,
    dead_letters,
    parked,
    passed_over,
    halted,
    commits,
    commits_refused,
    commits_failed,
    /// Commits that went back behind what another assignment had committed.
    rewinds,
    rebalances,
    handed_over,
    /// Handed over although the budget had ended.
    forced,
    lost,
    fenced,
    /// Handlers that began beside one that had been given up.
    outlived,
    crashes,
    drains,
    /// Drains that abandoned records.
    cut_drains,
    pauses,
    /// Answers of nobody.
    released,
    /// Records that came twice in one assignment.
    duplicates,
}

/// A handler that runs.
#[derive(Debug)]
struct Call {
    assignment: usize,
    partition: usize,
    offset: i64,
    unit: u64,
    /// It may run beside a handler of the partition's next owner.
    excused: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) assignments: Vec<Assignment>,
    pub(super) seen: Seen,
    calls: BTreeMap<u64, Call>,
    last_call: u64,
}

impl Rules {
    pub(super) fn assign(&mut self, node: usize, life: u32, partition: usize, policy: Policy) -> usize {
        self.assignments.push(Assignment::new(node, life, partition, policy));
        self.assignments.len() - 1
    }

    /// The tickets of an assignment have one slot and epoch, which no other assignment of the process has.
    pub(super) fn check_ticket(&mut self, assignment: usize, ticket: (u16, u16)) {
        let this = &self.assignments[assignment];
        match this.ticket {
            Some(before) => assert_eq!(before, ticket, "the tickets of one assignment differ in slot or epoch"),
            None => {
                let process = (this.node, this.life);
                let twin = self
                    .assignments
                    .iter()
                    .position(|other| (other.node, other.life) == process && other.ticket == Some(ticket));
                assert_eq!(twin, None, "an earlier assignment had the same slot and epoch {ticket:?}");
                self.assignments[assignment].ticket = Some(ticket);
            }
        }
    }

    pub(super) fn latest(&self, node: usize, life: u32, partition: usize) -> Option<usize> {
        let found = |other: &Assignment| (other.node, other.life, other.partition) == (node, life, partition);
        self.assignments.iter().rposition(found)
    }

    pub(super) fn by_ticket(&self, node: usize, life: u32, ticket: (u16, u16)) -> Option<usize> {
        let found = |other: &Assignment| (other.node, other.life) == (node, life) && other.ticket == Some(ticket);
        self.assignments.iter().rposition(found)
    }

    /// A handler begins. Handlers of one partition, or of one key where keys are ordered, never run at the same time,
    /// but beside one that was given up.
    pub(super) fn begin(&mut self, broker: &mut Broker, assignment: usize, offset: i64, zombie: bool) -> u64 {
        let this = &self.assignments[assignment];
        let (partition, unit) = (this.partition, this.unit(offset));
        assert!(!this.fenced, "{offset} began although its assignment was fenced");
        for other in self.calls.values().filter(|other| (other.partition, other.unit) == (partition, unit)) {
            assert!(
                other.assignment != assignment && (zombie || other.excused.is_some()),
                "{}: {offset} began while {} was running, unit {unit}",
                broker.partitions[partition].source,
                other.offset
            );
            self.seen.outlived += 1;
        }
        broker.see(partition, offset);
        let excused = zombie.then_some("its member is none any more");
        self.last_call += 1;
        self.calls.insert(self.last_call, Call { assignment, partition, offset, unit, excused });
        self.last_call
    }

    pub(super) fn end(&mut self, call: u64) {
        self.calls.remove(&call);
    }

    /// The handlers of an assignment may go on beside those of the next owner.
    pub(super) fn excuse(&mut self, assignment: usize, why: &'static str) {
        for call in self.calls.values_mut().filter(|call| call.assignment == assignment) {
            call.excused = Some(why);
        }
    }

    pub(super) fn excuse_node(&mut self, node: usize, why: &'static str) {
        let assignments = &self.assignments;
        for call in self.calls.values_mut().filter(|call| assignments[call.assignment].node == node) {
            call.excused = Some(why);
        }
    }

    /// The process is gone, and its handlers with it.
    pub(super) fn kill(&mut self, node: usize, life: u32) {
        let assignments = &mut self.assignments;
        self.calls.retain(|_, call| {
            let owner = &assignments[call.assignment];
            (owner.node, owner.life) != (node, life)
        });
        for assignment in assignments.iter_mut().filter(|one| (one.node, one.life) == (node, life) && !one.is_over()) {
            assignment.state = State::TornAway;
        }
    }

    /// An engine asks for a commit.
    pub(super) fn check_commit(&mut self, assignment: usize, offset: i64) {
        let this = &mut self.assignments[assignment];
        assert!(!this.is_over(), "a commit of a partition that is not held");
        let watermark = this.watermark();
        assert!(
            watermark.is_some_and(|end| offset <= end),
            "a commit of {offset} although only what lies before {watermark:?} is finished"
        );
        assert!(this.committed.is_none_or(|before| before < offset), "a commit of {offset} without progress");
    }

    /// The broker stores a commit.
    pub(super) fn check_landing(&mut self, broker: &Broker, partition: usize, offset: i64, assignment: usize) {
        let at = &broker.partitions[partition];
        let unfinished = broker.first_unfinished(partition);
        assert!(
            unfinished.is_none_or(|first| offset <= first),
            "{}: {offset} was committed although {unfinished:?} was finished by nobody",
            at.source
        );
        let this = &mut self.assignments[assignment];
        assert_ne!(this.state, State::HandedOver, "{}: a commit of {offset} landed after the hand-over", at.source);
        assert!(this.landed.is_none_or(|before| before <= offset), "{}: a commit went back to {offset}", at.source);
        this.landed = Some(offset);
        // Only commits that outlived their assignments are behind what another member committed, or before it.
        self.seen.rewinds += u64::from(at.committed.is_some_and(|before| before > offset));
    }
}
