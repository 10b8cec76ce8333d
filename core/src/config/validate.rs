//! What contradicts itself in a configuration.

use std::borrow::Cow;
use std::time::Duration;

use super::input::quoted;
use super::options::OPTIONS;
use super::{Config, MEMORY, Sasl, Ssl, properties, without_credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Policy, TOPIC_PLACEHOLDER};

/// A partition that gets nothing for a shorter time says nothing.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

impl Config {
    /// Checks every value, and whether they fit each other.
    ///
    /// # Errors
    /// `Config`: the first thing found wrong, naming the option, and what to do about it.
    pub fn validate(&self) -> Result<()> {
        self.check_names()?;
        check_brokers(&self.brokers)?;
        self.ssl.as_ref().map_or(Ok(()), check_ssl)?;
        self.sasl.as_ref().map_or(Ok(()), check_sasl)?;
        // The table reaches fields by `&mut` only; a copy keeps this function's promise to change nothing.
        let mut copy = self.clone();
        OPTIONS.iter().try_for_each(|option| option.check(&mut copy))?;
        self.check_timeouts()?;
        self.check_budgets()?;
        self.policy.check()?;
        self.kafka.iter().try_for_each(|(property, value)| properties::check(property, value))
    }

    fn check_names(&self) -> Result<()> {
        let clean = |name: &str| !name.trim().is_empty() && !name.contains(char::is_control);
        if self.client_id.is_empty() {
            return Err(wrong("clientId", "clientId is missing or empty", "give a name, or set KAFKA_CLIENT_ID"));
        }
        if !clean(&self.client_id) {
            let message = format!("clientId is blank or has a control character: {}", quoted(&self.client_id));
            return Err(wrong("clientId", message, "give a name that reads well in the brokers' logs"));
        }
        match &self.group_id {
            Some(group_id) if !clean(group_id) => {
                let message = format!("groupId is blank or has a control character: {}", quoted(group_id));
                Err(wrong("groupId", message, "name the consumer group, or leave groupId out to publish only"))
            }
            _ => Ok(()),
        }
    }

    fn check_timeouts(&self) -> Result<()> {
        let (session, heartbeat) = (self.session_timeout.as_millis(), self.heartbeat_interval.as_millis());
        if heartbeat * 3 > session {
            return Err(wrong(
                "heartbeatIntervalMs",
                format!("heartbeatIntervalMs {heartbeat} is more than a third of sessionTimeoutMs {session}"),
                "two heartbeats must be able to get lost before the group gives the partitions away",
            ));
        }
        if self.stall_timeout.is_some_and(|timeout| timeout < SHORTEST_STALL) {
            return Err(wrong(
                "stallTimeoutMs",
                format!("stallTimeoutMs is less than {} ms", SHORTEST_STALL.as_millis()),
                "the client tells once a second how far it is: give at least 1000, or 0 to turn it off",
            ));
        }
        let poll = self.max_poll_interval.as_millis();
        if poll < session {
            return Err(wrong(
                "maxPollIntervalMs",
                format!("maxPollIntervalMs {poll} is less than sessionTimeoutMs {session}"),
                "raise maxPollIntervalMs or lower sessionTimeoutMs",
            ));
        }
        Ok(())
    }

    fn check_budgets(&self) -> Result<()> {
        for (option, budget) in [
            ("publishMaxInFlightBytes", self.publish_max_in_flight_bytes),
            ("maxQueuedBytes", self.max_queued_bytes),
            ("maxInFlightBytes", self.max_in_flight_bytes),
        ] {
            if budget < self.message_max_bytes {
                return Err(wrong(
                    option,
                    format!("{option} {budget} is less than messageMaxBytes {}", self.message_max_bytes),
                    "a record of the largest size must fit: raise the one or lower the other",
                ));
            }
        }
        Ok(())
    }
}

impl Policy {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// `Config`, naming the option.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.dead_letter_topic;
        let rest = name.replace(TOPIC_PLACEHOLDER, "");
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name == TOPIC_PLACEHOLDER {
            return Err(wrong(
                "deadLetterTopic",
                "deadLetterTopic is the topic itself, so that a dead letter would be delivered again and again",
                "give a topic of its own, for example {topic}.dead-letter",
            ));
        }
        if name.is_empty() || !rest.chars().all(legal) {
            let message = format!("deadLetterTopic {} is no name of a topic", quoted(name));
            return Err(wrong("deadLetterTopic", message, "use A-Z a-z 0-9 . _ - and {topic} for the event's topic"));
        }
        if self.concurrency == 0 {
            return Err(wrong("concurrency", "concurrency is 0, so that nothing would be handled", "give at least 1"));
        }
        if self.retry.attempts == 0 {
            return Err(wrong("retry.attempts", "retry.attempts is 0", "the first attempt counts: 1 is no retry"));
        }
        Ok(())
    }
}

fn wrong(option: &'static str, message: impl Into<Cow<'static, str>>, hint: &'static str) -> Error {
    Error::new(ErrorKind::Config, message).with("option", option).hint(hint)
}

fn check_brokers(brokers: &[String]) -> Result<()> {
    const HINT: &str = "write host:port, for example kafka-1:9092 or [::1]:9092";
    if brokers.is_empty() {
        let hint = "give at least one host:port, or set KAFKA_BROKERS";
        return Err(wrong("brokers", "brokers is missing or empty", hint));
    }
    for (index, address) in brokers.iter().enumerate() {
        let reason = match address.strip_prefix(MEMORY) {
            Some(_) if brokers.len() > 1 => Err("a broker in memory cannot be mixed with others"),
            Some("") => Err("the broker in memory has no name"),
            Some(name) if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("the name of the broker in memory has white space")
            }
            Some(_) => Ok(()),
            None => check_address(address),
        };
        if let Err(reason) = reason {
            let shown = quoted(without_credentials(address));
            return Err(wrong("brokers", format!("brokers[{index}] {shown} is not an address: {reason}"), HINT));
        }
    }
    Ok(())
}

fn check_address(address: &str) -> std::result::Result<(), &'static str> {
    if address.is_empty() {
        return Err("it is empty");
    }
    if address.contains("://") {
        return Err("a scheme is not allowed; ssl and sasl say how to connect");
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket of its IPv6 address is not closed")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "there is no IPv6 address in its brackets")?;
            (host, port.strip_prefix(':').ok_or("it has no port")?)
        }
        None => {
            let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
            if host.contains(':') {
                return Err("it has more than one colon; an IPv6 address goes in brackets");
            }
            let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            if !host.chars().all(legal) {
                return Err("its host has a character that no host name has");
            }
            (host, port)
        }
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err("its port is not a number from 1 to 65535"),
    }
}

fn check_ssl(ssl: &Ssl) -> Result<()> {
    const PEM: &str = "give the PEM text itself (it starts with -----BEGIN), not the name of a file";
    for (option, what, pem) in [
        ("ssl.ca", "CERTIFICATE-----", &ssl.ca),
        ("ssl.cert", "CERTIFICATE-----", &ssl.cert),
        ("ssl.key", "PRIVATE KEY-----", &ssl.key),
    ] {
        let Some(pem) = pem else { continue };
        if pem.trim().is_empty() {
            return Err(wrong(option, format!("{option} is empty"), PEM));
        }
        if !pem.trim_start().starts_with("-----BEGIN") {
            return Err(wrong(option, format!("{option} is not a text in PEM format"), PEM));
        }
        if !pem.contains(what) {
            let missing = what.trim_end_matches('-').to_lowercase();
            return Err(wrong(option, format!("{option} is in PEM format, but holds no {missing}"), PEM));
        }
    }
    match (&ssl.cert, &ssl.key) {
        (Some(_), None) => Err(wrong("ssl.key", "ssl.cert is given without ssl.key", "give both or none")),
        (None, Some(_)) => Err(wrong("ssl.cert", "ssl.key is given without ssl.cert", "give both or none")),
        _ => Ok(()),
    }
}

fn check_sasl(sasl: &Sasl) -> Result<()> {
    const HINT: &str = "sasl takes mechanism, username and password";
    if sasl.username.is_empty() {
        return Err(wrong("sasl.username", "sasl.username is missing or empty", HINT));
    }
    if sasl.password.is_empty() {
        return Err(wrong("sasl.password", "sasl.password is missing or empty", HINT));
    }
    Ok(())
}
