//! What one subscription wants, as text.

use super::Config;
use super::input::quoted;
use super::nearest::unknown;
use super::options::OPTIONS;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Policy, StartFrom};

impl Policy {
    /// Sets an option of a subscription by its name, from text: any of [`OPTIONS`](crate::OPTIONS) that is
    /// `per_subscription`, `from` (`earliest`, `latest`, or milliseconds since the Unix epoch), or `raw` (`true` or
    /// `false`).
    ///
    /// ```
    /// use event_bus::{Policy, StartFrom};
    ///
    /// let mut policy = Policy::default();
    /// policy.set("retry.attempts", "3")?;
    /// policy.set("from", "1735689600000")?;
    /// policy.set("raw", "true")?;
    /// assert_eq!((policy.retry.attempts, policy.from, policy.raw), (3, StartFrom::Timestamp(1_735_689_600_000), true));
    /// # Ok::<(), event_bus::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` for an option that is unknown or belongs to the bus as a whole, and for a value that it does not take.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "from" => self.from = start_from(value)?,
            "raw" => self.raw = flag("raw", value)?,
            _ => {
                let option = OPTIONS.iter().find(|option| option.key == key).ok_or_else(|| unknown(key))?;
                if !option.per_subscription {
                    return Err(of_the_bus(key));
                }
                // The table writes into a configuration; of this one only the policy is kept.
                let mut config = Config { policy: self.clone(), ..Config::default() };
                config.set(key, value)?;
                *self = config.policy;
            }
        }
        Ok(())
    }
}

pub(super) fn of_the_bus(key: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{key} is an option of the bus, not of a subscription"))
        .with("option", key)
        .hint(format!("set {key} in the configuration of the bus"))
}

fn start_from(value: &str) -> Result<StartFrom> {
    match value.trim() {
        "earliest" => Ok(StartFrom::Earliest),
        "latest" => Ok(StartFrom::Latest),
        text => match text.parse() {
            Ok(milliseconds @ 0..) => Ok(StartFrom::Timestamp(milliseconds)),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("from must be earliest, latest or a timestamp, but is {}", quoted(value)),
            )
            .with("option", "from")
            .hint("give a timestamp in milliseconds since the Unix epoch, not negative")),
        },
    }
}

fn flag(key: &'static str, value: &str) -> Result<bool> {
    value.trim().parse().map_err(|_| {
        Error::new(ErrorKind::Config, format!("{key} must be true or false, but is {}", quoted(value)))
            .with("option", key)
            .hint("true hands out records as they are, whether they hold an event or not")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{OnExhausted, Ordering};

    #[test]
    fn every_option_of_a_subscription_is_set_from_text() {
        let mut policy = Policy::default();
        for option in OPTIONS.iter().filter(|option| option.per_subscription) {
            policy.set(option.key, option.default).unwrap();
        }
        assert_eq!(policy, Policy::default());
        for (key, value) in [("ordering", "key"), ("onExhausted", "halt"), ("from", "latest"), ("raw", " true ")] {
            policy.set(key, value).unwrap();
        }
        let expected = Policy {
            ordering: Ordering::Key,
            on_exhausted: OnExhausted::Halt,
            from: StartFrom::Latest,
            raw: true,
            ..Policy::default()
        };
        assert_eq!(policy, expected);
    }

    #[test]
    fn what_is_none_is_refused_and_changes_nothing() {
        let mut policy = Policy::default();
        for (key, value, said) in [
            ("retry.atempts", "3", "there is no option"),
            ("clientId", "x", "is an option of the bus"),
            ("kafka.<property>", "x", "is an option of the bus"),
            ("concurrency", "0", "must be an integer"),
            ("from", "-1", "from must be"),
            ("from", "yesterday", "from must be"),
            ("raw", "1", "raw must be"),
        ] {
            let refused = policy.set(key, value).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.message().contains(said), "{key}: {refused}");
            assert_eq!(refused.context("option").map(str::is_empty), Some(false), "{key}");
        }
        assert_eq!(policy, Policy::default());
    }
}
