//! Subscribing, by callback and by polling.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Weak};

use event_bus::{Error, ErrorKind, Policy, Result};

use crate::boundary::{Object, Out, UserData, boundary, free_object, is_forked, known, new_object, object, text};
use crate::bus::{Connected, closed, evbus_bus};
use crate::callback::{Callback, Place, evbus_free_fn, may_block, place};
use crate::delivery::evbus_delivery;
use crate::error::evbus_error;
use crate::options::{evbus_subscription_options, policy_of};
use crate::subscription::Subscription;
use crate::wait;

/// Handles one event.
///
/// @param delivery  The event, valid during the call and longer if it is retained.
/// @param user_data What was given to evbus_bus_subscribe.
/// @return EVBUS_DONE, EVBUS_RETRY, EVBUS_FATAL, EVBUS_DEAD_LETTER, EVBUS_SKIP or EVBUS_PENDING; any other number counts
/// as EVBUS_RETRY and is logged.
///
/// Thread: one of the callback threads of the bus; calls for one partition come one after the other, those of
/// different partitions side by side. It may block and may publish, but not close the bus, and must not leave by
/// longjmp
/// or an exception. It is not called any more when evbus_bus_close or evbus_subscription_unsubscribe has returned
/// EVBUS_OK.
pub type evbus_delivery_fn = Option<extern "C" fn(delivery: *mut evbus_delivery, user_data: *mut c_void) -> i32>;

/// A subscription of one event type.
pub struct evbus_subscription {
    _opaque: [u8; 0],
}

pub(crate) struct Subscribed {
    subscription: Arc<Subscription>,
    bus: Weak<Connected>,
}

impl Object for evbus_subscription {
    type Inner = Subscribed;
    const MAGIC: u64 = 0x6576_6275_735f_0007;
    const NAME: &'static str = "subscription";
}

impl Connected {
    fn subscribe(self: &Arc<Self>, subscription: &Arc<Subscription>) -> Result<()> {
        let added = self.feed.add(subscription.clone()).and_then(|()| self.apply_topics());
        if added.is_err() {
            self.feed.remove(subscription);
            subscription.hand_back();
            subscription.end();
            subscription.gate.wait(own_calls(subscription), None);
        }
        added
    }

    /// Tells the core which topics have subscriptions.
    fn apply_topics(&self) -> Result<()> {
        wait::block_on(self.bus.intake().set_topics_from(|| self.feed.topics()))
    }

    /// What the options say, and for the rest what the configuration of the bus says.
    fn policy(&self, options: *const evbus_subscription_options) -> Result<Policy> {
        let configured = self.bus.intake().policy();
        if options.is_null() { Ok(configured.clone()) } else { policy_of(object(options)?, configured) }
    }
}

/// Whether this thread is inside a call of the subscription's handler.
fn own_calls(subscription: &Arc<Subscription>) -> usize {
    match place() {
        Place::Handler { subscription: current, .. } if current == Arc::as_ptr(subscription).addr() => 1,
        _ => 0,
    }
}

/// Calls a handler for every event of a type, from now on, one at a time per partition and at least once.
///
/// Several subscriptions of one type each get every event. An event whose handler fails is tried again in its place, as
/// the options retry.* say, and then goes where onExhausted says; only the handlers that failed are called again. With
/// ordering=key events of different keys run side by side, as many as concurrency and the callback threads allow.
///
/// @param bus            The bus.
/// @param event_type     The type, which is also the topic.
/// @param callback       The handler.
/// @param user_data      Given to the handler.
/// @param user_data_free Called once with user_data when no call will use it any more, or NULL.
/// @param subscription   Where the subscription goes, or NULL: then it lasts as long as the bus.
/// @param error          Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the subscription is the caller's, who frees it with evbus_subscription_free. user_data must be valid
/// until
/// user_data_free was called, or until unsubscribing or closing has returned EVBUS_OK; after a code other than EVBUS_OK
/// it is the caller's again and user_data_free is not called.
/// Thread: any, handlers included, but not completion and log callbacks; blocks until the client was told, which takes
/// some 100 ms, and up to 5 s while topics are looked up.
/// Errors: EVBUS_ERR_CONFIG without groupId; EVBUS_ERR_ARGUMENT for a type that is no legal topic name;
/// EVBUS_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_subscribe(
    bus: *const evbus_bus,
    event_type: *const c_char,
    callback: evbus_delivery_fn,
    user_data: *mut c_void,
    user_data_free: evbus_free_fn,
    subscription: *mut *mut evbus_subscription,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let callback = (callback, UserData(user_data), user_data_free);
        subscribe("evbus_bus_subscribe", bus, event_type, std::ptr::null(), callback, subscription)
    })
}

fn subscribe(
    call: &str,
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_subscription_options,
    (callback, user_data, free): (evbus_delivery_fn, UserData, evbus_free_fn),
    subscription: *mut *mut evbus_subscription,
) -> Result<()> {
    let (bus, event_type) = (object(bus)?, text(event_type, "event_type")?);
    may_block(call)?;
    let function = callback.ok_or_else(|| {
        Error::new(ErrorKind::Argument, "the callback is NULL").hint("pass a function, or use evbus_bus_subscribe_pull")
    })?;
    let policy = bus.policy(options)?;
    let made = Subscription::calling(event_type, policy, Callback::new(function, user_data, free));
    bus.subscribe(&made)?;
    if let Ok(out) = Out::of(subscription, "subscription") {
        out.set(new_object(Subscribed { subscription: made, bus: Arc::downgrade(bus) }));
    }
    Ok(())
}

/// As evbus_bus_subscribe, with options of its own.
///
/// @param bus            The bus.
/// @param event_type     The type, which is also the topic.
/// @param options        The options, which are copied, or NULL for those of the bus. All subscriptions of a type have
///                       the same ones.
/// @param callback       The handler.
/// @param user_data      Given to the handler.
/// @param user_data_free Called once with user_data when no call will use it any more, or NULL.
/// @param subscription   Where the subscription goes, or NULL: then it lasts as long as the bus.
/// @param error          Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: as evbus_bus_subscribe; the options stay the caller's.
/// Thread: as evbus_bus_subscribe.
/// Errors: as evbus_bus_subscribe; EVBUS_ERR_ARGUMENT also when another subscription of the type has other options;
/// EVBUS_ERR_CONFIG also for options that contradict each other.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_subscribe_with(
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_subscription_options,
    callback: evbus_delivery_fn,
    user_data: *mut c_void,
    user_data_free: evbus_free_fn,
    subscription: *mut *mut evbus_subscription,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let callback = (callback, UserData(user_data), user_data_free);
        subscribe("evbus_bus_subscribe_with", bus, event_type, options, callback, subscription)
    })
}

/// Subscribes to a type without a handler: evbus_subscription_poll gives the events, one at a time per partition and at
/// least once. The next event of a partition comes when the one before is finished.
///
/// @param bus          The bus.
/// @param event_type   The type, which is also the topic.
/// @param subscription Where the subscription goes.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the subscription is the caller's, who frees it with evbus_subscription_free.
/// Thread: any, handlers included, but not completion and log callbacks; blocks as evbus_bus_subscribe.
/// Errors: as evbus_bus_subscribe.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_subscribe_pull(
    bus: *const evbus_bus,
    event_type: *const c_char,
    subscription: *mut *mut evbus_subscription,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => subscribe_pull("evbus_bus_subscribe_pull", bus, event_type, std::ptr::null(), subscription))
}

fn subscribe_pull(
    call: &str,
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_subscription_options,
    subscription: *mut *mut evbus_subscription,
) -> Result<()> {
    let (bus, event_type) = (object(bus)?, text(event_type, "event_type")?);
    let out = Out::of(subscription, "subscription")?;
    may_block(call)?;
    let made = Subscription::pulling(event_type, bus.policy(options)?);
    bus.subscribe(&made)?;
    out.set(new_object(Subscribed { subscription: made, bus: Arc::downgrade(bus) }));
    Ok(())
}

/// As evbus_bus_subscribe_pull, with options of its own.
///
/// @param bus          The bus.
/// @param event_type   The type, which is also the topic.
/// @param options      The options, which are copied, or NULL for those of the bus. All subscriptions of a type have
///                     the same ones.
/// @param subscription Where the subscription goes.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the subscription is the caller's, who frees it with evbus_subscription_free; the options stay the
/// caller's.
/// Thread: as evbus_bus_subscribe.
/// Errors: as evbus_bus_subscribe_with.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_subscribe_pull_with(
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_subscription_options,
    subscription: *mut *mut evbus_subscription,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => subscribe_pull("evbus_bus_subscribe_pull_with", bus, event_type, options, subscription))
}

/// Takes the next event of a subscription without a handler.
///
/// @param subscription The subscription.
/// @param timeout_ms   How long to wait for one, in milliseconds; 0 for not at all, negative for as long as it takes.
/// @param delivery     Where the event goes; NULL when the time passed without one.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, also when there is none; or a code.
///
/// Ownership: the delivery is the caller's, who finishes it (evbus_delivery_ack, evbus_delivery_retry) and lets it go
/// with evbus_delivery_release.
/// Thread: any, several at once, but not completion and log callbacks; blocks up to timeout_ms.
/// Errors: EVBUS_ERR_CLOSED when nothing will come any more, because the subscription has ended or the bus closes.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_poll(
    subscription: *const evbus_subscription,
    timeout_ms: i64,
    delivery: *mut *mut evbus_delivery,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let subscribed = object(subscription)?;
        let out = Out::of(delivery, "delivery")?;
        may_block("evbus_subscription_poll")?;
        let deadline = u64::try_from(timeout_ms).ok().map(std::time::Duration::from_millis).and_then(wait::deadline);
        let next = subscribed.subscription.poll(deadline)?;
        out.set(next.map_or(std::ptr::null_mut(), crate::boundary::Shared::give));
        Ok(())
    })
}

/// A descriptor for select, poll, epoll and event loops. It is readable while evbus_subscription_poll would not wait:
/// while an event waits, and for ever when the subscription has ended.
///
/// @param subscription The subscription.
/// @param fd           Where the descriptor goes. Do not read, write or close it; only polling takes its signal away.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: belongs to the subscription, which closes it when it is freed.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a subscription with a handler, and on Windows, where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_fd(
    subscription: *const evbus_subscription,
    fd: *mut i32,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let out = Out::of(fd, "fd")?;
        out.set(object(subscription)?.subscription.descriptor()?);
        Ok(())
    })
}

/// Ends a subscription: when this has returned EVBUS_OK no call of its handler starts, and none runs but the one that
/// may be calling this. The topic is left when no other subscription wants it.
///
/// @param subscription The subscription.
/// @param timeout_ms   How long to wait for running calls, in milliseconds; negative for as long as it takes.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the subscription stays the caller's, who still frees it. Deliveries that are not finished can still be.
/// Thread: any, handlers included, but not completion and log callbacks; blocks until running calls have ended.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when it has ended before; EVBUS_ERR_TIMEOUT when calls still run, after which only
/// user_data_free tells when its user data is free; EVBUS_ERR_CLOSED when the bus was freed.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_unsubscribe(
    subscription: *const evbus_subscription,
    timeout_ms: i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let Subscribed { subscription, bus } = object(subscription)?;
        may_block("evbus_subscription_unsubscribe")?;
        let bus = bus.upgrade().ok_or_else(closed)?;
        let deadline = u64::try_from(timeout_ms).ok().map(std::time::Duration::from_millis).and_then(wait::deadline);
        bus.feed.remove(subscription);
        if !subscription.end() {
            return Err(Error::new(ErrorKind::IllegalState, "the subscription has ended before")
                .with("topic", &subscription.topic)
                .hint("unsubscribe once; closing the bus ends all subscriptions"));
        }
        match bus.apply_topics() {
            // A closing bus calls nobody any more.
            Err(error) if error.kind() == ErrorKind::Closed => (),
            applied => applied?,
        }
        match subscription.gate.wait(own_calls(subscription), deadline) {
            0 => Ok(()),
            running => Err(Error::new(ErrorKind::Timeout, "calls of the handler still run")
                .with("topic", &subscription.topic)
                .with("running", running)
                .hint("keep the user data until user_data_free is called")),
        }
    })
}

/// Frees a subscription. One that has not ended ends: no call of its handler starts any more, but running ones are not
/// waited for; use evbus_subscription_unsubscribe for that.
///
/// @param subscription The subscription, or NULL, which does nothing.
///
/// Ownership: takes the subscription back, and closes its descriptor.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_free(subscription: *mut evbus_subscription) {
    boundary!(() => {
        if !is_forked() && let Some(Subscribed { subscription, bus }) = known(subscription.cast_const()) {
            let ended = subscription.end();
            if let Some(bus) = bus.upgrade().filter(|_| ended) {
                bus.feed.remove(subscription);
                // The client is told in passing. It can refuse only while the bus closes, and then it need not know.
                let _ = event_bus::spawn(async move {
                    let _ = bus.bus.intake().set_topics_from(|| bus.feed.topics()).await;
                });
            }
        }
        free_object(subscription);
    })
}
