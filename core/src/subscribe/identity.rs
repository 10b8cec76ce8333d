//! Who this process is in its groups: with a static membership, nobody may be it twice.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::lock;

/// Group and instance of the living consumers of this process. It needs no destructor of its own.
static CLAIMED: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());

/// A static membership, as long as this value lives.
#[derive(Debug)]
pub(super) struct Identity(String, String);

impl Identity {
    /// Takes the membership that the configuration names, if it names one.
    ///
    /// # Errors
    /// `IllegalState` when another bus of this process has it.
    pub(super) fn claim(config: &Config) -> Result<Option<Identity>> {
        let (Some(group), Some(instance)) = (&config.group_id, &config.group_instance_id) else { return Ok(None) };
        if lock(&CLAIMED).insert((group.clone(), instance.clone())) {
            return Ok(Some(Identity(group.clone(), instance.clone())));
        }
        let message =
            "another bus of this process is that member of the group already; the brokers would fence one of them";
        Err(Error::new(ErrorKind::IllegalState, message)
            .with("groupId", group)
            .with("groupInstanceId", instance)
            .hint("give each bus a groupInstanceId of its own, share one bus, or shut the other one down first"))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let own = (std::mem::take(&mut self.0), std::mem::take(&mut self.1));
        lock(&CLAIMED).remove(&own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_free_again_when_its_bearer_is_gone() {
        let mut config = Config::new("identity", ["localhost:9092"]);
        config.group_id = Some("identity-test".into());
        assert!(Identity::claim(&config).unwrap().is_none(), "a dynamic member has none");
        config.group_instance_id = Some("one".into());
        let first = Identity::claim(&config).unwrap();
        let refused = Identity::claim(&config).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IllegalState);
        assert_eq!(refused.context("groupInstanceId"), Some("one"));
        let other = Config { group_instance_id: Some("two".into()), ..config.clone() };
        assert!(Identity::claim(&other).unwrap().is_some());
        drop(first);
        assert!(Identity::claim(&config).unwrap().is_some());
    }
}
