//! Publishes and handles events on a Kafka inside this process: `cargo run --example quickstart`.

use std::error::Error;
use std::time::Duration;

use event_bus::testing::{TestBroker, TestBrokerOptions};
use event_bus::{Bus, Config, Event, HandlerError};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;

const ORDERS: u32 = 100;

#[derive(Serialize)]
struct OrderPlaced<'a> {
    customer: &'a str,
    cents: u64,
}

/// A consumer has its own view of a payload: it names what it needs.
#[derive(Deserialize)]
struct Amount {
    cents: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topics = vec![("order.placed".to_owned(), 4)];
    let broker = TestBroker::start(TestBrokerOptions { topics, ..Default::default() })?;

    // With a Kafka of yours: its addresses instead of the broker's.
    let mut config = Config::new("quickstart", broker.bootstrap().split(','));
    config.group_id = Some("billing".into());
    let bus = Bus::connect(config).await?;

    let (bill, mut bills) = mpsc::unbounded_channel();
    bus.subscribe("order.placed", move |delivery| {
        let bill = bill.clone();
        async move {
            // An error would be logged and counted; the events behind it go on.
            let order: Amount = delivery.payload()?;
            bill.send((delivery.event()?.event_id().to_owned(), order.cents))?;
            Ok::<_, HandlerError>(())
        }
    })
    .await?;

    let mut published = 0;
    for number in 1..=ORDERS {
        let order = OrderPlaced { customer: "Ada", cents: 995 * u64::from(number) };
        // Resolves when all in-sync replicas have stored it. The order's id is the key: its events keep their order.
        bus.publish(&Event::new("order.placed", format!("order-{number}"), &order)?).await?;
        published += order.cents;
    }

    // At least once: a second delivery has the same event id.
    let mut billed = std::collections::HashMap::new();
    while billed.len() < ORDERS as usize {
        let next = timeout(Duration::from_secs(30), bills.recv()).await;
        let (event_id, cents) = next.map_err(|_| "an order was not handled within 30 s")?.ok_or("the bus has ended")?;
        billed.insert(event_id, cents);
    }

    let report = bus.shutdown(Duration::from_secs(10)).await;
    let handled = billed.len();
    let billed: u64 = billed.values().sum();
    summary(&format!("{ORDERS} orders of {published} cents published, {handled} of {billed} cents handled"))?;
    summary(&format!("ended in order: {}", report.clean))?;
    if billed == published && report.clean { Ok(()) } else { Err("some events went missing".into()) }
}

fn summary(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
