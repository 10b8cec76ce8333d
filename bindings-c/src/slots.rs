//! Publishes on their way: who waits for which, and how much may be in flight.

use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_bus::{Completion, CompletionSink, Error, ErrorKind, PublishOutcome, Result};

use crate::boundary::{Shared, UserData};
use crate::callback::{Place, enter};
use crate::error::evbus_error;
use crate::gate::{Gate, lock};

/// Gets the end of one publish. It is called exactly once for each publish that was accepted.
///
/// @param error     NULL when all in-sync replicas have stored the record; else why not. Valid during the call.
/// @param partition Where the record was stored; -1 where it was not.
/// @param offset    Its offset there, or -1 where it is unknown.
/// @param user_data What was given to evbus_bus_publish_async.
///
/// Thread: the delivery thread of the bus, maybe before evbus_bus_publish_async returned, or the one that closes the
/// bus. It must not block, must not call functions of this library that block, and must not leave by longjmp or an
/// exception.
pub type evbus_publish_fn =
    Option<extern "C" fn(error: *const evbus_error, partition: i32, offset: i64, user_data: *mut c_void)>;

pub(crate) type PublishFunction =
    extern "C" fn(error: *const evbus_error, partition: i32, offset: i64, user_data: *mut c_void);

/// How a publish ended: partition and offset, or why it failed.
pub(crate) type End = Result<(i32, i64)>;

/// How long a publish waits for the client's full queue before it looks again.
const QUEUE_FULL_RETRY: Duration = Duration::from_millis(10);

/// Who hears of the end of a publish.
pub(crate) enum Waiter {
    Callback(PublishFunction, UserData),
    /// One publish of a call that waits for all of its own.
    Call(Arc<Ends>, usize),
}

/// The ends of the publishes of one call.
pub(crate) struct Ends {
    ends: Mutex<(Vec<Option<End>>, usize)>,
    all: Condvar,
}

impl Ends {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let ends = std::iter::repeat_with(|| None).take(count).collect();
        Arc::new(Ends { ends: Mutex::new((ends, count)), all: Condvar::new() })
    }

    pub(crate) fn set(&self, index: usize, end: End) {
        let mut ends = lock(&self.ends);
        if ends.0[index].is_none() {
            ends.0[index] = Some(end);
            ends.1 -= 1;
            if ends.1 == 0 {
                self.all.notify_all();
            }
        }
    }

    /// Waits for all, or until the deadline; what is missing then is `None`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Vec<Option<End>> {
        let mut ends = lock(&self.ends);
        while ends.1 > 0 {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if left.is_zero() => break,
                Some(left) => ends = self.all.wait_timeout(ends, left).unwrap_or_else(PoisonError::into_inner).0,
                None => ends = self.all.wait(ends).unwrap_or_else(PoisonError::into_inner),
            }
        }
        // A slot keeps its number of ends, so that a late one still finds its place.
        ends.0.iter_mut().map(Option::take).collect()
    }
}

/// What there is no room in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Full {
    /// Here, for a record of that size.
    Slots { size: usize },
    /// In the client.
    Client,
}

struct Slot {
    waiter: Waiter,
    size: usize,
}

#[derive(Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    used: usize,
    bytes: usize,
    waiting: usize,
}

/// All publishes of a bus that are on their way. A slot is free again only when its publish has ended.
pub(crate) struct Slots {
    table: Mutex<Table>,
    room: Condvar,
    gate: Arc<Gate>,
    max: usize,
    max_bytes: usize,
}

impl Slots {
    pub(crate) fn new(gate: Arc<Gate>, max: usize, max_bytes: usize) -> Self {
        Slots { table: Mutex::default(), room: Condvar::new(), gate, max, max_bytes }
    }

    /// Takes a slot, or gives the waiter back when there is no room.
    pub(crate) fn take(&self, waiter: Waiter, size: usize) -> std::result::Result<u32, Waiter> {
        let mut table = lock(&self.table);
        if self.is_full(&table, size) {
            return Err(waiter);
        }
        table.used += 1;
        table.bytes += size;
        let slot = Some(Slot { waiter, size });
        Ok(match table.free.pop() {
            Some(number) => {
                table.slots[number as usize] = slot;
                number
            }
            None => {
                table.slots.push(slot);
                (table.slots.len() - 1) as u32
            }
        })
    }

    fn is_full(&self, table: &Table, size: usize) -> bool {
        // One that is larger than the budget goes alone.
        table.used > 0 && (table.used >= self.max || table.bytes + size > self.max_bytes)
    }

    /// Frees the slot of a publish that the client did not take.
    pub(crate) fn give_back(&self, number: u32) -> Option<Waiter> {
        let mut table = lock(&self.table);
        let waiter = free(&mut table, number);
        if table.waiting > 0 {
            self.room.notify_all();
        }
        waiter
    }

    /// Waits until there may be room; `false` at the deadline.
    pub(crate) fn wait(&self, full: Full, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        let mut table = lock(&self.table);
        let bound = match full {
            Full::Slots { size } if !self.is_full(&table, size) => return true,
            Full::Slots { .. } => left.unwrap_or(Duration::from_secs(1)),
            // Nothing tells when the client has room, but each completion is a good sign.
            Full::Client => left.unwrap_or(QUEUE_FULL_RETRY).min(QUEUE_FULL_RETRY),
        };
        table.waiting += 1;
        table = self.room.wait_timeout(table, bound).unwrap_or_else(PoisonError::into_inner).0;
        table.waiting -= 1;
        true
    }

    /// Ends what the client never reported, once the bus is closed.
    pub(crate) fn sweep(&self) {
        let mut table = lock(&self.table);
        let left: Vec<u32> =
            (0..table.slots.len() as u32).filter(|number| table.slots[*number as usize].is_some()).collect();
        let waiters: Vec<Waiter> = left.into_iter().filter_map(|number| free(&mut table, number)).collect();
        self.room.notify_all();
        drop(table);
        let lost = || {
            Error::new(ErrorKind::Closed, "the event bus was closed before the record was acknowledged")
                .outcome(PublishOutcome::Unknown)
                .hint("give evbus_bus_close more time")
        };
        self.tell(waiters.into_iter().map(|waiter| (waiter, Err(lost()))));
    }

    fn tell(&self, ends: impl Iterator<Item = (Waiter, End)>) {
        let inside = self.gate.enter();
        let _place = enter(Place::Notice);
        for (waiter, end) in ends {
            match waiter {
                Waiter::Call(ends, index) => ends.set(index, end),
                // Closing ends all publishes before it shuts the gate, so there is none that would go unheard.
                Waiter::Callback(..) if inside.is_none() => (),
                Waiter::Callback(function, user_data) => match end {
                    Ok((partition, offset)) => function(std::ptr::null(), partition, offset, user_data.0),
                    Err(error) => {
                        let error = Shared::<evbus_error>::new(error.into());
                        function(error.lend().cast_const(), -1, -1, user_data.0);
                    }
                },
            }
        }
    }
}

fn free(table: &mut Table, number: u32) -> Option<Waiter> {
    let slot = table.slots.get_mut(number as usize).and_then(Option::take)?;
    table.free.push(number);
    table.used -= 1;
    table.bytes -= slot.size;
    Some(slot.waiter)
}

impl CompletionSink for Slots {
    /// Runs on: delivery thread.
    fn complete(&self, completions: &[Completion]) {
        let mut ended = Vec::with_capacity(completions.len());
        let mut table = lock(&self.table);
        for completion in completions {
            if let Some(waiter) = free(&mut table, completion.token.slot()) {
                ended.push((waiter, completion));
            }
        }
        if table.waiting > 0 {
            self.room.notify_all();
        }
        drop(table);
        self.tell(ended.into_iter().map(|(waiter, completion)| {
            let end = match &completion.error {
                None => Ok((completion.partition, completion.offset)),
                Some(error) => Err(error.clone()),
            };
            (waiter, end)
        }));
    }
}
