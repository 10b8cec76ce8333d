//! A broker that the controller has fenced, say after it stood still, tells clients for a moment that there is none.

mod proxy;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::{Bus, Delivery, HandlerError};
use tokio::runtime::Runtime;

use self::proxy::Proxy;
use crate::bus::{event, eventually};
use crate::support::{self, Cluster, unique};

const ROUNDS: usize = 6;

#[test]
fn a_bus_goes_on_after_answers_without_a_broker() {
    let topic = unique("order.placed");
    let cluster = Cluster::with_topic(&topic, 1);
    let proxy = Proxy::start(&cluster.bootstrap, &topic);
    let mut config = support::config(&proxy.bootstrap);
    config.set("kafka.topic.metadata.refresh.interval.ms", "200").expect("a property of librdkafka");
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect(config).await.unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let handled = seen.clone();
        bus.subscribe(&topic, move |delivery: Delivery| {
            handled.lock().unwrap().push(delivery.event().expect("an event").event_id().to_string());
            async { Ok::<_, HandlerError>(()) }
        })
        .await
        .unwrap();
        // Now and then librdkafka begins anew by itself, so one round would prove little.
        for round in 0..ROUNDS {
            let event = event(&topic, 1, round);
            bus.publish(&event).await.unwrap();
            let id = event.event_id().to_string();
            eventually("the event is handled", || seen.lock().unwrap().contains(&id)).await;
            let answers = proxy.answers();
            proxy.fence(true);
            eventually("answers without a broker", || proxy.answers() > answers + 4).await;
            proxy.fence(false);
        }
        eventually("the connection is back", || bus.is_connected()).await;
        assert!(bus.shutdown(Duration::from_secs(10)).await.clean);
    });
}
