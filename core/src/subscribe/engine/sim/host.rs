//! A member's handlers: runs of deliveries, one after the other each, and how long and how well they handle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::broker::{Fate, Kind};
use super::env::{Env, Event};
use crate::event::{Delivery, Failure, Finished, Outcome, Ticket};

/// A delivery and the assignment that it belongs to.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) assignment: usize,
}

#[derive(Debug)]
struct Call {
    job: Job,
    run: u64,
    /// What it answers, and whether a retry can help.
    says: (Outcome, Option<bool>),
    /// Ends only when it is told to stop.
    stuck: bool,
}

#[derive(Debug)]
pub(super) struct Host {
    node: usize,
    life: u32,
    runs: BTreeMap<u64, VecDeque<Job>>,
    last_run: u64,
    calls: BTreeMap<u64, Call>,
    /// Per slot, the last epoch whose deliveries must not start any more; those of earlier ones must not either.
    stopped: BTreeMap<u16, u16>,
    /// Topics without handlers.
    pub(super) away: BTreeSet<usize>,
    /// To be read by the poll thread.
    pub(super) answers: Vec<Finished>,
}

impl Host {
    pub(super) fn new(node: usize, life: u32) -> Self {
        Host {
            node,
            life,
            runs: BTreeMap::new(),
            last_run: 0,
            calls: BTreeMap::new(),
            stopped: BTreeMap::new(),
            away: BTreeSet::new(),
            answers: Vec::new(),
        }
    }

    pub(super) fn deliver(&mut self, env: &mut Env, run: Vec<Job>, zombie: bool) {
        self.last_run += 1;
        self.runs.insert(self.last_run, run.into());
        self.go_on(env, self.last_run, zombie);
    }

    /// Starts the next handler of a run. What must not or cannot start is answered on the way.
    fn go_on(&mut self, env: &mut Env, run: u64, zombie: bool) {
        let jobs = self.runs.get_mut(&run).expect("a run that is out");
        while let Some(job) = jobs.pop_front() {
            let ticket = job.delivery.ticket();
            let partition = env.rules.assignments[job.assignment].partition;
            let behind = |last: &u16| last.wrapping_sub(ticket.epoch()) <= u16::MAX / 2;
            let is_stopped = self.stopped.get(&ticket.slot()).is_some_and(behind);
            if is_stopped || self.away.contains(&env.broker.partitions[partition].topic) {
                self.answers.push(released(ticket));
                continue;
            }
            let call = env.rules.begin(&mut env.broker, job.assignment, job.delivery.offset(), zombie);
            env.rules.seen.deliveries += 1;
            let (time, says) = behave(env, &job.delivery, partition);
            let name = (self.node, job.delivery.record().source.clone(), job.delivery.offset(), job.delivery.attempt());
            env.say(|| {
                format!("node {}  handles {}@{}, attempt {}: {says:?} after {time:?}", name.0, name.1, name.2, name.3)
            });
            if let Some(time) = time {
                env.post_at(env.now() + time, Event::CallEnds { node: self.node, life: self.life, call });
            }
            self.calls.insert(call, Call { job, run, says, stuck: time.is_none() });
            return;
        }
        self.runs.remove(&run);
    }

    pub(super) fn call_ends(&mut self, env: &mut Env, call: u64, zombie: bool) {
        // A stuck one may have been told to end twice.
        let Some(Call { job, run, says, .. }) = self.calls.remove(&call) else { return };
        env.rules.end(call);
        let (offset, partition) = (job.delivery.offset(), env.rules.assignments[job.assignment].partition);
        match says.0 {
            Outcome::Done => env.broker.finish(partition, offset, Fate::Handled),
            Outcome::Skip => env.broker.finish(partition, offset, Fate::Skipped),
            _ => env.rules.seen.failures += 1,
        }
        let failure = Failure { retryable: says.1, ..Failure::default() };
        let failure = (says.0 != Outcome::Done).then(|| Box::new(failure));
        let ticket = job.delivery.ticket();
        self.answers.push(Finished { ticket, outcome: says.0, elapsed: Duration::ZERO, failure });
        if says.0 == Outcome::Failed {
            // What follows in the run would overtake the next attempt.
            let rest = self.runs.insert(run, VecDeque::new()).unwrap_or_default();
            self.answers.extend(rest.iter().map(|job| released(job.delivery.ticket())));
        }
        self.go_on(env, run, zombie);
    }

    /// Deliveries of this slot and epoch that have not started must not start.
    pub(super) fn stop(&mut self, env: &mut Env, slot: u16, epoch: u16) {
        self.stopped.insert(slot, epoch);
        let concerns = |ticket: Ticket| (ticket.slot(), ticket.epoch()) == (slot, epoch);
        if env.seed.permille(500) {
            // Some hosts answer what waits at once, others when its turn comes.
            for run in self.runs.values_mut() {
                let stopped = run.iter().map(|job| job.delivery.ticket()).filter(|ticket| concerns(*ticket));
                self.answers.extend(stopped.map(released));
                run.retain(|job| !concerns(job.delivery.ticket()));
            }
        }
        let told: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.stuck && concerns(call.job.delivery.ticket()))
            .map(|(id, _)| *id)
            .collect();
        for call in told {
            let most = env.seed.pick(&[20, 20, 4_000]);
            env.post_in(0, most, Event::CallEnds { node: self.node, life: self.life, call });
        }
    }

    /// Handlers that would never end do.
    pub(super) fn heal(&mut self, env: &mut Env) {
        for (call, _) in self.calls.iter().filter(|(_, call)| call.stuck) {
            env.post_in(0, 500, Event::CallEnds { node: self.node, life: self.life, call: *call });
        }
    }
}

fn released(ticket: Ticket) -> Finished {
    Finished { ticket, outcome: Outcome::Released, elapsed: Duration::ZERO, failure: None }
}

/// How long a handler takes, `None` for ever, and what it answers.
fn behave(env: &mut Env, delivery: &Delivery, partition: usize) -> (Option<Duration>, (Outcome, Option<bool>)) {
    let poison = env.broker.entry(partition, delivery.offset()).kind == Kind::Poison;
    let fails = poison || env.strikes(|weather| weather.failing);
    let budget = env.weather.config.revoke_budget.as_millis() as u64;
    let time = match () {
        () if env.strikes(|weather| weather.stuck) => None,
        () if env.strikes(|weather| weather.outliving) => Some(env.seed.time(budget / 2, 3 * budget)),
        () if env.strikes(|weather| weather.slow) => Some(env.seed.time(10, 500)),
        () => Some(env.seed.time(0, 2)),
    };
    let says = match () {
        () if env.strikes(|weather| weather.asking) => {
            (env.seed.pick(&[Outcome::Skip, Outcome::DeadLetter, Outcome::Invalid]), None)
        }
        () if !fails => (Outcome::Done, None),
        () if env.strikes(|weather| weather.hopeless) => (Outcome::Failed, Some(false)),
        () => (Outcome::Failed, env.seed.pick(&[None, Some(true)])),
    };
    (time, says)
}
