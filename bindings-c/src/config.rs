//! The configuration: options by name, the log callback, the threads for callbacks.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

use event_bus::{Config, Error, ErrorKind};

use crate::boundary::{Object, UserData, boundary, free_object, new_object, object, text};
use crate::callback::{Callback, evbus_free_fn};
use crate::error::evbus_error;
use crate::gate::lock;
use crate::log::{LogCall, evbus_log_fn, level};

/// How many threads call handlers unless the configuration says otherwise.
const CALLBACK_THREADS: usize = 16;
const MAX_CALLBACK_THREADS: i32 = 1024;

/// A configuration: options by their names in the README, and the log callback.
pub struct evbus_config {
    _opaque: [u8; 0],
}

/// What a bus is connected with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) log: Option<Arc<LogCall>>,
    pub(crate) callback_threads: usize,
}

impl Object for evbus_config {
    type Inner = Mutex<Settings>;
    const MAGIC: u64 = 0x6576_6275_735f_0002;
    const NAME: &'static str = "configuration";
}

/// Makes a configuration with the defaults.
///
/// @return The configuration; NULL only after a defect of the library.
///
/// Ownership: the caller's; free it with evbus_config_free.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_new() -> *mut evbus_config {
    boundary!(std::ptr::null_mut() => {
        let settings = Settings { config: Config::default(), log: None, callback_threads: CALLBACK_THREADS };
        new_object(Mutex::new(settings))
    })
}

/// Sets an option from text. Numbers are decimal, times in milliseconds, booleans true or false, lists separated by
/// commas; "kafka.NAME" passes the property NAME to librdkafka.
///
/// @param config The configuration.
/// @param key    The name of the option as the README lists it, for example "clientId" or "sasl.password".
/// @param value  Its value.
/// @param error  Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the texts are copied; the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_CONFIG for an unknown key, naming the nearest one, and for a value that the option does not take.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_set(
    config: *mut evbus_config,
    key: *const c_char,
    value: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (settings, key, value) = (object(config.cast_const())?, text(key, "key")?, text(value, "value")?);
        lock(settings).config.set(key, value)
    })
}

/// Fills brokers, client id and group id, where they were not set, from KAFKA_BROKERS, KAFKA_CLIENT_ID and
/// KAFKA_GROUP_ID. A variable that is empty counts as not set.
///
/// @param config The configuration.
/// @param error  Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any, while no other thread changes the environment; never blocks.
/// Errors: EVBUS_ERR_CONFIG when a variable is not UTF-8. What is still missing is found by evbus_bus_connect.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_from_env(config: *mut evbus_config, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => lock(object(config.cast_const())?).config.apply_env())
}

/// Says who gets the log records of buses that are connected with this configuration.
///
/// @param config         The configuration.
/// @param lowest         The least level that is told: EVBUS_LOG_DEBUG, EVBUS_LOG_INFO, EVBUS_LOG_WARN or
///                       EVBUS_LOG_ERROR.
/// @param callback       Called for each record; NULL for nobody.
/// @param user_data      Given to the callback.
/// @param user_data_free Called once with user_data when nothing will use it any more, or NULL.
/// @param error          Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: user_data stays the caller's until user_data_free is called, or until the buses are closed with
/// EVBUS_OK and the configuration is freed. After a code other than EVBUS_OK user_data_free is not called.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for a number that is no level.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_set_log(
    config: *mut evbus_config,
    lowest: i32,
    callback: evbus_log_fn,
    user_data: *mut c_void,
    user_data_free: evbus_free_fn,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (settings, lowest) = (object(config.cast_const())?, level(lowest)?);
        let log = callback.map(|function| {
            Arc::new(LogCall { lowest, callback: Callback::new(function, UserData(user_data), user_data_free) })
        });
        let before = std::mem::replace(&mut lock(settings).log, log);
        drop(before);
        Ok(())
    })
}

/// Sets how many threads at most call handlers side by side; 16 by default. They start when they are needed.
///
/// @param config The configuration.
/// @param count  From 1 to 1024.
/// @param error  Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_CONFIG for a number outside of the bounds.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_set_callback_threads(
    config: *mut evbus_config,
    count: i32,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let settings = object(config.cast_const())?;
        if !(1..=MAX_CALLBACK_THREADS).contains(&count) {
            let message =
                format!("the number of callback threads must be from 1 to {MAX_CALLBACK_THREADS}, but is {count}");
            return Err(Error::new(ErrorKind::Config, message).hint("give as many as handlers shall run side by side"));
        }
        lock(settings).callback_threads = count as usize;
        Ok(())
    })
}

/// Frees a configuration. Buses that were connected with it go on.
///
/// @param config The configuration, or NULL, which does nothing.
///
/// Ownership: takes the configuration back.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_config_free(config: *mut evbus_config) {
    boundary!(() => free_object(config))
}
