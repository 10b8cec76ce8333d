//! The yardstick: the drop-in benchmark as a plain Rust program on rdkafka, with the settings of the bus.
//!
//! `plain BOOTSTRAP TOPIC publish EVENTS IN_FLIGHT | raw EVENTS IN_FLIGHT | serial EVENTS | consume EVENTS`; prints
//! one JSON line. `npm run bench` runs it in turn with the same program on the npm package. `publish` awaits each
//! event, as the package's callers do; `raw` only counts acknowledgements, which no caller of an event bus can.

#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DomainEvent {
    event_id: String,
    event_type: String,
    occurred_on: String,
    aggregate_id: String,
    version: i64,
    payload: Payload,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    order_id: String,
    amount: f64,
    currency: String,
    items: i64,
    channel: String,
    region: String,
}

/// Published before the clock starts, as in the program that this one is held against.
const WARM_UP: u64 = 200_000;

#[derive(Default)]
struct Acks {
    count: AtomicU64,
    newest: Mutex<u64>,
    arrived: Condvar,
}

/// Who learns of an acknowledgement.
enum Waiter {
    /// Nobody by itself: it is counted.
    Count,
    /// The thread that publishes one at a time.
    Newest(u64),
    /// The task that awaits it.
    Task(oneshot::Sender<()>),
}

#[derive(Clone)]
struct Context(Arc<Acks>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Waiter>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Box<Waiter>) {
        assert!(result.is_ok(), "a publish failed");
        match *waiter {
            Waiter::Count => {}
            Waiter::Newest(number) => {
                *self.0.newest.lock().unwrap() = number;
                self.0.arrived.notify_one();
            }
            Waiter::Task(task) => task.send(()).expect("a task that waits"),
        }
        self.0.count.fetch_add(1, Ordering::Release);
    }
}

fn event(number: u64) -> DomainEvent {
    DomainEvent {
        event_id: "5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50".into(),
        event_type: "order.created".into(),
        occurred_on: "2026-01-02T03:04:05.678Z".into(),
        aggregate_id: format!("cust-{}", 1_000_000 + number % 1000),
        version: 1,
        payload: Payload {
            order_id: "ord-000012345".into(),
            amount: 129.95,
            currency: "EUR".into(),
            items: 3,
            channel: "web".into(),
            region: "eu-west-1".into(),
        },
    }
}

struct Publisher {
    producer: ThreadedProducer<Context>,
    acks: Arc<Acks>,
    topic: String,
}

impl Publisher {
    fn new(bootstrap: &str, topic: &str) -> Self {
        let acks = Arc::new(Acks::default());
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("partitioner", "murmur2_random")
            .create_with_context(Context(acks.clone()))
            .expect("a producer");
        Publisher { producer, acks, topic: topic.to_owned() }
    }

    fn send(&self, number: u64, waiter: Waiter) {
        let event = event(number);
        let value = serde_json::to_vec(&event).expect("JSON");
        let mut waiter = Box::new(waiter);
        loop {
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(Header { key: "eventId", value: Some(&event.event_id) })
                .insert(Header { key: "version", value: Some("1") })
                .insert(Header { key: "timestamp", value: Some(&event.occurred_on) });
            let record = BaseRecord::with_opaque_to(&self.topic, waiter)
                .key(&event.aggregate_id)
                .payload(&value)
                .headers(headers);
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    waiter = record.delivery_opaque;
                    std::thread::yield_now();
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    fn acknowledged(&self) -> u64 {
        self.acks.count.load(Ordering::Acquire)
    }

    /// A task for each place in flight, each of which awaits one event at a time.
    async fn tasks(self: Arc<Self>, events: u64, in_flight: u64) -> f64 {
        let next = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let tasks: Vec<_> = (0..in_flight)
            .map(|_| {
                let (publisher, next) = (self.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= events {
                            return;
                        }
                        let (sender, stored) = oneshot::channel();
                        publisher.send(number, Waiter::Task(sender));
                        stored.await.expect("an acknowledgement");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a task that ends");
        }
        started.elapsed().as_secs_f64()
    }

    /// Without anybody who waits for an event.
    fn raw(&self, events: u64, in_flight: u64) -> f64 {
        let before = self.acknowledged();
        let started = Instant::now();
        for number in 0..events {
            while number - (self.acknowledged() - before) >= in_flight {
                std::thread::sleep(Duration::from_micros(50));
            }
            self.send(number, Waiter::Count);
        }
        while self.acknowledged() - before < events {
            std::thread::sleep(Duration::from_micros(50));
        }
        started.elapsed().as_secs_f64()
    }

    /// One at a time; the times of each in microseconds.
    fn serial(&self, events: u64) -> Vec<f64> {
        let mut times = Vec::with_capacity(events as usize);
        // Numbers begin anew.
        *self.acks.newest.lock().unwrap() = 0;
        for number in 1..=events {
            let started = Instant::now();
            self.send(number, Waiter::Newest(number));
            let newest = self.acks.newest.lock().unwrap();
            drop(self.acks.arrived.wait_while(newest, |newest| *newest < number).unwrap());
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        times
    }
}

fn consume(bootstrap: &str, topic: &str, events: u64) -> f64 {
    let group = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("plain-{group}"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let (mut started, mut count, mut items) = (None, 0, 0);
    while count < events {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a message");
        started.get_or_insert_with(Instant::now);
        let event: DomainEvent = serde_json::from_slice(message.payload().expect("a value")).expect("an event");
        items += event.payload.items;
        consumer.store_offset_from_message(&message).expect("an offset is stored");
        count += 1;
    }
    assert!(items > 0);
    started.expect("a first message").elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let [bootstrap, topic, what, ..] = &arguments[..] else {
        println!("usage: plain BOOTSTRAP TOPIC publish|raw EVENTS IN_FLIGHT | serial EVENTS | consume EVENTS");
        return;
    };
    let events = number(3).unwrap_or(200_000);
    let in_flight = number(4).unwrap_or(4000);
    let line = match what.as_str() {
        "publish" => {
            let publisher = Arc::new(Publisher::new(bootstrap, topic));
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(publisher.clone().tasks(WARM_UP.min(events), in_flight));
            let seconds = runtime.block_on(publisher.tasks(events, in_flight));
            json!({ "eventsPerSecond": events as f64 / seconds })
        }
        "raw" => {
            let publisher = Publisher::new(bootstrap, topic);
            publisher.raw(WARM_UP.min(events), in_flight);
            json!({ "eventsPerSecond": events as f64 / publisher.raw(events, in_flight) })
        }
        "serial" => {
            let publisher = Publisher::new(bootstrap, topic);
            publisher.serial(200);
            let times = publisher.serial(events);
            json!({ "p50": times[times.len() / 2], "p99": times[times.len() * 99 / 100] })
        }
        "consume" => json!({ "eventsPerSecond": events as f64 / consume(bootstrap, topic, events) }),
        other => panic!("{other} is no case"),
    };
    println!("{line}");
}
