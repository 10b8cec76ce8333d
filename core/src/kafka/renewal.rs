//! A producing client that gave up for good, and the one that takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ffi::{Client, Role};
use super::{KafkaTransport, producer, producer_properties, refused};
use crate::error::Error;
use crate::log::{Level, LogRecord};
use crate::runtime::Worker;
use crate::transport::Completion;

/// A client that lived shorter than this is followed by a pause, each one twice as long as the one before.
const LONG_LIFE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What becomes of clients that have ended.
pub(super) struct Renewal {
    /// The client ended so soon that the next one has to wait: until then every publish is told why.
    postponed: AtomicBool,
    past: Mutex<Past>,
}

struct Past {
    born: Instant,
    pause: Duration,
    due: Instant,
    /// They still owe reports.
    retired: Vec<Arc<Client>>,
}

impl Renewal {
    pub(super) fn new() -> Renewal {
        let now = Instant::now();
        let past = Past { born: now, pause: Duration::ZERO, due: now, retired: Vec::new() };
        Renewal { postponed: AtomicBool::new(false), past: Mutex::new(past) }
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on: any. The client told of its end, or refused a record because of it. Says whether a new one comes
    /// at once.
    pub(super) fn client_ended(&self, client: &Client) -> bool {
        if client.end() {
            // What is queued was certainly not sent; what is in flight, nobody knows.
            client.purge();
            let now = Instant::now();
            let mut past = self.past();
            past.pause = if now.duration_since(past.born) >= LONG_LIFE {
                Duration::ZERO
            } else {
                (past.pause * 2).min(LONGEST_PAUSE)
            };
            past.due = now + past.pause;
            self.postponed.store(!past.pause.is_zero(), Ordering::Release);
        }
        !self.postponed.load(Ordering::Acquire)
    }

    /// Runs on: delivery thread. Serves those that have ended, and says whether there are any.
    pub(super) fn serve_retired(&self, transport: &KafkaTransport, completions: &mut Vec<Completion>) -> bool {
        let mut past = self.past();
        past.retired.retain(|client| {
            while producer::serve(transport, client, Duration::ZERO, completions) {}
            let owes = client.outstanding() > 0;
            if !owes {
                release(client.clone());
            }
            owes
        });
        !past.retired.is_empty()
    }

    /// Runs on: delivery thread. Puts a new client in the place of one that has ended, when it is time.
    pub(super) fn renew(&self, transport: &KafkaTransport) {
        let ended = transport.with_current(|client, _| client.has_ended()).unwrap_or(false);
        if !ended || Instant::now() < self.past().due {
            return;
        }
        let client = match Client::new(Role::Producer, &producer_properties(&transport.config), None) {
            Ok(client) => client,
            Err(why) => {
                self.past().due = Instant::now() + FIRST_PAUSE;
                let error = refused(why);
                let message = format!("no new Kafka client can be made, which is tried again: {error}");
                transport.log.write(LogRecord::new(Level::Error, "client_fatal", message).because(error));
                return;
            }
        };
        let mut current = transport.client.write().unwrap_or_else(PoisonError::into_inner);
        // A transport that was closed meanwhile stays closed.
        let Some(old) = current.client.take() else { return };
        current.client = Some(Arc::new(client));
        current.generation = current.generation.wrapping_add(1);
        let generation = current.generation;
        drop(current);
        let now = Instant::now();
        let mut past = self.past();
        past.born = now;
        past.pause = past.pause.max(FIRST_PAUSE / 2);
        past.retired.push(old);
        drop(past);
        self.postponed.store(false, Ordering::Release);
        told(transport, generation);
    }

    /// Lets go of all that have ended, whatever they owe.
    pub(super) fn close(&self) {
        self.past().retired.drain(..).for_each(release);
    }
}

fn told(transport: &KafkaTransport, generation: u32) {
    let message = "a new Kafka client took the place of the one that gave up; publishing goes on";
    let record = LogRecord::new(Level::Warn, "client_rebuilt", message).with("client", "producer");
    let record = record.with("generation", generation);
    transport.log.write(match transport.context.last_error() {
        Some(cause) => record.because(cause),
        None => record,
    });
}

/// Releasing a client may block.
fn release(client: Arc<Client>) {
    let failed = Worker::start("evbus-close", move || drop(client), |_: Error| ());
    // Without a thread it was dropped here.
    drop(failed);
}
