//! What a client tells beside records and reports: errors, statistics, logs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::errors;
use super::ffi::Failure;
use crate::config::Config;
use crate::error::Error;
use crate::log::{Level, Log, LogRecord};
use crate::transport::Connectivity;

/// The least time between two warnings about one matter.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A client without brokers gets those of its configuration again so often at most: it keeps each list that it is given.
const REBOOTSTRAP_INTERVAL: Duration = Duration::from_secs(2);

/// What is known about a client's connections; shared by the thread that polls it and those that ask.
pub(super) struct Context {
    log: Log,
    /// `producer` or `consumer`.
    role: &'static str,
    /// The addresses of the configuration, as librdkafka takes them.
    bootstrap: CString,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The more of the last two reports: a client that goes over from the configured addresses to those that brokers
    /// tell has no connection for a moment.
    brokers_up: usize,
    brokers_up_last: usize,
    brokers_known: usize,
    observed_at: Option<Instant>,
    last_error: Option<(Instant, Error)>,
    /// The latest reason per address, since a broker answered last.
    reasons: BTreeMap<String, String>,
    /// Credentials or handshake refused, and when.
    refused: Option<(Instant, Error)>,
    warned: HashMap<String, Instant>,
    rebootstrapped: Option<Instant>,
}

impl Context {
    /// That of a client which was made of this configuration.
    pub(super) fn new(role: &'static str, config: &Config, log: Log) -> Context {
        let bootstrap = CString::new(config.brokers.join(",")).expect("no client takes a NUL");
        Context { log, role, bootstrap, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs on: any. Remembers an error of the connections and gives it in the words of this crate.
    pub(super) fn failed(&self, failure: &Failure) -> Error {
        let failure = &errors::classified(failure);
        let broker = errors::broker_and_reason(&failure.text);
        let error = match broker {
            Some((address, reason)) => {
                let failure = Failure { code: failure.code, text: reason.to_owned() };
                errors::error("the connection to the broker failed", &failure).with("broker", address)
            }
            None => errors::error("the Kafka client reported an error", failure),
        };
        let mut known = self.known();
        if errors::is_refusal(failure.code) {
            known.refused = Some((Instant::now(), error.clone()));
        }
        if let Some((address, reason)) = broker {
            known.reasons.insert(address.to_owned(), reason.to_owned());
            // "All brokers are down" has no address, and must not hide the reason that one has.
            known.last_error = Some((Instant::now(), error.clone()));
        } else if known.last_error.is_none() {
            known.last_error = Some((Instant::now(), error.clone()));
        }
        error
    }

    /// Runs on: any. The client cannot be used any more.
    pub(super) fn ended(&self, error: Error) {
        self.remember(error.clone());
        let record = LogRecord::new(Level::Error, "client_fatal", "the Kafka client cannot be used any more");
        self.log.write(record.with("client", self.role).because(error));
    }

    pub(super) fn remember(&self, error: Error) {
        self.known().last_error = Some((Instant::now(), error));
    }

    /// Runs on: any. A broker answered, so what failed before explains nothing any more.
    pub(super) fn answered(&self) {
        let mut known = self.known();
        known.reasons.clear();
        known.refused = None;
    }

    /// The refusal of credentials or handshake that came after `since`.
    pub(super) fn refused_since(&self, since: Instant) -> Option<Error> {
        self.known().refused.as_ref().filter(|(at, _)| *at >= since).map(|(_, error)| error.clone())
    }

    /// The refusal of credentials or handshake, when no broker has answered since.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.known().refused.as_ref().map(|(_, error)| error.clone())
    }

    /// The latest reason per address.
    pub(super) fn reasons(&self) -> BTreeMap<String, String> {
        self.known().reasons.clone()
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.known().last_error.as_ref().map(|(_, error)| error.clone())
    }

    /// The latest error, when it is not older than that.
    pub(super) fn recent_error(&self, age: Duration) -> Option<Error> {
        let known = self.known();
        known.last_error.as_ref().filter(|(at, _)| at.elapsed() <= age).map(|(_, error)| error.clone())
    }

    /// Runs on: the thread that polls the client. Calls `add_brokers` with the addresses of the configuration for a
    /// client that has no broker left and would never look for one: librdkafka drops the brokers that metadata do not
    /// name, even when they name none, which is the answer of a broker that the controller has fenced, for example after
    /// it stood still.
    pub(super) fn statistics(&self, json: &str, add_brokers: impl FnOnce(&CStr)) {
        let Ok(statistics) = serde_json::from_str::<Statistics<'_>>(json) else {
            self.log.write(LogRecord::new(Level::Warn, "client_log", "the client's statistics cannot be read"));
            return;
        };
        // The group's coordinator is a second connection to a broker that is listed by itself, too.
        let (mut up, mut all) = (BTreeSet::new(), BTreeSet::new());
        for (name, broker) in &statistics.brokers {
            let id = if broker.nodeid >= 0 { Err(broker.nodeid) } else { Ok(name) };
            if broker.state == "UP" {
                up.insert(id);
            }
            if broker.source != "logical" {
                all.insert(id);
            }
        }
        let now = Instant::now();
        let mut known = self.known();
        known.brokers_up = up.len().max(std::mem::replace(&mut known.brokers_up_last, up.len()));
        known.brokers_known = all.union(&up).count();
        known.observed_at = Some(now);
        if !up.is_empty() {
            known.reasons.clear();
            known.refused = None;
        }
        let is_due = known.rebootstrapped.is_none_or(|last| now.duration_since(last) >= REBOOTSTRAP_INTERVAL);
        if all.is_empty() && is_due {
            known.rebootstrapped = Some(now);
            drop(known);
            add_brokers(&self.bootstrap);
            if self.may_warn("REBOOTSTRAP") {
                let message = "the brokers told of no broker, not even themselves; the configured ones are asked again";
                self.log.write(LogRecord::new(Level::Warn, "rebootstrapped", message).with("client", self.role));
            }
        }
    }

    pub(super) fn connectivity(&self) -> Connectivity {
        let known = self.known();
        Connectivity {
            brokers_up: known.brokers_up,
            brokers_known: known.brokers_known,
            observed_at: known.observed_at,
            last_error: known.last_error.as_ref().map(|(_, error)| error.clone()),
            rebuilt: 0,
            ended: false,
        }
    }

    /// Runs on: the thread that polls the client. A line of librdkafka's own log.
    pub(super) fn logged(&self, syslog_level: i32, facility: &str, text: &str) {
        // A broker that closes a connection, say because it expects TLS, is told here only; what is worse comes as an
        // error event too, and idle connections that brokers close come as debug lines.
        if facility == "FAIL" && (4..=6).contains(&syslog_level) {
            self.failed(&errors::disconnected(text));
        }
        // Connections are told about by the bus; a property of the other role is no one's mistake.
        let expected = matches!(facility, "FAIL" | "ERROR" | "CONFWARN" | "REQTMOUT" | "TERMINATE");
        let level = if syslog_level <= 4 && !expected && self.may_warn(facility) { Level::Warn } else { Level::Debug };
        let record = LogRecord::new(level, "client_log", text.to_owned());
        self.log.write(record.with("client", self.role).with("facility", facility));
    }

    fn may_warn(&self, facility: &str) -> bool {
        let now = Instant::now();
        let mut known = self.known();
        let due = known.warned.get(facility).is_none_or(|last| now.duration_since(*last) >= WARNING_INTERVAL);
        if due {
            known.warned.insert(facility.to_owned(), now);
        }
        due
    }
}

#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    brokers: BTreeMap<Cow<'a, str>, Broker<'a>>,
}

#[derive(Deserialize)]
struct Broker<'a> {
    nodeid: i32,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::log::Observer;
    use std::sync::Arc;

    fn config() -> Config {
        Config::new("context", ["a:1", "b:2"])
    }

    #[test]
    fn statistics_count_a_coordinator_and_its_broker_once() {
        let context = Context::new("consumer", &config(), Log::default());
        context.statistics(
            r#"{"name":"x","brokers":{
                "a:1/bootstrap":{"nodeid":-1,"state":"DOWN","source":"configured"},
                "a:1/1":{"nodeid":1,"state":"UP","source":"learned"},
                "b:1/2":{"nodeid":2,"state":"INIT","source":"learned"},
                "GroupCoordinator":{"nodeid":1,"state":"UP","source":"logical"}},"topics":{"t":{}}}"#,
            |_| panic!("there are brokers"),
        );
        let connectivity = context.connectivity();
        assert_eq!((connectivity.brokers_up, connectivity.brokers_known), (1, 3));
        assert!(connectivity.observed_at.is_some());
    }

    #[test]
    fn a_client_is_without_connection_when_two_reports_say_so() {
        let context = Context::new("producer", &config(), Log::default());
        let report = |state: &str| {
            let json = format!(r#"{{"brokers":{{"a:1/1":{{"nodeid":1,"state":"{state}","source":"learned"}}}}}}"#);
            context.statistics(&json, |_| panic!("there are brokers"));
            context.connectivity().brokers_up
        };
        assert_eq!(["UP", "CONNECT", "UP", "DOWN", "DOWN", "UP"].map(report), [1, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn a_client_without_brokers_gets_those_of_its_configuration_now_and_then() {
        let levels = Arc::new(Levels::default());
        let context = Context::new("producer", &config(), Log::new(Some(levels.clone())));
        let none = r#"{"brokers":{"GroupCoordinator":{"nodeid":-1,"state":"DOWN","source":"logical"}}}"#;
        let mut times = 0;
        let mut count = |brokers: &CStr| {
            assert_eq!(brokers, c"a:1,b:2");
            times += 1;
        };
        context.statistics(none, &mut count);
        context.statistics(none, |_| panic!("not at once again"));
        context.known().rebootstrapped = Instant::now().checked_sub(REBOOTSTRAP_INTERVAL);
        context.statistics(none, &mut count);
        assert_eq!(times, 2);
        assert_eq!(*levels.0.lock().unwrap(), [Level::Warn]);
    }

    #[test]
    fn the_reason_of_an_address_outlives_all_brokers_down() {
        let context = Context::new("producer", &config(), Log::default());
        let before = Instant::now();
        context
            .failed(&Failure { code: -195, text: "h:1/bootstrap: Connection refused (after 1ms in state X)".into() });
        context.failed(&Failure { code: -187, text: "1/1 brokers are down".into() });
        assert_eq!(context.reasons().into_iter().collect::<Vec<_>>(), [("h:1".into(), "Connection refused".into())]);
        assert_eq!(context.last_error().unwrap().context("broker"), Some("h:1"));
        assert!(context.refused_since(before).is_none());
        context.failed(&Failure { code: -181, text: "h:1/bootstrap: SSL handshake failed".into() });
        assert_eq!(context.refused_since(before).unwrap().kind(), ErrorKind::Auth);
        context.answered();
        assert!(context.refused_since(before).is_none() && context.reasons().is_empty());
    }

    #[test]
    fn a_connection_that_the_broker_closed_has_its_reason_in_the_log() {
        let context = Context::new("producer", &config(), Log::default());
        context.logged(7, "FAIL", "idle:1/1: Disconnected (after 600000ms in state UP)");
        assert!(context.reasons().is_empty());
        context.logged(6, "FAIL", "h:1/bootstrap: Disconnected: requesting ApiVersion (after 1ms in state X)");
        let expected = ("h:1".to_owned(), "Disconnected: requesting ApiVersion".to_owned());
        assert_eq!(context.reasons().into_iter().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_tls_alert_after_the_handshake_is_a_refusal() {
        for reason in ["bad certificate: SSL alert number 42", "record layer failure"] {
            let context = Context::new("producer", &config(), Log::default());
            let before = Instant::now();
            let text = format!("h:1/bootstrap: Receive failed: error:0A000412:SSL routines::{reason}");
            assert_eq!(context.failed(&Failure { code: -195, text }).kind(), ErrorKind::Auth);
            assert!(context.refused_since(before).is_some());
        }
    }

    #[derive(Default)]
    struct Levels(Mutex<Vec<Level>>);

    impl Observer for Levels {
        fn log(&self, record: &LogRecord) {
            self.0.lock().unwrap().push(record.level);
        }
    }

    #[test]
    fn warnings_of_one_matter_are_rare_and_connections_never_warn() {
        let levels = Arc::new(Levels::default());
        let context = Context::new("producer", &config(), Log::new(Some(levels.clone())));
        for (level, facility) in [(4, "OFFSET"), (4, "OFFSET"), (3, "FAIL"), (6, "FETCH"), (3, "COMMIT")] {
            context.logged(level, facility, "text");
        }
        let expected = [Level::Warn, Level::Debug, Level::Debug, Level::Debug, Level::Warn];
        assert_eq!(*levels.0.lock().unwrap(), expected);
    }
}
