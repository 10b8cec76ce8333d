use std::collections::HashSet;
use std::ffi::OsString;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::policy::{Jitter, OnExhausted, OnInvalid, Ordering, RetryPolicy, StartFrom};

const CERT: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";

fn valid() -> Config {
    Config::new("orders", ["localhost:9092"])
}

/// The error names the option, says what to do, is of the kind `Config`, on one line and without secrets.
fn assert_refused(error: &Error, option: &str, message: &str) {
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(error.context("option"), Some(option), "{error}");
    assert!(error.message().contains(message), "{message:?} is missing in: {error}");
    assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "{error}");
    assert!(!error.to_string().contains('\n') && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn defaults_are_valid_and_those_of_the_table() {
    valid().validate().unwrap();
    let mut written = valid();
    for option in OPTIONS.iter().filter(|option| !option.default.is_empty() && !option.key.starts_with("sasl.")) {
        written.set(option.key, option.default).unwrap();
    }
    assert_eq!(written, valid());
    written.set("sasl.username", "u").unwrap();
    assert_eq!(written.sasl.unwrap().mechanism, SaslMechanism::Plain);
}

#[test]
fn the_table_is_whole() {
    let keys: HashSet<_> = OPTIONS.iter().map(|option| option.key).collect();
    assert_eq!(keys.len(), OPTIONS.len());
    for option in OPTIONS {
        assert!(option.doc.ends_with('.'), "{}", option.key);
        let number = matches!(option.kind, OptionType::Integer { .. });
        assert!(number || option.unit.is_empty(), "{}", option.key);
        assert_eq!(option.unit == "ms", option.key.ends_with("Ms"), "{}", option.key);
        assert_eq!(option.unit == "bytes", option.key.ends_with("Bytes"), "{}", option.key);
        let unset = Config::default();
        let mut set = Config::default();
        let value = match option.kind {
            OptionType::Boolean if option.default == "true" => "false".to_owned(),
            OptionType::Boolean => "true".to_owned(),
            // Two more than the least is no default.
            OptionType::Integer { min, .. } => (min + 2).to_string(),
            OptionType::Choice(all) => all[1].to_uppercase(),
            OptionType::Properties => continue,
            _ => "text".to_owned(),
        };
        set.set(option.key, &value).unwrap();
        assert_ne!(set, unset, "{}", option.key);
        if option.secret {
            assert!(!format!("{set:?}").contains("text"), "{}", option.key);
        }
    }
}

#[test]
fn every_option_is_read_from_json() {
    let config = Config::from_json(&json!({
        "clientId": " orders ", "brokers": [" a:1 ", "b:2", "a:1"], "groupId": "billing",
        "ssl": {"ca": [CERT, CERT], "cert": CERT, "key": KEY},
        "sasl": {"mechanism": "Scram-SHA-512", "username": "u", "password": " p "},
        "connectTimeoutMs": 1, "publishTimeoutMs": 2, "shutdownTimeoutMs": 3, "maxInFlight": 4,
        "publishMaxInFlightBytes": 1e6, "maxQueuedBytes": 6000, "maxInFlightBytes": 7000, "messageMaxBytes": 5000,
        "compression": "zstd", "autoCreateTopics": false, "commitIntervalMs": 8, "sessionTimeoutMs": 900,
        "heartbeatIntervalMs": 300, "maxPollIntervalMs": 4000, "stallTimeoutMs": 1500, "groupInstanceId": " one ",
        "ordering": "KEY", "concurrency": 9, "handlerTimeoutMs": 10, "onExhausted": "skip", "onInvalid": "halt",
        "parkKey": true, "deadLetterTopic": "dead.{topic}",
        "retry": {
            "attempts": 11, "initialDelayMs": 12, "maxDelayMs": 13, "multiplier": 14, "jitter": "none",
            "maxElapsedMs": 15,
        },
        "kafka": {"socket.keepalive.enable": true, "linger.ms": 0.5, "debug": "broker", "acks": "all"},
    }))
    .unwrap();
    config.validate().unwrap();
    let kafka = [("socket.keepalive.enable", "true"), ("linger.ms", "0.5"), ("debug", "broker"), ("acks", "all")];
    let expected = Config {
        brokers: vec!["a:1".into(), "b:2".into()],
        client_id: "orders".into(),
        group_id: Some("billing".into()),
        ssl: Some(Ssl { ca: Some(format!("{CERT}\n{CERT}")), cert: Some(CERT.into()), key: Some(KEY.into()) }),
        sasl: Some(Sasl { mechanism: SaslMechanism::ScramSha512, username: "u".into(), password: " p ".into() }),
        connect_timeout: Duration::from_millis(1),
        publish_timeout: Duration::from_millis(2),
        shutdown_timeout: Duration::from_millis(3),
        max_in_flight: 4,
        publish_max_in_flight_bytes: 1_000_000,
        max_queued_bytes: 6000,
        max_in_flight_bytes: 7000,
        message_max_bytes: 5000,
        compression: Compression::Zstd,
        auto_create_topics: false,
        commit_interval: Duration::from_millis(8),
        session_timeout: Duration::from_millis(900),
        heartbeat_interval: Duration::from_millis(300),
        max_poll_interval: Duration::from_millis(4000),
        stall_timeout: Some(Duration::from_millis(1500)),
        policy: Policy {
            ordering: Ordering::Key,
            concurrency: 9,
            retry: RetryPolicy {
                attempts: 11,
                initial_delay: Duration::from_millis(12),
                max_delay: Duration::from_millis(13),
                multiplier: 14,
                jitter: Jitter::None,
                max_elapsed: Duration::from_millis(15),
            },
            handler_timeout: Some(Duration::from_millis(10)),
            on_exhausted: OnExhausted::Skip,
            on_invalid: OnInvalid::Halt,
            park_key: true,
            dead_letter_topic: "dead.{topic}".into(),
            from: StartFrom::Earliest,
            raw: false,
        },
        group_instance_id: Some("one".into()),
        kafka: kafka.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(config, expected);
    let text = Config::from_json(&json!({"clientId": "c", "brokers": "a:1, ,b:2,", "ssl": true})).unwrap();
    assert_eq!((text.brokers, text.ssl), (vec!["a:1".to_owned(), "b:2".to_owned()], Some(Ssl::default())));
    assert_eq!(Config::from_json(&json!({"ssl": false})).unwrap(), Config::default());
    assert_eq!(Config::from_json(&json!({})).unwrap(), Config::default());
}

#[test]
fn what_a_subscription_may_say_is_what_the_policy_holds() {
    for option in OPTIONS.iter().filter(|option| option.kind != OptionType::Properties) {
        let mut config = valid();
        let value = match option.kind {
            OptionType::Integer { min, .. } => (min + 2).to_string(),
            OptionType::Choice(all) => all[1].to_owned(),
            OptionType::Boolean => (option.default != "true").to_string(),
            _ => "text".to_owned(),
        };
        config.set(option.key, &value).unwrap();
        assert_eq!(config.policy != valid().policy, option.per_subscription, "{}", option.key);
    }
}

#[test]
fn a_subscription_says_what_differs_from_the_configuration() {
    let mut config = valid();
    config.policy.concurrency = 8;
    config.policy.retry.attempts = 9;
    assert_eq!(config.policy_from_json(&json!({})).unwrap(), config.policy);
    let all = json!({
        "ordering": "key", "concurrency": 3, "handlerTimeoutMs": 50, "onExhausted": "halt", "onInvalid": "dead-letter",
        "parkKey": true, "deadLetterTopic": "failures", "from": { "timestamp": 1_717_243_200_000_i64 },
        "retry": { "initialDelayMs": 1, "maxDelayMs": 2, "multiplier": 3, "jitter": "none", "maxElapsedMs": 4 },
    });
    let expected = Policy {
        ordering: Ordering::Key,
        concurrency: 3,
        retry: RetryPolicy {
            attempts: 9,
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
            multiplier: 3,
            jitter: Jitter::None,
            max_elapsed: Duration::from_millis(4),
        },
        handler_timeout: Some(Duration::from_millis(50)),
        on_exhausted: OnExhausted::Halt,
        on_invalid: OnInvalid::DeadLetter,
        park_key: true,
        dead_letter_topic: "failures".into(),
        from: StartFrom::Timestamp(1_717_243_200_000),
        raw: false,
    };
    assert_eq!(config.policy_from_json(&all).unwrap(), expected);
    for policy in [&expected, &Policy { from: StartFrom::Latest, ..Policy::default() }, &Policy::default()] {
        assert_eq!(config.policy_from_json(&policy.to_json()).unwrap(), *policy);
    }
    let from = |json: Value| config.policy_from_json(&json!({ "from": json })).map(|policy| policy.from);
    assert_eq!(from(json!("earliest")).unwrap(), StartFrom::Earliest);
    assert_eq!(from(json!("latest")).unwrap(), StartFrom::Latest);
    for wrong in
        [json!("now"), json!(5), json!(null), json!({}), json!({ "timestamp": -1 }), json!({ "timestamp": "1" })]
    {
        assert_refused(&from(wrong).unwrap_err(), "from", "from must be earliest, latest or a timestamp");
    }
    for (json, option, message) in [
        (json!({ "groupId": "x" }), "groupId", "an option of the bus, not of a subscription"),
        (json!({ "retry": 5 }), "retry", "must be an object"),
        (json!({ "retry": { "tries": 5 } }), "retry.tries", "there is no option"),
        (json!({ "retry.attempts": 5 }), "retry.attempts", "there is no option"),
        (json!({ "orderin": "key" }), "orderin", "there is no option"),
        (json!({ "concurrency": 0 }), "concurrency", "must be an integer from 1"),
        (json!({ "deadLetterTopic": "a b" }), "deadLetterTopic", "is no name of a topic"),
    ] {
        assert_refused(&config.policy_from_json(&json).unwrap_err(), option, message);
    }
    assert!(config.policy_from_json(&json!([])).unwrap_err().message().contains("must be an object"));
}

#[test]
fn wrong_json_is_refused() {
    let cases = [
        (json!({"clientId": 5}), "clientId", "clientId must be a text, but is the number 5"),
        (json!({"clientId": null}), "clientId", "but is null"),
        (json!({"brokers": 9092}), "brokers", "brokers must be a list of texts, but is the number 9092"),
        (json!({"brokers": ["a:1", 2]}), "brokers", "but is a list with a number"),
        (json!({"brokers": {"a": 1}}), "brokers", "but is an object"),
        (json!({"groupId": ["g"]}), "groupId", "but is an array"),
        (json!({"ssl": "yes\n"}), "ssl", r#"ssl must be true or false, but is the text "yes\n""#),
        (json!({"ssl": "true"}), "ssl", r#"but is the text "true""#),
        (json!({"ssl": 1}), "ssl", "but is the number 1"),
        (json!({"ssl": {"ca": true}}), "ssl.ca", "ssl.ca must be a text in PEM format, but is the boolean true"),
        (json!({"ssl": {"ca": [1]}}), "ssl.ca", "but is a list with a number"),
        (json!({"ssl": {"key": {"type": "Buffer"}}}), "ssl.key", "but is an object"),
        (json!({"ssl": {"rejectUnauthorized": false}}), "ssl.rejectUnauthorized", "no option ssl.rejectUnauthorized"),
        (json!({"sasl": "plain"}), "sasl", "sasl must be an object, but is a text"),
        (json!({"sasl": {"mechanism": "gssapi"}}), "sasl.mechanism", "one of plain, scram-sha-256, scram-sha-512"),
        (json!({"sasl": {"password": 5}}), "sasl.password", "but is the number 5"),
        (json!({"sasl": {"usrname": "u"}}), "sasl.usrname", "no option sasl.usrname"),
        (json!({"sasl.username": "u"}), "sasl.username", "no option sasl.username"),
        (json!({"retry": 5}), "retry", "retry must be an object, but is a number"),
        (json!({"retry": {"attempts": 0}}), "retry.attempts", "an integer from 1 to 1000000, but is the number 0"),
        (json!({"onExhausted": "drop"}), "onExhausted", "one of dead-letter, skip, halt"),
        (json!({"kafka": []}), "kafka", "kafka must be an object, but is an array"),
        (json!({"kafka": {"debug": null}}), "kafka.debug", "must be a text, a number or a boolean, but is null"),
        (json!({"kafka": {"acks": 1}}), "kafka.acks", r#"cannot be "1": a publish that resolved is stored"#),
        (json!({"maxInFlight": "5"}), "maxInFlight", r#"but is the text "5""#),
        (json!({"maxInFlight": null}), "maxInFlight", "an integer from 1 to 1000000, but is null"),
        (json!({"maxInFlight": 0}), "maxInFlight", "but is the number 0"),
        (json!({"maxInFlight": -1}), "maxInFlight", "but is the number -1"),
        (json!({"maxInFlight": 1.5}), "maxInFlight", "but is the number 1.5"),
        (json!({"maxInFlightBytes": 1e300}), "maxInFlightBytes", "but is the number 1e+300"),
        (json!({"maxInFlightBytes": u64::MAX}), "maxInFlightBytes", "but is the number 18446744073709551615"),
        (json!({"publishTimeoutMs": true}), "publishTimeoutMs", "from 1 to 2147483647 ms, but is the boolean true"),
        (json!({"compression": "brotli"}), "compression", "one of none, gzip, snappy, lz4, zstd"),
        (json!({"autoCreateTopics": "no"}), "autoCreateTopics", r#"but is the text "no""#),
        (json!({"maxInflights": 5}), "maxInflights", "there is no option maxInflights"),
    ];
    for (json, option, message) in cases {
        match Config::from_json(&json) {
            Err(error) => assert_refused(&error, option, message),
            Ok(_) => panic!("{json} was accepted"),
        }
    }
    for (json, kind) in [(json!(null), "null"), (json!([1]), "an array"), (json!("x"), "a text")] {
        let error = Config::from_json(&json).unwrap_err();
        assert!(error.message().contains(&format!("must be an object, but is {kind}")), "{error}");
    }
}

#[test]
fn unknown_options_name_the_nearest() {
    for (key, hint) in [
        ("maxInflights", "did you mean maxInFlight?"),
        ("CLIENTID", "did you mean clientId?"),
        ("ssl.certt", "did you mean ssl.cert?"),
        ("sasl.user", "did you mean sasl.username?"),
        ("sasl", "the options are sasl.mechanism, sasl.username, sasl.password;"),
        ("sasl.oauthBearerProvider", "the options are sasl.mechanism, sasl.username, sasl.password;"),
        ("kafka", "the options are kafka.<property>;"),
        ("kafka.", "the options are kafka.<property>;"),
        ("kafka.<property>", "the options are kafka.<property>;"),
        ("logger", "the options are clientId, brokers, groupId,"),
        ("", "the options are clientId, brokers, groupId,"),
    ] {
        let error = Config::default().set(key, "hunter2").unwrap_err();
        assert_refused(&error, key, "there is no option");
        assert!(error.hint_text().unwrap().starts_with(hint), "{error}");
    }
    let long = "x\n".repeat(1000);
    assert!(Config::default().set(&long, "").unwrap_err().to_string().len() < 1000);
}

#[test]
fn texts_are_read_as_the_option_takes_them() {
    let mut config = valid();
    for (key, value) in
        [("maxInFlight", " 16 "), ("ssl", " true "), ("compression", " LZ4 "), ("brokers", " a:1 ,a:1, b:2 ")]
    {
        config.set(key, value).unwrap();
    }
    assert_eq!((config.max_in_flight, config.compression), (16, Compression::Lz4));
    assert_eq!((config.ssl, config.brokers), (Some(Ssl::default()), vec!["a:1".to_owned(), "b:2".to_owned()]));
    for (key, value) in [
        ("maxInFlight", ""),
        ("maxInFlight", "0"),
        ("maxInFlight", "-1"),
        ("maxInFlight", "1e3"),
        ("maxInFlight", "8k"),
        ("maxInFlight", "1000001"),
        ("connectTimeoutMs", "5s"),
        ("connectTimeoutMs", "2147483648"),
        ("connectTimeoutMs", "99999999999999999999999"),
        ("messageMaxBytes", "999"),
        ("autoCreateTopics", "1"),
        ("ssl", ""),
        ("compression", ""),
        ("sasl.mechanism", "SCRAM"),
    ] {
        let mut config = valid();
        assert_refused(&config.set(key, value).unwrap_err(), key, &format!("but is the text \"{value}\""));
        assert_eq!(config, valid());
    }
}

#[test]
fn contradictions_are_found() {
    type Change = fn(&mut Config);
    let ssl = |ca: Option<&str>, cert: Option<&str>, key: Option<&str>| {
        let text = |pem: Option<&str>| pem.map(str::to_owned);
        Some(Ssl { ca: text(ca), cert: text(cert), key: text(key) })
    };
    let cases: &[(Change, &str, &str)] = &[
        (|c| c.client_id.clear(), "clientId", "clientId is missing or empty"),
        (|c| c.client_id = "  ".into(), "clientId", "blank or has a control character"),
        (|c| c.client_id = "a\nb".into(), "clientId", "blank or has a control character"),
        (|c| c.group_id = Some(String::new()), "groupId", "blank or has a control character"),
        (|c| c.group_id = Some("\t".into()), "groupId", "blank or has a control character"),
        (|c| c.brokers.clear(), "brokers", "brokers is missing or empty"),
        (|c| c.connect_timeout = Duration::ZERO, "connectTimeoutMs", "but is the number 0"),
        (|c| c.publish_timeout = Duration::from_micros(999), "publishTimeoutMs", "but is the number 0"),
        (|c| c.shutdown_timeout = Duration::MAX, "shutdownTimeoutMs", "2147483647 ms, but is the number"),
        (|c| c.max_in_flight = 0, "maxInFlight", "but is the number 0"),
        (|c| c.max_in_flight = usize::MAX, "maxInFlight", "but is the number"),
        (|c| c.publish_max_in_flight_bytes = 0, "publishMaxInFlightBytes", "but is the number 0"),
        (|c| c.max_queued_bytes = usize::MAX, "maxQueuedBytes", "but is the number"),
        (|c| c.message_max_bytes = 999, "messageMaxBytes", "from 1000 to 1000000000 bytes, but is the number 999"),
        (|c| c.commit_interval = Duration::ZERO, "commitIntervalMs", "but is the number 0"),
        (|c| c.heartbeat_interval = Duration::ZERO, "heartbeatIntervalMs", "but is the number 0"),
        (|c| c.stall_timeout = Some(Duration::from_millis(999)), "stallTimeoutMs", "less than 1000 ms"),
        (|c| c.session_timeout = Duration::from_secs(3601), "sessionTimeoutMs", "but is the number 3601000"),
        (|c| c.max_poll_interval = Duration::from_secs(1), "maxPollIntervalMs", "but is the number 1000"),
        (
            |c| c.heartbeat_interval = Duration::from_millis(2667),
            "heartbeatIntervalMs",
            "2667 is more than a third of sessionTimeoutMs 8000",
        ),
        (
            |c| c.max_poll_interval = Duration::from_secs(7),
            "maxPollIntervalMs",
            "7000 is less than sessionTimeoutMs 8000",
        ),
        (
            |c| c.publish_max_in_flight_bytes = 1_048_587,
            "publishMaxInFlightBytes",
            "1048587 is less than messageMaxBytes 1048588",
        ),
        (|c| c.max_queued_bytes = 1, "maxQueuedBytes", "1 is less than messageMaxBytes 1048588"),
        (|c| c.max_in_flight_bytes = 1, "maxInFlightBytes", "1 is less than messageMaxBytes 1048588"),
        (|c| c.set("sasl.password", "hunter2").unwrap(), "sasl.username", "missing or empty"),
        (|c| c.set("sasl.username", "u").unwrap(), "sasl.password", "missing or empty"),
        (|c| c.set("sasl.mechanism", "plain").unwrap(), "sasl.username", "missing or empty"),
        (
            |c| drop(c.kafka.insert("enable.auto.commit".into(), "true".into())),
            "kafka.enable.auto.commit",
            "every earlier event",
        ),
    ];
    for (change, option, message) in cases {
        let mut config = valid();
        change(&mut config);
        assert_refused(&config.validate().unwrap_err(), option, message);
    }
    for (given, option, message) in [
        (ssl(None, Some(CERT), None), "ssl.key", "ssl.cert is given without ssl.key"),
        (ssl(None, None, Some(KEY)), "ssl.cert", "ssl.key is given without ssl.cert"),
        (ssl(Some("/etc/ssl/ca.pem"), None, None), "ssl.ca", "not a text in PEM format"),
        (ssl(Some(" \n"), None, None), "ssl.ca", "ssl.ca is empty"),
        (ssl(Some(KEY), None, None), "ssl.ca", "holds no certificate"),
        (ssl(None, Some(KEY), Some(KEY)), "ssl.cert", "holds no certificate"),
        (ssl(None, Some(CERT), Some(CERT)), "ssl.key", "holds no private key"),
        (ssl(None, Some(CERT), Some("hunter2")), "ssl.key", "not a text in PEM format"),
    ] {
        let config = Config { ssl: given, ..valid() };
        assert_refused(&config.validate().unwrap_err(), option, message);
    }
    for edge in [
        Config { heartbeat_interval: Duration::from_millis(2666), ..valid() },
        Config { max_poll_interval: Duration::from_secs(8), ..valid() },
        Config { max_queued_bytes: 1_048_588, ..valid() },
        Config { ssl: ssl(Some(CERT), Some(CERT), Some(&KEY.replace("PRIVATE", "RSA PRIVATE"))), ..valid() },
        Config { ssl: Some(Ssl::default()), ..valid() },
    ] {
        edge.validate().unwrap();
    }
}

#[test]
fn addresses_are_checked() {
    for good in ["localhost:9092", "kafka-1.example_x:1", "10.0.0.1:65535", "[::1]:9092", "[fe80::1]:1", "memory:demo"]
    {
        Config::new("c", [good]).validate().unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, reason) in [
        ("", "it is empty"),
        ("localhost", "it has no port"),
        ("localhost:", "its port is not a number from 1 to 65535"),
        ("localhost:0", "its port is not"),
        ("localhost:65536", "its port is not"),
        ("localhost:+1", "its port is not"),
        ("localhost:-1", "its port is not"),
        ("localhost:9092/x", "its port is not"),
        (":9092", "it has no host"),
        ("::1:9092", "more than one colon"),
        ("[::1]", "it has no port"),
        ("[::1]9092", "it has no port"),
        ("[::1:9092", "bracket of its IPv6 address is not closed"),
        ("[]:9092", "no IPv6 address in its brackets"),
        ("[local]:9092", "no IPv6 address in its brackets"),
        ("kafka://localhost:9092", "a scheme is not allowed"),
        ("local host:9092", "a character that no host name has"),
        ("user:hunter2@localhost:9092", "more than one colon"),
        ("hunter2@localhost:9092", "a character that no host name has"),
        ("memory:", "has no name"),
        ("memory:a b", "has white space"),
    ] {
        let error = Config { brokers: vec![bad.to_owned()], ..valid() }.validate().unwrap_err();
        assert_refused(&error, "brokers", reason);
        assert!(error.message().starts_with("brokers[0] "), "{error}");
    }
    let error = Config::new("c", ["localhost:9092", "memory:demo"]).validate().unwrap_err();
    assert_refused(
        &error,
        "brokers",
        r#"brokers[1] "memory:demo" is not an address: a broker in memory cannot be mixed"#,
    );
    assert_eq!(Config::new("c", ["memory:demo"]).memory_name(), Some("demo"));
    assert_eq!(Config::new("c", ["memory:demo", "memory:demo"]).memory_name(), Some("demo"));
    assert_eq!(valid().memory_name(), None);
    assert_eq!(Config::new("c", ["memory:a", "memory:b"]).memory_name(), None);
}

#[test]
fn properties_that_would_break_a_promise_are_refused() {
    for (property, value, reason) in [
        ("acks", "1", "stored by all in-sync replicas"),
        ("request.required.acks", "0", "stored by all in-sync replicas"),
        ("enable.idempotence", "false", "neither duplicate nor reorder"),
        ("max.in.flight", "6", "at most 5 requests"),
        ("max.in.flight.requests.per.connection", "1000000", "at most 5 requests"),
        ("partitioner", "consistent_random", "the same partition"),
        ("transactional.id", "t", "without transactions"),
        ("delivery.report.only.error", "true", "never resolve"),
        ("enable.auto.commit", "true", "every earlier event is finished"),
        ("enable.auto.offset.store", "true", "every earlier event is finished"),
        ("auto.commit.interval.ms", "5000", "set commitIntervalMs"),
        ("auto.offset.reset", "latest", "lose the events"),
        ("partition.assignment.strategy", "range,roundrobin", "one by one"),
        ("group.protocol", "consumer", "new protocol"),
        ("enable.partition.eof", "true", "no event"),
        ("statistics.interval.ms", "0", "statistics of every second"),
        ("bootstrap.servers", "a:1", "set brokers"),
        ("metadata.broker.list", "a:1", "set brokers"),
        ("client.id", "c", "set clientId"),
        ("group.id", "g", "set groupId"),
        ("security.protocol", "ssl", "set these"),
        ("sasl.mechanism", "PLAIN", "set sasl.mechanism"),
        ("sasl.mechanisms", "PLAIN", "set sasl.mechanism"),
        ("sasl.username", "u", "set sasl.username"),
        ("sasl.password", "hunter2", "set sasl.password"),
        ("ssl.ca.pem", CERT, "set ssl.ca"),
        ("ssl.certificate.pem", CERT, "set ssl.cert"),
        ("ssl.key.pem", KEY, "set ssl.key"),
        ("message.timeout.ms", "1", "set publishTimeoutMs"),
        ("delivery.timeout.ms", "1", "set publishTimeoutMs"),
        ("message.max.bytes", "1", "set messageMaxBytes"),
        ("queue.buffering.max.messages", "1", "set maxInFlight"),
        ("queue.buffering.max.kbytes", "1", "set publishMaxInFlightBytes"),
        ("queued.max.messages.kbytes", "1", "set maxInFlightBytes"),
        ("compression.type", "gzip", "set compression"),
        ("compression.codec", "gzip", "set compression"),
        ("allow.auto.create.topics", "true", "set autoCreateTopics"),
        ("session.timeout.ms", "1", "set sessionTimeoutMs"),
        ("heartbeat.interval.ms", "1", "set heartbeatIntervalMs"),
        ("max.poll.interval.ms", "1", "set maxPollIntervalMs"),
    ] {
        let key = format!("kafka.{property}");
        let mut config = valid();
        assert_refused(&config.set(&key, value).unwrap_err(), &key, reason);
        assert_eq!(config, valid());
        config.kafka.insert(property.to_owned(), value.to_owned());
        assert_refused(&config.validate().unwrap_err(), &key, reason);
    }
    for (property, value) in [
        ("acks", "-1"),
        ("enable.idempotence", "true"),
        ("max.in.flight", "5"),
        ("auto.offset.reset", "earliest"),
        ("ssl.key.password", "hunter2"),
        ("debug", "all"),
    ] {
        let mut config = valid();
        config.set(&format!("kafka.{property}"), value).unwrap();
        config.validate().unwrap();
    }
}

#[test]
fn the_environment_fills_what_is_left_out() {
    let variables = |name: &str| {
        let value = match name {
            "KAFKA_BROKERS" => "a:1, b:2",
            "KAFKA_CLIENT_ID" => "env-client",
            "KAFKA_GROUP_ID" => "env-group",
            "KAFKA_GROUP_INSTANCE_ID" => "env-instance",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let mut config = Config::default();
    config.fill(variables).unwrap();
    assert_eq!((config.brokers.join(","), config.client_id.as_str()), ("a:1,b:2".to_owned(), "env-client"));
    assert_eq!(config.group_id.as_deref(), Some("env-group"));
    assert_eq!(config.group_instance_id.as_deref(), Some("env-instance"));
    config.validate().unwrap();

    let own = Some("own".to_owned());
    let mut config = Config { group_id: own.clone(), group_instance_id: own, ..valid() };
    let unchanged = config.clone();
    config.fill(variables).unwrap();
    assert_eq!(config, unchanged);

    let mut config = Config::default();
    config.fill(|_| Some(OsString::new())).unwrap();
    assert_eq!(config, Config::default());
}

#[cfg(unix)]
#[test]
fn variables_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let error = Config::default().fill(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
    assert_refused(&error, "clientId", "the environment variable KAFKA_CLIENT_ID is not UTF-8");
}

#[test]
fn debug_shows_no_secret() {
    let mut config = Config::new("orders", ["someone:hunter2@kafka:9092"]);
    for (key, value) in [
        ("ssl.key", KEY),
        ("sasl.username", "orders"),
        ("sasl.password", "hunter2"),
        ("kafka.ssl.key.password", "hunter2"),
        ("kafka.ssl.keystore.PASSWORD", "hunter2"),
        ("kafka.sasl.oauthbearer.client.secret", "hunter2"),
        ("kafka.sasl.oauthbearer.config", "hunter2"),
        ("kafka.some.token", "hunter2"),
        ("kafka.sasl.jaas.config", "hunter2"),
        ("kafka.linger.ms", "7"),
    ] {
        config.set(key, value).unwrap();
    }
    for text in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!text.contains("hunter2"), "{text}");
        for shown in ["***@kafka:9092", "orders", "linger.ms", "\"7\"", "max_poll_interval", "key: given"] {
            assert!(text.contains(shown), "{shown} is missing in {text}");
        }
    }
}

fn any_key() -> impl Strategy<Value = String> {
    let known: Vec<String> = OPTIONS
        .iter()
        .flat_map(|option| option.key.split('.').map(str::to_owned).chain([option.key.to_owned()]))
        .collect();
    prop_oneof![proptest::sample::select(known), "(kafka\\.)?[a-z.]{0,12}", ".*"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("localhost:9092")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any_key(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn set_never_panics(key in any_key(), value in prop_oneof![any::<String>(), "-?[0-9]{1,30}", "true|false|plain|zstd"]) {
        let mut config = valid();
        match config.set(&key, &value) {
            Ok(()) => drop((config.validate(), format!("{config:?}"))),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Config);
                prop_assert!(error.context("option").is_some() && error.hint_text().is_some());
            }
        }
    }

    #[test]
    fn from_json_never_panics(json in any_json()) {
        match Config::from_json(&json) {
            Ok(config) => drop((config.validate(), format!("{config:?}"))),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
        }
    }
}
