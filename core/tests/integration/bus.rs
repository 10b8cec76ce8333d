//! The bus end to end: the same scenarios in memory, on the mock cluster and on a real Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_bus::testing::TestBroker;
use event_bus::{
    Bus, Config, ErrorKind, Event, HandlerError, LogRecord, MemoryBroker, Observer, OnExhausted, PublishOutcome,
    RecordSink,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the scenarios run on.
struct Cluster {
    name: &'static str,
    brokers: Vec<String>,
    _mock: Option<TestBroker>,
    _memory: Option<MemoryBroker>,
}

fn clusters() -> Vec<Cluster> {
    let memory = MemoryBroker::open(&support::unique("bus"));
    let mock = support::mock();
    let mut clusters = vec![
        Cluster { name: "memory", brokers: vec![memory.address()], _mock: None, _memory: Some(memory) },
        Cluster { name: "embedded", brokers: vec![mock.bootstrap().to_owned()], _mock: Some(mock), _memory: None },
    ];
    if let Ok(brokers) = std::env::var("EVBUS_TEST_BROKERS") {
        let brokers = brokers.split(',').map(str::to_owned).collect();
        clusters.push(Cluster { name: "kafka", brokers, _mock: None, _memory: None });
    }
    clusters
}

/// Runs a scenario on every cluster and says on which one it failed.
pub fn on_every_cluster<F: Future<Output = ()>>(scenario: impl Fn(Config) -> F) {
    let runtime = Runtime::new().unwrap();
    for cluster in clusters() {
        let mut config = support::config(&cluster.brokers.join(","));
        config.commit_interval = Duration::from_millis(100);
        let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(scenario(config))));
        assert!(ended.is_ok(), "failed on {}", cluster.name);
    }
}

/// Awaits a condition that other threads bring about.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn event(topic: &str, aggregate: usize, number: usize) -> Event<'static> {
    let payload = json!({ "number": number });
    Event::new(topic.to_owned(), format!("aggregate-{aggregate}"), &payload).unwrap()
}

#[derive(Default)]
pub struct Logs(Mutex<Vec<LogRecord>>);

impl Logs {
    pub fn events(&self, name: &str) -> Vec<LogRecord> {
        self.0.lock().unwrap().iter().filter(|record| record.event == name).cloned().collect()
    }
}

impl Observer for Logs {
    fn log(&self, record: &LogRecord) {
        self.0.lock().unwrap().push(record.clone());
    }
}

#[test]
fn every_published_event_is_handled_in_order_per_aggregate() {
    on_every_cluster(|config| async move {
        let topic = support::unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let seen: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
        let handled = seen.clone();
        let handler = move |delivery: event_bus::Delivery| {
            let handled = handled.clone();
            async move {
                let aggregate = delivery.event()?.aggregate_id().to_owned();
                let payload: Value = delivery.payload()?;
                handled.lock().unwrap().entry(aggregate).or_default().push(payload["number"].as_u64().unwrap());
                Ok::<_, HandlerError>(())
            }
        };
        bus.subscribe(&topic, handler).await.unwrap();
        let events: Vec<_> = (0..500).map(|number| event(&topic, number % 7, number)).collect();
        for receipt in bus.publish_many(&events).await {
            assert!(receipt.unwrap().offset >= 0);
        }
        let count = || seen.lock().unwrap().values().map(Vec::len).sum::<usize>();
        eventually("500 events are handled", || count() >= 500).await;
        for (aggregate, numbers) in seen.lock().unwrap().iter() {
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{aggregate}: {numbers:?}");
        }
        eventually("the metrics agree", || bus.metrics().consume.handled == 500).await;
        assert!(bus.is_connected());
        assert_eq!(bus.metrics().publish.acknowledged, 500);
        let report = bus.shutdown(Duration::from_secs(10)).await;
        assert!(report.clean, "{report:?}");
        assert!(!bus.is_connected());
        assert_eq!(count(), 500);
    });
}

#[test]
fn a_group_goes_on_behind_what_it_committed() {
    on_every_cluster(|config| async move {
        let topic = support::unique("order.placed");
        let mut all = BTreeSet::new();
        for round in 0..3 {
            let bus = Bus::connect(config.clone()).await.unwrap();
            let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
            let handled = seen.clone();
            let handler = move |delivery: event_bus::Delivery| {
                let payload: Value = delivery.payload().unwrap();
                handled.lock().unwrap().push(payload["number"].as_u64().unwrap());
                async { Ok::<_, HandlerError>(()) }
            };
            bus.subscribe(&topic, handler).await.unwrap();
            for number in 0..50 {
                bus.publish(&event(&topic, number, round * 50 + number)).await.unwrap();
            }
            eventually("the round's events are handled", || seen.lock().unwrap().len() >= 50).await;
            let report = bus.shutdown(Duration::from_secs(10)).await;
            assert!(report.clean, "{report:?}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), 50, "round {round}: nothing comes again after a clean shutdown");
            all.extend(seen.iter().copied());
        }
        assert_eq!(all.len(), 150);
    });
}

#[test]
fn a_failing_handler_stops_neither_the_others_nor_the_later_events() {
    on_every_cluster(|mut config| async move {
        config.policy.retry.attempts = 1;
        config.policy.on_exhausted = OnExhausted::Skip;
        let topic = support::unique("order.placed");
        let logs: Arc<Logs> = Arc::default();
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let (good, bad) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = bad.clone();
        let failing = move |delivery: event_bus::Delivery| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(number % 2 == 0, "a panic counts as a failure of {}", delivery.offset());
                Err::<(), HandlerError>("no stock".into())
            }
        };
        let count = good.clone();
        let working = move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(&topic, failing).await.unwrap();
        bus.subscribe(&topic, working).await.unwrap();
        for number in 0..20 {
            bus.publish(&event(&topic, number, number)).await.unwrap();
        }
        eventually("both handlers saw all", || good.load(Ordering::SeqCst) == 20 && bad.load(Ordering::SeqCst) == 20)
            .await;
        eventually("the failures are counted", || bus.metrics().consume.failed == 20).await;
        let failures = logs.events("handler_failed");
        assert_eq!(failures.len(), 20);
        let fields: BTreeSet<_> = failures[0].fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(fields, ["eventId", "topic", "partition", "offset", "attempt"].into());
        assert_eq!(failures[0].error.as_ref().unwrap().kind(), ErrorKind::Handler);
        bus.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn unsubscribing_ends_calls_and_subscribing_again_goes_on() {
    on_every_cluster(|config| async move {
        let topic = support::unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicUsize::new(0));
        let handler = |calls: &Arc<AtomicUsize>, ended: &Arc<AtomicBool>, late: &Arc<AtomicUsize>| {
            let (calls, ended, late) = (calls.clone(), ended.clone(), late.clone());
            move |_: event_bus::Delivery| {
                calls.fetch_add(1, Ordering::SeqCst);
                late.fetch_add(usize::from(ended.load(Ordering::SeqCst)), Ordering::SeqCst);
                async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok::<_, HandlerError>(())
                }
            }
        };
        let subscription = bus.subscribe(&topic, handler(&calls, &ended, &late)).await.unwrap();
        let events: Vec<_> = (0..200).map(|number| event(&topic, number, number)).collect();
        assert!(bus.publish_many(&events).await.iter().all(Result::is_ok));
        eventually("some events are handled", || calls.load(Ordering::SeqCst) > 10).await;
        subscription.unsubscribe().await.unwrap();
        ended.store(true, Ordering::SeqCst);
        let before = calls.load(Ordering::SeqCst);
        let again = Arc::new(AtomicUsize::new(0));
        let running = Arc::new(AtomicBool::new(false));
        bus.subscribe(&topic, handler(&again, &running, &Arc::default())).await.unwrap();
        eventually("the rest is handled", || before + again.load(Ordering::SeqCst) >= 200).await;
        assert_eq!(late.load(Ordering::SeqCst), 0, "a call started after unsubscribe resolved");
        bus.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn subscriptions_made_at_once_all_count() {
    on_every_cluster(|config| async move {
        let bus = Bus::connect(config).await.unwrap();
        let topics: Vec<_> = (0..12).map(|number| support::unique(&format!("at-once-{number}"))).collect();
        let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let mut subscribing = tokio::task::JoinSet::new();
        for topic in topics.clone() {
            let (bus, seen) = (bus.clone(), seen.clone());
            subscribing.spawn(async move {
                let other = support::unique("gone");
                let nothing = |_| async { Ok::<_, HandlerError>(()) };
                let gone = bus.subscribe(&other, nothing).await.unwrap();
                let handler = move |delivery: event_bus::Delivery| {
                    seen.lock().unwrap().insert(delivery.topic().to_owned());
                    async { Ok::<_, HandlerError>(()) }
                };
                let (added, removed) = tokio::join!(bus.subscribe(&topic, handler), gone.unsubscribe());
                added.unwrap();
                removed.unwrap();
            });
        }
        while let Some(subscribed) = subscribing.join_next().await {
            subscribed.unwrap();
        }
        for topic in &topics {
            bus.publish(&event(topic, 1, 1)).await.unwrap();
        }
        eventually("every subscription got its event", || seen.lock().unwrap().len() == topics.len()).await;
        bus.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn only_topics_with_handlers_are_consumed() {
    on_every_cluster(|config| async move {
        let (wanted, other) = (support::unique("wanted"), support::unique("other"));
        let bus = Bus::connect(config).await.unwrap();
        bus.publish(&event(&other, 0, 0)).await.unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let handler = move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(&wanted, handler).await.unwrap();
        bus.publish(&event(&wanted, 0, 0)).await.unwrap();
        eventually("the wanted event is handled", || seen.load(Ordering::SeqCst) == 1).await;
        assert_eq!(bus.metrics().consume.received, 1);
        // Told every half second, and of partitions without a record too.
        let lags = || bus.metrics().consume.lag;
        eventually("the lag is gone", || !lags().is_empty() && lags().iter().all(|one| one.lag == 0)).await;
        assert!(lags().iter().all(|one| one.topic == wanted));
        bus.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_shutdown_begins_with_the_call() {
    on_every_cluster(|config| async move {
        let bus = Bus::connect(config).await.unwrap();
        let ended = bus.shutdown(Duration::from_secs(10));
        assert_ne!(bus.phase(), event_bus::Phase::Open, "before anybody awaits its report");
        assert!(ended.await.clean);
    });
}

#[test]
fn handlers_may_publish_while_the_bus_drains() {
    on_every_cluster(|config| async move {
        let topic = support::unique("order.placed");
        let follow_up = support::unique("order.paid");
        let bus = Bus::connect(config).await.unwrap();
        let started = Arc::new(AtomicBool::new(false));
        let (inner, running, next) = (bus.clone(), started.clone(), follow_up.clone());
        let handler = move |_| {
            let (bus, started, topic) = (inner.clone(), running.clone(), next.clone());
            async move {
                started.store(true, Ordering::SeqCst);
                while bus.phase() == event_bus::Phase::Open {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                bus.publish(&event(&topic, 1, 1)).await?;
                Ok::<_, HandlerError>(())
            }
        };
        bus.subscribe(&topic, handler).await.unwrap();
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("the handler runs", || started.load(Ordering::SeqCst)).await;
        let report = bus.shutdown(Duration::from_secs(10)).await;
        assert_eq!((report.handled, report.abandoned, report.published, report.lost), (1, 0, 1, 0), "{report:?}");
        let refused = bus.publish(&event(&topic, 1, 2)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.publish_outcome()), (ErrorKind::Closed, Some(PublishOutcome::NotSent)));
    });
}

#[test]
fn a_shutdown_ends_by_its_deadline_whatever_a_handler_does() {
    on_every_cluster(|config| async move {
        let topic = support::unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let started = Arc::new(AtomicBool::new(false));
        let running = started.clone();
        let handler = move |_| {
            running.store(true, Ordering::SeqCst);
            std::future::pending::<Result<(), HandlerError>>()
        };
        bus.subscribe(&topic, handler).await.unwrap();
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("the handler runs", || started.load(Ordering::SeqCst)).await;
        let begin = Instant::now();
        let report = bus.shutdown(Duration::from_millis(1500)).await;
        assert!(begin.elapsed() < Duration::from_millis(2000), "{:?}", begin.elapsed());
        assert_eq!((report.handled, report.abandoned), (0, 1), "{report:?}");
    });
}

#[test]
fn records_go_to_handlers_or_to_a_face_and_never_to_both() {
    struct Face;

    impl RecordSink for Face {
        fn deliver(&self, _run: Vec<event_bus::Delivery>) {}
        fn stop(&self, _slot: u16, _epoch: u16) {}
        fn abort(&self, _slot: u16, _epoch: u16) {}
    }

    on_every_cluster(|config| async move {
        let bus = Bus::connect(config).await.unwrap();
        bus.intake().set_sink(Arc::new(Face)).unwrap();
        for _ in 0..2 {
            let refused = bus.subscribe("order.placed", |_| async { Ok::<_, HandlerError>(()) }).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::IllegalState, "a handler that nothing would call");
        }
        assert_eq!(bus.intake().set_sink(Arc::new(Face)).unwrap_err().kind(), ErrorKind::IllegalState);
        bus.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn subscribing_without_a_group_is_refused() {
    on_every_cluster(|mut config| async move {
        config.group_id = None;
        let bus = Bus::connect(config).await.unwrap();
        let refused = bus.subscribe("order.placed", |_| async { Ok::<_, HandlerError>(()) }).await.unwrap_err();
        assert_eq!((refused.kind(), refused.context("option")), (ErrorKind::Config, Some("groupId")));
        let refused = bus.subscribe("no topic", |_| async { Ok::<_, HandlerError>(()) }).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Argument);
        bus.shutdown(Duration::from_secs(10)).await;
    });
}
