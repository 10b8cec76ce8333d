//! Handlers that fail: what is tried again, what is given up, and who waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::{
    Bus, Config, Delivery, ErrorKind, HandlerError, HeadersBuf, Jitter, OnExhausted, Ordering, Policy, RawRecord,
    RetryPolicy,
};

use crate::bus::{Logs, event, eventually, on_every_cluster};
use crate::support::{PATIENCE, unique};

fn policy(attempts: u32) -> Policy {
    let retry = RetryPolicy {
        attempts,
        initial_delay: Duration::from_millis(20),
        jitter: Jitter::None,
        ..RetryPolicy::default()
    };
    Policy { retry, ..Policy::default() }
}

/// Header texts of what arrives in a topic, by the event's aggregate.
#[derive(Default)]
struct Arrived(Mutex<Vec<BTreeMap<String, String>>>);

impl Arrived {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn get(&self, index: usize, name: &str) -> String {
        self.0.lock().unwrap()[index].get(name).cloned().unwrap_or_default()
    }
}

/// A second group that reads a topic.
async fn reader(config: &Config, topic: &str, arrived: Arc<Arrived>) -> Bus {
    let mut config = config.clone();
    config.group_id = Some(unique("reader"));
    let bus = Bus::connect(config).await.unwrap();
    let handler = move |delivery: Delivery| {
        let record = delivery.record();
        let mut texts = BTreeMap::new();
        for (name, value) in record.headers().iter() {
            texts.insert(name.to_owned(), String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
        }
        texts.insert("key".into(), String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned());
        arrived.0.lock().unwrap().push(texts);
        async { Ok::<_, HandlerError>(()) }
    };
    bus.subscribe(topic, handler).await.unwrap();
    bus
}

#[test]
fn only_the_handlers_that_failed_are_called_again() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let attempts: Arc<Mutex<BTreeMap<i64, Vec<u32>>>> = Arc::default();
        let steady = Arc::new(AtomicUsize::new(0));
        let (seen, count) = (attempts.clone(), steady.clone());
        let flaky = move |delivery: Delivery| {
            let at = i64::from(delivery.partition()) << 32 | delivery.offset();
            seen.lock().unwrap().entry(at).or_default().push(delivery.attempt());
            async move {
                match delivery.attempt() {
                    1 => Err(HandlerError::retryable("not yet")),
                    2 => panic!("not yet either"),
                    _ => Ok(()),
                }
            }
        };
        let handler = move |_| {
            count.fetch_add(1, SeqCst);
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe_with(&topic, policy(3), flaky).await.unwrap();
        bus.subscribe_with(&topic, policy(3), handler).await.unwrap();
        for number in 0..10 {
            bus.publish(&event(&topic, number, number)).await.unwrap();
        }
        eventually("all are handled", || bus.metrics().consume.handled == 10).await;
        let attempts = attempts.lock().unwrap().clone();
        assert!(attempts.len() == 10 && attempts.values().all(|attempts| *attempts == [1, 2, 3]), "{attempts:?}");
        assert_eq!(steady.load(SeqCst), 10, "it succeeded the first time");
        let consume = bus.metrics().consume;
        assert_eq!((consume.failed, consume.retries, consume.dead_lettered), (20, 20, 0));
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn what_is_given_up_goes_to_the_dead_letter_topic_with_its_reason() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let logs: Arc<Logs> = Arc::default();
        let bus = Bus::connect_observed(config.clone(), Some(logs.clone()), || false).await.unwrap();
        let calls: Arc<[AtomicUsize; 4]> = Arc::default();
        let count = calls.clone();
        let handler = move |delivery: Delivery| {
            let aggregate: usize = delivery.event().unwrap().aggregate_id()["aggregate-".len()..].parse().unwrap();
            count[aggregate].fetch_add(1, SeqCst);
            async move {
                match aggregate {
                    0 => Err(HandlerError::from("no stock")),
                    1 => Err(HandlerError::fatal("no such product")),
                    2 => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        };
        let policy = Policy { handler_timeout: Some(Duration::from_millis(50)), ..policy(2) };
        bus.subscribe_with(&topic, policy, handler).await.unwrap();
        for number in 0..4 {
            bus.publish(&event(&topic, number, number)).await.unwrap();
        }
        eventually("three are given up", || bus.metrics().consume.dead_lettered == 3).await;
        eventually("one is handled", || bus.metrics().consume.handled == 1).await;
        assert_eq!([0, 1, 2, 3].map(|aggregate: usize| calls[aggregate].load(SeqCst)), [2, 1, 2, 1]);
        assert_eq!((logs.events("dead_lettered").len(), bus.metrics().consume.dead_letters_pending), (3, 0));

        let arrived: Arc<Arrived> = Arc::default();
        let reader = reader(&config, &format!("{topic}.dead-letter"), arrived.clone()).await;
        eventually("they are in the dead-letter topic", || arrived.len() == 3).await;
        let expected = [
            ("aggregate-0", "exhausted", "2", "EVBUS_HANDLER"),
            ("aggregate-1", "fatal", "1", "EVBUS_HANDLER"),
            ("aggregate-2", "exhausted", "2", "EVBUS_TIMEOUT"),
        ];
        let names = ["key", "dead-letter.reason", "dead-letter.attempts", "dead-letter.error-code"];
        let mut found: Vec<[String; 4]> = (0..3).map(|index| names.map(|name| arrived.get(index, name))).collect();
        found.sort();
        assert_eq!(found, expected.map(|(a, b, c, d)| [a, b, c, d].map(str::to_owned)));
        for bus in [bus, reader] {
            assert!(bus.shutdown(PATIENCE).await.clean);
        }
    });
}

#[test]
fn keys_run_side_by_side_and_each_in_its_order() {
    const KEYS: usize = 12;
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let started = Arc::new(AtomicUsize::new(0));
        let seen: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
        let (begun, order) = (started.clone(), seen.clone());
        let handler = move |delivery: Delivery| {
            let (begun, order) = (begun.clone(), order.clone());
            async move {
                let number = delivery.payload::<serde_json::Value>()?["number"].as_u64().unwrap();
                if number == 0 {
                    begun.fetch_add(1, SeqCst);
                    // Ends only when the first event of every key runs at the same time.
                    eventually("all keys run", || begun.load(SeqCst) == KEYS).await;
                }
                let aggregate = delivery.event()?.aggregate_id().to_owned();
                order.lock().unwrap().entry(aggregate).or_default().push(number);
                Ok::<_, HandlerError>(())
            }
        };
        let policy = Policy { ordering: Ordering::Key, concurrency: KEYS, ..policy(1) };
        bus.subscribe_with(&topic, policy, handler).await.unwrap();
        for number in 0..5 {
            for aggregate in 0..KEYS {
                bus.publish(&event(&topic, aggregate, number)).await.unwrap();
            }
        }
        eventually("all are handled", || bus.metrics().consume.handled == 5 * KEYS as u64).await;
        let seen = seen.lock().unwrap().clone();
        assert!(seen.len() == KEYS && seen.values().all(|numbers| *numbers == [0, 1, 2, 3, 4]), "{seen:?}");
        assert!(bus.shutdown(PATIENCE).await.clean);
    });
}

#[test]
fn a_halted_partition_stands_still_and_says_so() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let logs: Arc<Logs> = Arc::default();
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let handler = move |_| {
            count.fetch_add(1, SeqCst);
            async { Err::<(), _>(HandlerError::fatal("the books do not balance")) }
        };
        let policy = Policy { on_exhausted: OnExhausted::Halt, ..policy(3) };
        bus.subscribe_with(&topic, policy, handler).await.unwrap();
        for number in 0..5 {
            bus.publish(&event(&topic, 1, number)).await.unwrap();
        }
        eventually("it halts", || bus.metrics().consume.halted_partitions == 1).await;
        let halted = logs.events("partition_halted");
        assert!(halted.len() == 1 && halted[0].message.contains("the books do not balance"), "{halted:?}");
        let report = bus.shutdown(PATIENCE).await;
        assert_eq!((calls.load(SeqCst), report.handled, report.clean), (1, 0, true));
    });
}

#[test]
fn one_policy_holds_for_all_handlers_of_a_type() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let handler = |_| async { Ok::<_, HandlerError>(()) };
        let first = bus.subscribe_with(&topic, policy(2), handler).await.unwrap();
        let refused = bus.subscribe_with(&topic, policy(3), handler).await.unwrap_err();
        assert_eq!((refused.kind(), refused.context("topic")), (ErrorKind::Argument, Some(&*topic)));
        bus.subscribe_with(&topic, policy(2), handler).await.unwrap().unsubscribe().await.unwrap();
        first.unsubscribe().await.unwrap();
        bus.subscribe_with(&topic, policy(3), handler).await.unwrap();
        let own = Policy { dead_letter_topic: "{topic}".into(), ..Policy::default() };
        let refused = bus.subscribe_with(&unique("other"), own, handler).await.unwrap_err();
        assert_eq!(refused.context("option"), Some("deadLetterTopic"));
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn records_come_as_they_are_whatever_they_hold() {
    type Seen = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>, u32, bool);
    on_every_cluster(|config| async move {
        let topic = unique("blobs");
        let bus = Bus::connect(config).await.unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = seen.clone();
        let handler = move |delivery: Delivery| {
            let record = delivery.record();
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let headers = record.headers().iter().map(|(name, value)| (name.to_owned(), owned(value))).collect();
            let attempt = delivery.attempt();
            let one = (owned(record.key()), owned(record.value()), headers, attempt, delivery.event().is_ok());
            let again = one.1.is_none() && attempt == 1;
            kept.lock().unwrap().push(one);
            async move { if again { Err(HandlerError::retryable("a tombstone")) } else { Ok(()) } }
        };
        let mut headers = HeadersBuf::new();
        headers.push("h", Some(&[0, 159]));
        headers.push("h", None);
        headers.push("h", Some(b""));
        let own = headers.clone();
        let plain = RawRecord { partition: Some(0), ..RawRecord::new(&topic) };
        let binary =
            RawRecord { key: Some(&[0, 255]), value: Some(&[255, 0, 159]), headers: own.as_headers(), ..plain };
        bus.publish_record(&binary).await.unwrap();
        bus.publish_record(&plain).await.unwrap();
        let written = event(&topic, 1, 1);
        let mut value = Vec::new();
        written.encode(&mut headers, &mut value).unwrap();
        let whole = RawRecord { value: Some(&value), headers: headers.as_headers(), ..plain };
        bus.publish_record(&whole).await.unwrap();
        bus.subscribe_with(&topic, Policy { raw: true, ..policy(3) }, handler).await.unwrap();
        eventually("three records, one of them twice", || seen.lock().unwrap().len() >= 4).await;
        let of = |record: &RawRecord<'_>, attempt: u32, is_event: bool| -> Seen {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let headers = record.headers.iter().map(|(name, value)| (name.to_owned(), owned(value))).collect();
            (owned(record.key), owned(record.value), headers, attempt, is_event)
        };
        let expected = [of(&binary, 1, false), of(&plain, 1, false), of(&plain, 2, false), of(&whole, 1, true)];
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(bus.metrics().consume.invalid, 0);
        let events = |_| async { Ok::<_, HandlerError>(()) };
        let refused = bus.subscribe(&topic, events).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Argument);
        let other = unique("blobs");
        let counted: Arc<AtomicUsize> = Arc::default();
        let count = counted.clone();
        let counts = move |_| {
            count.fetch_add(1, SeqCst);
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe_records(&other, counts).await.unwrap();
        bus.publish_record(&RawRecord::new(&other)).await.unwrap();
        eventually("a record without anything", || counted.load(SeqCst) == 1).await;
        bus.shutdown(PATIENCE).await;
    });
}
