//! Topic names and the small numbers that stand for them within one bus.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::codec;
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::event::Topic;

/// Interned topics; an id, once given, is never taken back.
#[derive(Debug, Default)]
pub(crate) struct Topics(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Arc<str>, Topic>,
    by_id: Vec<Topic>,
}

impl Topics {
    /// The topic of that name.
    ///
    /// # Errors
    /// `Argument` for a name that Kafka does not allow.
    pub(crate) fn intern(&self, name: &str) -> Result<Topic> {
        if let Some(topic) = self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name) {
            return Ok(topic.clone());
        }
        codec::validate_topic_name(name)?;
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = table.by_name.get(name) {
            return Ok(topic.clone());
        }
        let id = u16::try_from(table.by_id.len()).map_err(|_| {
            Error::new(ErrorKind::Argument, "one bus publishes to at most 65536 topics")
                .with("topic", name)
                .outcome(PublishOutcome::NotSent)
                .hint("an event type is a kind of event, not an instance: put ids into aggregateId or the payload")
        })?;
        let topic = Topic { id, name: name.into() };
        table.by_name.insert(topic.name.clone(), topic.clone());
        table.by_id.push(topic.clone());
        Ok(topic)
    }

    /// The topic of an id that `intern` gave.
    pub(crate) fn get(&self, id: u16) -> Option<Topic> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(usize::from(id)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_id() {
        let topics = Topics::default();
        let first = topics.intern("order.placed").unwrap();
        let second = topics.intern("order.shipped").unwrap();
        assert_eq!((first.id, second.id), (0, 1));
        assert_eq!(topics.intern("order.placed").unwrap(), first);
        assert_eq!(topics.get(1), Some(second));
        assert_eq!(topics.get(2), None);
    }

    #[test]
    fn illegal_names_are_refused() {
        for name in ["", ".", "..", "a b", "a/b", &"x".repeat(250)] {
            assert_eq!(Topics::default().intern(name).unwrap_err().kind(), ErrorKind::Argument, "{name}");
        }
    }
}
