//! The threads that call handlers, which may block as long as they like. They start when they are needed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use event_bus::{Error, ErrorKind, Result};

use crate::gate::lock;

/// Work for a thread, which may leave further work behind.
pub(crate) trait Job: Send + Sized + 'static {
    /// What a thread keeps from job to job.
    type Kept: Default;

    /// Runs on: callback thread.
    fn run(self, kept: &mut Self::Kept) -> Option<Self>;

    /// Runs on: callback thread. No work was left behind.
    fn rest(kept: &mut Self::Kept);
}

/// Threads that run jobs, at most `max` side by side.
pub(crate) struct Pool<J> {
    shared: Arc<Shared<J>>,
    max: usize,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    available: Condvar,
}

struct State<J> {
    jobs: VecDeque<J>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl<J: Job> Pool<J> {
    pub(crate) fn new(max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), threads: 0, idle: 0, closed: false };
        Pool { shared: Arc::new(Shared { state: Mutex::new(state), available: Condvar::new() }), max }
    }

    /// Makes sure that there is a thread, so that no job waits for one that cannot be started.
    ///
    /// # Errors
    /// `Internal` when the process may have no more threads.
    pub(crate) fn prepare(&self) -> Result<()> {
        let mut state = lock(&self.shared.state);
        if state.threads > 0 { Ok(()) } else { self.start(&mut state) }
    }

    /// Has a job run as soon as a thread is free.
    pub(crate) fn push(&self, job: J) {
        let mut state = lock(&self.shared.state);
        if state.closed {
            // Its end is told by dropping it, outside of the lock.
            drop(state);
            drop(job);
            return;
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.shared.available.notify_one();
        } else if state.threads < self.max {
            // The threads that there are take the job when no more can be started.
            let _ = self.start(&mut state);
        }
    }

    /// Takes out the waiting jobs that match.
    pub(crate) fn take(&self, matches: impl Fn(&J) -> bool) -> Vec<J> {
        let mut state = lock(&self.shared.state);
        let (taken, left) = std::mem::take(&mut state.jobs).into_iter().partition(matches);
        state.jobs = left;
        Vec::from(taken)
    }

    /// Ends the threads, each after its job. Jobs that wait are dropped.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        self.shared.available.notify_all();
        drop(state);
        drop(jobs);
    }

    fn start(&self, state: &mut State<J>) -> Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name("evbus-callback".into()).spawn(move || shared.work());
        thread.map_err(|error| {
            Error::new(ErrorKind::Internal, format!("a thread for callbacks cannot be started: {error}"))
                .hint("raise the limit of threads or memory of the process")
        })?;
        state.threads += 1;
        Ok(())
    }
}

impl<J> Drop for Pool<J> {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.available.notify_all();
    }
}

impl<J: Job> Shared<J> {
    /// Runs on: callback thread.
    fn work(&self) {
        let mut kept = J::Kept::default();
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                let mut next = Some(job);
                while let Some(job) = next {
                    // A panic is a defect of ours; the job's own end tells of it, and the thread goes on.
                    next = catch_unwind(AssertUnwindSafe(|| job.run(&mut kept))).unwrap_or(None);
                }
                let _ = catch_unwind(AssertUnwindSafe(|| J::rest(&mut kept)));
                state = lock(&self.state);
                continue;
            }
            if state.closed {
                state.threads -= 1;
                return;
            }
            state.idle += 1;
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}
