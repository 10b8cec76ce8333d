//! Records that are handed on, over a broker in memory whose client is served by the test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::feeder::Feeder;
use super::{FramePublisher, Publisher};
use crate::config::Config;
use crate::error::{ErrorKind, PublishOutcome, Result};
use crate::event::{Headers, RawRecord};
use crate::frame::{Frame, FrameHeaders, ValueForm};
use crate::log::Log;
use crate::memory::{MemoryBroker, MemoryTransport};
use crate::runtime::lock;
use crate::shutdown::{Phase, PhaseCell};
use crate::transport::{Completion, CompletionSink, Receipt, RecordPublisher, Transport};

struct World {
    broker: MemoryBroker,
    transport: Arc<MemoryTransport>,
    phase: Arc<PhaseCell>,
    publisher: Arc<Publisher>,
    ends: Arc<Mutex<Vec<Result<Receipt>>>>,
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> World {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let broker = MemoryBroker::open(&format!("records-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        broker.create_topic("t", 2).unwrap();
        let mut config = Config::new("test", [broker.address()]);
        change(&mut config);
        let transport = Arc::new(MemoryTransport::new(&config, &broker.address()));
        let phase = Arc::new(PhaseCell::new());
        let publisher = Publisher::new(&config, transport.clone(), phase.clone(), Arc::default(), Log::default());
        World { broker, transport, phase, publisher, ends: Arc::default() }
    }

    fn hand_on(&self, record: &RawRecord<'_>) {
        let ends = self.ends.clone();
        self.publisher.publish_record(record, Box::new(move |end| lock(&ends).push(end)));
    }

    /// What the delivery thread does in one turn.
    fn turn(&self) {
        self.transport.poll(Duration::ZERO, &*self.publisher);
        self.publisher.feed(&mut Feeder::default());
        self.publisher.serve_line();
        self.transport.poll(Duration::ZERO, &*self.publisher);
    }

    fn ends(&self) -> Vec<Result<Receipt>> {
        std::mem::take(&mut *lock(&self.ends))
    }
}

fn record(value: &[u8]) -> RawRecord<'_> {
    RawRecord { partition: Some(1), value: Some(value), ..RawRecord::new("t") }
}

#[test]
fn a_record_is_stored_and_its_caller_told_where() {
    let world = World::new(|_| ());
    for value in [b"a", b"b"] {
        world.hand_on(&record(value));
    }
    assert_eq!((world.publisher.outstanding(), world.ends().len()), (2, 0));
    world.turn();
    let places: Vec<_> = world.ends().into_iter().map(|end| end.unwrap()).collect();
    assert_eq!(places, [Receipt { partition: 1, offset: 0 }, Receipt { partition: 1, offset: 1 }]);
    assert_eq!(world.publisher.outstanding(), 0);
}

#[test]
fn records_stand_in_line_in_front_of_a_full_queue_and_keep_their_order() {
    let world = World::new(|_| ());
    world.broker.fill_queues(1);
    for value in [b"a", b"b", b"c"] {
        world.hand_on(&record(value));
    }
    // The queue has room again, but nobody overtakes.
    assert_eq!(world.publisher.outstanding(), 3);
    world.turn();
    let offsets: Vec<_> = world.ends().into_iter().map(|end| end.unwrap().offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[test]
fn the_line_is_bounded_and_a_full_one_refuses() {
    let world = World::new(|_| ());
    world.broker.fill_queues(usize::MAX);
    for _ in 0..super::records::MAX_WAITING {
        world.hand_on(&record(b"x"));
    }
    assert_eq!(world.ends().len(), 0);
    world.hand_on(&record(b"x"));
    let error = world.ends().remove(0).unwrap_err();
    assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::QueueFull, Some(PublishOutcome::NotSent)));
    assert!(error.is_retryable());
    world.broker.fill_queues(0);
    world.turn();
    assert_eq!(world.ends().iter().filter(|end| end.is_ok()).count(), super::records::MAX_WAITING);
}

#[test]
fn what_stands_in_line_too_long_was_not_sent() {
    let world = World::new(|config| config.publish_timeout = Duration::ZERO);
    world.broker.fill_queues(usize::MAX);
    world.hand_on(&record(b"x"));
    world.turn();
    assert_eq!(world.ends().remove(0).unwrap_err().kind(), ErrorKind::QueueFull);
}

#[test]
fn the_end_of_the_bus_gives_up_the_line() {
    let world = World::new(|_| ());
    world.broker.fill_queues(usize::MAX);
    world.hand_on(&record(b"x"));
    world.publisher.purge();
    let error = world.ends().remove(0).unwrap_err();
    assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::Closed, Some(PublishOutcome::NotSent)));
    world.phase.advance(Phase::Flushing);
    world.hand_on(&record(b"x"));
    assert_eq!(world.ends().remove(0).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(world.publisher.outstanding(), 0);
}

#[test]
fn a_record_that_is_handed_on_may_have_grown_by_half() {
    let world = World::new(|config| config.message_max_bytes = 1000);
    for (size, fits) in [(1000, true), (1500, true), (1501, false)] {
        world.hand_on(&record(&vec![b'x'; size]));
        world.turn();
        let end = world.ends().remove(0);
        assert_eq!(end.is_ok(), fits, "{size}: {end:?}");
    }
    let illegal = RawRecord { value: Some(b"x"), ..RawRecord::new("a b") };
    world.hand_on(&illegal);
    assert_eq!(world.ends().remove(0).unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn a_callback_may_hand_on_the_next_record() {
    let world = World::new(|_| ());
    let (publisher, ends) = (world.publisher.clone(), world.ends.clone());
    let again = Box::new(move |first: Result<Receipt>| {
        assert!(first.is_ok());
        publisher.publish_record(&record(b"second"), Box::new(move |end| lock(&ends).push(end)));
    });
    world.publisher.publish_record(&record(b"first"), again);
    world.turn();
    assert_eq!(world.ends().remove(0).unwrap().offset, 1);
}

/// The ends of frames, by slot.
#[derive(Default)]
struct Slots(Mutex<Vec<(u32, Result<i64>)>>);

impl CompletionSink for Slots {
    fn complete(&self, completions: &[Completion]) {
        let end = |one: &Completion| (one.token.slot(), one.error.clone().map_or(Ok(one.offset), Err));
        lock(&self.0).extend(completions.iter().map(end));
    }
}

fn batch(slots: std::ops::Range<u32>, topic_id: u16) -> Vec<u8> {
    let mut batch = Vec::new();
    for slot in slots {
        let headers = FrameHeaders::Packed(Headers::default());
        let (partition, value) = (Some(1), Some(&b"x"[..]));
        let frame =
            Frame { slot, topic_id, partition, timestamp: None, key: None, headers, value, form: ValueForm::Record };
        frame.write(&mut batch).unwrap();
    }
    batch
}

/// A language face, and the number of its topic.
fn face() -> (World, Arc<Slots>, FramePublisher, u16) {
    let world = World::new(|_| ());
    let slots = Arc::new(Slots::default());
    let frames = world.publisher.open_frames(slots.clone()).unwrap();
    let topic_id = frames.topic_id("t").unwrap();
    (world, slots, frames, topic_id)
}

#[test]
fn frames_wait_in_front_of_a_full_queue_and_none_overtakes() {
    let (world, slots, frames, topic_id) = face();
    frames.send(&batch(0..10, topic_id), 10).unwrap();
    // So few would not wait, if nobody did.
    frames.send(&batch(10..11, topic_id), 1).unwrap();
    assert_eq!((world.publisher.outstanding(), lock(&slots.0).len()), (11, 0));
    let mut feeder = Feeder::default();
    world.broker.fill_queues(1);
    assert!(!world.publisher.feed(&mut feeder));
    frames.send(&batch(11..20, topic_id), 9).unwrap();
    assert!(world.publisher.feed(&mut feeder));
    frames.send(&batch(20..21, topic_id), 1).unwrap();
    world.turn();
    let ends: Vec<_> = lock(&slots.0).drain(..).map(|(slot, end)| (slot, end.unwrap())).collect();
    assert_eq!(ends, (0..21).map(|slot| (slot, i64::from(slot))).collect::<Vec<_>>());
}

#[test]
fn the_end_of_the_bus_gives_up_the_frames_that_wait() {
    let (world, slots, frames, topic_id) = face();
    frames.send(&batch(0..10, topic_id), 10).unwrap();
    world.publisher.purge();
    let ends: Vec<_> = lock(&slots.0).drain(..).collect();
    assert_eq!(ends.len(), 10);
    for (_, end) in ends {
        let error = end.unwrap_err();
        assert_eq!((error.kind(), error.publish_outcome()), (ErrorKind::Closed, Some(PublishOutcome::NotSent)));
    }
    world.phase.advance(Phase::Closed);
    assert_eq!(frames.send(&batch(0..1, topic_id), 1).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(world.publisher.outstanding(), 0);
}
