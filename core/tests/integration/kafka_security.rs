//! TLS, SASL and ACLs. Ignored by default, because the mock cluster has none of them: run with `--ignored`, and with
//! `EVBUS_TEST_SECURE_CLUSTER` naming a file that holds what `dev/kafka --json up --authorizer` printed.

use std::time::{Duration, Instant};

use event_bus::{Config, Error, ErrorKind, PublishOutcome, Sasl, SaslMechanism, Ssl, Transport};
use serde_json::Value;

use crate::support::{Client, Member, config, soon, texts, unique};

struct Secure(Value);

impl Secure {
    fn cluster() -> Secure {
        let path = std::env::var("EVBUS_TEST_SECURE_CLUSTER").expect("EVBUS_TEST_SECURE_CLUSTER names a file");
        Secure(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} is missing"))
    }

    fn pem(&self, pointer: &str) -> Option<String> {
        Some(std::fs::read_to_string(self.text(pointer)).unwrap())
    }

    fn sasl(&self, mechanism: SaslMechanism, user: &str) -> Option<Sasl> {
        let of = |field: &str| self.text(&format!("/users/{user}/{field}")).to_owned();
        Some(Sasl { mechanism, username: of("username"), password: of("password") })
    }

    fn config(&self, listener: &str, mechanism: SaslMechanism, user: &str) -> Config {
        let mut config = config(self.text(&format!("/listeners/{listener}")));
        config.sasl = self.sasl(mechanism, user);
        if listener == "sasl_ssl" {
            config.ssl = Some(Ssl { ca: self.pem("/ca"), ..Ssl::default() });
        }
        config
    }
}

fn round_trip(config: &Config) {
    let client = Client::connected(config);
    let topic = unique("allowed-secure");
    client.create(&topic);
    client.publish(&topic, 0, &["one"]);
    let mut member = Member::join(&client.transport, &[&topic]);
    assert_eq!(texts(&member.until_records(1)), ["one"]);
    member.consumer.offsets().commit(&[(member.owned[0].clone(), 1)]).unwrap();
    member.leave();
}

/// What connecting fails with, long before its deadline.
fn refusal(config: &Config) -> Error {
    let client = Client::new(config);
    let started = Instant::now();
    let error = client.transport.connect(soon(), &|| false).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}: {error:?}", started.elapsed());
    error
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn every_mechanism_publishes_and_consumes() {
    let cluster = Secure::cluster();
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        round_trip(&cluster.config("sasl_ssl", mechanism, "admin"));
    }
    round_trip(&cluster.config("sasl_plaintext", SaslMechanism::ScramSha512, "admin"));
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn tls_without_sasl_and_with_a_client_certificate() {
    let cluster = Secure::cluster();
    let mut tls = config(cluster.text("/listeners/mtls"));
    tls.ssl = Some(Ssl { ca: cluster.pem("/ca"), cert: cluster.pem("/clientCert"), key: cluster.pem("/clientKey") });
    drop(Client::connected(&tls));
    tls.brokers = vec![cluster.text("/listeners/ssl").to_owned()];
    tls.ssl = Some(Ssl { ca: cluster.pem("/ca"), ..Ssl::default() });
    drop(Client::connected(&tls));
    tls.brokers = vec![cluster.text("/listeners/mtls").to_owned()];
    let error = refusal(&tls);
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn wrong_credentials_end_connecting_at_once_and_are_not_told() {
    let cluster = Secure::cluster();
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256] {
        let mut config = cluster.config("sasl_ssl", mechanism, "admin");
        config.sasl.as_mut().unwrap().password = "not-the-password".into();
        let error = refusal(&config);
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert_eq!(error.context("broker"), Some(cluster.text("/listeners/sasl_ssl")));
        assert!(!format!("{error:?}").contains("not-the-password"), "{error:?}");
    }
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn a_stranger_s_certificate_is_not_trusted() {
    let cluster = Secure::cluster();
    let mut config = cluster.config("sasl_ssl", SaslMechanism::Plain, "admin");
    for ca in [cluster.pem("/strangerCa"), None] {
        config.ssl = Some(Ssl { ca, ..Ssl::default() });
        let error = refusal(&config);
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    }
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn a_listener_that_expects_tls_is_recognised() {
    let cluster = Secure::cluster();
    let client = Client::new(&config(cluster.text("/listeners/ssl")));
    let error = client.transport.connect(Instant::now() + Duration::from_secs(3), &|| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.context("brokers").unwrap().contains("expects TLS"), "{error:?}");
}

#[test]
#[ignore = "needs a cluster with ACLs"]
fn what_acls_forbid_is_refused_with_advice() {
    const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    let cluster = Secure::cluster();
    let admin = Client::connected(&cluster.config("sasl_ssl", SaslMechanism::Plain, "admin"));
    let (forbidden, allowed) = (unique("forbidden"), unique("allowed"));
    admin.create(&forbidden);
    admin.create(&allowed);

    let mut limited = cluster.config("sasl_ssl", SaslMechanism::ScramSha256, "limited");
    limited.group_id = Some(unique("allowed-group"));
    let client = Client::connected(&limited);
    client.publish(&allowed, 0, &["one"]);
    client.send(&forbidden, Some(b"k"), Some(b"v")).unwrap();
    let error = client.completions.take(1)[0].error.clone().expect("forbidden");
    let seen = (error.kind(), error.kafka_code(), error.publish_outcome());
    assert_eq!(
        seen,
        (ErrorKind::Rejected, Some(TOPIC_AUTHORIZATION_FAILED), Some(PublishOutcome::NotSent)),
        "{error:?}"
    );
    assert!(error.hint_text().unwrap().contains("ACL"));

    let missing = unique("forbidden-to-create");
    let results = client.transport.ensure_topics(&[missing.as_str().into(), allowed.as_str().into()], soon());
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Rejected, "{results:?}");
    assert!(results[1].is_ok(), "{results:?}");

    // One topic that may not be read does not keep the other from flowing.
    let mut member = Member::join(&client.transport, &[&allowed, &forbidden]);
    assert_eq!(texts(&member.until_records(1)), ["one"]);
    member.until("the refusal", |member| !member.failures.is_empty());
    assert_eq!(member.failures[0].kind(), ErrorKind::Rejected, "{:?}", member.failures);
    member.leave();

    limited.group_id = Some(unique("forbidden-group"));
    let client = Client::connected(&limited);
    let mut member = Member::join(&client.transport, &[&allowed]);
    member.until("the refusal", |member| !member.failures.is_empty());
    let error = &member.failures[0];
    assert!(error.kind() == ErrorKind::Rejected && error.message().contains("consumer group"), "{error:?}");
    member.leave();
}

#[test]
#[ignore = "needs a cluster with listeners for TLS and SASL"]
fn a_dead_letter_topic_that_may_not_be_created_is_told_with_what_to_do() {
    let cluster = Secure::cluster();
    let config = cluster.config("sasl_plaintext", SaslMechanism::ScramSha256, "limited");
    let client = Client::connected(&config);
    let source = unique("allowed-source");
    client.create(&source);
    let letters = unique("forbidden.dead-letter");
    let refused = client.transport.ensure_topic_like(&letters.as_str().into(), &source.as_str().into(), soon());
    let refused = refused.unwrap_err();
    assert_eq!((refused.kind(), refused.context("topic")), (ErrorKind::Rejected, Some(letters.as_str())));
    assert!(!refused.is_retryable() && refused.hint_text().is_some(), "{refused:?}");
    let allowed = format!("{source}.dead-letter");
    assert_eq!(client.transport.ensure_topic_like(&allowed.into(), &source.into(), soon()).unwrap(), 1);
}
