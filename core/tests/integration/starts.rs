//! Where a group starts, what it says when its offset is gone, and how it reads on from another one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event_bus::{Bus, Config, Delivery, ErrorKind, HandlerError, MemoryBroker, SeekTo, StartFrom, TopicPartition};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::bus::{Logs, event, eventually, on_every_cluster};
use crate::support::{self, Client, Cluster, Member, unique};

const DEADLINE: Duration = Duration::from_secs(10);

/// The numbers of the events that were handled, in their order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u64>>>);

impl Seen {
    async fn subscribe(&self, bus: &Bus, topic: &str) {
        let seen = self.0.clone();
        let handler = move |delivery: Delivery| {
            let payload: Value = delivery.payload().unwrap();
            seen.lock().unwrap().push(payload["number"].as_u64().unwrap());
            async { Ok::<_, HandlerError>(()) }
        };
        bus.subscribe(topic, handler).await.unwrap();
    }

    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, count: usize) -> Vec<u64> {
        eventually(&format!("{count} events"), || self.all().len() >= count).await;
        self.all()
    }
}

/// Publishes events of one aggregate, and gives the partition where they lie.
async fn publish(bus: &Bus, topic: &str, numbers: std::ops::Range<usize>) -> i32 {
    let mut partitions = BTreeSet::new();
    for number in numbers {
        partitions.insert(bus.publish(&event(topic, 1, number)).await.unwrap().partition);
    }
    assert_eq!(partitions.len(), 1, "one aggregate, one partition");
    partitions.into_iter().next().unwrap()
}

/// The mock cluster finds no offset by its time.
fn finds_times(config: &Config) -> bool {
    let real = std::env::var("EVBUS_TEST_BROKERS").unwrap_or_default();
    config.brokers.iter().any(|broker| broker.starts_with("memory:") || real.split(',').any(|other| other == broker))
}

/// The group owns the partition and knows how far it is behind, whether or not anything was received.
async fn owned(bus: &Bus, partition: i32) {
    let lags = || bus.metrics().consume.lag;
    eventually("the lag of the partition is known", || lags().iter().any(|lag| lag.partition == partition)).await;
}

fn group(config: &Config, name: &str, from: StartFrom) -> Config {
    let mut config = config.clone();
    config.group_id = Some(name.to_owned());
    config.policy.from = from;
    config
}

#[test]
fn a_group_from_the_latest_misses_nothing_after_its_start() {
    on_every_cluster(|config| async move {
        let (topic, name) = (unique("order.placed"), unique("latest"));
        let publisher = Bus::connect(config.clone()).await.unwrap();
        let partition = publish(&publisher, &topic, 0..5).await;

        let config = group(&config, &name, StartFrom::Latest);
        let bus = Bus::connect(config.clone()).await.unwrap();
        let seen = Seen::default();
        seen.subscribe(&bus, &topic).await;
        owned(&bus, partition).await;
        assert!(bus.shutdown(DEADLINE).await.clean);
        assert!(seen.all().is_empty());

        // The start is where the group was then, not where the log ends when a member comes back.
        publish(&publisher, &topic, 5..8).await;
        let bus = Bus::connect(config).await.unwrap();
        seen.subscribe(&bus, &topic).await;
        assert_eq!(seen.until(3).await, [5, 6, 7]);
        bus.shutdown(DEADLINE).await;
        publisher.shutdown(DEADLINE).await;
    });
}

#[test]
fn a_group_from_a_time_starts_at_the_first_event_since() {
    on_every_cluster(|config| async move {
        if !finds_times(&config) {
            return;
        }
        let (topic, name) = (unique("order.placed"), unique("since"));
        let bus = Bus::connect(config.clone()).await.unwrap();
        publish(&bus, &topic, 0..5).await;
        let millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let since = millis() + 1;
        eventually("time passes", || millis() >= since).await;
        let partition = publish(&bus, &topic, 5..8).await;
        bus.shutdown(DEADLINE).await;

        let bus = Bus::connect(group(&config, &name, StartFrom::Timestamp(since))).await.unwrap();
        let seen = Seen::default();
        seen.subscribe(&bus, &topic).await;
        assert_eq!(seen.until(3).await, [5, 6, 7]);
        bus.shutdown(DEADLINE).await;

        let late = group(&config, &unique("since"), StartFrom::Timestamp(millis() + 3_600_000));
        let (bus, seen) = (Bus::connect(late).await.unwrap(), Seen::default());
        seen.subscribe(&bus, &topic).await;
        owned(&bus, partition).await;
        publish(&bus, &topic, 8..9).await;
        assert_eq!(seen.until(1).await, [8], "nothing is as late as that: behind the newest");
        bus.shutdown(DEADLINE).await;
    });
}

#[test]
fn an_offset_behind_the_end_of_the_log_is_reset_and_told() {
    let cluster = Cluster::any();
    let config = support::config(&cluster.bootstrap);
    let topic = unique("order.placed");
    let (logs, seen) = (Arc::new(Logs::default()), Seen::default());
    let runtime = Runtime::new().unwrap();
    let partition = runtime.block_on(async {
        let bus = Bus::connect(config.clone()).await.unwrap();
        let partition = publish(&bus, &topic, 0..3).await;
        bus.shutdown(DEADLINE).await;
        partition
    });
    let source = TopicPartition::new(topic.as_str(), partition);
    let client = Client::connected(&config);
    let mut member = Member::join(&client.transport, &[&topic]);
    member.until("the partition", |member| member.owned.contains(&source));
    member.consumer.offsets().commit(&[(source.clone(), 1000)]).unwrap();
    member.leave();
    runtime.block_on(async {
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        seen.subscribe(&bus, &topic).await;
        assert_eq!(seen.until(3).await, [0, 1, 2]);
        assert_eq!(bus.metrics().consume.offset_resets, 1);
        bus.shutdown(DEADLINE).await;
    });
    reset(&logs, &source, 1000, 0);
}

fn reset(logs: &Logs, source: &TopicPartition, old: i64, new: i64) {
    let told = logs.events("offset_reset");
    assert_eq!(told.len(), 1, "{told:?}");
    let expected: [(&str, Value); 4] = [
        ("topic", (&*source.topic).into()),
        ("partition", source.partition.into()),
        ("old", old.into()),
        ("new", new.into()),
    ];
    assert_eq!(told[0].fields, expected);
}

#[test]
fn an_offset_before_the_log_is_reset_and_told_whether_or_not_the_member_was_away() {
    let broker = MemoryBroker::open(&unique("trimmed"));
    let config = support::config(&broker.address());
    let topic = unique("order.placed");
    let (logs, seen) = (Arc::new(Logs::default()), Seen::default());
    Runtime::new().unwrap().block_on(async {
        let bus = Bus::connect(config.clone()).await.unwrap();
        let first = Seen::default();
        first.subscribe(&bus, &topic).await;
        let partition = publish(&bus, &topic, 0..2).await;
        first.until(2).await;
        bus.shutdown(DEADLINE).await;
        let source = TopicPartition::new(topic.as_str(), partition);
        assert_eq!(broker.committed(config.group_id.as_deref().unwrap(), &source), Some(2));

        let publisher = Bus::connect(config.clone()).await.unwrap();
        broker.set_retention(1000);
        publish(&publisher, &topic, 2..50).await;
        let kept = broker.start_offset(&source).unwrap();
        assert!(kept > 2);
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        seen.subscribe(&bus, &topic).await;
        assert_eq!(seen.until(50 - kept as usize).await, (kept as u64..50).collect::<Vec<_>>());
        reset(&logs, &source, 2, kept);
        bus.shutdown(DEADLINE).await;
        publisher.shutdown(DEADLINE).await;
    });
}

#[test]
fn a_sought_partition_is_read_from_there_and_committed_behind_it() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config.clone()).await.unwrap();
        let seen = Seen::default();
        let partition = publish(&bus, &topic, 0..10).await;
        let refused = bus.seek(&topic, partition, SeekTo::Beginning).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IllegalState, "not subscribed");
        seen.subscribe(&bus, &topic).await;
        seen.until(10).await;

        bus.seek(&topic, partition, SeekTo::Beginning).await.unwrap();
        assert_eq!(seen.until(20).await[10..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        bus.seek(&topic, partition, SeekTo::Offset(7)).await.unwrap();
        assert_eq!(seen.until(23).await[20..], [7, 8, 9]);
        let start = if finds_times(&config) { SeekTo::Timestamp(0) } else { SeekTo::Beginning };
        bus.seek(&topic, partition, start).await.unwrap();
        assert_eq!(seen.until(33).await[23..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        bus.seek(&topic, partition, SeekTo::End).await.unwrap();
        publish(&bus, &topic, 10..12).await;
        assert_eq!(seen.until(35).await[33..], [10, 11]);

        let error = bus.seek(&topic, partition, SeekTo::Offset(-1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        let error = bus.seek(&topic, 1_000, SeekTo::End).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        assert_eq!(error.context("partition"), Some("1000"));
        assert!(bus.shutdown(DEADLINE).await.clean);
        assert_eq!(bus.seek(&topic, partition, SeekTo::End).await.unwrap_err().kind(), ErrorKind::Closed);

        let bus = Bus::connect(config).await.unwrap();
        let again = Seen::default();
        again.subscribe(&bus, &topic).await;
        publish(&bus, &topic, 12..13).await;
        assert_eq!(again.until(1).await, [12], "the group goes on behind what was handled last");
        bus.shutdown(DEADLINE).await;
    });
}

#[test]
fn a_seek_to_where_nothing_is_goes_to_the_oldest_event_and_tells() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let logs = Arc::new(Logs::default());
        let bus = Bus::connect_observed(config, Some(logs.clone()), || false).await.unwrap();
        let seen = Seen::default();
        seen.subscribe(&bus, &topic).await;
        let partition = publish(&bus, &topic, 0..3).await;
        seen.until(3).await;
        bus.seek(&topic, partition, SeekTo::Offset(1_000_000)).await.unwrap();
        assert_eq!(seen.until(6).await[3..], [0, 1, 2]);
        reset(&logs, &TopicPartition::new(topic.as_str(), partition), 1_000_000, 0);
        bus.shutdown(DEADLINE).await;
    });
}

#[test]
fn an_answer_from_before_a_seek_counts_no_more() {
    on_every_cluster(|config| async move {
        let topic = unique("order.placed");
        let bus = Bus::connect(config.clone()).await.unwrap();
        let seen = Seen::default();
        let (running, release) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Semaphore::new(0)));
        let handler = {
            let (seen, running, release) = (seen.clone(), running.clone(), release.clone());
            move |delivery: Delivery| {
                let payload: Value = delivery.payload().unwrap();
                let number = payload["number"].as_u64().unwrap();
                let (seen, running, release) = (seen.clone(), running.clone(), release.clone());
                async move {
                    if !running.swap(true, Ordering::SeqCst) {
                        let _held = release.acquire().await;
                    }
                    seen.0.lock().unwrap().push(number);
                    Ok::<_, HandlerError>(())
                }
            }
        };
        bus.subscribe(&topic, handler).await.unwrap();
        let partition = publish(&bus, &topic, 0..4).await;
        eventually("the first event is being handled", || running.load(Ordering::SeqCst)).await;
        bus.seek(&topic, partition, SeekTo::Offset(2)).await.unwrap();
        assert_eq!(seen.until(2).await, [2, 3]);
        // The call from before gives up, or its answer comes too late.
        release.add_permits(1);
        assert!(bus.shutdown(DEADLINE).await.clean);
        let bus = Bus::connect(config).await.unwrap();
        seen.subscribe(&bus, &topic).await;
        publish(&bus, &topic, 4..5).await;
        eventually("the next event", || seen.all().contains(&4)).await;
        let since: Vec<u64> = seen.all().into_iter().filter(|number| *number != 0).collect();
        assert_eq!(since, [2, 3, 4], "committed behind what was sought, and nothing else");
        bus.shutdown(DEADLINE).await;
    });
}

#[test]
fn a_static_member_is_one_bus_of_a_process_at_a_time() {
    let cluster = Cluster::any();
    let mut config = support::config(&cluster.bootstrap);
    config.group_instance_id = Some("one".into());
    let topic = unique("order.placed");
    Runtime::new().unwrap().block_on(async {
        let (first, second) =
            (Bus::connect(config.clone()).await.unwrap(), Bus::connect(config.clone()).await.unwrap());
        let seen = Seen::default();
        seen.subscribe(&first, &topic).await;
        publish(&second, &topic, 0..2).await;
        seen.until(2).await;
        let refused = second.subscribe(&topic, |_| async { Ok::<_, HandlerError>(()) }).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IllegalState, "{refused}");
        assert_eq!(refused.context("groupInstanceId"), Some("one"));
        first.shutdown(DEADLINE).await;
        seen.subscribe(&second, &topic).await;
        publish(&second, &topic, 2..3).await;
        assert_eq!(seen.until(3).await, [0, 1, 2]);
        second.shutdown(DEADLINE).await;
    });
}
