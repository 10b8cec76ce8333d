//! What the threads of the core write and the JavaScript thread reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, OnceLock, Weak};

use event_bus::frame::{self, DeliveryBatch};
use event_bus::{
    Completion, CompletionSink, Delivery, Error, ErrorKind, FramePublisher, LogRecord, Observer, RecordSink,
};
use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::notices::Notices;
use crate::ring::{Rows, WakeFlag, lock};

/// Built weak: what keeps the process alive is a handle on the JavaScript side.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The one reader is the JavaScript thread of the bus.
#[derive(Default)]
pub(crate) struct Shared {
    wake: Mutex<Option<Wake>>,
    flag: WakeFlag,
    pub(crate) completions: Rows,
    failures: Mutex<HashMap<u32, Error>>,
    deliveries: Mutex<Deliveries>,
    pub(crate) notices: Notices,
    /// Interns the topics of deliveries; the bus owns it.
    pub(crate) topics: OnceLock<Weak<FramePublisher>>,
}

#[derive(Default)]
struct Deliveries {
    full: VecDeque<DeliveryBatch>,
    open: DeliveryBatch,
}

impl Shared {
    pub(crate) fn set_wake(&self, wake: Wake) {
        *lock(&self.wake) = Some(wake);
    }

    /// Nothing wakes JavaScript any more.
    pub(crate) fn drop_wake(&self) {
        let wake = lock(&self.wake).take();
        drop(wake);
    }

    /// To be called behind each write.
    pub(crate) fn wake(&self) {
        if self.flag.raise()
            && let Some(wake) = &*lock(&self.wake)
        {
            // Refused only while the environment is torn down, when nobody listens.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// The reader is about to look.
    pub(crate) fn looked(&self) {
        self.flag.lower();
    }

    pub(crate) fn failure(&self, slot: u32) -> Error {
        lock(&self.failures)
            .remove(&slot)
            .unwrap_or_else(|| Error::new(ErrorKind::Internal, format!("no failure is known of publish {slot}")))
    }

    pub(crate) fn has_deliveries(&self) -> bool {
        let deliveries = lock(&self.deliveries);
        !deliveries.full.is_empty() || !deliveries.open.is_empty()
    }

    pub(crate) fn take_deliveries(&self) -> Option<DeliveryBatch> {
        let mut deliveries = lock(&self.deliveries);
        let next = deliveries.full.pop_front();
        next.or_else(|| (!deliveries.open.is_empty()).then(|| std::mem::take(&mut deliveries.open)))
    }
}

impl CompletionSink for Shared {
    fn complete(&self, completions: &[Completion]) {
        for completion in completions {
            if let Some(error) = &completion.error {
                lock(&self.failures).insert(completion.token.slot(), error.clone());
            }
        }
        self.completions.push(|rows| {
            for completion in completions {
                frame::push_completion(rows, completion);
            }
        });
        self.wake();
    }
}

impl RecordSink for Shared {
    fn deliver(&self, run: Vec<Delivery>) {
        let Some(topics) = self.topics.get().and_then(Weak::upgrade) else { return };
        // The name of a consumed topic was checked when it was subscribed to.
        let Some(topic_id) = run.first().and_then(|first| topics.topic_id(first.topic()).ok()) else { return };
        let mut deliveries = lock(&self.deliveries);
        if !deliveries.open.fits(&run) {
            let full = std::mem::take(&mut deliveries.open);
            deliveries.full.push_back(full);
        }
        deliveries.open.push(&run, topic_id);
        drop(deliveries);
        self.wake();
    }

    fn stop(&self, slot: u16, epoch: u16) {
        self.notices.stop(slot, epoch);
        self.wake();
    }

    fn abort(&self, slot: u16, epoch: u16) {
        self.notices.abort(slot, epoch);
        self.wake();
    }
}

impl Observer for Shared {
    fn log(&self, record: &LogRecord) {
        self.notices.log(record);
        self.wake();
    }
}
