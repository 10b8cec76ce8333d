//! How the broker calls a consumer's poll thread.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Release},
};

pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Bells to be rung as soon as no lock is held: a wake callback may call the broker.
#[derive(Default)]
pub(super) struct Bells(Vec<Arc<Bell>>);

impl Bells {
    pub(super) fn ring(self) {
        for bell in self.0 {
            (bell.wake)();
        }
    }
}

/// What waits for one consumer. A flag is cleared before the broker is asked, so nothing that comes later is lost.
pub(super) struct Bell {
    events: AtomicBool,
    records: AtomicBool,
    wake: Wake,
}

impl Bell {
    pub(super) fn new(wake: Wake) -> Arc<Self> {
        Arc::new(Bell { events: AtomicBool::new(false), records: AtomicBool::new(false), wake })
    }

    /// The group has something to say.
    pub(super) fn note_events(self: &Arc<Self>, bells: &mut Bells) {
        self.events.store(true, Release);
        bells.0.push(self.clone());
    }

    /// A topic of the consumer grew; silent while the consumer has not looked since the last time.
    pub(super) fn note_records(self: &Arc<Self>, bells: &mut Bells) {
        if !self.records.swap(true, AcqRel) {
            bells.0.push(self.clone());
        }
    }

    /// Wakes the consumer to look at everything.
    pub(super) fn note_all(self: &Arc<Self>, bells: &mut Bells) {
        self.records.store(true, Release);
        self.note_events(bells);
    }

    /// The consumer got one event and others may follow: it asks again without being called.
    pub(super) fn keep_events(&self) {
        self.events.store(true, Release);
    }

    pub(super) fn take_events(&self) -> bool {
        self.events.swap(false, AcqRel)
    }

    pub(super) fn take_records(&self) -> bool {
        self.records.swap(false, AcqRel)
    }
}
