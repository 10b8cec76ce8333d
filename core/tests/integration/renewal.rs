//! Clients that give up for good, and the bus that goes on.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use event_bus::{Bus, Delivery, ErrorKind, HandlerError, KafkaTransport, Log, PublishOutcome, Transport};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::bus::{Logs, event, eventually};
use crate::support::{self, Cluster, unique};

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn publishing_and_consuming_go_on_after_a_fatal_error() {
    let cluster = Cluster::any();
    let mut config = support::config(&cluster.bootstrap);
    config.commit_interval = Duration::from_millis(100);
    let (topic, logs) = (unique("order.placed"), Arc::new(Logs::default()));
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect_observed(config.clone(), Some(logs.clone()), || false).await.unwrap();
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let handled = seen.clone();
        let handler = move |delivery: Delivery| {
            let payload: Value = delivery.payload().unwrap();
            handled.lock().unwrap().push(payload["number"].as_u64().unwrap());
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(&topic, handler).await.unwrap();
        let mut number = 0;
        for round in 1..=2 {
            for _ in 0..20 {
                bus.publish(&event(&topic, 1, number)).await.unwrap();
                number += 1;
            }
            let published = number as u64;
            eventually("the events are handled", || seen.lock().unwrap().contains(&(published - 1))).await;
            bus.provoke_fatal_errors();
            // Both have a second client; the third one has to wait a second.
            eventually("new clients", || logs.events("client_rebuilt").len() == 2 * round).await;
        }
        bus.publish(&event(&topic, 1, number)).await.unwrap();
        eventually("the last event is handled", || seen.lock().unwrap().contains(&(number as u64))).await;
        assert_eq!(bus.metrics().clients_rebuilt, 4);
        let mut first = Vec::new();
        for number in seen.lock().unwrap().iter() {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        assert_eq!(
            first,
            (0..=number as u64).collect::<Vec<_>>(),
            "nothing is lost, and first deliveries are in order"
        );
        let clients: Vec<_> = logs.events("client_rebuilt").iter().map(|record| record.fields[0].1.clone()).collect();
        assert_eq!(clients.iter().filter(|client| **client == "producer").count(), 2, "{clients:?}");
        assert!(bus.is_connected());
        assert!(bus.shutdown(DEADLINE).await.clean);

        let bus = Bus::connect(config).await.unwrap();
        let again: Arc<Mutex<u64>> = Arc::default();
        let counted = again.clone();
        bus.subscribe(&topic, move |_| {
            *counted.lock().unwrap() += 1;
            async { Ok::<_, HandlerError>(()) }
        })
        .await
        .unwrap();
        bus.publish(&event(&topic, 1, number + 1)).await.unwrap();
        eventually("the next event", || *again.lock().unwrap() > 0).await;
        bus.shutdown(DEADLINE).await;
        assert_eq!(*again.lock().unwrap(), 1, "the new client committed");
    });
}

#[test]
fn what_was_queued_was_not_sent_and_what_was_in_flight_is_unknown() {
    let broker = support::mock();
    let config = support::config(broker.bootstrap());
    let topic = unique("order.placed");
    broker.create_topic(&topic, 1).unwrap();
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect(config).await.unwrap();
        bus.publish(&event(&topic, 1, 0)).await.unwrap();
        broker.broker_down(1).unwrap();
        eventually("the broker is away", || !bus.is_connected()).await;
        let ended = |count: u64| bus.metrics().clients_rebuilt == count;
        let queued = async {
            let event = event(&topic, 1, 1);
            let publish = bus.publish(&event);
            let end = async {
                eventually("the event is queued", || bus.metrics().publish.in_flight == 1).await;
                bus.provoke_fatal_errors();
            };
            tokio::join!(publish, end).0
        };
        let error = queued.await.unwrap_err();
        assert_eq!(error.publish_outcome(), Some(PublishOutcome::NotSent), "{error}");
        broker.broker_up(1).unwrap();
        eventually("a new client", || ended(1)).await;
        bus.publish(&event(&topic, 1, 2)).await.unwrap();

        // A request may leave a moment later than the event is counted, so more than one try may be needed.
        broker.round_trip_time(1, Duration::from_secs(5)).unwrap();
        let mut outcomes = Vec::new();
        for attempt in 2..=4 {
            let since = Instant::now() + Duration::from_millis(200);
            let end = async {
                eventually("the event is on its way", || Instant::now() >= since).await;
                bus.provoke_fatal_errors();
            };
            let event = event(&topic, 1, 3);
            let (published, ()) = tokio::join!(bus.publish(&event), end);
            let outcome = published.unwrap_err().publish_outcome().unwrap();
            outcomes.push(outcome);
            if outcome == PublishOutcome::Unknown {
                break;
            }
            eventually("a new client", || ended(attempt)).await;
        }
        assert_eq!(outcomes.last(), Some(&PublishOutcome::Unknown), "{outcomes:?}");
        broker.round_trip_time(1, Duration::ZERO).unwrap();
        let published = bus.publish(&event(&topic, 1, 4)).await;
        let kinds = published.map_err(|error| error.kind());
        assert!(kinds.is_ok() || kinds == Err(ErrorKind::Internal), "a client that ended too soon says why: {kinds:?}");
        bus.shutdown(DEADLINE).await;
    });
}

#[test]
fn a_consumer_that_gave_up_leaves_no_thread_behind() {
    let broker = support::mock();
    let topic = unique("order.placed");
    broker.create_topic(&topic, 1).unwrap();
    let config = support::config(broker.bootstrap());
    let transport = KafkaTransport::new(&config, Log::new(None)).unwrap();
    let mut consumer = transport.consumer(Arc::new(|| ())).unwrap();
    consumer.subscribe(&[topic.as_str().into()]).unwrap();
    consumer.provoke_fatal_error();
    let (told, closed) = mpsc::channel();
    std::thread::spawn(move || {
        // Waits for the client's threads.
        consumer.close();
        told.send(()).unwrap();
    });
    closed.recv_timeout(DEADLINE).expect("the client ends");
    transport.close();
}
