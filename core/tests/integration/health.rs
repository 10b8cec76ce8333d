//! What a bus says of itself when it works, and when something stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use event_bus::testing::Request;
use event_bus::{
    Bus, Config, Error, ErrorKind, HandlerError, HealthCode, MemoryBroker, OnExhausted, Policy, PublishOutcome,
    RetryPolicy,
};
use tokio::runtime::Runtime;

use crate::bus::{event, eventually, on_every_cluster};
use crate::support::{self, PATIENCE, unique};

fn codes(bus: &Bus) -> Vec<HealthCode> {
    bus.health().reasons.iter().map(|reason| reason.code).collect()
}

/// Gives up at once, and leaves what follows to the policy.
fn at_once(on_exhausted: OnExhausted) -> Policy {
    Policy { on_exhausted, retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() }, ..Policy::default() }
}

async fn refuse_everything(bus: &Bus, topic: &str, policy: Policy) {
    let refuse = |_| async { Err(HandlerError::retryable("the books do not balance")) };
    bus.subscribe_with(topic, policy, refuse).await.unwrap();
}

async fn memory(change: impl FnOnce(&mut Config)) -> (MemoryBroker, Bus, String) {
    let broker = MemoryBroker::open(&unique("health"));
    let mut config = support::config(&broker.address());
    change(&mut config);
    let group = config.group_id.clone().unwrap();
    (broker, Bus::connect(config).await.unwrap(), group)
}

#[test]
fn a_bus_that_works_is_ready_and_one_that_closes_is_not() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        let handled = Arc::new(AtomicBool::new(false));
        let seen = handled.clone();
        let handler = move |_| {
            seen.store(true, SeqCst);
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(&topic, handler).await.unwrap();
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("the event is handled", || handled.load(SeqCst)).await;
        let health = bus.health();
        assert!(health.live && health.ready && health.connected && health.reasons.is_empty(), "{health:?}");
        assert!(bus.shutdown(PATIENCE).await.clean);
        let health = bus.health();
        assert!(health.live && !health.ready && !health.connected, "{health:?}");
        assert_eq!(codes(&bus), [HealthCode::NotConnected]);
    });
}

#[test]
fn a_halted_partition_makes_a_bus_not_live_and_is_named() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config).await.unwrap();
        refuse_everything(&bus, &topic, at_once(OnExhausted::Halt)).await;
        let receipt = bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("it halts", || !bus.health().live).await;
        let health = bus.health();
        assert!(!health.ready && health.connected, "{health:?}");
        let [halted] = &health.halted_partitions[..] else { panic!("{health:?}") };
        assert_eq!((&*halted.topic, halted.partition, halted.offset), (&*topic, receipt.partition, receipt.offset));
        assert!(halted.reason.contains("the books do not balance"), "{halted:?}");
        assert_eq!(codes(&bus), [HealthCode::PartitionHalted]);
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn dead_letters_that_cannot_be_written_are_told_until_they_are() {
    Runtime::new().unwrap().block_on(async {
        let (broker, bus, _) = memory(|_| ()).await;
        let topic = unique("order.placed");
        let refused = Error::new(ErrorKind::Unavailable, "not now").outcome(PublishOutcome::NotSent);
        broker.fail_publishes(Some(&format!("{topic}.dead-letter")), 2, refused);
        refuse_everything(&bus, &topic, at_once(OnExhausted::DeadLetter)).await;
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("it is told", || codes(&bus) == [HealthCode::DeadLetterFailed]).await;
        let health = bus.health();
        assert!(health.live && health.ready, "the rest goes on: {health:?}");
        assert_eq!(health.dead_letters_pending, 1);
        assert!(health.reasons[0].message.contains("not now"), "{health:?}");
        assert_eq!(health.last_error.map(|error| error.kind()), Some(ErrorKind::Unavailable));
        eventually("it is written", || bus.metrics().consume.dead_lettered == 1).await;
        eventually("health is back", || bus.health().reasons.is_empty()).await;
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn dead_letters_that_too_few_replicas_would_store_are_told_until_they_are() {
    const NOT_ENOUGH_REPLICAS: i32 = 19;
    let broker = support::mock();
    let mut config = support::config(broker.bootstrap());
    config.publish_timeout = Duration::from_secs(1);
    let topic = unique("order.placed");
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect(config).await.unwrap();
        // The topic of the letters is there already: its first record is stored.
        let letters = format!("{topic}.dead-letter");
        bus.publish(&event(&letters, 1, 0)).await.unwrap();
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        broker.push_request_errors(Request::Produce, &[NOT_ENOUGH_REPLICAS; 12]);
        refuse_everything(&bus, &topic, at_once(OnExhausted::DeadLetter)).await;
        eventually("it is told", || codes(&bus).contains(&HealthCode::DeadLetterFailed)).await;
        assert!(bus.health().live, "{:?}", bus.health());
        eventually("it is written", || bus.metrics().consume.dead_lettered == 1).await;
        eventually("health is back", || bus.health().ready && bus.health().reasons.is_empty()).await;
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_dead_letter_that_a_real_kafka_refuses_for_good_halts_its_partition() {
    let brokers = support::real_brokers();
    let config = support::config(&brokers);
    let topic = unique("order.placed");
    let letters = format!("{topic}.dead-letter");
    support::create_topic(&config, &topic, 1);
    support::create_topic_taking(&config, &letters, 70);
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect(config).await.unwrap();
        refuse_everything(&bus, &topic, at_once(OnExhausted::DeadLetter)).await;
        bus.publish(&event(&topic, 1, 1)).await.unwrap();
        eventually("it halts", || !bus.health().live).await;
        let health = bus.health();
        assert_eq!(codes(&bus), [HealthCode::PartitionHalted], "{health:?}");
        assert_eq!((&*health.halted_partitions[0].topic, health.halted_partitions[0].offset), (&*topic, 0));
        assert!(health.halted_partitions[0].reason.contains("its dead letter was refused"), "{health:?}");
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn an_outage_makes_a_bus_unready_and_leaves_it_live() {
    Runtime::new().unwrap().block_on(async {
        let (broker, bus, _) = memory(|_| ()).await;
        broker.set_reachable(false);
        eventually("the outage is told", || codes(&bus) == [HealthCode::ConnectionLost]).await;
        let health = bus.health();
        assert!(health.live && !health.ready && !health.connected, "a restart would not help: {health:?}");
        broker.set_reachable(true);
        eventually("it is over", || bus.health().ready).await;
        bus.shutdown(PATIENCE).await;
    });
}

#[test]
fn clients_that_end_are_told_until_others_take_their_place() {
    Runtime::new().unwrap().block_on(async {
        let (broker, bus, group) = memory(|_| ()).await;
        let topic = unique("order.placed");
        bus.subscribe(&topic, |_| async { Ok::<_, HandlerError>(()) }).await.unwrap();
        let fatal = Error::new(ErrorKind::Internal, "the state of the client is gone");
        // The second client lives so short that the third one has to wait.
        for rebuilt in 1..=2 {
            broker.fail_consumers(&group, fatal.clone());
            if rebuilt == 2 {
                eventually("it is told", || codes(&bus) == [HealthCode::ClientFatal]).await;
                let health = bus.health();
                assert!(health.live && !health.ready, "{health:?}");
            }
            eventually("another client", || bus.metrics().clients_rebuilt == rebuilt).await;
        }
        eventually("health is back", || bus.health().ready).await;
        broker.fail_consumers(&group, Error::new(ErrorKind::Fenced, "somebody else has this name"));
        eventually("it is told", || !bus.health().live).await;
        let health = bus.health();
        assert!(health.reasons[0].message.contains("somebody else has this name"), "{health:?}");
        assert_eq!(health.reasons[0].code, HealthCode::ConsumerFailed);
        bus.shutdown(PATIENCE).await;
    });
}
