//! Whether a bus does its work, and what keeps it from it.

mod connection;

use serde::{Serialize, Serializer};
use serde_json::json;

pub(crate) use self::connection::{ConnectionWatch, Link, Signs};
use crate::error::Error;
use crate::subscribe::{Condition, HaltedPartition, StalledPartition};

/// Whether a bus does its work, as of half a second ago; the connection is up to 3 s late.
///
/// In JSON, names are in camel case.
///
/// ```
/// # fn answer(bus: &event_bus::Bus) -> (u16, String) {
/// let health = bus.health();
/// let status = if health.live { 200 } else { 503 };
/// (status, health.to_json())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Health {
    /// False when something stands still that a restart of the process may bring back: what a liveness probe asks.
    pub live: bool,
    /// Publishes and handlers can make progress now: what a readiness probe asks. Never without [`live`](Health::live).
    pub ready: bool,
    /// As [`Bus::is_connected`](crate::Bus::is_connected).
    pub connected: bool,
    /// All that is not as it should be, the worst first. Not every reason makes the bus unready.
    pub reasons: Vec<HealthReason>,
    /// Partitions that stand still by policy.
    pub halted_partitions: Vec<HaltedPartition>,
    /// Partitions that have records and get none; they are being healed.
    pub stalled_partitions: Vec<StalledPartition>,
    /// Records on their way to a dead-letter topic.
    pub dead_letters_pending: u64,
    /// The latest failure that no caller heard of, for example of a connection or of a commit. It may be long over.
    #[serde(serialize_with = "code_and_message")]
    pub last_error: Option<Error>,
}

impl Health {
    /// As an object in JSON, for the answer to a probe.
    pub fn to_json(&self) -> String {
        // Nothing in it can fail to be written: names are fixed, numbers are integers.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthReason {
    /// What it is.
    pub code: HealthCode,
    /// For a person: on what, and why.
    pub message: String,
}

/// What can be wrong with a bus. The words are those of the log's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HealthCode {
    /// A thread of the library ended by a defect.
    InternalError,
    /// Another process is this member of the group now, so this one consumes nothing any more.
    ConsumerFailed,
    /// A partition stands still by policy.
    PartitionHalted,
    /// A partition has records and gets none.
    PartitionStalled,
    /// The bus is not connected yet, is closing or is closed.
    NotConnected,
    /// No broker can be reached, or publishes make no progress.
    ConnectionLost,
    /// A Kafka client gave up for good and its successor is on its way.
    ClientFatal,
    /// Dead letters cannot be written; they are tried again, and nothing behind them is committed.
    DeadLetterFailed,
}

impl HealthCode {
    /// All of them, the worst first.
    pub const ALL: [HealthCode; 8] = [
        HealthCode::InternalError,
        HealthCode::ConsumerFailed,
        HealthCode::PartitionHalted,
        HealthCode::PartitionStalled,
        HealthCode::NotConnected,
        HealthCode::ConnectionLost,
        HealthCode::ClientFatal,
        HealthCode::DeadLetterFailed,
    ];

    /// A stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthCode::InternalError => "internal_error",
            HealthCode::ConsumerFailed => "consumer_failed",
            HealthCode::PartitionHalted => "partition_halted",
            HealthCode::PartitionStalled => "partition_stalled",
            HealthCode::NotConnected => "not_connected",
            HealthCode::ConnectionLost => "connection_lost",
            HealthCode::ClientFatal => "client_fatal",
            HealthCode::DeadLetterFailed => "dead_letter_failed",
        }
    }

    /// A bus with it is live all the same: a restart of the process would change nothing.
    pub const fn is_live(self) -> bool {
        use HealthCode::{ConsumerFailed, InternalError, PartitionHalted, PartitionStalled};
        !matches!(self, InternalError | ConsumerFailed | PartitionHalted | PartitionStalled)
    }

    /// A bus with it is ready all the same.
    pub const fn is_ready(self) -> bool {
        matches!(self, HealthCode::DeadLetterFailed)
    }
}

impl Serialize for HealthCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// All that health is told from.
pub(crate) struct Findings {
    pub(crate) connected: bool,
    /// Why the bus is not open, when it is not.
    pub(crate) not_open: Option<&'static str>,
    /// Why there is no connection, while the bus is open.
    pub(crate) connection_lost: Option<&'static str>,
    /// A thread of the library is gone.
    pub(crate) is_defect: bool,
    /// Why the producing client ended, while there is no other.
    pub(crate) producer: Option<Option<Error>>,
    pub(crate) condition: Condition,
    pub(crate) dead_letters_pending: u64,
    pub(crate) last_error: Option<Error>,
}

impl From<Findings> for Health {
    fn from(findings: Findings) -> Self {
        let mut reasons = Vec::new();
        let mut tell = |code, message: String| reasons.push(HealthReason { code, message });
        let Condition { halted, stalled, dead_letter, client, failed } = findings.condition;
        if findings.is_defect && failed.is_none() {
            let message = "a thread of the library ended by a defect: the log holds it as internal_error; restart";
            tell(HealthCode::InternalError, message.to_owned());
        }
        if let Some(error) = failed {
            tell(HealthCode::ConsumerFailed, format!("another process is this member of the group now: {error}"));
        }
        for HaltedPartition { topic, partition, offset, reason } in &halted {
            let message = format!("{topic}[{partition}] stands still at offset {offset} by policy: {reason}");
            tell(HealthCode::PartitionHalted, message);
        }
        for one in &stalled {
            let StalledPartition { topic, partition, high_watermark, reason, .. } = one;
            let position = one.position.map_or("nowhere".to_owned(), |offset| format!("at {offset}"));
            let seconds = one.stalled_ms / 1000;
            let message = format!(
                "{topic}[{partition}] has stood still {position} for {seconds} s, though its log ends at \
                 {high_watermark} ({reason}); it is being healed"
            );
            tell(HealthCode::PartitionStalled, message);
        }
        if let Some(why) = findings.not_open {
            tell(HealthCode::NotConnected, why.to_owned());
        }
        if let Some(why) = findings.connection_lost {
            tell(HealthCode::ConnectionLost, format!("{why}; reconnecting"));
        }
        if let Some(cause) = findings.producer {
            let cause = cause.map(|error| format!(": {error}")).unwrap_or_default();
            tell(HealthCode::ClientFatal, format!("the publishing client ended and is being replaced{cause}"));
        }
        if let Some(cause) = client {
            tell(HealthCode::ClientFatal, format!("the consuming client ended and is being replaced: {cause}"));
        }
        if let Some(cause) = dead_letter {
            let message = format!("dead letters cannot be written, which is tried again: {cause}");
            tell(HealthCode::DeadLetterFailed, message);
        }
        let live = reasons.iter().all(|reason| reason.code.is_live());
        Health {
            live,
            ready: live && reasons.iter().all(|reason| reason.code.is_ready()),
            connected: findings.connected,
            reasons,
            halted_partitions: halted,
            stalled_partitions: stalled,
            dead_letters_pending: findings.dead_letters_pending,
            last_error: findings.last_error,
        }
    }
}

fn code_and_message<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(|error| json!({ "code": error.code(), "message": error.to_string() })).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn well() -> Findings {
        Findings {
            connected: true,
            not_open: None,
            connection_lost: None,
            is_defect: false,
            producer: None,
            condition: Condition::default(),
            dead_letters_pending: 0,
            last_error: None,
        }
    }

    fn error() -> Error {
        Error::new(ErrorKind::Timeout, "the broker was silent")
    }

    #[test]
    fn a_bus_that_works_has_nothing_to_say() {
        let health = Health::from(well());
        assert!(health.live && health.ready && health.connected && health.reasons.is_empty());
        let json: serde_json::Value = serde_json::from_str(&health.to_json()).unwrap();
        let expected = json!({
            "live": true, "ready": true, "connected": true, "reasons": [], "haltedPartitions": [],
            "stalledPartitions": [], "deadLettersPending": 0, "lastError": null,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn every_trouble_is_told_by_its_word_with_what_it_means() {
        let halted = HaltedPartition { topic: "t".into(), partition: 3, offset: 7, reason: "no stock".into() };
        let stalled = StalledPartition {
            topic: "t".into(),
            partition: 4,
            position: Some(8),
            high_watermark: 9,
            stalled_ms: 42_500,
            reason: "not_fetched",
        };
        let of = |condition| Findings { condition, ..well() };
        let troubles = [
            Findings { is_defect: true, ..well() },
            of(Condition { failed: Some(error()), ..Condition::default() }),
            of(Condition { halted: vec![halted], ..Condition::default() }),
            of(Condition { stalled: vec![stalled], ..Condition::default() }),
            Findings { not_open: Some("closing"), ..well() },
            Findings { connection_lost: Some("no broker can be reached"), ..well() },
            Findings { producer: Some(None), ..well() },
            of(Condition { dead_letter: Some(error()), ..Condition::default() }),
        ];
        let mut told = Vec::new();
        for (trouble, code) in troubles.into_iter().zip(HealthCode::ALL) {
            let health = Health::from(trouble);
            assert_eq!(health.reasons.iter().map(|reason| reason.code).collect::<Vec<_>>(), [code]);
            assert_eq!((health.live, health.ready), (code.is_live(), code.is_ready()), "{code:?}");
            assert!(health.live || !health.ready);
            told.push(health);
        }
        assert_eq!(told[2].reasons[0].message, "t[3] stands still at offset 7 by policy: no stock");
        let json = serde_json::to_value(&told[3]).unwrap();
        assert_eq!(json["reasons"][0]["code"], "partition_stalled");
        let expected = json!({
            "topic": "t", "partition": 4, "position": 8, "highWatermark": 9, "stalledMs": 42_500,
            "reason": "not_fetched",
        });
        assert_eq!(json["stalledPartitions"][0], expected);
        let last = Findings { last_error: Some(error()), ..well() };
        let json = serde_json::to_value(Health::from(last)).unwrap();
        assert_eq!(json["lastError"]["code"], "EVBUS_TIMEOUT");
        assert!(json["lastError"]["message"].as_str().unwrap().contains("the broker was silent"));
    }

    #[test]
    fn a_fenced_member_is_no_defect_and_the_worst_comes_first() {
        let condition = Condition { failed: Some(error()), dead_letter: Some(error()), ..Condition::default() };
        let findings = Findings { is_defect: true, connection_lost: Some("why"), condition, ..well() };
        let codes: Vec<_> = Health::from(findings).reasons.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, [HealthCode::ConsumerFailed, HealthCode::ConnectionLost, HealthCode::DeadLetterFailed]);
        assert!(HealthCode::ALL.is_sorted());
    }
}
