//! Publishers, delivery threads and members that come and go, all at once, many times.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, PoisonError};
use std::time::Instant;

use super::member::{Member, numbers};
use super::*;
use crate::event::Record;

const ROUNDS: usize = 50;
const PUBLISHERS: u32 = 2;
const EACH: u32 = 150;

/// What a poll thread parks on.
#[derive(Default)]
struct Alarm(Mutex<bool>, Condvar);

impl Alarm {
    fn set(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    fn wait(&self, deadline: Instant) {
        let mut set = lock(&self.0);
        while !std::mem::take(&mut *set) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "a member was never called");
            set = self.1.wait_timeout(set, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Counts how many records all members handled and calls them when it is all of them.
#[derive(Default)]
struct Progress {
    handled: AtomicUsize,
    done: AtomicBool,
    alarms: Mutex<Vec<Arc<Alarm>>>,
}

impl Progress {
    fn add(&self, records: usize) {
        let total = (PUBLISHERS * EACH) as usize;
        if self.handled.fetch_add(records, Ordering::AcqRel) + records >= total {
            self.done.store(true, Ordering::Release);
            lock(&self.alarms).iter().for_each(|alarm| alarm.set());
        }
    }
}

/// Handles until everything is handled, or until it handled `enough` and leaves.
fn consume(client: &MemoryTransport, progress: &Progress, enough: usize) -> Vec<Record> {
    let alarm = Arc::new(Alarm::default());
    lock(&progress.alarms).push(alarm.clone());
    let deadline = Instant::now() + DEADLINE;
    let wake = alarm.clone();
    let mut member = Member::join_with(client, &["t"], Arc::new(move || wake.set()));
    let mut idle = 0;
    while member.handled.len() < enough && !progress.done.load(Ordering::Acquire) {
        let before = member.handled.len();
        let busy = member.step();
        progress.add(member.handled.len() - before);
        idle = if busy { 0 } else { idle + 1 };
        if idle == 2 && !progress.done.load(Ordering::Acquire) {
            alarm.wait(deadline);
            idle = 0;
        }
    }
    member.leave()
}

fn publish_all(client: &MemoryTransport, first: u32) {
    let (topic, completions) = (topic("t"), Completions::default());
    let deadline = Instant::now() + DEADLINE;
    let mut acknowledged = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in first..first + EACH {
                let (key, value) = (format!("key-{}", number % 7), number.to_string());
                while send(client, &topic, Some(key.as_bytes()), value.as_bytes(), number).unwrap() != Enqueued::Yes {
                    assert!(Instant::now() < deadline, "the queue never emptied");
                    std::thread::yield_now();
                }
            }
        });
        while acknowledged < EACH {
            assert!(Instant::now() < deadline, "{acknowledged} of {EACH} publishes were acknowledged");
            client.poll(DEADLINE, &completions);
            let done = completions.take();
            assert!(done.iter().all(|done| done.error.is_none()), "{done:?}");
            acknowledged += done.len() as u32;
        }
    });
}

#[test]
fn every_record_is_handled_once_whoever_comes_and_goes() {
    for round in 0..ROUNDS {
        let broker = broker();
        let progress = Progress::default();
        let clients: Vec<_> =
            (0..PUBLISHERS).map(|_| client(&broker, |settings| settings.queue_records = 16)).collect();
        let handled = std::thread::scope(|scope| {
            for (index, client) in clients.iter().enumerate() {
                scope.spawn(move || publish_all(client, index as u32 * EACH));
            }
            let members: Vec<_> = [usize::MAX, 20, 40, usize::MAX]
                .map(|enough| {
                    let (client, progress) = (&clients[0], &progress);
                    scope.spawn(move || consume(client, progress, enough))
                })
                .into_iter()
                .collect();
            members.into_iter().flat_map(|member| member.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(numbers(&handled), (0..PUBLISHERS * EACH).collect::<Vec<_>>(), "round {round}");
        assert_eq!(broker.members("group"), 0);
    }
}

#[test]
fn a_wake_callback_may_use_the_broker() {
    let broker = broker();
    let client = client(&broker, |_| {});
    let inside = broker.clone();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let wake = move || {
        inside.is_settled("group");
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let mut member = Member::join_with(&client, &["t"], Arc::new(wake));
    while member.step() {}
    let before = calls.load(Ordering::Relaxed);
    assert!(before > 0);
    publish(&client, &topic("t"), 0..3);
    assert_eq!(calls.load(Ordering::Relaxed), before + 1, "one call until the consumer looks");
    while member.step() {}
    assert_eq!(member.handled.len(), 3);
}
