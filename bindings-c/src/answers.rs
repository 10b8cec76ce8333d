//! Answers of handlers on their way to the core, gathered where handlers are quick: each gift wakes the poll thread.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use event_bus::{Finished, Intake};

use crate::gate::lock;

/// A thread gives its answers to the core when it has so many of them.
const MANY: usize = 128;

/// Or when the oldest one has waited for so long.
const LONG: Duration = Duration::from_millis(1);

/// What a thread has gathered; the poll thread takes it too.
type Gathered = Arc<Mutex<Vec<Finished>>>;

/// The way to the core, and what threads have gathered.
pub(crate) struct Answers {
    intake: Weak<Intake>,
    gathered: Mutex<Vec<Gathered>>,
}

impl Answers {
    pub(crate) fn new(intake: Weak<Intake>) -> Self {
        Answers { intake, gathered: Mutex::default() }
    }

    /// Gives answers to the core.
    pub(crate) fn give(&self, finished: &[Finished]) {
        // Without a core nobody waits for answers.
        if let Some(intake) = self.intake.upgrade().filter(|_| !finished.is_empty()) {
            intake.finish(finished);
        }
    }

    /// Gives what all threads have gathered: whoever gathered it may be held up by the next handler.
    pub(crate) fn flush(&self) {
        let mut all = Vec::new();
        for gathered in &*lock(&self.gathered) {
            all.append(&mut lock(gathered));
        }
        self.give(&all);
    }

    /// Where a further thread gathers.
    fn join(&self) -> Gathered {
        let gathered = Gathered::default();
        lock(&self.gathered).push(gathered.clone());
        gathered
    }
}

/// One thread's answers.
#[derive(Default)]
pub(crate) struct Gathering {
    /// Those that are not given yet, and their way.
    own: Option<(Gathered, Arc<Answers>)>,
    since: Option<Instant>,
    /// Memory for those that are being given.
    giving: Vec<Finished>,
}

impl Gathering {
    /// Adds an answer that came `now`. A thread serves one bus.
    pub(crate) fn add(&mut self, answers: &Arc<Answers>, finished: Finished, now: Instant) {
        let (own, _) = self.own.get_or_insert_with(|| (answers.join(), answers.clone()));
        let mut gathered = lock(own);
        gathered.push(finished);
        let many = gathered.len() >= MANY;
        drop(gathered);
        if many || now.saturating_duration_since(*self.since.get_or_insert(now)) >= LONG {
            self.give();
        }
    }

    /// Gives all there is.
    pub(crate) fn give(&mut self) {
        self.since = None;
        if let Some((own, answers)) = &self.own {
            std::mem::swap(&mut *lock(own), &mut self.giving);
            answers.give(&self.giving);
            self.giving.clear();
        }
    }
}
