//! Log records on their way to the program.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use event_bus::{Error, ErrorKind, Level, LogRecord, Observer, Result};

use crate::boundary::{Object, Shared, boundary, c_text, known};
use crate::callback::{Callback, Place, enter, place};
use crate::error::evbus_error;
use crate::gate::Gate;

/// For someone who follows the bus step by step.
pub const EVBUS_LOG_DEBUG: i32 = 0;
/// A normal change of state: connected, partitions assigned.
pub const EVBUS_LOG_INFO: i32 = 1;
/// Something failed and the bus goes on by itself.
pub const EVBUS_LOG_WARN: i32 = 2;
/// Something failed and needs someone.
pub const EVBUS_LOG_ERROR: i32 = 3;

/// A log record, lent to the log callback.
pub struct evbus_log_record {
    _opaque: [u8; 0],
}

/// Gets log records.
///
/// @param record    The record, valid during the call.
/// @param user_data What was given to evbus_config_set_log.
///
/// Thread: any, several at once; it must not block, must not call functions of this library that block, and must not
/// leave by longjmp or an exception. It is not called any more when evbus_bus_close has returned EVBUS_OK.
pub type evbus_log_fn = Option<extern "C" fn(record: *const evbus_log_record, user_data: *mut c_void)>;

pub(crate) type LogFunction = extern "C" fn(record: *const evbus_log_record, user_data: *mut c_void);

/// A record and its texts for C.
pub(crate) struct Line {
    level: i32,
    event: CString,
    message: CString,
    fields: CString,
    error: Option<Shared<evbus_error>>,
}

impl Object for evbus_log_record {
    type Inner = Line;
    const MAGIC: u64 = 0x6576_6275_735f_0003;
    const NAME: &'static str = "log record";
}

/// Who gets records, and from which level on.
pub(crate) struct LogCall {
    pub(crate) lowest: Level,
    pub(crate) callback: Callback<LogFunction>,
}

/// The log callback of one bus.
pub(crate) struct LogObserver {
    pub(crate) call: Arc<LogCall>,
    pub(crate) gate: Arc<Gate>,
}

impl Observer for LogObserver {
    fn log(&self, record: &LogRecord) {
        // A record that a log callback causes is not told to it, or it would call itself for ever.
        if record.level < self.call.lowest || place() == Place::Log {
            return;
        }
        let Some(_inside) = self.gate.enter() else { return };
        let fields: serde_json::Map<_, _> =
            record.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let line = Shared::<evbus_log_record>::new(Line {
            level: number(record.level),
            event: c_text(record.event),
            message: c_text(&record.message),
            fields: c_text(&serde_json::Value::Object(fields).to_string()),
            error: record.error.clone().map(|error| Shared::new(error.into())),
        });
        let _place = enter(Place::Log);
        (self.call.callback.function)(line.lend(), self.call.callback.user_data.0);
    }
}

fn number(level: Level) -> i32 {
    match level {
        Level::Debug => EVBUS_LOG_DEBUG,
        Level::Info => EVBUS_LOG_INFO,
        Level::Warn => EVBUS_LOG_WARN,
        Level::Error => EVBUS_LOG_ERROR,
    }
}

/// # Errors
/// `Argument` for a number that is no level.
pub(crate) fn level(wanted: i32) -> Result<Level> {
    let all = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    all.into_iter().find(|level| number(*level) == wanted).ok_or_else(|| {
        Error::new(ErrorKind::Argument, format!("{wanted} is no log level")).hint("pass one of EVBUS_LOG_*")
    })
}

/// How much a record matters.
///
/// @param record The record.
/// @return One of EVBUS_LOG_*; -1 for NULL.
///
/// Ownership: borrows.
/// Thread: that of the callback; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_log_record_level(record: *const evbus_log_record) -> i32 {
    boundary!(-1 => known(record).map_or(-1, |line| line.level))
}

/// The stable name of what happened, to filter by: "connection_lost", "partitions_assigned", ...
///
/// @param record The record.
/// @return The name; never NULL.
///
/// Ownership: belongs to the record.
/// Thread: that of the callback; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_log_record_event(record: *const evbus_log_record) -> *const c_char {
    boundary!(c"".as_ptr() => known(record).map_or(c"".as_ptr(), |line| line.event.as_ptr()))
}

/// What happened, for a person.
///
/// @param record The record.
/// @return The text; never NULL.
///
/// Ownership: belongs to the record.
/// Thread: that of the callback; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_log_record_message(record: *const evbus_log_record) -> *const c_char {
    boundary!(c"".as_ptr() => known(record).map_or(c"".as_ptr(), |line| line.message.as_ptr()))
}

/// On what it happened, as a JSON object: topic, partition, offset, ...
///
/// @param record The record.
/// @return The text; never NULL; "{}" where there is nothing.
///
/// Ownership: belongs to the record.
/// Thread: that of the callback; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_log_record_fields(record: *const evbus_log_record) -> *const c_char {
    boundary!(c"{}".as_ptr() => known(record).map_or(c"{}".as_ptr(), |line| line.fields.as_ptr()))
}

/// The error behind the record.
///
/// @param record The record.
/// @return The error, or NULL where there is none.
///
/// Ownership: belongs to the record; do not free it.
/// Thread: that of the callback; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_log_record_error(record: *const evbus_log_record) -> *const evbus_error {
    boundary!(std::ptr::null() => {
        let error = known(record).and_then(|line| line.error.as_ref());
        error.map_or(std::ptr::null(), |error| error.lend().cast_const())
    })
}
