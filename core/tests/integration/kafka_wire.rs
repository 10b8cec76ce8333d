//! What is published is what arrives, byte for byte, and where Java would have put it.

use event_bus::{Enqueued, Headers, OutgoingRecord, Transport};
use serde_json::Value;

use crate::support::{Client, Cluster, Member, config, packed, unique};

#[test]
fn records_arrive_byte_for_byte() {
    let cluster = Cluster::any();
    let client = Client::connected(&config(&cluster.bootstrap));
    let name = unique("wire");
    client.create(&name);
    let topic = client.topic(&name);
    let all: Vec<u8> = (0..=255).collect();
    let plain = packed(&[("eventId", Some(b"1")), ("version", Some(b"2"))]);
    let odd =
        packed(&[("a", Some(b"1")), ("b", None), ("a", Some(&all)), ("", Some(b"")), ("ü", Some("ß".as_bytes()))]);
    let (key, empty) = (Some(&b"key"[..]), Some(&b""[..]));
    let cases = [
        (key, Some(&b"value"[..]), plain.as_headers()),
        (key, None, odd.as_headers()),
        (None, Some(&all[..]), Headers::default()),
        (empty, empty, odd.as_headers()),
        (Some(&all[..]), Some(&b"\xff\x00"[..]), plain.as_headers()),
        (None, None, Headers::default()),
    ];
    let time = 1_700_000_000_000;
    for (index, (key, value, headers)) in cases.into_iter().enumerate() {
        let timestamp = Some(time + index as i64);
        let record = OutgoingRecord { topic: &topic, partition: Some(0), timestamp, key, value, headers };
        assert_eq!(client.transport.send(&record, client.token()).unwrap(), Enqueued::Yes);
    }
    for (index, completion) in client.completions.take(cases.len()).iter().enumerate() {
        let at = (completion.token.slot(), completion.partition, completion.offset);
        assert_eq!(at, (index as u32, 0, index as i64), "{:?}", completion.error);
        assert!(completion.error.is_none());
    }

    let mut member = Member::join(&client.transport, &[&name]);
    let records = member.until_records(cases.len());
    for (index, (record, (key, value, headers))) in records.iter().zip(cases).enumerate() {
        assert_eq!((record.key(), record.value()), (key, value), "record {index}");
        assert_eq!(record.headers(), headers, "record {index}");
        assert_eq!((&*record.source.topic, record.source.partition), (&*name, 0));
        assert_eq!((record.offset, record.timestamp), (index as i64, Some(time + index as i64)));
    }
    member.leave();
}

#[test]
fn keys_go_where_java_puts_them() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/partitions.json")).unwrap();
    let numbers =
        |value: &Value| -> Vec<i64> { value.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect() };
    let counts = numbers(&vectors["partitionCounts"]);
    let vectors = vectors["vectors"].as_array().unwrap();
    let mock = crate::support::mock();
    let client = Client::connected(&config(mock.bootstrap()));
    for (column, count) in counts.iter().enumerate() {
        let name = unique("partitions");
        mock.create_topic(&name, *count as i32).unwrap();
        // A record with a partition waits for the topic's metadata, so that keys meet all partitions.
        client.publish(&name, 0, &["first"]);
        let base = client.token().slot() + 1;
        for vector in vectors {
            let key = vector["key"].as_str().unwrap();
            assert_eq!(client.send(&name, Some(key.as_bytes()), Some(b"v")).unwrap(), Enqueued::Yes);
        }
        for completion in client.completions.take(vectors.len()) {
            assert!(completion.error.is_none(), "{:?}", completion.error);
            let vector = &vectors[(completion.token.slot() - base) as usize];
            let expected = numbers(&vector["partitions"])[column];
            assert_eq!(i64::from(completion.partition), expected, "{} of {count}", vector["key"]);
        }
    }
    assert_eq!((counts.len(), vectors.len()), (10, 400));
}
