//! Publishing: waiting for the end, being called back, and several at once.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use event_bus::{Enqueued, Error, ErrorKind, HeadersBuf, OutgoingRecord, Phase, PublishOutcome, Result};

use crate::boundary::{
    Object, Out, Shared, UserData, boundary, elements, free_object, known, new_object, object, set_if_wanted,
};
use crate::bus::{Connected, closed, evbus_bus};
use crate::callback::{Place, may_block, place};
use crate::error::{EVBUS_ERR_ARGUMENT, EVBUS_OK, evbus_error};
use crate::event::{Content, evbus_event};
use crate::gate::lock;
use crate::slots::{End, Ends, Full, Waiter, evbus_publish_fn};
use crate::wait;

/// What became of each event of evbus_bus_publish_batch, in their order.
pub struct evbus_publish_results {
    _opaque: [u8; 0],
}

pub(crate) struct One {
    place: Option<(i32, i64)>,
    error: Option<Shared<evbus_error>>,
}

impl Object for evbus_publish_results {
    type Inner = Vec<One>;
    const MAGIC: u64 = 0x6576_6275_735f_0005;
    const NAME: &'static str = "results";
}

thread_local! {
    /// Headers and value of a domain event while it is handed over, so that no publish allocates them.
    static SCRATCH: RefCell<(HeadersBuf, Vec<u8>)> = RefCell::default();
}

fn not_sent(error: Error) -> Error {
    error.outcome(PublishOutcome::NotSent)
}

/// What became of an offer: handed over, or not, and then the waiter comes back.
enum Offered {
    Taken,
    Full(Full, Waiter),
}

impl Connected {
    /// Hands an event to the client and says who hears of its end.
    fn send(&self, event: &Mutex<Content>, mut waiter: Waiter, deadline: Option<Instant>) -> Result<()> {
        loop {
            // The lock is not held while waiting: the thread that makes room may publish the same event.
            let offered = self.encode(&lock(event), waiter)?;
            let Offered::Full(full, back) = offered else { return Ok(()) };
            if !self.slots.wait(full, deadline) {
                let error = Error::new(ErrorKind::QueueFull, "too much is in flight, and no place came free in time");
                let hint = "give the call more time, publish less at once, or raise maxInFlight and \
                            publishMaxInFlightBytes";
                return Err(not_sent(error).hint(hint));
            }
            waiter = back;
        }
    }

    fn encode(&self, content: &Content, waiter: Waiter) -> Result<Offered> {
        let last = if matches!(place(), Place::Handler { .. }) { Phase::Draining } else { Phase::Open };
        if self.bus.phase() > last {
            return Err(not_sent(closed()));
        }
        match content {
            Content::Raw(raw) => {
                let topic = self.frames.topic(&raw.topic).map_err(not_sent)?;
                let record = OutgoingRecord {
                    topic: &topic,
                    partition: raw.partition,
                    timestamp: raw.timestamp,
                    key: raw.key.as_deref(),
                    value: raw.value.as_deref(),
                    headers: raw.headers.as_headers(),
                };
                self.offer(&record, waiter)
            }
            Content::Domain(event) => {
                let (mut headers, mut value) = SCRATCH.take();
                let offered = event.encode(&mut headers, &mut value).and_then(|()| {
                    let topic = self.frames.topic(event.event_type()).map_err(not_sent)?;
                    let record = OutgoingRecord {
                        topic: &topic,
                        partition: None,
                        timestamp: None,
                        key: Some(event.aggregate_id().as_bytes()),
                        value: Some(&value),
                        headers: headers.as_headers(),
                    };
                    self.offer(&record, waiter)
                });
                SCRATCH.set((headers, value));
                offered
            }
        }
    }

    fn offer(&self, record: &OutgoingRecord<'_>, waiter: Waiter) -> Result<Offered> {
        let size = record.size();
        let slot = match self.slots.take(waiter, size) {
            Ok(slot) => slot,
            Err(waiter) => return Ok(Offered::Full(Full::Slots { size }, waiter)),
        };
        let offered = self.frames.offer(record, slot);
        if matches!(offered, Ok(Enqueued::Yes)) {
            return Ok(Offered::Taken);
        }
        let waiter = self.slots.give_back(slot);
        // The slot of a publish that nobody took is gone only when the bus was closed meanwhile, and then it was told.
        let waiter = waiter.ok_or_else(|| not_sent(closed()))?;
        offered.map(|_| Offered::Full(Full::Client, waiter))
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the record was not acknowledged within the time of the call")
        .outcome(PublishOutcome::Unknown)
        .hint("the bus goes on trying until publishTimeoutMs; give the call more time to learn of the end")
}

/// Publishes an event and waits until all in-sync replicas have stored it.
///
/// @param bus        The bus.
/// @param event      The event.
/// @param timeout_ms How long the call may take, in milliseconds; negative for as long as publishTimeoutMs says.
/// @param partition  Where the number of its partition goes, or NULL.
/// @param offset     Where its offset goes, or NULL; -1 where the broker did not tell.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: borrows the event; the error is the caller's.
/// Thread: any, handlers included, but not completion and log callbacks; blocks up to timeout_ms.
/// Errors: any code; evbus_error_outcome says whether the record may have been stored all the same. At the end of
/// timeout_ms EVBUS_ERR_TIMEOUT with the outcome EVBUS_OUTCOME_UNKNOWN.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_publish(
    bus: *const evbus_bus,
    event: *const evbus_event,
    timeout_ms: i64,
    partition: *mut i32,
    offset: *mut i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (bus, event) = (object(bus)?, object(event)?);
        may_block("evbus_bus_publish")?;
        let ends = Ends::new(1);
        let until = bus.publish_deadlines(timeout_ms);
        bus.send(event, Waiter::Call(ends.clone(), 0), until.room)?;
        match ends.wait(until.end).pop().flatten() {
            Some(end) => {
                let (stored, at) = end?;
                set_if_wanted(partition, stored);
                set_if_wanted(offset, at);
                Ok(())
            }
            None => Err(late()),
        }
    })
}

/// Publishes an event and returns at once; the callback gets its end.
///
/// @param bus        The bus.
/// @param event      The event.
/// @param timeout_ms How long the call may wait for a place in flight, in milliseconds; 0 for not at all, negative
///                   for as long as publishTimeoutMs says. Inside completion and log callbacks it never waits.
/// @param callback   Called once with the end, or NULL for nobody, where only the metrics and the log tell of failures.
/// @param user_data  Given to the callback.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK when the publish was accepted; with any other code the callback is not called.
///
/// Ownership: the event is copied; user_data stays the caller's and must be valid until the callback was called.
/// Thread: any, callbacks included; blocks up to timeout_ms.
/// Errors: EVBUS_ERR_QUEUE_FULL when no place came free in time; EVBUS_ERR_CLOSED; EVBUS_ERR_ARGUMENT,
/// EVBUS_ERR_TOO_LARGE and others for what cannot be sent. The record was certainly not sent.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_publish_async(
    bus: *const evbus_bus,
    event: *const evbus_event,
    timeout_ms: i64,
    callback: evbus_publish_fn,
    user_data: *mut c_void,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (bus, event) = (object(bus)?, object(event)?);
        let milliseconds = if matches!(place(), Place::Notice | Place::Log) { 0 } else { timeout_ms };
        let deadline = wait::deadline(wait::timeout(milliseconds, bus.publish_timeout));
        let waiter = Waiter::Callback(callback.unwrap_or(nobody), UserData(user_data));
        bus.send(event, waiter, deadline)
    })
}

extern "C" fn nobody(_error: *const evbus_error, _partition: i32, _offset: i64, _user_data: *mut c_void) {}

/// Publishes events in their order and waits for the end of all.
///
/// @param bus        The bus.
/// @param events     The addresses of the events.
/// @param count      How many.
/// @param timeout_ms How long the call may take, in milliseconds; negative for as long as publishTimeoutMs says.
/// @param results    Where the results go, one per event in the same order, or NULL. They are also written when events
///                   have failed, but not for EVBUS_ERR_ARGUMENT and EVBUS_ERR_ILLEGAL_STATE of the call itself.
/// @param error      Where the error goes, or NULL: that of the first event that failed.
/// @return EVBUS_OK when all are stored; else the code of the first event that failed.
///
/// Ownership: borrows the events; the results are the caller's, who frees them with evbus_publish_results_free.
/// Thread: any, handlers included, but not completion and log callbacks; blocks up to timeout_ms.
/// Errors: as evbus_bus_publish.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_publish_batch(
    bus: *const evbus_bus,
    events: *const *const evbus_event,
    count: usize,
    timeout_ms: i64,
    results: *mut *mut evbus_publish_results,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let bus = object(bus)?;
        may_block("evbus_bus_publish_batch")?;
        let events = elements(events, count, "events")?;
        let events: Vec<_> = events.iter().map(|event| object(*event)).collect::<Result<_>>()?;
        let ends = Ends::new(events.len());
        let until = bus.publish_deadlines(timeout_ms);
        for (index, event) in events.iter().enumerate() {
            if let Err(error) = bus.send(event, Waiter::Call(ends.clone(), index), until.room) {
                ends.set(index, Err(error));
            }
        }
        let ends: Vec<End> = ends.wait(until.end).into_iter().map(|end| end.unwrap_or_else(|| Err(late()))).collect();
        let failed = ends.iter().filter(|end| end.is_err()).count();
        let first = ends.iter().find_map(|end| end.as_ref().err()).cloned();
        let told = ends.into_iter().map(|end| match end {
            Ok(place) => One { place: Some(place), error: None },
            Err(error) => One { place: None, error: Some(Shared::new(error.into())) },
        });
        if let Ok(out) = Out::of(results, "results") {
            out.set(new_object(told.collect()));
        }
        match first {
            None => Ok(()),
            Some(first) => Err(first.with("failed", format!("{failed} of {count} events"))),
        }
    })
}

fn one<'a>(results: *const evbus_publish_results, index: usize) -> Option<&'a One> {
    known(results).and_then(|results| results.get(index))
}

/// How many results there are.
///
/// @param results The results.
/// @return The number of events of the batch; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_count(results: *const evbus_publish_results) -> usize {
    boundary!(0 => known(results).map_or(0, Vec::len))
}

/// The code of one result.
///
/// @param results The results.
/// @param index   The number of the event in the batch, from 0.
/// @return EVBUS_OK when it is stored; EVBUS_ERR_ARGUMENT for a number that is none.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_code(results: *const evbus_publish_results, index: usize) -> i32 {
    boundary!(EVBUS_ERR_ARGUMENT => match one(results, index) {
        None => EVBUS_ERR_ARGUMENT,
        Some(One { error: None, .. }) => EVBUS_OK,
        Some(One { error: Some(error), .. }) => crate::error::evbus_error_code(error.lend().cast_const()),
    })
}

/// Why one event failed.
///
/// @param results The results.
/// @param index   The number of the event in the batch, from 0.
/// @return The error; NULL when it is stored.
///
/// Ownership: belongs to the results; do not free it.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_error(
    results: *const evbus_publish_results,
    index: usize,
) -> *const evbus_error {
    boundary!(std::ptr::null() => {
        let error = one(results, index).and_then(|one| one.error.as_ref());
        error.map_or(std::ptr::null(), |error| error.lend().cast_const())
    })
}

/// Where one event was stored.
///
/// @param results The results.
/// @param index   The number of the event in the batch, from 0.
/// @return The partition; -1 where it was not stored.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_partition(results: *const evbus_publish_results, index: usize) -> i32 {
    boundary!(-1 => one(results, index).and_then(|one| one.place).map_or(-1, |(partition, _)| partition))
}

/// At which offset one event was stored.
///
/// @param results The results.
/// @param index   The number of the event in the batch, from 0.
/// @return The offset; -1 where it was not stored or the broker did not tell.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_offset(results: *const evbus_publish_results, index: usize) -> i64 {
    boundary!(-1 => one(results, index).and_then(|one| one.place).map_or(-1, |(_, offset)| offset))
}

/// Frees results.
///
/// @param results The results, or NULL, which does nothing.
///
/// Ownership: takes the results back, with all errors that were taken from them.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_publish_results_free(results: *mut evbus_publish_results) {
    boundary!(() => free_object(results))
}

/// When a publish must have a place, and when its caller stops waiting for the end.
pub(crate) struct Deadlines {
    room: Option<Instant>,
    end: Option<Instant>,
}

impl Connected {
    fn publish_deadlines(self: &Arc<Self>, timeout_ms: i64) -> Deadlines {
        let room = wait::deadline(wait::timeout(timeout_ms, self.publish_timeout));
        // Without a time of its own the call learns of the end from the client, whose own deadline is the option.
        Deadlines { room, end: if timeout_ms < 0 { None } else { room } }
    }
}
