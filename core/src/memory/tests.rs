//! The broker through the traits that the bus uses, on one thread; `threads.rs` plays it with several.

mod member;
mod publishing;
mod rebalance;
mod threads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{MemoryBroker, MemoryTransport, Settings, lock};
use crate::error::{Error, Result};
use crate::event::{Headers, OutgoingRecord, Topic};
use crate::transport::{Completion, CompletionSink, Enqueued, Token, Transport};

/// Far above what any condition here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A broker that no other test knows.
fn broker() -> MemoryBroker {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    MemoryBroker::open(&format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn settings() -> Settings {
    Settings {
        group_id: Some("group".into()),
        auto_create_topics: true,
        publish_timeout: Duration::from_secs(30),
        queue_records: 1000,
        queue_bytes: 1 << 20,
        message_max_bytes: 1 << 16,
    }
}

fn client(broker: &MemoryBroker, change: impl FnOnce(&mut Settings)) -> MemoryTransport {
    let mut settings = settings();
    change(&mut settings);
    MemoryTransport::with(broker.cluster.clone(), settings)
}

#[derive(Default)]
struct Completions(Mutex<Vec<Completion>>);

impl CompletionSink for Completions {
    fn complete(&self, completions: &[Completion]) {
        lock(&self.0).extend_from_slice(completions);
    }
}

impl Completions {
    fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut *lock(&self.0))
    }

    fn only_error(&self) -> Error {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0).error.expect("the publish failed")
    }
}

fn topic(name: &str) -> Topic {
    Topic { id: 0, name: name.into() }
}

fn send(client: &MemoryTransport, topic: &Topic, key: Option<&[u8]>, value: &[u8], slot: u32) -> Result<Enqueued> {
    let record = OutgoingRecord {
        topic,
        partition: None,
        timestamp: None,
        key,
        value: Some(value),
        headers: Headers::default(),
    };
    client.send(&record, Token::new(1, 0, slot))
}

/// Publishes numbered records, keys `key-0` … `key-9`, and waits for their acknowledgements.
fn publish(client: &MemoryTransport, topic: &Topic, numbers: std::ops::Range<u32>) {
    let completions = Completions::default();
    for number in numbers.clone() {
        let key = format!("key-{}", number % 10);
        let sent = send(client, topic, Some(key.as_bytes()), number.to_string().as_bytes(), number);
        assert_eq!(sent.unwrap(), Enqueued::Yes);
    }
    client.poll(Duration::ZERO, &completions);
    let done = completions.take();
    assert_eq!(done.iter().map(|done| done.token.slot()).collect::<Vec<_>>(), numbers.collect::<Vec<_>>());
    assert!(done.iter().all(|done| done.error.is_none()), "{done:?}");
}

fn no_wake() -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(|| {})
}
