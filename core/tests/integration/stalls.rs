//! Partitions that stand still although they have records: told, healed, and told again when they go on.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::testing::Request;
use event_bus::{
    Bus, Config, Delivery, Error, ErrorKind, HandlerError, MemoryBroker, Policy, PublishOutcome, Remedy, RetryPolicy,
    TopicPartition,
};
use tokio::runtime::Runtime;

use crate::bus::{Logs, event, eventually};
use crate::support::{self, PATIENCE, unique};

/// The shortest there is.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A bus of one partition in memory, and what its handlers got.
struct Bed {
    broker: MemoryBroker,
    bus: Bus,
    logs: Arc<Logs>,
    source: TopicPartition,
    group: String,
    handled: Arc<Mutex<Vec<i64>>>,
}

impl Bed {
    async fn new() -> Bed {
        let broker = MemoryBroker::open(&unique("stalls"));
        let mut config = support::config(&broker.address());
        config.stall_timeout = Some(TIMEOUT);
        config.commit_interval = Duration::from_millis(100);
        let (logs, source) = (Arc::new(Logs::default()), TopicPartition::new(unique("order.placed"), 0));
        broker.create_topic(&source.topic, 1).unwrap();
        let group = config.group_id.clone().unwrap();
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let handled: Arc<Mutex<Vec<i64>>> = Arc::default();
        let seen = handled.clone();
        let handler = move |delivery: Delivery| {
            seen.lock().unwrap().push(delivery.offset());
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(&source.topic, handler).await.unwrap();
        let bed = Bed { broker, bus, logs, source, group, handled };
        bed.publish_until_handled(0).await;
        bed
    }

    async fn publish(&self, number: usize) {
        self.bus.publish(&event(&self.source.topic, 1, number)).await.unwrap();
    }

    async fn publish_until_handled(&self, number: usize) {
        self.publish(number).await;
        eventually("the event is handled", || self.handled.lock().unwrap().contains(&(number as i64))).await;
        let behind = number as i64 + 1;
        eventually("it is committed", || self.broker.committed(&self.group, &self.source) == Some(behind)).await;
    }

    fn remedies(&self) -> Vec<String> {
        let records = self.logs.events("partition_healing");
        let remedy = |name: &str| records.iter().map(|record| field(record, name)).collect();
        remedy("remedy")
    }
}

fn field(record: &event_bus::LogRecord, name: &str) -> String {
    let value = record.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
    value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
}

#[test]
fn each_step_heals_what_the_one_before_does_not() {
    Runtime::new().unwrap().block_on(async {
        for (cure, steps) in [
            (Remedy::Seek, &["seek"][..]),
            (Remedy::Reassign, &["seek", "reassign"]),
            (Remedy::NewClient, &["seek", "reassign", "new_client"]),
        ] {
            let bed = Bed::new().await;
            bed.broker.stall_partition(&bed.source, cure);
            bed.publish(1).await;
            eventually("the stall is told", || bed.logs.events("partition_stalled").len() == 1).await;
            assert_eq!(bed.bus.metrics().consume.stalled_partitions, 1, "{cure:?}");
            eventually("health says so", || !bed.bus.health().live).await;
            let health = bed.bus.health();
            let standing: Vec<_> =
                health.stalled_partitions.iter().map(|one| (&*one.topic, one.position, one.high_watermark)).collect();
            assert_eq!(standing, [(&*bed.source.topic, Some(1), 2)], "{health:?}");
            let told = &bed.logs.events("partition_stalled")[0];
            assert_eq!(
                ["topic", "partition", "position", "highWatermark", "reason"].map(|name| field(told, name)),
                [&*bed.source.topic, "0", "1", "2", "not_fetched"],
            );
            assert!(field(told, "stalledMs").parse::<u64>().unwrap() >= TIMEOUT.as_millis() as u64, "{told:?}");
            eventually("it goes on", || bed.logs.events("partition_recovered").len() == 1).await;
            assert_eq!(bed.remedies(), steps, "{cure:?}");
            eventually("nothing stands still", || bed.bus.metrics().consume.stalled_partitions == 0).await;
            eventually("health is back", || bed.bus.health().ready).await;
            bed.publish_until_handled(2).await;
            assert_eq!(*bed.handled.lock().unwrap(), [0, 1, 2], "each once, in order: {cure:?}");
            let metrics = bed.bus.metrics();
            assert_eq!((metrics.consume.stalls, metrics.clients_rebuilt), (1, u64::from(cure == Remedy::NewClient)));
            assert!(bed.bus.shutdown(PATIENCE).await.clean);
        }
    });
}

#[test]
fn slow_handlers_retries_silence_and_outages_are_no_stalls() {
    Runtime::new().unwrap().block_on(async {
        let broker = MemoryBroker::open(&unique("stalls"));
        let mut config: Config = support::config(&broker.address());
        config.stall_timeout = Some(TIMEOUT);
        let logs = Arc::new(Logs::default());
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let (slow, flaky, quiet) = (unique("slow"), unique("flaky"), unique("quiet"));
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let gate = release.clone();
        let wait = move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, HandlerError>(())
            }
        };
        bus.subscribe(&slow, wait).await.unwrap();
        let retry = RetryPolicy {
            attempts: 1000,
            initial_delay: TIMEOUT * 3,
            max_delay: TIMEOUT * 3,
            ..RetryPolicy::default()
        };
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = attempts.clone();
        let fail = move |_| {
            counted.fetch_add(1, SeqCst);
            async { Err(HandlerError::retryable("not yet")) }
        };
        bus.subscribe_with(&flaky, Policy { retry, ..Policy::default() }, fail).await.unwrap();
        bus.subscribe(&quiet, |_| async { Ok::<_, HandlerError>(()) }).await.unwrap();
        for number in 0..20 {
            bus.publish(&event(&slow, number, number)).await.unwrap();
            bus.publish(&event(&flaky, number, number)).await.unwrap();
        }
        // A dead-letter topic that refuses for a while.
        let refused = Error::new(ErrorKind::Unavailable, "not now").outcome(PublishOutcome::NotSent);
        broker.fail_publishes(Some(&format!("{flaky}.dead-letter")), 1000, refused);
        let ended = tokio::time::Instant::now() + TIMEOUT * 5;
        let mut is_up = true;
        eventually("five timeouts pass", || tokio::time::Instant::now() >= ended).await;
        // An outage, with records that nobody can fetch.
        for _ in 0..2 {
            is_up = !is_up;
            broker.set_reachable(is_up);
            let ended = tokio::time::Instant::now() + TIMEOUT * 3;
            eventually("three timeouts pass", || tokio::time::Instant::now() >= ended).await;
        }
        release.add_permits(1000);
        assert!(attempts.load(SeqCst) > 0);
        assert_eq!(logs.events("partition_stalled").len(), 0);
        assert_eq!(bus.metrics().consume.stalls, 0);
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn the_watchdog_can_be_turned_off() {
    Runtime::new().unwrap().block_on(async {
        let broker = MemoryBroker::open(&unique("stalls"));
        let mut config = support::config(&broker.address());
        config.set("stallTimeoutMs", "0").unwrap();
        assert_eq!(config.stall_timeout, None);
        config.set("stallTimeoutMs", "1000").unwrap();
        assert_eq!(config.stall_timeout, Some(TIMEOUT));
        config.set("stallTimeoutMs", "999").unwrap();
        let error = Bus::connect(config).await.unwrap_err();
        assert_eq!((error.kind(), error.context("option")), (ErrorKind::Config, Some("stallTimeoutMs")));
    });
}

/// Subscribes and waits for a first event; gives how many were handled.
async fn first_handled(bus: &Bus, topic: &str) -> Arc<AtomicUsize> {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let handler = move |_| {
        counted.fetch_add(1, SeqCst);
        async { Ok::<_, HandlerError>(()) }
    };
    bus.subscribe(topic, handler).await.unwrap();
    bus.publish(&event(topic, 1, 0)).await.unwrap();
    eventually("the first event", || handled.load(SeqCst) == 1).await;
    handled
}

/// Where nothing comes although fetch requests are answered, with errors.
#[test]
fn a_client_that_cannot_fetch_is_told_of_and_replaced() {
    const STORAGE_ERROR: i32 = 56;
    let broker = support::mock();
    let topic = unique("order.placed");
    broker.create_topic(&topic, 1).unwrap();
    let mut config = support::config(broker.bootstrap());
    config.stall_timeout = Some(TIMEOUT);
    let logs = Arc::new(Logs::default());
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let handled = first_handled(&bus, &topic).await;
        // The client waits half a second after each.
        broker.push_request_errors(Request::Fetch, &[STORAGE_ERROR; 16]);
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        // The log hears of it right behind the health.
        eventually("the stall is told", || !bus.health().live && !logs.events("partition_stalled").is_empty()).await;
        assert_eq!(logs.events("partition_stalled").len(), 1);
        assert_eq!(field(&logs.events("partition_stalled")[0], "highWatermark"), "2");
        eventually("the client is replaced", || !logs.events("client_rebuilt").is_empty()).await;
        let remedies: Vec<_> =
            logs.events("partition_healing").iter().map(|record| field(record, "remedy")).take(3).collect();
        assert_eq!(remedies, ["seek", "reassign", "new_client"]);
        eventually("the second event", || handled.load(SeqCst) >= 2).await;
        eventually("it goes on", || logs.events("partition_recovered").len() == 1 && bus.health().live).await;
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_transactions_hide_is_no_stall_on_a_real_kafka() {
    let brokers = support::real_brokers();
    let mut config = support::config(&brokers);
    config.stall_timeout = Some(TIMEOUT);
    let topic = unique("order.placed");
    support::create_topic(&config, &topic, 1);
    let logs = Arc::new(Logs::default());
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let handled = first_handled(&bus, &topic).await;
        let transactions = support::Transactions::begin(&brokers, &unique("transaction"));
        let wait = |timeouts: u32| {
            let ended = tokio::time::Instant::now() + TIMEOUT * timeouts;
            async move { eventually("time passes", || tokio::time::Instant::now() >= ended).await }
        };
        // Nobody may read it yet; then nobody may at all, and the end of the log is a mark.
        transactions.send(&topic, "hidden");
        wait(4).await;
        transactions.abort();
        wait(4).await;
        assert_eq!(logs.events("partition_stalled").len(), 0);
        assert!(bus.health().ready, "{:?}", bus.health());
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("the second event", || handled.load(SeqCst) == 2).await;
        bus.shutdown(PATIENCE).await;
    });
}
