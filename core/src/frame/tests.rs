use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::codec;
use crate::error::{Error, ErrorKind, PublishOutcome};
use crate::event::{Delivery, Event, Headers, HeadersBuf, Record, Ticket, TopicPartition};
use crate::transport::Token;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/frames.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn headers_of(list: &Value) -> HeadersBuf {
    let mut headers = HeadersBuf::new();
    for header in list.as_array().unwrap() {
        headers.push(header[0].as_str().unwrap(), header[1].as_str().map(str::as_bytes));
    }
    headers
}

fn bytes_of(text: &Value) -> Option<&[u8]> {
    text.as_str().map(str::as_bytes)
}

fn minimal() -> Frame<'static> {
    let headers = FrameHeaders::Packed(Headers::default());
    Frame {
        slot: 9,
        topic_id: 1,
        partition: None,
        timestamp: None,
        key: Some(b"k"),
        headers,
        value: Some(b"v"),
        form: ValueForm::Record,
    }
}

fn envelope() -> Frame<'static> {
    Frame { headers: FrameHeaders::Envelope { event_id: "é", version: "1", iso: "now" }, ..minimal() }
}

fn payload() -> Frame<'static> {
    Frame { form: ValueForm::Payload, ..envelope() }
}

/// The value section of a payload's members: name, value, and whether it is JSON already.
fn members(of: &[(&str, &str, bool)]) -> Vec<u8> {
    let mut section: Vec<u8> = of.iter().flat_map(|(name, value, _)| [*name, *value]).collect::<String>().into_bytes();
    section.resize(section.len().next_multiple_of(4), 0);
    for (name, value, is_json) in of {
        let value_len = value.len() as i32;
        for length in [name.len() as i32, if *is_json { -1 - value_len } else { value_len }] {
            section.extend_from_slice(&length.to_le_bytes());
        }
    }
    section.extend_from_slice(&(of.len() as u32).to_le_bytes());
    section
}

fn bytes(frame: &Frame<'_>) -> Vec<u8> {
    let mut batch = Vec::new();
    frame.write(&mut batch).unwrap();
    batch
}

#[test]
fn publish_frames_are_the_golden_bytes() {
    let vectors = vectors();
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    for vector in vectors["publish"].as_array().unwrap() {
        let packed = vector.get("headers").map(headers_of);
        let section = vector["valueHex"].as_str().map(unhex);
        let frame = Frame {
            slot: vector["slot"].as_u64().unwrap() as u32,
            topic_id: vector["topicId"].as_u64().unwrap() as u16,
            partition: vector.get("partition").map(|partition| partition.as_i64().unwrap() as i32),
            timestamp: vector.get("timestamp").map(|timestamp| timestamp.as_i64().unwrap()),
            key: bytes_of(&vector["key"]),
            headers: match &packed {
                Some(packed) => FrameHeaders::Packed(packed.as_headers()),
                None => {
                    let text = |index: usize| vector["envelope"][index].as_str().unwrap();
                    FrameHeaders::Envelope { event_id: text(0), version: text(1), iso: text(2) }
                }
            },
            value: section.as_deref().or(bytes_of(&vector["value"])),
            form: match vector["form"].as_str() {
                Some("payload") => ValueForm::Payload,
                Some("members") => ValueForm::Members,
                _ => ValueForm::Record,
            },
        };
        let golden = unhex(vector["hex"].as_str().unwrap());
        assert_eq!(bytes(&frame), golden, "{vector}");
        frame.write(&mut written).unwrap();
        expected.extend_from_slice(&golden);

        let read: Vec<_> = Frames::new(&golden).collect::<Result<_, _>>().unwrap();
        assert!(read == [frame], "{vector}");
    }
    assert_eq!(written, expected);
    assert_eq!(Frames::new(&written).filter(Result::is_ok).count(), 7);
}

#[test]
fn envelope_texts_become_the_headers_of_the_wire_format() {
    let mut buffer = HeadersBuf::new();
    buffer.push("left over", None);
    let packed = envelope().headers.pack(&mut buffer);
    let all: Vec<_> = packed.iter().collect();
    assert_eq!(
        all,
        [("eventId", Some("é".as_bytes())), ("version", Some(&b"1"[..])), ("timestamp", Some(&b"now"[..]))]
    );

    let mut own = HeadersBuf::new();
    own.push("trace", Some(b"x"));
    assert!(FrameHeaders::Packed(own.as_headers()).pack(&mut HeadersBuf::new()) == own.as_headers());
}

#[test]
fn malformed_frames_are_refused_and_end_the_batch() {
    let put = |frame: &Frame<'_>, at: usize, with: &[u8]| {
        let mut bytes = bytes(frame);
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let minus_2 = (-2i32).to_le_bytes();
    let large = i32::MAX.to_le_bytes();
    let mut cut_headers = HeadersBuf::new();
    cut_headers.push("name", Some(b"value"));
    let packed = Frame { headers: FrameHeaders::Packed(cut_headers.as_headers()), ..minimal() };
    let with_members = |section: &[u8]| bytes(&Frame { value: Some(section), form: ValueForm::Members, ..envelope() });
    let mut split = members(&[("ä", "bb", false)]);
    split[4] = 1;
    split[8] = 3;
    let mut named_by_json = members(&[("a", "b", false)]);
    named_by_json[4..8].copy_from_slice(&minus_2);
    let cases: [(Vec<u8>, &str); 28] = [
        (bytes(&minimal())[..39].to_vec(), "ends within its fixed part"),
        (bytes(&minimal())[..47].to_vec(), "length is beyond the batch"),
        (put(&minimal(), 0, &0u32.to_le_bytes()), "below 40"),
        (put(&minimal(), 0, &u32::MAX.to_le_bytes()), "length is beyond the batch"),
        (put(&minimal(), 0, &44u32.to_le_bytes()), "multiple of 8"),
        (put(&minimal(), 24, &(-1i32).to_le_bytes()), ""),
        (put(&minimal(), 24, &0i32.to_le_bytes()), ""),
        (put(&minimal(), 10, &8u16.to_le_bytes()), "unknown flag"),
        (put(&envelope(), 10, &7u16.to_le_bytes()), "two that exclude each other"),
        (put(&minimal(), 10, &2u16.to_le_bytes()), "payload of an event without an envelope"),
        (bytes(&Frame { value: None, ..payload() }), "payload of its event is null"),
        (with_members(&members(&[("a", "b", false)])[3..]), "members of its payload are cut short"),
        (with_members(&split), "a length is within a character"),
        (with_members(&named_by_json), "members of its payload"),
        (bytes(&Frame { key: None, ..payload() }), "key of its event is null"),
        (bytes(&Frame { key: Some(&[0xff]), ..payload() }), "or not UTF-8"),
        (put(&minimal(), 12, &minus_2), "partition is below -1"),
        (put(&minimal(), 16, &minus_2), "keyLen is beyond the frame or below -1"),
        (put(&minimal(), 16, &large), "keyLen is beyond the frame or below -1"),
        (put(&minimal(), 20, &(-1i32).to_le_bytes()), "headersLen is negative"),
        (put(&minimal(), 20, &large), "headersLen is beyond the frame"),
        (put(&minimal(), 24, &large), "valueLen is beyond the frame or below -1"),
        (put(&minimal(), 28, &1u16.to_le_bytes()), "without the envelope flag"),
        (put(&minimal(), 32, &(-2i64).to_le_bytes()), "timestamp is below -1"),
        (put(&envelope(), 28, &1u16.to_le_bytes()), "eventIdLen is beyond the headers or within a character"),
        (put(&envelope(), 30, &9u16.to_le_bytes()), "versionLen is beyond the headers or within a character"),
        (put(&envelope(), 41, &[0xff]), "not UTF-8"),
        (put(&packed, 41, &[0xff, 0xff]), "packed headers are cut short"),
    ];
    for (malformed, reason) in cases {
        let mut batch = bytes(&minimal());
        batch.extend_from_slice(&malformed);
        batch.extend_from_slice(&bytes(&minimal()));
        if malformed.len() < 48 {
            batch.truncate(48 + malformed.len());
        }
        let mut frames = Frames::new(&batch);
        assert!(frames.next().unwrap().unwrap() == minimal());
        if reason.is_empty() {
            // Up to seven bytes of padding are legal, so a shorter part within them is too.
            assert!(frames.next().unwrap().is_ok() && frames.next().unwrap().is_ok() && frames.next().is_none());
            continue;
        }
        let error = frames.next().unwrap().unwrap_err();
        assert!(error.message().contains(reason), "{reason}: {error}");
        assert_eq!((error.kind(), error.context("byte")), (ErrorKind::Argument, Some("48")), "{error}");
        assert_eq!(error.publish_outcome(), Some(PublishOutcome::NotSent));
        assert!(frames.next().is_none() && frames.next().is_none());
    }
    let excess = put(&Frame { value: Some(b"01234567"), ..minimal() }, 24, &0i32.to_le_bytes());
    assert!(Frames::new(&excess).next().unwrap().unwrap_err().message().contains("rounded up"));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let long = "x".repeat(65_536);
    let mut batch = vec![1, 2, 3];
    let headers = FrameHeaders::Envelope { event_id: &long, version: "1", iso: "" };
    let error = Frame { headers, ..minimal() }.write(&mut batch).unwrap_err();
    assert_eq!((error.kind(), error.context("slot")), (ErrorKind::TooLarge, Some("9")));
    assert_eq!(batch, [1, 2, 3]);
}

fn delivery(vector: &Value) -> Delivery {
    let number = |name: &str| vector[name].as_str().unwrap().parse::<u64>().unwrap();
    let source = TopicPartition::new("t", vector["partition"].as_i64().unwrap() as i32);
    let headers = headers_of(&vector["headers"]);
    let (key, value) = (bytes_of(&vector["key"]), bytes_of(&vector["value"]));
    let record =
        Record::new(source, number("offset") as i64, vector["time"].as_i64(), key, headers.as_headers(), value);
    Delivery {
        record: Arc::new(record),
        ticket: Ticket(number("ticket")),
        lane: vector["lane"].as_u64().unwrap() as u32,
        attempt: vector["attempt"].as_u64().unwrap() as u32,
        last: vector["last"].as_bool().unwrap_or(false),
        occurred_on: vector["occurredOn"].as_i64(),
    }
}

#[test]
fn delivery_batches_are_the_golden_bytes() {
    let vectors = vectors();
    let mut batch = DeliveryBatch::new();
    for vector in vectors["deliveries"].as_array().unwrap() {
        batch.push(&[delivery(vector)], vector["topicId"].as_u64().unwrap() as u16);
    }
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    let (bytes, index) = batch.into_parts();
    assert_eq!(bytes, unhex(vectors["deliveryBytes"].as_str().unwrap()));
    let rows: Vec<Vec<i32>> = serde_json::from_value(vectors["deliveryIndex"].clone()).unwrap();
    assert!(rows.iter().all(|row| row.len() == COLUMNS));
    assert_eq!(index, rows.concat());
}

fn sized(len: usize) -> Delivery {
    let record = Record::new(TopicPartition::new("t", 0), 0, None, None, Headers::default(), Some(&vec![b'x'; len]));
    Delivery { record: Arc::new(record), ticket: Ticket(0), lane: 0, attempt: 1, last: false, occurred_on: None }
}

#[test]
fn batches_end_at_their_limits_and_a_larger_run_travels_alone() {
    let mut batch = DeliveryBatch::new();
    assert!(batch.fits(&[sized(10 * MAX_BYTES)]));
    batch.push(&[sized(10 * MAX_BYTES)], 0);
    assert!(!batch.fits(&[sized(0)]) && batch.bytes() == 10 * MAX_BYTES);

    let mut batch = DeliveryBatch::new();
    batch.push(&[sized(MAX_BYTES - 10)], 0);
    assert!(batch.fits(&[sized(10)]) && !batch.fits(&[sized(11)]));
    assert!(batch.fits(&[sized(4), sized(6)]) && !batch.fits(&[sized(5), sized(6)]), "a run goes as a whole");

    let mut batch = DeliveryBatch::new();
    while batch.fits(&[sized(1)]) {
        batch.push(&[sized(1)], 0);
    }
    assert_eq!(batch.len(), MAX_DELIVERIES);
    let long: Vec<_> = (0..=MAX_DELIVERIES).map(|_| sized(1)).collect();
    assert!(!batch.fits(&long) && DeliveryBatch::new().fits(&long));
}

#[test]
fn completion_rows_are_the_golden_numbers() {
    let vectors = vectors();
    for vector in vectors["completions"].as_array().unwrap() {
        let kind = vector["kind"].as_u64().unwrap();
        let completion = Completion {
            token: Token::new(1, 2, vector["slot"].as_u64().unwrap() as u32),
            partition: vector["partition"].as_i64().unwrap() as i32,
            offset: vector["offset"].as_str().unwrap().parse().unwrap(),
            error: ErrorKind::ALL
                .iter()
                .find(|known| u64::from(known.number()) == kind)
                .map(|kind| Error::new(*kind, "")),
        };
        let mut rows = Vec::new();
        push_completion(&mut rows, &completion);
        assert_eq!(rows.len(), COMPLETION_COLUMNS);
        assert_eq!(rows, serde_json::from_value::<Vec<i32>>(vector["row"].clone()).unwrap());
    }
}

#[test]
fn debug_shows_no_content() {
    let mut batch = DeliveryBatch::new();
    batch.push(&[sized(3)], 0);
    let frame = Frame { key: Some(b"hunter2"), value: Some(b"hunter2"), ..envelope() };
    for text in [format!("{frame:?}"), format!("{:?}", frame.headers), format!("{batch:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("xxx") && !text.contains("104"), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(slot: u32, topic_id: u16, partition in proptest::option::of(0..=i32::MAX),
                               timestamp in proptest::option::of(0..=i64::MAX), key: Option<Vec<u8>>, value: Option<Vec<u8>>,
                               texts: Option<(String, String, String)>,
                               packed in proptest::collection::vec((".*", any::<Option<Vec<u8>>>()), 0..4)) {
        let mut buffer = HeadersBuf::new();
        for (name, value) in &packed {
            buffer.push(name, value.as_deref());
        }
        let headers = match &texts {
            Some((event_id, version, iso)) => FrameHeaders::Envelope { event_id, version, iso },
            None => FrameHeaders::Packed(buffer.as_headers()),
        };
        let (key, value) = (key.as_deref(), value.as_deref());
        let is_event = texts.is_some() && value.is_some() && key.is_some_and(|key| std::str::from_utf8(key).is_ok());
        let form = if is_event { ValueForm::Payload } else { ValueForm::Record };
        let frame = Frame { slot, topic_id, partition, timestamp, key, headers, value, form };
        let mut batch = Vec::new();
        frame.write(&mut batch).unwrap();
        frame.write(&mut batch).unwrap();
        prop_assert_eq!(batch.len() % 16, 0);
        let read: Vec<_> = Frames::new(&batch).collect::<Result<_, _>>().unwrap();
        prop_assert!(read == [frame, frame]);
    }

    #[test]
    fn an_event_is_written_around_its_payload_as_the_bus_writes_it(event_id in ".+", aggregate_id in ".+", version: i32,
                                                                   occurred_on in 0..=253_402_300_799_999i64,
                                                                   name in "[^t].*", value in ".*") {
        let payload = format!(
            r#"{{"total":12.5,{}:{}}}"#,
            serde_json::to_string(&name).unwrap(),
            serde_json::to_string(&value).unwrap()
        );
        let event = Event::from_json("order.placed", &*aggregate_id, payload)
            .unwrap()
            .with_event_id(&*event_id)
            .with_occurred_on(occurred_on)
            .with_version(version.into());
        let (mut headers, mut whole) = (HeadersBuf::new(), Vec::new());
        codec::encode(&event, &mut headers, &mut whole).unwrap();
        let text = |name| std::str::from_utf8(headers.as_headers().get(name).unwrap()).unwrap();
        let bare = members(&[("total", "12.5", true), (&*name, &*value, false)]);
        let forms = [(ValueForm::Payload, event.payload().as_bytes()), (ValueForm::Members, &bare)];
        let mut batch = Vec::new();
        for (form, value) in forms {
            let headers =
                FrameHeaders::Envelope { event_id: &event_id, version: text("version"), iso: text("timestamp") };
            let key = Some(aggregate_id.as_bytes());
            Frame { key, value: Some(value), headers, form, ..minimal() }.write(&mut batch).unwrap();
        }
        for read in Frames::new(&batch) {
            let mut buffer = b"left over".to_vec();
            let written = read.unwrap().write_value(event.event_type(), &mut buffer).unwrap().map(<[u8]>::to_vec);
            prop_assert_eq!(written.as_deref(), Some(&whole[..]));
        }
        let read = Frames::new(&batch).next().unwrap().unwrap();
        let mut packed = HeadersBuf::new();
        prop_assert_eq!(read.headers.pack(&mut packed), headers.as_headers());
    }

    #[test]
    fn any_bytes_are_read_or_refused(batch in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&batch);
    }

    #[test]
    fn damaged_frames_are_read_or_refused(at in 0usize..80, with: u8, cut in 0usize..=144, which in 0..3) {
        let mut headers = HeadersBuf::new();
        headers.push("h", Some(b"x"));
        let section = members(&[("ä", "b", false), ("c", "1", true)]);
        let whole = match which {
            0 => Frame { headers: FrameHeaders::Packed(headers.as_headers()), ..minimal() },
            1 => envelope(),
            _ => Frame { value: Some(&section), form: ValueForm::Members, ..envelope() },
        };
        let mut batch = bytes(&whole);
        let at = at % batch.len();
        batch[at] = with;
        whole.write(&mut batch).unwrap();
        batch.truncate(cut.max(1));
        read_all(&batch);
    }
}

/// Touches everything that a frame gives; at most one error, and it comes last.
fn read_all(batch: &[u8]) {
    let mut buffer = HeadersBuf::new();
    let mut frames = Frames::new(batch);
    while let Some(frame) = frames.next() {
        match frame {
            Ok(frame) => {
                frame.headers.pack(&mut buffer).iter().count();
                frame.write_value("t", &mut Vec::new()).unwrap();
                let rewritten = bytes(&frame);
                assert!(Frames::new(&rewritten).next().unwrap().unwrap() == frame);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Argument);
                assert!(frames.next().is_none());
            }
        }
    }
}
