//! What a member does for its engine, and what it checks of it.

use super::{Committing, Member, Open};
use crate::error::{Error, ErrorKind};
use crate::event::Delivery;
use crate::policy::{DeadLetterReason, Ordering};
use crate::subscribe::dead_letters::DeadLetter;
use crate::subscribe::engine::Output;
use crate::subscribe::engine::sim::assignment::State;
use crate::subscribe::engine::sim::broker::Fate;
use crate::subscribe::engine::sim::env::{CommitRequest, Env, Event, Request};
use crate::subscribe::engine::sim::group::Group;
use crate::subscribe::engine::sim::host::Job;

impl Member {
    pub(super) fn carry_out(&mut self, env: &mut Env, group: &Group) {
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
}

fn pairs(entries: &[Committing]) -> Vec<(usize, i64)> {
    entries.iter().map(|(partition, offset, _)| (*partition, *offset)).collect()
}
