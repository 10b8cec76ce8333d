//! How far the client has fetched, by its own statistics.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::event::TopicPartition;

#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    topics: BTreeMap<Cow<'a, str>, Topic<'a>>,
}

#[derive(Deserialize)]
struct Topic<'a> {
    #[serde(borrow)]
    partitions: BTreeMap<Cow<'a, str>, Partition<'a>>,
}

#[derive(Deserialize)]
struct Partition<'a> {
    partition: i32,
    #[serde(borrow)]
    fetch_state: Cow<'a, str>,
    next_offset: i64,
}

/// The offsets that the client fetches next, of those partitions that it fetches: of others it tells an offset of
/// another time. Nothing where the text cannot be read.
pub(super) fn fetched(statistics: &str) -> HashMap<TopicPartition, i64> {
    let Ok(statistics) = serde_json::from_str::<Statistics<'_>>(statistics) else { return HashMap::new() };
    let mut fetched = HashMap::new();
    for (name, topic) in statistics.topics {
        for at in topic.partitions.into_values() {
            if at.fetch_state == "active" && at.next_offset >= 0 {
                fetched.insert(TopicPartition::new(&*name, at.partition), at.next_offset);
            }
        }
    }
    fetched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_counts_and_what_stands_does_not() {
        let found = fetched(
            r#"{"name":"x","brokers":{},"topics":{"t":{"topic":"t","partitions":{
                "0":{"partition":0,"fetch_state":"active","next_offset":17,"hi_offset":20},
                "1":{"partition":1,"fetch_state":"offset-query","next_offset":5},
                "2":{"partition":2,"fetch_state":"active","next_offset":-1001},
                "-1":{"partition":-1,"fetch_state":"none","next_offset":0}}}}}"#,
        );
        assert_eq!(found, HashMap::from([(TopicPartition::new("t", 0), 17)]));
        assert!(fetched("").is_empty());
    }
}
