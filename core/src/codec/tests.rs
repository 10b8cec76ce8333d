use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::TopicPartition;

fn record(value: Option<&[u8]>) -> Record {
    let source = TopicPartition::new("order.placed", 3);
    Record::new(source, 42, Some(0), Some(b"k"), HeadersBuf::new().as_headers(), value)
}

fn event(event_id: &str, event_type: &str, aggregate_id: &str) -> Event<'static> {
    Event::new(event_type.to_owned(), aggregate_id.to_owned(), &json!({"a": 1}))
        .unwrap()
        .with_event_id(event_id.to_owned())
        .with_occurred_on(1_717_243_200_123)
}

fn encoded(event: &Event<'_>) -> Result<(HeadersBuf, Vec<u8>)> {
    let (mut headers, mut value) = (HeadersBuf::new(), b"left over".to_vec());
    headers.push("left over", None);
    encode(event, &mut headers, &mut value).map(|()| (headers, value))
}

#[test]
fn the_bytes_are_those_of_javascript() {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/envelope.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 14);
    for vector in vectors {
        let fields = &vector["event"];
        let text = |name: &str| fields[name].as_str().unwrap();
        let payload: &serde_json::value::RawValue = serde_json::from_str(text("payload")).unwrap();
        let event = Event::new(text("eventType"), text("aggregateId"), payload)
            .unwrap()
            .with_event_id(text("eventId"))
            .with_occurred_on(fields["occurredOn"].as_i64().unwrap())
            .with_version(fields["version"].as_i64().unwrap());
        let (headers, value) = encoded(&event).unwrap();
        assert_eq!(std::str::from_utf8(&value).unwrap(), vector["value"].as_str().unwrap());
        let headers: Vec<_> = headers
            .as_headers()
            .iter()
            .map(|(name, value)| json!([name, std::str::from_utf8(value.unwrap()).unwrap()]))
            .collect();
        assert_eq!(&Value::from(headers), &vector["headers"]);

        let record = record(Some(&value));
        let read = decode(&record).unwrap();
        assert_eq!(read.event_id(), event.event_id());
        assert_eq!(read.event_type(), event.event_type());
        assert_eq!(read.aggregate_id(), event.aggregate_id());
        assert_eq!(read.occurred_on(), Some(event.occurred_on()));
        assert_eq!(read.version(), event.version());
        assert_eq!(read.payload(), event.payload());
    }
}

#[test]
fn what_breaks_the_contract_is_refused_and_not_sent() {
    let long = "x".repeat(250);
    let type_is = |name: &str| event("1", name, "a");
    let cases: [(Event<'_>, &str, &str); 13] = [
        (event("", "t", "a"), "eventId", "empty eventId"),
        (event("1", "t", ""), "aggregateId", "empty aggregateId"),
        (type_is(""), "eventType", "it is empty"),
        (type_is("."), "eventType", "names a directory"),
        (type_is(".."), "eventType", "names a directory"),
        (type_is("order placed"), "eventType", "it contains ' '"),
        (type_is("Bestellung.gelöscht"), "eventType", "it contains 'ö'"),
        (type_is("a\nb"), "eventType", r"it contains '\n'"),
        (type_is(&long), "eventType", "it is 250 characters long"),
        (event("1", "t", "a").with_occurred_on(iso::LIMIT + 1), "occurredOn", "outside of a date's range"),
        (event("1", "t", "a").with_occurred_on(i64::MIN), "occurredOn", "outside of a date's range"),
        (event("1", "t", "a").with_version(1 << 53), "version", "not exact"),
        (event("1", "t", "a").with_version(i64::MIN), "version", "not exact"),
    ];
    for (event, field, message) in cases {
        let error = encoded(&event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
        assert_eq!(error.publish_outcome(), Some(PublishOutcome::NotSent), "{error}");
        assert_eq!(error.context("field"), Some(field), "{error}");
        assert!(error.message().contains(message), "{error}");
        assert!(error.hint_text().is_some() && error.context("topic").is_some(), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for legal in ["a", "order.placed", "A_b-9", "...", &long[..249]] {
        assert!(encoded(&type_is(legal)).is_ok(), "{legal}");
    }
}

#[test]
fn the_private_state_of_a_class_is_read_where_properties_are_missing() {
    let value = br#"{"cryptoService":{},"eventId":"own","occurredOn":"2024-06-01T12:00:00.123Z","_props":{
        "eventId":"private","eventType":"order.placed","aggregateId":"order-42","version":2,
        "occurredOn":"1999-01-01T00:00:00.000Z","payload":{"total":12}}}"#;
    let record = record(Some(value));
    let read = decode(&record).unwrap();
    assert_eq!((read.event_id(), read.event_type(), read.aggregate_id()), ("own", "order.placed", "order-42"));
    assert_eq!((read.occurred_on(), read.version()), (Some(1_717_243_200_123), 2));
    assert_eq!(read.payload(), r#"{"total":12}"#);
}

#[test]
fn reading_is_liberal() {
    let text = include_str!("../../tests/vectors/lenient.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    for vector in vectors["vectors"].as_array().unwrap() {
        let [tail, payload] = ["tail", "payload"].map(|name| vector[name].as_str().unwrap());
        let text = format!(r#"{{"eventId":"1","eventType":"t","aggregateId":"a"{tail}}}"#);
        let record = record(Some(text.as_bytes()));
        let read = decode(&record).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = (vector["occurredOn"].as_i64(), vector["version"].as_i64().unwrap(), payload);
        assert_eq!((read.occurred_on(), read.version(), read.payload()), expected, "{text}");
    }
}

#[test]
fn escaped_texts_are_unescaped() {
    let record = record(Some(br#"{"\u0065ventId":"\ud83d\ude00","eventType":"a\/b","aggregateId":"\"\\\n"}"#));
    let read = decode(&record).unwrap();
    assert_eq!((read.event_id(), read.event_type(), read.aggregate_id()), ("😀", "a/b", "\"\\\n"));
}

#[test]
fn what_is_no_event_is_refused_with_the_reason() {
    let cases: [(Option<&[u8]>, &str); 24] = [
        (None, "no value (a tombstone)"),
        (Some(b""), "not JSON: EOF while parsing a value at line 1 column 0"),
        (Some(b"{\"eventId\":\xff}"), "not UTF-8 at byte 11"),
        (Some(b"hello"), "not JSON: expected value at line 1 column 1"),
        (Some(b"{\"eventId\":\"1\","), "not JSON: EOF while parsing a value at line 1 column 15"),
        (Some(b"{\"eventId\":\"1\"} x"), "not JSON: trailing characters at line 1 column 17"),
        (Some(b"{\"payload\":{\"a\":01}}"), "not JSON: "),
        (Some(b"{\"eventId\":\"\\ud800\"}"), "not JSON: "),
        (Some(b"\xef\xbb\xbf{}"), "not JSON: expected value at line 1 column 1"),
        (Some(b"null"), "JSON, but null instead of an object"),
        (Some(b"[{}]"), "JSON, but an array instead of an object"),
        (Some(b"\"{}\""), "JSON, but a text instead of an object"),
        (Some(b"17"), "JSON, but a number instead of an object"),
        (Some(b"true"), "JSON, but a boolean instead of an object"),
        (Some(b"{}"), "eventId is missing"),
        (Some(br#"{"eventId":"1"}"#), "eventType is missing"),
        (Some(br#"{"eventId":"1","eventType":"t"}"#), "aggregateId is missing"),
        (
            Some(br#"{"eventId":1,"eventType":"t","aggregateId":"a"}"#),
            "eventId must be a text that is not empty, but is a number",
        ),
        (
            Some(br#"{"eventId":"1","eventType":null,"aggregateId":"a"}"#),
            "eventType must be a text that is not empty, but is null",
        ),
        (
            Some(br#"{"eventId":"1","eventType":"t","aggregateId":""}"#),
            "aggregateId must be a text that is not empty, but is an empty text",
        ),
        (
            Some(br#"{"eventId":"1","eventType":"t","aggregateId":{}}"#),
            "aggregateId must be a text that is not empty, but is an object",
        ),
        (
            Some(br#"{"eventId":"1","eventType":"t","aggregateId":"a","version":1.5}"#),
            "version must be an integer, but is a number",
        ),
        (
            Some(br#"{"eventId":"1","eventType":"t","aggregateId":"a","version":"v2"}"#),
            "version must be an integer, but is a text",
        ),
        (
            Some(br#"{"eventId":"1","eventType":"t","aggregateId":"a","version":1e300}"#),
            "version must be an integer, but is a number",
        ),
    ];
    for (value, message) in cases {
        let record = record(value);
        let error = Envelope::try_from(&record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.message().contains(message), "{:?} gave {error}", value.map(String::from_utf8_lossy));
        let place: Vec<_> = error.contexts().take(3).collect();
        assert_eq!(place, [("topic", "order.placed"), ("partition", "3"), ("offset", "42")]);
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn payloads_become_types_and_errors_quote_nothing_of_them() {
    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Order<'a> {
        customer: &'a str,
        total: u8,
        state: Option<State>,
    }
    #[derive(Debug, serde::Deserialize, PartialEq)]
    enum State {
        Placed,
    }
    let read = |payload: &str| {
        let text = format!(r#"{{"eventId":"1","eventType":"t","aggregateId":"a","payload":{payload}}}"#);
        let record = record(Some(text.as_bytes()));
        let event = decode(&record).unwrap();
        assert!(!format!("{event:?}").contains("hunter2"));
        event.payload_as::<Order<'_>>().map(|order| format!("{order:?}"))
    };
    assert_eq!(
        read(r#"{"customer":"c","total":9,"state":"Placed"}"#).unwrap(),
        r#"Order { customer: "c", total: 9, state: Some(Placed) }"#
    );
    for (payload, message) in [
        (
            r#"{"customer":"c","total":"hunter2"}"#,
            "invalid type: string, expected u8 at line 1 column 33 of the payload",
        ),
        (r#"{"customer":"c","total":"hunter2, expected \"hunter2"}"#, "invalid type: string, expected u8 at"),
        (r#"{"customer":"c","total":4711}"#, "invalid value: integer, expected u8 at line 1 column 28 of the payload"),
        (r#"{"customer":"c","total":1,"state":"hunter2"}"#, "unknown variant, expected `Placed` at line 1 column 43"),
        (r#"{"customer":"hunter2"}"#, "missing field `total` at line 1 column 22"),
        ("null", "invalid type: null, expected struct Order"),
    ] {
        let error = read(payload).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.message().contains(message), "{error}");
        assert_eq!((error.context("eventId"), error.context("offset")), (Some("1"), Some("42")));
        assert!(!format!("{error:?}").contains("hunter2") && !error.to_string().contains("4711"), "{error:?}");
    }
}

#[test]
fn random_ids_are_uuids_of_version_4() {
    let ids: HashSet<String> = (0..1000).map(|_| random_event_id().unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    for id in ids {
        assert_eq!(id.len(), 36);
        for (index, c) in id.char_indices() {
            match index {
                8 | 13 | 18 | 23 => assert_eq!(c, '-', "{id}"),
                14 => assert_eq!(c, '4', "{id}"),
                19 => assert!("89ab".contains(c), "{id}"),
                _ => assert!(c.is_ascii_digit() || ('a'..='f').contains(&c), "{id}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(event_id in ".+", event_type in "[a-zA-Z0-9_-]{1,249}", aggregate_id in "(?s).+",
                               occurred_on in -iso::LIMIT..=iso::LIMIT, version in -9_007_199_254_740_991i64..=9_007_199_254_740_991,
                               payload in "(?s).*") {
        let event = Event::new(event_type.as_str(), aggregate_id.as_str(), &payload).unwrap()
            .with_event_id(event_id.as_str()).with_occurred_on(occurred_on).with_version(version);
        let (headers, value) = encoded(&event).unwrap();
        prop_assert_eq!(headers.as_headers().get("eventId"), Some(event_id.as_bytes()));
        let record = record(Some(&value));
        let read = decode(&record).unwrap();
        prop_assert_eq!(read.event_id(), &event_id);
        prop_assert_eq!(read.event_type(), &event_type);
        prop_assert_eq!(read.aggregate_id(), &aggregate_id);
        prop_assert_eq!(read.occurred_on(), Some(occurred_on));
        prop_assert_eq!(read.version(), version);
        prop_assert_eq!(read.payload_as::<String>().unwrap(), payload);
    }

    #[test]
    fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        let record = record(Some(&value));
        if let Err(error) = decode(&record) {
            prop_assert_eq!(error.kind(), ErrorKind::Codec);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(text in r#"\{("(eventId|eventType|aggregateId|_props|version|occurredOn|payload)":("x"|1|null|\{\}|\[1\]|"2024-01-01T00:00:00Z")(,|\}?)){0,8}\}?"#) {
        let record = record(Some(text.as_bytes()));
        if let Err(error) = decode(&record) {
            prop_assert_eq!(error.kind(), ErrorKind::Codec);
        }
    }
}
