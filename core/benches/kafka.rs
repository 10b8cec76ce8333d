//! How many records a second go through `send` and `poll` to a broker and back as completions.
//!
//! `EVBUS_TEST_BROKERS` names a real Kafka; without it the mock cluster serves. `cargo bench --features embedded
//! --bench kafka -- [records] [in flight]`.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_bus::testing::{TestBroker, TestBrokerOptions};
use event_bus::{
    Completion, CompletionSink, Config, ConsumerEvent, Enqueued, HeadersBuf, KafkaTransport, Log, OutgoingRecord,
    Token, Topic, Transport,
};

#[derive(Default)]
struct Count {
    stored: AtomicU64,
    failed: AtomicU64,
}

impl CompletionSink for Count {
    fn complete(&self, completions: &[Completion]) {
        let failed = completions.iter().filter(|one| one.error.is_some()).count() as u64;
        self.failed.fetch_add(failed, Ordering::Relaxed);
        self.stored.fetch_add(completions.len() as u64 - failed, Ordering::Release);
    }
}

fn config(bootstrap: &str, in_flight: usize) -> Config {
    let mut config = Config::new("bench", bootstrap.split(','));
    config.group_id = Some(format!("bench-{}", std::process::id()));
    config.max_in_flight = in_flight;
    config
}

fn publish(transport: &Arc<KafkaTransport>, topic: &Topic, records: u64, in_flight: u64) {
    let (count, stop) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
    let delivery = {
        let (transport, count, stop) = (transport.clone(), count.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                transport.poll(Duration::from_millis(100), &*count);
            }
        })
    };
    let mut headers = HeadersBuf::new();
    headers.push("eventId", Some(b"01J8Z3V6T9K4Q2M7N5B1C0D8E6"));
    headers.push("version", Some(b"1"));
    headers.push("timestamp", Some(b"2026-01-02T03:04:05.678Z"));
    let value = [b'x'; 250];
    let ended = || count.stored.load(Ordering::Acquire) + count.failed.load(Ordering::Acquire);
    let started = Instant::now();
    for index in 0..records {
        while index - ended() >= in_flight {
            std::thread::yield_now();
        }
        let key = format!("aggregate-{}", index % 1000);
        let record = OutgoingRecord {
            topic,
            partition: None,
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: headers.as_headers(),
        };
        while transport.send(&record, Token::new(1, 0, index as u32)).expect("sent") == Enqueued::QueueFull {
            std::thread::yield_now();
        }
    }
    let enqueued = started.elapsed();
    while ended() < records {
        std::thread::yield_now();
    }
    let acknowledged = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    transport.wake();
    delivery.join().expect("no panic");
    let rate = |time: Duration| records as f64 / time.as_secs_f64() / 1e3;
    println!(
        "publish, {in_flight} in flight: enqueued {:.1} k/s, acknowledged {:.1} k/s, {} failed",
        rate(enqueued),
        rate(acknowledged),
        count.failed.load(Ordering::Relaxed)
    );
}

fn consume(transport: &KafkaTransport, topic: &Topic, records: u64) {
    let mut consumer = transport.consumer(Arc::new(|| ())).expect("a consumer");
    consumer.subscribe(std::slice::from_ref(&topic.name)).expect("subscribed");
    let (mut received, mut bytes, mut started, mut last) = (0, 0, Instant::now(), Instant::now());
    while received < records && last.elapsed() < Duration::from_secs(5) {
        match consumer.poll() {
            Some(ConsumerEvent::Record(record)) => {
                if received == 0 {
                    started = Instant::now();
                }
                (received, bytes, last) = (received + 1, bytes + record.size(), Instant::now());
            }
            Some(ConsumerEvent::Assigned(partitions)) => {
                let starts: Vec<_> = partitions.into_iter().map(|source| (source, Some(0))).collect();
                consumer.assign(&starts).expect("assigned");
            }
            Some(ConsumerEvent::Failed(error)) => println!("{error}"),
            Some(_) => (),
            None => std::thread::yield_now(),
        }
    }
    let seconds = last.duration_since(started).as_secs_f64();
    println!("consume: {received} records, {} MB, {:.1} k/s", bytes >> 20, received as f64 / seconds / 1e3);
    consumer.close();
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let records = numbers.next().unwrap_or(200_000);
    let in_flight = numbers.next().unwrap_or(8000);
    let mock;
    let bootstrap = match std::env::var("EVBUS_TEST_BROKERS") {
        Ok(bootstrap) => bootstrap,
        Err(_) => {
            mock = TestBroker::start(TestBrokerOptions::default()).expect("a mock cluster");
            mock.bootstrap().to_owned()
        }
    };
    let transport = Arc::new(KafkaTransport::new(&config(&bootstrap, 10_000), Log::default()).expect("a client"));
    transport.connect(Instant::now() + Duration::from_secs(10), &|| false).expect("connected");
    let topic = Topic { id: 0, name: format!("bench-{}", std::process::id()).into() };
    for result in transport.ensure_topics(std::slice::from_ref(&topic.name), Instant::now() + Duration::from_secs(10)) {
        result.expect("a topic");
    }
    for in_flight in [in_flight, in_flight, 100, 1] {
        publish(&transport, &topic, if in_flight == 1 { records / 20 } else { records }, in_flight);
    }
    consume(&transport, &topic, records);
    transport.close();
}
