//! The lanes of one partition: which record belongs to which, and which is the next to hand out a run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Instant;

use crate::subscribe::lanes::{Lane, Window};

/// Lanes of partitions are numbered as their slots are, lanes of keys from here on.
const FIRST_KEY_LANE: u32 = 1 << 16;

/// Numbers for lanes, each given once: a handler that outlived its assignment never stands in the way of a lane
/// of the next one.
#[derive(Debug)]
pub(crate) struct LaneIds(u32);

impl Default for LaneIds {
    fn default() -> Self {
        LaneIds(FIRST_KEY_LANE)
    }
}

impl LaneIds {
    fn next(&mut self) -> u32 {
        let id = self.0;
        self.0 = id.checked_add(1).unwrap_or(FIRST_KEY_LANE);
        id
    }
}

/// The hash of a record's key. Keys that collide share a lane: they wait for each other, which breaks no order.
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The lanes of one partition in one assignment.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    lanes: Vec<Lane>,
    free: Vec<u32>,
    by_key: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    /// Lanes that have a run to hand out, the one with the oldest record first.
    ready: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Keys {
    /// The index of the one lane of a partition that is handled in order.
    pub(crate) fn whole(&mut self, id: u32) -> u32 {
        if self.lanes.is_empty() {
            self.lanes.push(Lane::new(id, None));
        }
        0
    }

    /// The index of a key's lane; a record without a key gets a lane of its own.
    pub(crate) fn of_key(&mut self, key: Option<&[u8]>, ids: &mut LaneIds) -> u32 {
        let key = key.map(hash);
        if let Some(lane) = key.and_then(|key| self.by_key.get(&key)) {
            return *lane;
        }
        let lane = match self.free.pop() {
            Some(lane) => {
                self.lanes[lane as usize].renew(key);
                lane
            }
            None => {
                self.lanes.push(Lane::new(ids.next(), key));
                self.lanes.len() as u32 - 1
            }
        };
        if let Some(key) = key {
            self.by_key.insert(key, lane);
        }
        lane
    }

    /// A lane by its index.
    pub(crate) fn lane(&mut self, lane: u32) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    pub(crate) fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }

    /// Queues a lane that can start, and lets go of one that is empty.
    pub(crate) fn settle(&mut self, lane: u32, window: &Window, now: Instant) {
        let one = &mut self.lanes[lane as usize];
        if !one.ready
            && one.can_start(window, now)
            && let Some(head) = one.head()
        {
            one.ready = true;
            self.ready.push(Reverse((window.place(head), lane)));
        } else if one.id >= FIRST_KEY_LANE && one.is_empty() {
            if let Some(key) = one.key {
                self.by_key.remove(&key);
            }
            self.free.push(lane);
        }
    }

    /// The next lane to hand out a run, out of the queue.
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        let Reverse((_, lane)) = self.ready.pop()?;
        self.lanes[lane as usize].ready = false;
        Some(lane)
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Forgets what waits, which was taken out of the window.
    pub(crate) fn drop_waiting(&mut self) {
        self.ready.clear();
        for lane in &mut self.lanes {
            lane.ready = false;
            lane.drop_waiting();
        }
    }

    /// Ends all lanes.
    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.free.clear();
        self.by_key.clear();
        self.ready.clear();
    }
}

/// Takes a hash for what it is.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
