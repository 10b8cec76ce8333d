use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const CONCURRENCY: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A partition of a topic has something to hand out.
    Queue(u16),
    /// One run is handed out at its turn.
    Turn,
    /// A run of the topic ends.
    End(u16),
}

proptest! {
    #[test]
    fn turns_come_in_their_order_within_the_concurrency_and_none_is_forgotten(
        by_key in [any::<bool>(), any::<bool>(), any::<bool>()],
        steps in prop::collection::vec(
            prop_oneof![(0u16..3).prop_map(Step::Queue), Just(Step::Turn), (0u16..3).prop_map(Step::End)],
            1..200,
        ),
    ) {
        let mut topics = Topics::default();
        for (number, by_key) in by_key.iter().enumerate() {
            let name: Arc<str> = format!("topic-{number}").into();
            prop_assert_eq!(topics.index(&name), Some(number as u16));
            let ordering = if *by_key { Ordering::Key } else { Ordering::Partition };
            topics.set_policy(number as u16, &Policy { ordering, concurrency: CONCURRENCY, ..Policy::default() });
        }
        let mut queues: [VecDeque<u16>; 3] = Default::default();
        let mut out = [0usize; 3];
        let mut next_slot = 0;
        for step in steps {
            match step {
                Step::Queue(topic) => {
                    topics.queue(topic, next_slot);
                    queues[usize::from(topic)].push_back(next_slot);
                    next_slot += 1;
                }
                Step::Turn => {
                    let has_room = |topic: usize| !by_key[topic] || out[topic] < CONCURRENCY;
                    match topics.next_turn() {
                        Some(slot) => {
                            let topic = (0..3).find(|topic| queues[*topic].front() == Some(&slot));
                            prop_assert!(topic.is_some(), "{} has no turn now: {:?}", slot, queues);
                            let topic = topic.unwrap();
                            prop_assert!(has_room(topic), "{} runs are out already", out[topic]);
                            queues[topic].pop_front();
                            topics.lane_started(topic as u16);
                            out[topic] += 1;
                        }
                        None => prop_assert!(
                            (0..3).all(|topic| queues[topic].is_empty() || !has_room(topic)),
                            "somebody is forgotten: {:?}, {:?} out", queues, out
                        ),
                    }
                }
                Step::End(topic) if out[usize::from(topic)] > 0 => {
                    out[usize::from(topic)] -= 1;
                    topics.lanes_ended(topic, 1);
                }
                Step::End(_) => {}
            }
        }
    }
}
