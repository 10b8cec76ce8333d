//! A delivery as C sees it: what came, and how its handler ended.

use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use event_bus::{Delivery, Error, ErrorKind, Result};

use crate::boundary::{Object, Shared, boundary, known, object, set_if_wanted, text};
use crate::error::evbus_error;
use crate::feed::{Call, Live};
use crate::stretch::Stretch;
use crate::text::{evbus_bytes, evbus_str};
use crate::verdict::{Reason, Sum, Verdict};

/// Handled: the event counts as finished.
pub const EVBUS_DONE: i32 = 0;
/// The handler failed: the retry policy of the bus says what follows.
pub const EVBUS_RETRY: i32 = 1;
/// No attempt can succeed: the event goes to the dead-letter topic at once.
pub const EVBUS_DEAD_LETTER: i32 = 2;
/// Passed over on purpose: the event counts as finished.
pub const EVBUS_SKIP: i32 = 3;
/// The handler goes on elsewhere and finishes later by evbus_delivery_finish. It must have called
/// evbus_delivery_retain before, else this counts as EVBUS_RETRY.
pub const EVBUS_PENDING: i32 = 4;
/// The handler failed and no attempt can succeed: what follows the last attempt, as onExhausted says, follows at once.
pub const EVBUS_FATAL: i32 = 5;

/// A received event on its way through one subscription.
pub struct evbus_delivery {
    _opaque: [u8; 0],
}

pub(crate) struct Handed {
    live: Arc<Live>,
    /// Whose part of the delivery this is, by its address.
    subscription: usize,
    finished: AtomicBool,
    texts: OnceLock<Option<Texts>>,
}

/// The envelope's fields, read when the first one is asked for.
struct Texts {
    event_id: String,
    event_type: String,
    aggregate_id: String,
    version: i64,
    /// Where the payload lies in the record's data.
    payload: (usize, usize),
}

impl Object for evbus_delivery {
    type Inner = Handed;
    const MAGIC: u64 = 0x6576_6275_735f_0006;
    const NAME: &'static str = "delivery";
}

impl Handed {
    pub(crate) fn hand(live: Arc<Live>, subscription: usize) -> Shared<evbus_delivery> {
        Shared::new(Handed { live, subscription, finished: AtomicBool::new(false), texts: OnceLock::new() })
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.live.delivery
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Ends this subscription's part; `false` when it had ended before.
    pub(crate) fn end(&self, verdict: Verdict) -> bool {
        let first = !self.finished.swap(true, Ordering::SeqCst);
        if first {
            self.live.end_part(self.subscription, verdict, None);
        }
        first
    }

    /// As [`Handed::end`], on a callback thread, which takes over what follows.
    pub(crate) fn end_here(&self, verdict: Verdict, stretch: &mut Stretch) -> Option<Call> {
        let first = !self.finished.swap(true, Ordering::SeqCst);
        if first { self.live.end_part(self.subscription, verdict, Some(stretch)) } else { None }
    }

    fn texts(&self) -> Option<&Texts> {
        let read = || {
            let event = self.delivery().event().ok()?;
            let data = self.delivery().record().data();
            // A payload that the record does not hold itself is the null of an event without one.
            let at = event.payload().as_ptr().addr().checked_sub(data.as_ptr().addr());
            let payload = at.filter(|at| at + event.payload().len() <= data.len());
            Some(Texts {
                event_id: event.event_id().to_owned(),
                event_type: event.event_type().to_owned(),
                aggregate_id: event.aggregate_id().to_owned(),
                version: event.version(),
                payload: payload.map_or((0, 0), |at| (at, event.payload().len())),
            })
        };
        self.texts.get_or_init(read).as_ref()
    }
}

/// The last holder let go without a word: the event was not handled.
impl Drop for Handed {
    fn drop(&mut self) {
        if !self.is_finished() {
            self.end(Verdict::failed("the delivery was released unfinished"));
        }
    }
}

/// # Errors
/// `Argument` for a number that finishes nothing.
pub(crate) fn verdict(outcome: i32, code: Option<&str>, message: Option<&str>) -> Result<Verdict> {
    let (sum, name) = match outcome {
        EVBUS_DONE => return Ok(Verdict::Answer(Sum::Done, None)),
        EVBUS_RETRY => (Sum::Failed, "EVBUS_RETRY"),
        EVBUS_DEAD_LETTER => (Sum::DeadLetter, "EVBUS_DEAD_LETTER"),
        EVBUS_SKIP => (Sum::Skip, "EVBUS_SKIP"),
        EVBUS_FATAL => (Sum::Fatal, "EVBUS_FATAL"),
        _ => {
            return Err(Error::new(ErrorKind::Argument, format!("{outcome} is no outcome"))
                .hint("pass EVBUS_DONE, EVBUS_RETRY, EVBUS_FATAL, EVBUS_DEAD_LETTER or EVBUS_SKIP"));
        }
    };
    let message = message.map_or_else(|| format!("the handler returned {name}"), str::to_owned);
    Ok(Verdict::Answer(sum, Some(Reason { code: code.map(str::to_owned), message })))
}

/// Says how the handling ended, from any thread, also before the handler returned. The first call wins; what the
/// handler returns afterwards changes nothing.
///
/// @param delivery The delivery.
/// @param outcome  EVBUS_DONE, EVBUS_RETRY, EVBUS_FATAL, EVBUS_DEAD_LETTER or EVBUS_SKIP.
/// @param reason   Why, for the log and the dead letter, or NULL.
/// @param stale    Where it goes whether the partition is being or has been handed over, or the bus closes, so that
///                 the outcome may come too late and the event be delivered again; or NULL.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the delivery stays the caller's, who still releases it.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before; EVBUS_ERR_ARGUMENT for a number that is no outcome.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_finish(
    delivery: *mut evbus_delivery,
    outcome: i32,
    reason: *const c_char,
    stale: *mut bool,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => finish(delivery, outcome, std::ptr::null(), reason, stale))
}

fn finish(
    delivery: *mut evbus_delivery,
    outcome: i32,
    code: *const c_char,
    reason: *const c_char,
    stale: *mut bool,
) -> Result<()> {
    let given = |pointer: *const c_char, name| if pointer.is_null() { Ok(None) } else { text(pointer, name).map(Some) };
    let verdict = verdict(outcome, given(code, "code")?, given(reason, "reason")?)?;
    let delivery = Shared::of(delivery)?;
    let late = delivery.live.is_stale();
    if !delivery.end(verdict) {
        return Err(Error::new(ErrorKind::IllegalState, "the delivery was finished before")
            .with("topic", delivery.delivery().topic())
            .with("offset", delivery.delivery().offset())
            .hint("finish each delivery once"));
    }
    set_if_wanted(stale, late);
    Ok(())
}

/// Says that the event was handled: evbus_delivery_finish with EVBUS_DONE.
///
/// @param delivery The delivery.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the delivery stays the caller's, who still releases it.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_ack(delivery: *mut evbus_delivery, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => finish(delivery, EVBUS_DONE, std::ptr::null(), std::ptr::null(), std::ptr::null_mut()))
}

/// Says that the handling failed: evbus_delivery_finish with EVBUS_RETRY.
///
/// @param delivery The delivery.
/// @param reason   Why, for the log and the dead letter, or NULL.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the delivery stays the caller's, who still releases it.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_retry(
    delivery: *mut evbus_delivery,
    reason: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => finish(delivery, EVBUS_RETRY, std::ptr::null(), reason, std::ptr::null_mut()))
}

/// Has the event put into the dead-letter topic: evbus_delivery_finish with EVBUS_DEAD_LETTER.
///
/// @param delivery The delivery.
/// @param reason   Why, for the log and the dead letter, or NULL.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the delivery stays the caller's, who still releases it.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_dead_letter(
    delivery: *mut evbus_delivery,
    reason: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => finish(delivery, EVBUS_DEAD_LETTER, std::ptr::null(), reason, std::ptr::null_mut()))
}

/// Says that the handling failed, with a code of the program's own: evbus_delivery_finish for handlers that tell their
/// failures apart. A handler calls it and returns the same outcome.
///
/// @param delivery The delivery.
/// @param outcome  EVBUS_RETRY when another attempt may succeed, EVBUS_FATAL when none can, EVBUS_DEAD_LETTER or
///                 EVBUS_SKIP.
/// @param code     What kind of failure it is, for the dead letter, for example "OUT_OF_STOCK"; NULL for
///                 EVBUS_HANDLER.
/// @param reason   Why, for the log and the dead letter, or NULL.
/// @param stale    As in evbus_delivery_finish, or NULL.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the texts are copied; the delivery stays the caller's, who still releases it.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before; EVBUS_ERR_ARGUMENT for a number that is no failure.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_fail(
    delivery: *mut evbus_delivery,
    outcome: i32,
    code: *const c_char,
    reason: *const c_char,
    stale: *mut bool,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        if outcome == EVBUS_DONE {
            return Err(Error::new(ErrorKind::Argument, "EVBUS_DONE is no failure")
                .hint("use evbus_delivery_ack for what was handled"));
        }
        finish(delivery, outcome, code, reason, stale)
    })
}

/// Holds a delivery beyond the callback that it was lent to, or once more.
///
/// @param delivery The delivery.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: each call asks for one evbus_delivery_release.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_retain(delivery: *mut evbus_delivery, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => {
        let _held_by_c = Shared::of(delivery)?.give();
        Ok(())
    })
}

/// Lets a delivery go that came from evbus_subscription_poll or was retained. When the last holder lets one go that is
/// not finished, it counts as EVBUS_RETRY.
///
/// @param delivery The delivery, or NULL, which does nothing.
///
/// Ownership: takes one hold back, and with the last one everything that was taken from the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_release(delivery: *mut evbus_delivery) {
    boundary!(() => Shared::release(delivery))
}

/// The topic.
///
/// @param delivery The delivery.
/// @return The text; none for NULL.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_topic(delivery: *const evbus_delivery) -> evbus_str {
    boundary!(evbus_str::NONE => {
        known(delivery).map_or(evbus_str::NONE, |handed| evbus_str::of(handed.delivery().topic()))
    })
}

/// The partition.
///
/// @param delivery The delivery.
/// @return From 0; -1 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_partition(delivery: *const evbus_delivery) -> i32 {
    boundary!(-1 => known(delivery).map_or(-1, |handed| handed.delivery().partition()))
}

/// The offset in the partition.
///
/// @param delivery The delivery.
/// @return From 0; -1 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_offset(delivery: *const evbus_delivery) -> i64 {
    boundary!(-1 => known(delivery).map_or(-1, |handed| handed.delivery().offset()))
}

/// The record's timestamp.
///
/// @param delivery The delivery.
/// @return Milliseconds since the Unix epoch; -1 where the broker stores none.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_timestamp(delivery: *const evbus_delivery) -> i64 {
    boundary!(-1 => known(delivery).and_then(|handed| handed.delivery().record().timestamp).unwrap_or(-1))
}

/// The number of this attempt.
///
/// @param delivery The delivery.
/// @return From 1; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_attempt(delivery: *const evbus_delivery) -> i32 {
    boundary!(0 => known(delivery).map_or(0, |handed| i32::try_from(handed.delivery().attempt()).unwrap_or(i32::MAX)))
}

/// Whether no attempt follows this one, should it fail.
///
/// @param delivery The delivery.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_is_last_attempt(delivery: *const evbus_delivery) -> bool {
    boundary!(false => known(delivery).is_some_and(|handed| handed.delivery().is_last_attempt()))
}

/// The record's key.
///
/// @param delivery The delivery.
/// @return The bytes; data is NULL for Kafka's null.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_key(delivery: *const evbus_delivery) -> evbus_bytes {
    boundary!(evbus_bytes::NULL => evbus_bytes::of(known(delivery).and_then(|handed| handed.delivery().record().key())))
}

/// The record's value.
///
/// @param delivery The delivery.
/// @return The bytes; data is NULL for Kafka's null.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_value(delivery: *const evbus_delivery) -> evbus_bytes {
    boundary!(evbus_bytes::NULL => evbus_bytes::of(known(delivery).and_then(|handed| handed.delivery().record().value())))
}

/// How many headers the record has.
///
/// @param delivery The delivery.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_header_count(delivery: *const evbus_delivery) -> usize {
    boundary!(0 => known(delivery).map_or(0, |handed| handed.delivery().record().headers().count()))
}

/// One header, in the order of the record.
///
/// @param delivery The delivery.
/// @param index    From 0.
/// @param name     Where the name goes.
/// @param value    Where the value goes; its data is NULL for Kafka's null.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: both belong to the delivery.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT when there is no header of that number.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_header_at(
    delivery: *const evbus_delivery,
    index: usize,
    name: *mut evbus_str,
    value: *mut evbus_bytes,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let headers = object(delivery)?.delivery().record().headers();
        let (found, bytes) = headers.nth(index).ok_or_else(|| {
            Error::new(ErrorKind::Argument, format!("the record has no header of number {index}"))
                .hint("ask evbus_delivery_header_count first")
        })?;
        set_if_wanted(name, evbus_str::of(found));
        set_if_wanted(value, evbus_bytes::of(bytes));
        Ok(())
    })
}

/// The value of the last header of a name.
///
/// @param delivery The delivery.
/// @param name     The name.
/// @return The bytes; data is NULL where there is no such header, or where its value is Kafka's null.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_header(delivery: *const evbus_delivery, name: *const c_char) -> evbus_bytes {
    boundary!(evbus_bytes::NULL => match known(delivery).zip(text(name, "name").ok()) {
        Some((handed, name)) => evbus_bytes::of(handed.delivery().record().headers().get(name)),
        None => evbus_bytes::NULL,
    })
}

fn envelope(delivery: *const evbus_delivery, field: impl FnOnce(&Texts) -> &str) -> evbus_str {
    let texts = known(delivery).and_then(Handed::texts);
    texts.map_or(evbus_str::NONE, |texts| evbus_str::of(field(texts)))
}

/// The id of the domain event.
///
/// @param delivery The delivery.
/// @return The text; none where the record is no domain event.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_event_id(delivery: *const evbus_delivery) -> evbus_str {
    boundary!(evbus_str::NONE => envelope(delivery, |texts| &texts.event_id))
}

/// The type of the domain event, as its envelope names it.
///
/// @param delivery The delivery.
/// @return The text; none where the record is no domain event.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_event_type(delivery: *const evbus_delivery) -> evbus_str {
    boundary!(evbus_str::NONE => envelope(delivery, |texts| &texts.event_type))
}

/// The id of the aggregate that the domain event is about.
///
/// @param delivery The delivery.
/// @return The text; none where the record is no domain event.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_aggregate_id(delivery: *const evbus_delivery) -> evbus_str {
    boundary!(evbus_str::NONE => envelope(delivery, |texts| &texts.aggregate_id))
}

/// The version of the domain event's schema.
///
/// @param delivery The delivery.
/// @return The version; 0 where the record is no domain event.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_version(delivery: *const evbus_delivery) -> i64 {
    boundary!(0 => known(delivery).and_then(Handed::texts).map_or(0, |texts| texts.version))
}

/// When the domain event occurred.
///
/// @param delivery     The delivery.
/// @param milliseconds Where the time goes, since the Unix epoch.
/// @return false, with nothing written, where the event does not say so in a readable form.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_occurred_on(delivery: *const evbus_delivery, milliseconds: *mut i64) -> bool {
    boundary!(false => {
        let occurred_on = known(delivery).and_then(|handed| handed.delivery().occurred_on());
        occurred_on.inspect(|time| set_if_wanted(milliseconds, *time)).is_some()
    })
}

/// The payload of the domain event as JSON text.
///
/// @param delivery The delivery.
/// @return The text; none where the record is no domain event; "null" for an event without a payload.
///
/// Ownership: belongs to the delivery.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_delivery_payload(delivery: *const evbus_delivery) -> evbus_str {
    boundary!(evbus_str::NONE => {
        let Some(handed) = known(delivery) else { return evbus_str::NONE };
        let Some(texts) = handed.texts() else { return evbus_str::NONE };
        let payload = handed.delivery().record().data().get(texts.payload.0..texts.payload.0 + texts.payload.1);
        match payload.and_then(|payload| std::str::from_utf8(payload).ok()) {
            None | Some("") => evbus_str::of("null"),
            Some(payload) => evbus_str::of(payload),
        }
    })
}
