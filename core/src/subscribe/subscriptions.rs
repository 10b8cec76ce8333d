//! What the subscriptions of a bus must not say together.

use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::TopicSubscription;

/// Checks what a bus is to consume: names of topics, policies, and where dead letters go.
///
/// ```
/// use event_bus::{Policy, TopicSubscription, check_subscriptions};
///
/// let policy = Policy { dead_letter_topic: "order.placed".into(), ..Policy::default() };
/// let subscription = TopicSubscription { topic: "order.placed".into(), policy };
/// let error = check_subscriptions(&[subscription]).unwrap_err();
/// assert_eq!(error.message(), "a topic cannot take in its own dead letters");
/// ```
///
/// # Errors
/// `Argument` for a topic or dead-letter topic without a legal name, and for dead letters that would be delivered as
/// events: those of a topic to itself, or to another topic of the bus whose name is given outright; `Config` for a
/// policy that contradicts itself.
pub fn check_subscriptions(subscriptions: &[TopicSubscription]) -> Result<()> {
    for subscription in subscriptions {
        let TopicSubscription { topic, policy } = subscription;
        codec::validate_topic_name(topic)?;
        policy.check()?;
        let letters = policy.dead_letter_topic_of(topic);
        // A name with the topic in it is that of the dead letters of one topic: who subscribes to it means these.
        let is_shared = letters == policy.dead_letter_topic;
        let taken = |other: &TopicSubscription| other.topic == letters && (is_shared || other.topic == *topic);
        if let Some(other) = subscriptions.iter().find(|other| taken(other)) {
            return Err(delivered_again(topic, &other.topic));
        }
        codec::validate_topic_name(&letters).map_err(|error| {
            Error::new(ErrorKind::Argument, format!("the dead-letter topic has no legal name: {}", error.message()))
                .with("topic", &letters)
                .with("option", "deadLetterTopic")
                .hint(
                    "name another dead-letter topic; with {topic}.dead-letter an event type has at most 237 characters",
                )
        })?;
    }
    Ok(())
}

fn delivered_again(topic: &str, other: &str) -> Error {
    let message = match topic == other {
        true => "a topic cannot take in its own dead letters".to_owned(),
        false => format!("the dead letters of {topic} would be delivered as events of {other}"),
    };
    Error::new(ErrorKind::Argument, message)
        .with("topic", topic)
        .with("option", "deadLetterTopic")
        .hint("give dead letters a topic that this bus does not consume, such as {topic}.dead-letter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn subscription(topic: &str, dead_letter_topic: &str) -> TopicSubscription {
        let policy = Policy { dead_letter_topic: dead_letter_topic.into(), ..Policy::default() };
        TopicSubscription { topic: topic.into(), policy }
    }

    #[test]
    fn dead_letters_never_go_to_a_topic_whose_handlers_would_take_them_for_events() {
        let refused = |subscriptions: &[TopicSubscription]| {
            let error = check_subscriptions(subscriptions).unwrap_err();
            assert_eq!((error.kind(), error.context("option")), (ErrorKind::Argument, Some("deadLetterTopic")));
            error.message().to_owned()
        };
        assert_eq!(refused(&[subscription("a", "a")]), "a topic cannot take in its own dead letters");
        let message = "the dead letters of a would be delivered as events of b";
        assert_eq!(refused(&[subscription("a", "b"), subscription("b", "b.dead-letter")]), message);
        assert_eq!(refused(&[subscription("b", "c"), subscription("a", "b")]), message);
    }

    #[test]
    fn dead_letters_may_share_a_topic_or_have_handlers_of_their_own() {
        check_subscriptions(&[subscription("a", "failures"), subscription("b", "failures")]).unwrap();
        let default = "{topic}.dead-letter";
        check_subscriptions(&[subscription("a", default), subscription("a.dead-letter", default)]).unwrap();
    }

    #[test]
    fn names_must_be_legal() {
        let illegal = check_subscriptions(&[subscription("a b", "{topic}.dead-letter")]).unwrap_err();
        assert_eq!(illegal.kind(), ErrorKind::Argument);
        let long = check_subscriptions(&[subscription(&"a".repeat(240), "{topic}.dead-letter")]).unwrap_err();
        assert!(long.message().starts_with("the dead-letter topic has no legal name: "), "{long}");
    }
}
