//! What the error numbers of librdkafka and of brokers mean here: kind, reason, advice.

use rdkafka::types::RDKafkaRespErr as Code;

use super::ffi::{Failure, error_text};
use crate::error::{Error, ErrorKind, PublishOutcome};

const ACL: &str = "ask for an ACL that allows this principal the operation on it";
const REACH: &str = "check the addresses, that the brokers run, and that the addresses they advertise \
                     (advertised.listeners) can be reached from here";
const CREDENTIALS: &str = "check user, password, mechanism and certificates, and that the listener of this address \
                           expects them";

struct Meaning {
    kind: ErrorKind,
    /// `None`: librdkafka's own words.
    reason: Option<&'static str>,
    hint: Option<&'static str>,
}

fn meaning(code: i32) -> Meaning {
    use Code::*;
    let known = |kind, reason, hint| Meaning { kind, reason: Some(reason), hint: Some(hint) };
    let plain = |kind| Meaning { kind, reason: None, hint: None };
    let Ok(named) = Code::try_from(code) else {
        return plain(if code > 0 { ErrorKind::Rejected } else { ErrorKind::Internal });
    };
    match named {
        RD_KAFKA_RESP_ERR__QUEUE_FULL => {
            known(ErrorKind::QueueFull, "the client's queue is full", "publish slower, or allow more in flight")
        }
        RD_KAFKA_RESP_ERR__MSG_TIMED_OUT => known(
            ErrorKind::Timeout,
            "no acknowledgement came in time",
            "check that the brokers can be reached and that enough replicas of the partition are in sync",
        ),
        RD_KAFKA_RESP_ERR__TIMED_OUT | RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE | RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT => {
            known(ErrorKind::Timeout, "no answer came in time", REACH)
        }
        RD_KAFKA_RESP_ERR__PURGE_QUEUE | RD_KAFKA_RESP_ERR__PURGE_INFLIGHT => known(
            ErrorKind::Timeout,
            "the client gave it up before an acknowledgement came",
            "allow more time for the shutdown",
        ),
        RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED => known(
            ErrorKind::Timeout,
            "the consumer was not polled within maxPollInterval, so its partitions go to others",
            "look for a thread of this process that stood still, or raise maxPollInterval",
        ),
        RD_KAFKA_RESP_ERR__TRANSPORT
        | RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
        | RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
        | RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE => known(ErrorKind::Unavailable, "no broker can be reached", REACH),
        RD_KAFKA_RESP_ERR__RESOLVE => known(
            ErrorKind::Unavailable,
            "the broker's host name cannot be resolved",
            "check the spelling of the host and the name service",
        ),
        RD_KAFKA_RESP_ERR__WAIT_COORD
        | RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
        | RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS
        | RD_KAFKA_RESP_ERR_NOT_COORDINATOR => known(
            ErrorKind::Unavailable,
            "the group's coordinator is not available",
            "it is usually back within seconds; otherwise check the topic __consumer_offsets",
        ),
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS
        | RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | RD_KAFKA_RESP_ERR__ISR_INSUFF => known(
            ErrorKind::Unavailable,
            "fewer replicas are in sync than min.insync.replicas demands",
            "bring the missing brokers back",
        ),
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        | RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
        | RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
        | RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
        | RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
        | RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND => known(
            ErrorKind::Unavailable,
            "the partition has no leader that can be reached now",
            "it usually gets one within seconds; otherwise check the brokers that hold its replicas",
        ),
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
        | RD_KAFKA_RESP_ERR_NOT_CONTROLLER
        | RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED
        | RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
        | RD_KAFKA_RESP_ERR__DESTROY_BROKER
        | RD_KAFKA_RESP_ERR__RETRY
        | RD_KAFKA_RESP_ERR__WAIT_CACHE
        | RD_KAFKA_RESP_ERR__NO_OFFSET
        | RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
        | RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        | RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT => plain(ErrorKind::Unavailable),
        RD_KAFKA_RESP_ERR__AUTHENTICATION
        | RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
        | RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM
        | RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE
        | RD_KAFKA_RESP_ERR_SECURITY_DISABLED => {
            known(ErrorKind::Auth, "the broker refused the credentials", CREDENTIALS)
        }
        RD_KAFKA_RESP_ERR__SSL => known(ErrorKind::Auth, "the TLS handshake failed", CREDENTIALS),
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC | RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => known(
            ErrorKind::UnknownTopic,
            "the topic does not exist",
            "create it, check its spelling, or allow topics to be created",
        ),
        RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => known(
            ErrorKind::UnknownTopic,
            "the topic has no such partition",
            "leave the partition to the key, or use one that exists",
        ),
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
        | RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
        | RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE => known(
            ErrorKind::TooLarge,
            "the record is larger than allowed",
            "publish less in one event, or raise messageMaxBytes here and message.max.bytes on the broker and the topic",
        ),
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => {
            known(ErrorKind::Rejected, "the broker does not allow it on this topic", ACL)
        }
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED => {
            known(ErrorKind::Rejected, "the broker does not allow it for this consumer group", ACL)
        }
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED | RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
            known(ErrorKind::Rejected, "the broker does not allow it on this cluster", ACL)
        }
        RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION => known(
            ErrorKind::Argument,
            "the name of the topic is not legal",
            "use at most 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'",
        ),
        RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL => known(
            ErrorKind::Rejected,
            "other members of the group assign partitions by another strategy",
            "stop the members that run another client before this one joins; their offsets are kept",
        ),
        RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT => known(
            ErrorKind::Rejected,
            "the broker does not allow this session timeout",
            "keep sessionTimeout within the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
        ),
        RD_KAFKA_RESP_ERR_POLICY_VIOLATION => known(
            ErrorKind::Rejected,
            "a policy of the cluster forbids it",
            "ask the cluster's operators for their create.topic.policy",
        ),
        RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
        | RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
        | RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
        | RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST => known(
            ErrorKind::IllegalState,
            "the group has a new generation, and the partitions may belong to another member",
            "nothing to do: their events are delivered again",
        ),
        RD_KAFKA_RESP_ERR__STATE
        | RD_KAFKA_RESP_ERR__CONFLICT
        | RD_KAFKA_RESP_ERR__IN_PROGRESS
        | RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
        | RD_KAFKA_RESP_ERR__OUTDATED
        | RD_KAFKA_RESP_ERR__UNKNOWN_GROUP => plain(ErrorKind::IllegalState),
        RD_KAFKA_RESP_ERR__DESTROY => {
            Meaning { kind: ErrorKind::Closed, reason: Some("the client is closed"), hint: None }
        }
        RD_KAFKA_RESP_ERR__INVALID_ARG => plain(ErrorKind::Argument),
        RD_KAFKA_RESP_ERR__BAD_MSG | RD_KAFKA_RESP_ERR__BAD_COMPRESSION => plain(ErrorKind::Codec),
        RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE | RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED => plain(ErrorKind::Rejected),
        RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
        | RD_KAFKA_RESP_ERR__FENCED
        | RD_KAFKA_RESP_ERR_PRODUCER_FENCED
        | RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH => known(
            ErrorKind::Fenced,
            "another client took over this client's identity",
            "give every process an identity of its own (group.instance.id, transactional.id)",
        ),
        _ => plain(if code > 0 { ErrorKind::Rejected } else { ErrorKind::Internal }),
    }
}

/// Whether a broker refused the credentials or the TLS handshake.
pub(super) fn is_refusal(code: i32) -> bool {
    meaning(code).kind == ErrorKind::Auth
}

/// A client certificate is refused after the handshake from the client's view, which looks like a lost connection.
pub(super) fn classified(failure: &Failure) -> Failure {
    // Brokers of Kafka 2 on a newer Java refuse it in a record that OpenSSL cannot read.
    let refused = ["SSL alert number", "SSL routines::record layer failure"];
    let refused = refused.iter().any(|words| failure.text.contains(words));
    let code = if refused { Code::RD_KAFKA_RESP_ERR__SSL as i32 } else { failure.code };
    Failure { code, text: failure.text.clone() }
}

/// A line of the log about a connection that ended.
pub(super) fn disconnected(text: &str) -> Failure {
    Failure { code: Code::RD_KAFKA_RESP_ERR__TRANSPORT as i32, text: text.to_owned() }
}

/// Whether it is about the connection to a broker, or to all of them.
pub(super) fn is_about_connections(failure: &Failure) -> bool {
    failure.code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32 || broker_and_reason(&failure.text).is_some()
}

/// An error that says what failed and why.
pub(super) fn error(what: &str, failure: &Failure) -> Error {
    let meaning = meaning(failure.code);
    let standard = error_text(failure.code);
    let detail = own_words(&failure.text);
    let mut message = match meaning.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => format!("{what}: {}", own_words(&standard)),
    };
    // What librdkafka says beyond its standard text for the number is about this very case.
    if !detail.is_empty() && detail != own_words(&standard) && !message.contains(detail) {
        message.push_str(&format!(" ({detail})"));
    }
    let error = Error::new(meaning.kind, message).kafka(failure.code);
    match meaning.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The error of a publish.
pub(super) fn publish(topic: &str, failure: &Failure, outcome: PublishOutcome) -> Error {
    error("the record was not published", failure).with("topic", topic).outcome(outcome)
}

/// librdkafka begins its texts with where the number comes from.
fn own_words(text: &str) -> &str {
    text.trim_start_matches("Local: ").trim_start_matches("Broker: ")
}

/// `sasl_ssl://host:port/bootstrap: what happened (after 3ms in state CONNECT)` → address and what happened. The
/// connection to the group's coordinator is told as `GroupCoordinator: host:port: what happened`.
pub(super) fn broker_and_reason(text: &str) -> Option<(&str, &str)> {
    let (name, reason) = text.split_once(": ")?;
    let name = name.rsplit_once("://").map_or(name, |(_, rest)| rest);
    let (address, reason) = match name {
        "GroupCoordinator" => reason.split_once(": ").filter(|(address, _)| address.contains(':'))?,
        _ => (name.split_once('/')?.0, reason),
    };
    let reason = match reason.rfind(" (after ") {
        Some(end) => &reason[..end],
        None => reason,
    };
    (!address.is_empty()).then_some((address, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, text: &str) -> Failure {
        Failure { code: code as i32, text: text.into() }
    }

    #[test]
    fn no_number_yields_a_text_of_librdkafka_alone() {
        for code in (-200..150).filter(|code| *code != 0) {
            let failure = Failure { code, text: error_text(code) };
            let error = publish("order.placed", &failure, PublishOutcome::Unknown);
            assert!(error.message().starts_with("the record was not published: "), "{error}");
            assert!(!error.message().contains("Local: ") && !error.message().contains("Broker: "), "{error}");
            assert!(error.message().len() > "the record was not published: ".len(), "{code}");
            assert_eq!((error.kafka_code(), error.context("topic")), (Some(code), Some("order.placed")));
        }
    }

    #[test]
    fn numbers_beyond_the_bindings_are_refusals() {
        let error = error("the commit failed", &Failure { code: 9999, text: error_text(9999) });
        assert_eq!((error.kind(), error.kafka_code()), (ErrorKind::Rejected, Some(9999)));
    }

    #[test]
    fn the_kinds_that_callers_rely_on() {
        use Code::*;
        for (code, kind) in [
            (RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, ErrorKind::Timeout),
            (RD_KAFKA_RESP_ERR__QUEUE_FULL, ErrorKind::QueueFull),
            (RD_KAFKA_RESP_ERR__TRANSPORT, ErrorKind::Unavailable),
            (RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ErrorKind::Unavailable),
            (RD_KAFKA_RESP_ERR__SSL, ErrorKind::Auth),
            (RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ErrorKind::Auth),
            (RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ErrorKind::UnknownTopic),
            (RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ErrorKind::TooLarge),
            (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorKind::Rejected),
            (RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, ErrorKind::IllegalState),
            (RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, ErrorKind::Fenced),
        ] {
            let error = error("it failed", &failure(code, ""));
            assert_eq!(error.kind(), kind, "{code:?}");
            assert!(error.hint_text().is_some(), "{code:?} needs a hint");
        }
    }

    #[test]
    fn the_case_at_hand_is_added_to_the_reason() {
        let error = error("no", &failure(Code::RD_KAFKA_RESP_ERR__RESOLVE, "Failed to resolve 'nowhere:9092'"));
        assert_eq!(error.message(), "no: the broker's host name cannot be resolved (Failed to resolve 'nowhere:9092')");
    }

    #[test]
    fn addresses_are_read_from_errors() {
        let text = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
        let expected = ("127.0.0.1:1", "Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        assert_eq!(broker_and_reason(text), Some(expected));
        assert_eq!(broker_and_reason("sasl_ssl://[::1]:9092/1: no"), Some(("[::1]:9092", "no")));
        assert_eq!(broker_and_reason("1/1 brokers are down"), None);
        let coordinator =
            "GroupCoordinator: [::1]:9092: Connect failed: Connection refused (after 0ms in state CONNECT)";
        let expected = ("[::1]:9092", "Connect failed: Connection refused");
        assert_eq!(broker_and_reason(coordinator), Some(expected));
        assert_eq!(broker_and_reason("GroupCoordinator: it moved"), None);
    }
}
