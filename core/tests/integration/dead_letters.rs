//! Dead letters: listed, shown and replayed, in memory, on the mock cluster and on a real Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use event_bus::testing::{TestBroker, TestBrokerOptions};
use event_bus::{
    Bus, Config, DeadLetterFilter, DeadLetterReason, ErrorKind, Found, Headers, HeadersBuf, KafkaTransport, Log,
    MemoryBroker, MemoryTransport, OnInvalid, RawRecord, Record, ReplayOptions, SkipReason, Transport,
};
use tokio::runtime::Runtime;

use crate::support::{self, PATIENCE, packed, soon, unique};

const PARTITIONS: i32 = 3;

/// A bus with an event type and its dead-letter topic, both with three partitions.
struct World {
    cluster: String,
    bus: Bus,
    config: Config,
    event_type: String,
    letters: String,
}

/// Runs a scenario on every cluster and says on which one it failed.
fn on_every_cluster<F: Future<Output = ()>>(scenario: impl Fn(World) -> F) {
    let runtime = Runtime::new().unwrap();
    let run = |name: &str, brokers: &str, create: &dyn Fn(&Config, &str)| {
        let event_type = unique("order.placed");
        let letters = format!("{event_type}.dead-letter");
        let config = support::config(brokers);
        for topic in [&event_type, &letters] {
            create(&config, topic);
        }
        let ended = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let bus = Bus::connect(config.clone()).await.unwrap();
                scenario(World { cluster: name.to_owned(), bus: bus.clone(), config, event_type, letters }).await;
                bus.shutdown(PATIENCE).await;
            });
        }));
        assert!(ended.is_ok(), "failed on {name}");
    };
    let memory = MemoryBroker::open(&unique("dead-letters"));
    run("memory", &memory.address(), &|_, topic| memory.create_topic(topic, PARTITIONS as u32).unwrap());
    let mock = TestBroker::start(TestBrokerOptions::default()).unwrap();
    run("embedded", mock.bootstrap(), &|_, topic| mock.create_topic(topic, PARTITIONS).unwrap());
    if let Ok(brokers) = std::env::var("EVBUS_TEST_BROKERS") {
        run("kafka", &brokers, &|config, topic| support::create_topic(config, topic, PARTITIONS));
    }
}

fn transport(config: &Config) -> Box<dyn Transport> {
    match config.memory_name() {
        Some(name) => Box::new(MemoryTransport::new(config, name)),
        None => Box::new(KafkaTransport::new(config, Log::default()).unwrap()),
    }
}

/// Everything in a topic, by partition and offset.
fn read_all(config: &Config, topic: &str) -> Vec<Record> {
    let cluster = transport(config);
    let mut reader = cluster.reader(&topic.into(), &unique("reader")).unwrap();
    let extents = reader.extents(soon()).unwrap();
    let mut open: BTreeMap<i32, i64> =
        extents.iter().filter(|one| one.start < one.end).map(|one| (one.partition, one.end)).collect();
    reader.read(&open.keys().map(|partition| (*partition, 0)).collect::<Vec<_>>()).unwrap();
    let (mut records, deadline) = (Vec::new(), soon());
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "{open:?} of {topic} were not read");
        match reader.next(Duration::from_millis(100)).unwrap() {
            Found::Record(record) => records.push(record),
            Found::End(partition) => drop(open.remove(&partition)),
            Found::Nothing => {}
        }
    }
    drop(reader);
    cluster.close();
    records.sort_by_key(|record| (record.source.partition, record.offset));
    records
}

struct Letter<'a> {
    partition: i32,
    offset: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    own: HeadersBuf,
    reason: &'a str,
    failed_at: &'a str,
}

impl Default for Letter<'_> {
    fn default() -> Self {
        Letter {
            partition: 1,
            offset: 7,
            key: Some(b"key"),
            value: Some(b"value"),
            own: HeadersBuf::new(),
            reason: "exhausted",
            failed_at: "2026-01-02T03:04:05.678Z",
        }
    }
}

const TIME: i64 = 1_700_000_000_123;

impl World {
    /// Stores a letter as the bus would.
    async fn store(&self, letter: Letter<'_>) -> (i32, i64) {
        let (partition, offset, time) = (letter.partition.to_string(), letter.offset.to_string(), TIME.to_string());
        let mut headers = letter.own;
        let block = [
            ("dead-letter.topic", self.event_type.as_str()),
            ("dead-letter.partition", &partition),
            ("dead-letter.offset", &offset),
            ("dead-letter.timestamp", &time),
            ("dead-letter.group", "billing"),
            ("dead-letter.reason", letter.reason),
            ("dead-letter.handler", "Invoices"),
            ("dead-letter.attempts", "5"),
            ("dead-letter.error-code", "TypeError"),
            ("dead-letter.error-message", "no total"),
            ("dead-letter.last-failed-at", letter.failed_at),
        ];
        for (name, value) in block {
            headers.push(name, Some(value.as_bytes()));
        }
        let record = RawRecord {
            partition: Some(letter.partition),
            timestamp: Some(TIME),
            key: letter.key,
            value: letter.value,
            headers: headers.as_headers(),
            ..RawRecord::new(&self.letters)
        };
        let receipt = self.bus.publish_record(&record).await.unwrap();
        (receipt.partition, receipt.offset)
    }

    async fn store_numbered(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let value = number.to_string();
            let partition = number as i32 % PARTITIONS;
            self.store(Letter { partition, value: Some(value.as_bytes()), ..Letter::default() }).await;
        }
    }

    async fn replay(&self, options: ReplayOptions) -> event_bus::ReplayReport {
        self.bus.dead_letters(&self.event_type).replay(options).await.unwrap()
    }

    fn replayed(&self) -> Vec<Record> {
        read_all(&self.config, &self.event_type)
    }
}

fn header<'a>(headers: Headers<'a>, name: &str) -> &'a str {
    std::str::from_utf8(headers.get(name).unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

/// Of a record.
type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

#[test]
fn letters_are_listed_shown_and_replayed_byte_for_byte() {
    on_every_cluster(|world| async move {
        let all: Vec<u8> = (0..=255).collect();
        let own = packed(&[("a", Some(b"1")), ("b", None), ("a", Some(&all)), ("", Some(b""))]);
        let parts: [KeyAndValue<'_>; 4] =
            [(Some(b"key"), None), (None, Some(&all)), (Some(b""), Some(b"")), (None, None)];
        for (index, (key, value)) in parts.into_iter().enumerate() {
            let letter = Letter { offset: index as i64, key, value, own: own.clone(), ..Letter::default() };
            assert_eq!(world.store(letter).await, (1, index as i64));
        }
        let letters = world.bus.dead_letters(&world.event_type);
        assert_eq!(letters.topic(), world.letters);
        let listed = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
        assert_eq!(listed.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let first = &listed[0];
        assert_eq!((&*first.source_topic, first.source_partition, first.source_offset), (&*world.event_type, 1, 0));
        assert_eq!((first.group.as_deref(), first.reason.as_deref()), (Some("billing"), Some("exhausted")));
        assert_eq!((first.handler.as_deref(), first.attempts), (Some("Invoices"), Some(5)));
        assert_eq!((first.timestamp, first.replays, first.key.as_deref()), (Some(TIME), 0, Some(&b"key"[..])));
        let shown = letters.show(1, 1).await.unwrap();
        assert_eq!((shown.record.key(), shown.record.value()), (None, Some(&*all)));
        assert_eq!((shown.own_headers(), &shown.info), (own.as_headers(), &listed[1]));

        let report = world.replay(ReplayOptions::default()).await;
        assert_eq!((report.read, report.replayed, report.skipped, report.complete), (4, 4, 0, true));
        let replayed = world.replayed();
        assert_eq!(replayed.len(), 4);
        for (index, (record, (key, value))) in replayed.iter().zip(parts).enumerate() {
            assert_eq!((record.key(), record.value(), record.timestamp), (key, value, Some(TIME)), "{index}");
            assert_eq!(record.source.partition, 1);
            let mut expected = own.clone();
            expected.push("dead-letter.replay-id", Some(format!("{}/1/{index}", world.letters).as_bytes()));
            expected.push("dead-letter.replay-count", Some(b"1"));
            assert_eq!(record.headers(), expected.as_headers(), "{index}");
        }
    });
}

#[test]
fn filters_choose_and_what_is_not_there_is_told() {
    on_every_cluster(|world| async move {
        let at = |partition, reason, failed_at| Letter { partition, reason, failed_at, ..Letter::default() };
        world.store(at(0, "exhausted", "2026-01-01T00:00:00.000Z")).await;
        world.store(at(0, "invalid", "2026-01-02T00:00:00.000Z")).await;
        world.store(at(1, "exhausted", "2026-01-03T00:00:00.000Z")).await;
        world.store(Letter { key: Some(b"other"), ..at(2, "fatal", "2026-01-04T00:00:00.000Z") }).await;
        // Somebody's record, and a letter of another type.
        world.bus.publish_record(&RawRecord::new(&world.letters)).await.unwrap();
        let letters = world.bus.dead_letters(&world.event_type);
        let third = 1_767_398_400_000;
        let list = async |filter, limit| -> Vec<(i32, i64)> {
            let found = letters.list(&filter, limit).await.unwrap();
            found.iter().map(|letter| (letter.partition, letter.offset)).collect()
        };
        let all = DeadLetterFilter::default;
        assert_eq!(list(all(), 10).await, [(0, 0), (0, 1), (1, 0), (2, 0)]);
        assert_eq!(list(all(), 2).await, [(0, 0), (0, 1)]);
        let reasons = vec![DeadLetterReason::Invalid, DeadLetterReason::Fatal];
        assert_eq!(list(DeadLetterFilter { reasons, ..all() }, 10).await, [(0, 1), (2, 0)]);
        assert_eq!(list(DeadLetterFilter { since: Some(third), ..all() }, 10).await, [(1, 0), (2, 0)]);
        assert_eq!(list(DeadLetterFilter { until: Some(third), ..all() }, 10).await, [(0, 0), (0, 1)]);
        assert_eq!(list(DeadLetterFilter { key: Some(b"other".to_vec()), ..all() }, 10).await, [(2, 0)]);
        assert_eq!(list(DeadLetterFilter { partition: Some(0), offset: Some(1), ..all() }, 10).await, [(0, 1)]);
        let illegal = letters.list(&DeadLetterFilter { offset: Some(1), ..all() }, 10).await.unwrap_err();
        assert_eq!(illegal.kind(), ErrorKind::Argument);
        assert_eq!(letters.show(0, 99).await.unwrap_err().kind(), ErrorKind::Argument);
        let missing = world.bus.dead_letters(&unique("nothing")).list(&all(), 1).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::UnknownTopic, "{missing}");
        let elsewhere = world.bus.dead_letters(&unique("other")).stored_in(&world.letters);
        assert_eq!(elsewhere.list(&all(), 10).await.unwrap(), []);
    });
}

#[test]
fn a_replay_goes_on_where_the_last_one_ended() {
    on_every_cluster(|world| async move {
        world.store_numbered(0..10).await;
        let options = ReplayOptions { dry_run: true, ..ReplayOptions::default() };
        let dry = world.replay(options).await;
        assert_eq!((dry.replayed, dry.dry_run), (10, true));
        assert_eq!(world.replayed().len(), 0);

        let limited = world.replay(ReplayOptions { limit: Some(4), ..ReplayOptions::default() }).await;
        assert_eq!((limited.replayed, limited.complete), (4, false));
        let rest = world.replay(ReplayOptions::default()).await;
        assert_eq!((rest.replayed, rest.complete), (6, true));
        assert_eq!(world.replay(ReplayOptions::default()).await.replayed, 0);
        world.store_numbered(10..12).await;
        assert_eq!(world.replay(ReplayOptions::default()).await.replayed, 2);
        let values: BTreeSet<_> = world.replayed().iter().map(|record| record.value().unwrap().to_vec()).collect();
        assert_eq!((values.len(), world.replayed().len()), (12, 12));

        // Another filter has its own way, and one for a place always replays.
        let filter = DeadLetterFilter { reasons: vec![DeadLetterReason::Exhausted], ..Default::default() };
        assert_eq!(world.replay(ReplayOptions { filter, ..Default::default() }).await.replayed, 12);
        for _ in 0..2 {
            let filter = DeadLetterFilter { partition: Some(1), offset: Some(0), ..Default::default() };
            assert_eq!(world.replay(ReplayOptions { filter, ..Default::default() }).await.replayed, 1);
        }
    });
}

#[test]
fn what_was_replayed_too_often_or_lost_its_record_is_skipped_and_reported() {
    on_every_cluster(|world| async move {
        let replayed = |count: &'static str| {
            packed(&[
                ("dead-letter.replay-id", Some(b"t/0/1")),
                ("own", Some(b"x")),
                ("dead-letter.replay-count", Some(count.as_bytes())),
            ])
        };
        world.store(Letter { own: replayed("2"), ..Letter::default() }).await;
        world.store(Letter { own: replayed("3"), ..Letter::default() }).await;
        let reduced = [
            ("dead-letter.topic", world.event_type.as_bytes()),
            ("dead-letter.partition", b"0"),
            ("dead-letter.offset", b"5"),
            ("dead-letter.reduced", b"EVBUS_TOO_LARGE"),
        ];
        let headers = packed(&reduced.map(|(name, value)| (name, Some(value))));
        let record = RawRecord { partition: Some(2), headers: headers.as_headers(), ..RawRecord::new(&world.letters) };
        world.bus.publish_record(&record).await.unwrap();
        let report = world.replay(ReplayOptions::default()).await;
        assert_eq!((report.replayed, report.skipped), (1, 2));
        let mut skipped = report.skipped_letters;
        skipped.sort_by_key(|letter| letter.partition);
        assert_eq!((skipped[0].partition, skipped[0].offset, skipped[0].replays), (1, 1, 3));
        assert_eq!((&skipped[0].reason, &skipped[1].reason), (&SkipReason::MaxReplays, &SkipReason::Reduced));
        let records = world.replayed();
        assert_eq!(header(records[0].headers(), "dead-letter.replay-count"), "3");
        assert_eq!(records[0].headers().iter().count(), 3);
        let filter = DeadLetterFilter { partition: Some(1), offset: Some(1), ..Default::default() };
        let more = ReplayOptions { filter, max_replays: 4, ..Default::default() };
        assert_eq!(world.replay(more).await.replayed, 1);
    });
}

#[test]
fn a_replay_that_was_stopped_half_way_loses_nothing() {
    const LETTERS: usize = 60;
    on_every_cluster(|world| async move {
        world.store_numbered(0..LETTERS).await;
        let slow = ReplayOptions { rate: Some(40.0), ..ReplayOptions::default() };
        let first = world.bus.dead_letters(&world.event_type);
        let dropped = tokio::time::timeout(Duration::from_millis(500), first.replay(slow)).await;
        assert!(dropped.is_err(), "60 letters at 40 a second take longer");
        let bus = Bus::connect(world.config.clone()).await.unwrap();
        let report = bus.dead_letters(&world.event_type).replay(ReplayOptions::default()).await.unwrap();
        assert!(report.complete);
        bus.shutdown(PATIENCE).await;
        let records = world.replayed();
        let mut by_id: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for record in &records {
            let id = header(record.headers(), "dead-letter.replay-id").to_owned();
            by_id.entry(id).or_default().insert(record.value().unwrap().to_vec());
        }
        assert_eq!(by_id.len(), LETTERS);
        assert!(by_id.values().all(|values| values.len() == 1), "an id names one letter");
        assert!(records.len() <= LETTERS + 100, "{} records", records.len());
    });
}

#[test]
fn a_rate_is_kept_and_nonsense_refused() {
    on_every_cluster(|world| async move {
        world.store_numbered(0..6).await;
        let letters = world.bus.dead_letters(&world.event_type);
        for rate in [0.0, -1.0, f64::NAN] {
            let refused = letters.replay(ReplayOptions { rate: Some(rate), ..Default::default() }).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Argument, "{rate}");
        }
        let started = Instant::now();
        let report = world.replay(ReplayOptions { rate: Some(20.0), ..Default::default() }).await;
        assert_eq!(report.replayed, 6);
        assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    });
}

#[test]
fn nothing_is_forgotten_when_a_publish_fails() {
    let runtime = Runtime::new().unwrap();
    let broker = MemoryBroker::open(&unique("replay"));
    let event_type = unique("order.placed");
    let letters = format!("{event_type}.dead-letter");
    for topic in [&event_type, &letters] {
        broker.create_topic(topic, PARTITIONS as u32).unwrap();
    }
    let config = support::config(&broker.address());
    runtime.block_on(async {
        let bus = Bus::connect(config.clone()).await.unwrap();
        let world = World { cluster: "memory".into(), bus, config, event_type, letters };
        world.store_numbered(0..9).await;
        let timeout = event_bus::Error::new(ErrorKind::Timeout, "too late");
        broker.fail_publishes(Some(&world.event_type), 1, timeout);
        let error = world.bus.dead_letters(&world.event_type).replay(ReplayOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.context("replayed")), (ErrorKind::Timeout, Some("8")));
        let forbidden = event_bus::Error::new(ErrorKind::Rejected, "not allowed");
        broker.fail_publishes(Some(&world.event_type), 1, forbidden);
        let report = world.replay(ReplayOptions::default()).await;
        assert_eq!((report.skipped, report.complete), (1, true));
        let SkipReason::Refused { code, .. } = &report.skipped_letters[0].reason else { panic!("{report:?}") };
        assert_eq!(code, "EVBUS_REJECTED");
        let ids: BTreeSet<_> = world
            .replayed()
            .iter()
            .map(|record| header(record.headers(), "dead-letter.replay-id").to_owned())
            .collect();
        assert_eq!(ids.len(), 8);
        let report = world.bus.shutdown(PATIENCE).await;
        assert!(report.clean);
        let closed = world.bus.dead_letters(&world.event_type).list(&DeadLetterFilter::default(), 1).await;
        assert_eq!(closed.unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_dead_letter_topic_is_like_the_one_that_it_belongs_to() {
    let brokers = support::real_brokers();
    let config = support::config(&brokers);
    let (source, letters) = (unique("order.placed"), unique("order.placed.dead-letter"));
    support::create_topic(&config, &source, PARTITIONS);
    let cluster = transport(&config);
    for _ in 0..2 {
        let partitions = cluster.ensure_topic_like(&letters.as_str().into(), &source.as_str().into(), soon());
        assert_eq!(partitions.unwrap(), PARTITIONS as u32);
    }
    let setting = |name| support::topic_setting(&config, &letters, name);
    assert_eq!(setting("retention.ms").as_deref(), Some("-1"));
    assert_eq!(setting("cleanup.policy").as_deref(), Some("delete"));
    let room = config.message_max_bytes * 3 / 2;
    assert_eq!(setting("max.message.bytes"), Some(room.to_string()));
    cluster.close();

    let mut careful = config.clone();
    careful.auto_create_topics = false;
    let cluster = transport(&careful);
    let missing = unique("missing");
    let refused = cluster.ensure_topic_like(&missing.as_str().into(), &source.as_str().into(), soon()).unwrap_err();
    assert_eq!((refused.kind(), refused.context("topic")), (ErrorKind::UnknownTopic, Some(missing.as_str())));
    let gone = cluster.partitions(&missing.as_str().into(), soon()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::UnknownTopic, "asking creates nothing");
    cluster.close();
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_record_that_is_handed_on_may_have_grown_by_half_on_a_real_broker() {
    let brokers = support::real_brokers();
    let config = support::config(&brokers);
    let (source, letters) = (unique("large"), unique("large.dead-letter"));
    support::create_topic(&config, &source, 1);
    let client = support::Client::connected(&config);
    client.transport.ensure_topic_like(&letters.as_str().into(), &source.as_str().into(), soon()).unwrap();
    let topic = client.topic(&letters);
    let value = vec![b'x'; config.message_max_bytes + 4096];
    let record = event_bus::OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        timestamp: None,
        key: None,
        value: Some(&value),
        headers: Headers::default(),
    };
    assert_eq!(client.transport.send(&record, client.token()).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(client.transport.send_on(&record, client.token()).unwrap(), event_bus::Enqueued::Yes);
    assert_eq!(client.completions.take(1)[0].error.as_ref().map(ToString::to_string), None);
    assert_eq!(read_all(&config, &letters)[0].value().map(<[u8]>::len), Some(value.len()));
}

#[test]
fn a_record_that_nobody_can_handle_becomes_a_letter_byte_for_byte() {
    on_every_cluster(|world| async move {
        let mut config = world.config.clone();
        config.policy.on_invalid = OnInvalid::DeadLetter;
        config.policy.dead_letter_topic = "{topic}.failures".into();
        let bus = Bus::connect(config.clone()).await.unwrap();
        let all: Vec<u8> = (0..=255).collect();
        let own = packed(&[("a", Some(b"1")), ("b", None), ("a", Some(&all)), ("", Some(b""))]);
        let parts: [KeyAndValue<'_>; 4] =
            [(Some(b"key"), None), (None, Some(&all)), (Some(b""), Some(b"")), (None, None)];
        for (key, value) in parts {
            let headers = own.as_headers();
            let (partition, timestamp) = (Some(2), Some(TIME));
            let record = RawRecord { partition, timestamp, key, value, headers, ..RawRecord::new(&world.event_type) };
            bus.publish_record(&record).await.unwrap();
        }
        let handler = |_| async { Ok::<_, event_bus::HandlerError>(()) };
        let subscription = bus.subscribe(&world.event_type, handler).await.unwrap();
        let letters = bus.dead_letters(&world.event_type);
        let deadline = soon();
        let listed = loop {
            match letters.list(&DeadLetterFilter::default(), 10).await {
                Ok(listed) if listed.len() == parts.len() => break listed,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}"),
            }
            assert!(Instant::now() < deadline, "the letters were not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(listed.iter().all(|letter| letter.reason.as_deref() == Some("invalid")), "{listed:?}");
        subscription.unsubscribe().await.unwrap();
        for (index, (key, value)) in parts.into_iter().enumerate() {
            let shown = letters.show(2, index as i64).await.unwrap();
            assert_eq!((shown.record.key(), shown.record.value()), (key, value), "{index}");
            assert_eq!((shown.record.timestamp, shown.own_headers()), (Some(TIME), own.as_headers()), "{index}");
            assert_eq!((shown.info.source_partition, shown.info.source_offset), (2, index as i64));
            assert_eq!(shown.info.group, config.group_id);
        }
        bus.shutdown(PATIENCE).await;
        let cluster = transport(&config);
        let partitions = cluster.partitions(&letters.topic().into(), soon()).unwrap();
        // The mock cluster creates every topic with four.
        assert_eq!(partitions, if world.cluster == "embedded" { 4 } else { PARTITIONS as u32 });
        cluster.close();
    });
}
