//! The topics of an engine: their policies, and whose turn it is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::policy::{Ordering, Policy};

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) policy: Arc<Policy>,
    /// Lanes with a run out.
    pub(crate) lanes_out: usize,
    /// Partitions with lanes that can start, each hands out one run at its turn.
    turns: VecDeque<u16>,
    /// It is in the list of topics to look at.
    noted: bool,
}

impl Topic {
    /// One more lane may hand out a run.
    pub(crate) fn has_room(&self) -> bool {
        match self.policy.ordering {
            Ordering::Partition => true,
            Ordering::Key => self.lanes_out < self.policy.concurrency,
        }
    }
}

/// All topics that were named or assigned.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    all: Vec<Topic>,
    by_name: HashMap<Arc<str>, u16>,
    noted: Vec<u16>,
}

impl Topics {
    /// The index of a topic, new ones with the default policy; `None` beyond 65 536 topics.
    pub(crate) fn index(&mut self, name: &Arc<str>) -> Option<u16> {
        if let Some(index) = self.by_name.get(name) {
            return Some(*index);
        }
        let index = u16::try_from(self.all.len()).ok()?;
        self.all.push(Topic { policy: Arc::default(), lanes_out: 0, turns: VecDeque::new(), noted: false });
        self.by_name.insert(name.clone(), index);
        Some(index)
    }

    pub(crate) fn get(&self, topic: u16) -> &Topic {
        &self.all[topic as usize]
    }

    pub(crate) fn set_policy(&mut self, topic: u16, policy: &Policy) {
        let one = &mut self.all[topic as usize];
        if *one.policy != *policy {
            one.policy = Arc::new(policy.clone());
            // There may be more room now.
            self.note(topic);
        }
    }

    /// A partition of the topic has lanes that can start; it is not queued yet.
    pub(crate) fn queue(&mut self, topic: u16, slot: u16) {
        self.all[topic as usize].turns.push_back(slot);
        self.note(topic);
    }

    fn note(&mut self, topic: u16) {
        let one = &mut self.all[topic as usize];
        if !one.noted && !one.turns.is_empty() {
            one.noted = true;
            self.noted.push(topic);
        }
    }

    pub(crate) fn lane_started(&mut self, topic: u16) {
        self.all[topic as usize].lanes_out += 1;
    }

    pub(crate) fn lanes_ended(&mut self, topic: u16, lanes: usize) {
        self.all[topic as usize].lanes_out -= lanes;
        self.note(topic);
    }

    /// The partition whose turn it is, out of its queue; `None` when no topic has both room and turns.
    pub(crate) fn next_turn(&mut self) -> Option<u16> {
        while let Some(topic) = self.noted.last() {
            let one = &mut self.all[*topic as usize];
            if one.has_room()
                && let Some(slot) = one.turns.pop_front()
            {
                return Some(slot);
            }
            // Room comes with the end of a run, turns with a record: both note the topic again.
            one.noted = false;
            self.noted.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests;
