//! What one subscription wants, where it is not what the bus was configured with.

use std::ffi::c_char;
use std::sync::Mutex;

use event_bus::{Policy, Result};

use crate::boundary::{Object, boundary, free_object, new_object, object, text};
use crate::bus::check_policy;
use crate::error::evbus_error;
use crate::gate::lock;

/// Options of one subscription: what it does not say is as the bus was configured.
pub struct evbus_subscription_options {
    _opaque: [u8; 0],
}

/// Names and values in the order in which they were set: later ones count.
pub(crate) type Options = Mutex<Vec<(String, String)>>;

impl Object for evbus_subscription_options {
    type Inner = Options;
    const MAGIC: u64 = 0x6576_6275_735f_000b;
    const NAME: &'static str = "options of a subscription";
}

/// What the options say, over what is configured.
pub(crate) fn policy_of(options: &Options, configured: &Policy) -> Result<Policy> {
    let mut policy = configured.clone();
    lock(options).iter().try_for_each(|(key, value)| policy.set(key, value))?;
    check_policy(&policy)?;
    Ok(policy)
}

/// Makes options that say nothing yet.
///
/// @return The options; NULL only after a defect of the library.
///
/// Ownership: the caller's; free them with evbus_subscription_options_free.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_options_new() -> *mut evbus_subscription_options {
    boundary!(std::ptr::null_mut() => new_object(Mutex::default()))
}

/// Sets an option from text, as evbus_config_set does for the whole bus: those that the README lists as options of
/// subscriptions ("ordering", "concurrency", "retry.attempts", "onExhausted", "onInvalid", "parkKey",
/// "deadLetterTopic", ...), and two more:
///
/// - "from": where a group starts that has committed nothing yet: "earliest" (the default), "latest", or a time in
///   milliseconds since the Unix epoch.
/// - "raw": "true" for records as they are, whether they hold an event or not; "false" by default. The functions for
///   the envelope then give nothing where a record is no event.
///
/// @param options The options.
/// @param key     The name of the option.
/// @param value   Its value.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the texts are copied; the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_CONFIG for an unknown key, for an option of the bus as a whole, for a value that the option does
/// not take, and for handlerTimeoutMs, because a call into C cannot be ended.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_options_set(
    options: *mut evbus_subscription_options,
    key: *const c_char,
    value: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (options, key, value) = (object(options.cast_const())?, text(key, "key")?, text(value, "value")?);
        let mut alone = Policy::default();
        alone.set(key, value)?;
        check_policy(&alone)?;
        lock(options).push((key.to_owned(), value.to_owned()));
        Ok(())
    })
}

/// Frees options.
///
/// @param options The options, or NULL, which does nothing.
///
/// Ownership: takes the options back. Subscriptions that were made with them keep what they say.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_subscription_options_free(options: *mut evbus_subscription_options) {
    boundary!(() => free_object(options))
}
