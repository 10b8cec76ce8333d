//! What the engine may say, and when it must.

use super::*;
use crate::event::Delivery;

impl Model {
    pub(super) fn check_output(&mut self, output: Output) {
        let draining = self.draining();
        match output {
            Output::Deliver(run) => self.check_run(&run),
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
                for record in partition.records.values_mut().filter(|record| matches!(record.fate, Fate::Out(_))) {
                    record.fate = Fate::Returned;
                }
            }
            Output::Abort { slot, epoch } => {
                assert!(draining && !self.drain.ended, "an abort without the end of a drain");
                let concerned = |(_, ticket): &(usize, Ticket)| (ticket.slot(), ticket.epoch()) == (slot, epoch);
                assert!(self.all_out().iter().any(concerned), "nothing is out to be aborted");
            }
            Output::DeadLetter(letter) => {
                assert_eq!(letter.topic, format!("{}.dead-letter", letter.record.source.topic));
                let index = self.index(&letter.record.source);
                self.check_letter(index, letter.record.offset, letter.ticket, letter.reason, letter.attempts);
            }
            Output::Skipped(skipped) => {
                let at = (self.index(&skipped.record.source), skipped.record.offset);
                assert!(self.to_say.remove(&at), "skipped twice or by nobody: {skipped:?}");
                assert_eq!(self.said[&at], Said::Skipped(skipped.reason));
            }
            Output::Halted(halted) => {
                let index = self.index(&halted.source);
                if self.to_say.remove(&(index, halted.offset)) {
                    assert_eq!(self.said[&(index, halted.offset)], Said::Halted);
                    return;
                }
                // A record without an event, whose turn it is.
                self.check_turn(index, halted.offset);
                let partition = &mut self.partitions[index];
                assert!(partition.records[&halted.offset].invalid && partition.policy.on_invalid == OnInvalid::Halt);
                partition.halted = true;
                partition.drop_waiting();
            }
            Output::Pause(list) => {
                for source in list {
                    let index = self.index(&source);
                    let partition = &mut self.partitions[index];
                    assert!(partition.owner == Owner::Member && partition.paused.is_none(), "{partition:?}");
                    let waits = partition.records.values().any(|record| record.fate == Fate::Waiting);
                    let side_by_side = partition.by_key() && partition.out().len() > 1;
                    let piles_up =
                        waits || side_by_side || partition.buried() > 0 || partition.disorder() >= CONFIG.window;
                    assert!(piles_up || draining || partition.halted, "paused though nothing waits: {partition:?}");
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
                    assert!(!partition.halted || left_paused, "resumed though halted");
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
                    if let Owner::Leaving(deadline, force_at) = partition.owner {
                        let named = self.commit.iter().flat_map(|(_, entries)| entries).any(|entry| entry.0 == index);
                        let settled = !partition.is_busy() || self.now >= deadline;
                        let clean = settled && partition.out().is_empty() && !partition.uncommitted() && !named;
                        assert!(clean || self.now >= force_at, "handed over too early: {partition:?}");
                        self.leave(index);
                    } else {
                        assert_eq!(partition.owner, Owner::Nobody);
                    }
                }
            }
            Output::Drained { handled, abandoned } => {
                assert!(draining && !self.drain.ended, "drained twice");
                let sealed = |partition: &Partition| matches!(partition.owner, Owner::Leaving(deadline, _) if self.now >= deadline);
                let settled = self.partitions.iter().all(|partition| !partition.is_busy() || sealed(partition))
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
            Output::Failed(error) => panic!("{error}"),
        }
    }

    /// The record is the first of a lane that can start.
    fn check_turn(&self, index: usize, offset: i64) {
        let partition = &self.partitions[index];
        assert!(!self.draining() && partition.owner == Owner::Member, "a turn of {partition:?}");
        assert!(!partition.held, "a turn of a held partition");
        assert!(!partition.halted, "a turn of a halted partition");
        let lane = partition.lane_of(offset);
        let head = partition.head(lane).map(|(offset, _)| offset);
        assert_eq!(head, Some(offset), "it is not its turn: {partition:?}");
        let returned = partition.lane(lane).any(|(_, record)| record.fate == Fate::Returned);
        assert!(!returned, "its run is not over");
    }

    fn check_run(&mut self, run: &[Delivery]) {
        let index = self.index(&run[0].record().source);
        self.check_turn(index, run[0].offset());
        let topic = self.partitions[index].source.topic.clone();
        let of_topic = self.partitions.iter().filter(|partition| partition.source.topic == topic);
        let lanes_out: usize = of_topic.map(Partition::lanes_out).sum();
        let partition = &mut self.partitions[index];
        let policy = &partition.policy;
        assert!(!partition.by_key() || lanes_out < policy.concurrency, "more lanes than the concurrency");
        let lane = partition.lane_of(run[0].offset());
        assert!(run.len() <= if policy.park_key { 1 } else { CONFIG.run.records });
        let bytes: usize = run.iter().map(|delivery| delivery.record().size()).sum();
        assert!(run.len() == 1 || bytes <= CONFIG.run.bytes);
        let waiting = partition.lane(lane).filter(|(_, record)| record.fate == Fate::Waiting);
        let expected: Vec<i64> = waiting.map(|(offset, _)| offset).take(run.len()).collect();
        let offsets: Vec<i64> = run.iter().map(Delivery::offset).collect();
        assert_eq!(offsets, expected, "the oldest unfinished records in their order");
        for delivery in run {
            let record = &partition.records[&delivery.offset()];
            assert!(!partition.is_doomed(record), "no handler shall have it: {partition:?}");
            assert_eq!(delivery.attempt(), record.fails + 1);
            assert!(record.fails == 0 || run.len() == 1, "a retry travels alone");
            assert!(record.due.is_none_or(|due| due <= self.now), "before its time");
            let over = record.first_failed.is_some_and(|first| self.now >= first + policy.retry.max_elapsed);
            assert_eq!(delivery.is_last_attempt(), record.fails + 1 >= policy.retry.attempts || over);
            assert_eq!(delivery.lane(), run[0].lane());
            assert!(!self.zombies.contains(&delivery.ticket()), "a ticket of an earlier assignment");
            let record = partition.records.get_mut(&delivery.offset()).unwrap();
            record.fate = Fate::Out(delivery.ticket());
            record.due = None;
        }
        partition.named.remove(&lane);
        partition.failed.remove(&lane);
        let this = (index, partition.assignment, lane);
        assert_eq!(*self.lanes.entry(run[0].lane()).or_insert(this), this, "one number for two lanes");
        assert_eq!(self.lanes.values().filter(|other| **other == this).count(), 1, "two numbers for one lane");
    }

    fn check_letter(&mut self, index: usize, offset: i64, ticket: Ticket, reason: DeadLetterReason, attempts: u32) {
        if self.to_say.remove(&(index, offset)) {
            assert_eq!(self.said[&(index, offset)], Said::Letter(reason));
            assert_eq!(attempts, self.partitions[index].records[&offset].fails);
            return;
        }
        let now = self.now;
        let fate = self.partitions[index].records[&offset].fate;
        if let Fate::Buried(own, due) = fate {
            let partition = &mut self.partitions[index];
            assert!(own == ticket && due.is_some_and(|due| due <= now), "written again too early or twice: {fate:?}");
            assert!(partition.owner == Owner::Member && !partition.halted);
            partition.records.get_mut(&offset).unwrap().fate = Fate::Buried(ticket, None);
            return;
        }
        self.check_turn(index, offset);
        let partition = &mut self.partitions[index];
        let record = &partition.records[&offset];
        let (expected, key) = if record.invalid {
            assert_eq!(partition.policy.on_invalid, OnInvalid::DeadLetter);
            (DeadLetterReason::Invalid, record.key)
        } else {
            assert!(partition.is_doomed(record), "nothing is wrong with it: {partition:?}");
            (DeadLetterReason::Parked, record.key)
        };
        assert_eq!((reason, attempts), (expected, 0));
        partition.park(key);
        partition.records.get_mut(&offset).unwrap().fate = Fate::Buried(ticket, None);
    }

    pub(super) fn check_state(&self) {
        assert!(self.to_fence.is_empty(), "handlers not fenced: {:?}", self.to_fence);
        let alive = |at: &(usize, i64)| self.partitions[at.0].records.contains_key(&at.1);
        assert!(!self.to_say.iter().any(alive), "not said: {:?} of {:?}", self.to_say, self.said);
        let stats = self.engine.stats();
        assert_eq!(stats.bytes, self.partitions.iter().map(Partition::bytes).sum::<usize>());
        assert_eq!(stats.dead_letters_pending, self.partitions.iter().map(Partition::buried).sum::<usize>());
        assert_eq!(stats.halted, self.partitions.iter().filter(|partition| partition.halted).count());
        if self.partitions.iter().all(|partition| !matches!(partition.owner, Owner::Leaving(..))) {
            assert_eq!(stats.in_flight, self.all_out().len());
        }
        assert_eq!(stats.counters.late, self.late, "late answers are counted, all and only they");
        let wake_at = self.engine.wake_at();
        assert!(wake_at.is_none_or(|at| at > self.now), "a wake-up that is past would spin");
        assert!(self.drain.ended || self.drain.deadline.is_none_or(|deadline| self.now < deadline), "a drain outlived");
        for partition in &self.partitions {
            assert!(partition.owner != Owner::Member || !partition.client_paused, "assigned and not fetched");
            let is_idle = partition.held || partition.halted || self.draining();
            if partition.owner == Owner::Member && !is_idle {
                self.check_progress(partition);
            }
            if let Owner::Leaving(deadline, force_at) = partition.owner {
                assert!(self.now < force_at, "a revocation outlived twice its budget");
                assert!(self.now < deadline || partition.out().is_empty(), "handlers outlived the budget");
            }
        }
    }

    /// What can go on is out, what waits for its time will be woken.
    fn check_progress(&self, partition: &Partition) {
        let of_topic = self.partitions.iter().filter(|other| other.source.topic == partition.source.topic);
        let lanes_out: usize = of_topic.map(Partition::lanes_out).sum();
        let has_room = !partition.by_key() || lanes_out < partition.policy.concurrency;
        let wake_at = self.engine.wake_at();
        let wakes = |due: Instant| wake_at.is_some_and(|at| at <= due);
        for lane in partition.lanes() {
            let Some((offset, head)) = partition.head(lane) else { continue };
            match head.due {
                Some(due) if due > self.now => assert!(wakes(due), "nobody wakes {offset} of {partition:?}"),
                _ => assert!(!has_room, "{offset} waits for nothing: {partition:?}"),
            }
        }
        for record in partition.records.values() {
            if let Fate::Buried(_, Some(due)) = record.fate {
                assert!(due > self.now && wakes(due), "nobody writes the dead letter again: {partition:?}");
            }
        }
    }
}
