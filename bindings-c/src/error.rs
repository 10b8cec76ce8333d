//! The error table as C sees it: numbers and what they mean.

use std::ffi::{CString, c_char};

use event_bus::{Error, ErrorKind, PublishOutcome};

use crate::boundary::{Object, boundary, c_text, free_object, known, text};

/// Success.
pub const EVBUS_OK: i32 = 0;
/// The configuration is invalid; the message names the option and the nearest known one.
pub const EVBUS_ERR_CONFIG: i32 = 1;
/// A call got an argument that it cannot accept; nothing was sent.
pub const EVBUS_ERR_ARGUMENT: i32 = 2;
/// The bus is closed or closing.
pub const EVBUS_ERR_CLOSED: i32 = 3;
/// The call is not allowed now or on this thread.
pub const EVBUS_ERR_ILLEGAL_STATE: i32 = 4;
/// The deadline passed first. Retryable.
pub const EVBUS_ERR_TIMEOUT: i32 = 10;
/// A bounded queue is full; nothing was sent. Retryable.
pub const EVBUS_ERR_QUEUE_FULL: i32 = 11;
/// No broker can serve the request now. Retryable.
pub const EVBUS_ERR_UNAVAILABLE: i32 = 12;
/// The broker refused the credentials, or the TLS handshake failed.
pub const EVBUS_ERR_AUTH: i32 = 13;
/// The topic does not exist and may not be created.
pub const EVBUS_ERR_UNKNOWN_TOPIC: i32 = 14;
/// The record is larger than the client or the broker accepts.
pub const EVBUS_ERR_TOO_LARGE: i32 = 15;
/// The broker refused the request for a reason that only a change can remove.
pub const EVBUS_ERR_REJECTED: i32 = 16;
/// An event cannot be written as a record, or a record cannot be read as an event.
pub const EVBUS_ERR_CODEC: i32 = 20;
/// A handler failed.
pub const EVBUS_ERR_HANDLER: i32 = 21;
/// Another client took over this client's identity. Fatal.
pub const EVBUS_ERR_FENCED: i32 = 30;
/// A defect of this library. Fatal.
pub const EVBUS_ERR_INTERNAL: i32 = 99;

/// What is known about the record of a failed publish: nothing, because no publish failed.
pub const EVBUS_OUTCOME_NONE: i32 = 0;
/// The record was certainly not stored: publishing it again cannot duplicate it.
pub const EVBUS_OUTCOME_NOT_SENT: i32 = 1;
/// The record may have been stored: publishing it again can duplicate it.
pub const EVBUS_OUTCOME_UNKNOWN: i32 = 2;

/// Why a call failed: what failed, on what, why, and what to do about it.
///
/// Functions give it through their last parameter, where NULL means that the code is enough.
pub struct evbus_error {
    _opaque: [u8; 0],
}

/// An error and its texts for C.
pub(crate) struct Told {
    error: Error,
    message: CString,
    hint: CString,
    report: CString,
    contexts: Vec<(&'static str, CString)>,
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Told {
            message: c_text(error.message()),
            hint: c_text(error.hint_text().unwrap_or_default()),
            report: c_text(&format!("{}: {error}", error.code())),
            contexts: error.contexts().map(|(name, value)| (name, c_text(value))).collect(),
            error,
        }
    }
}

impl Object for evbus_error {
    type Inner = Told;
    const MAGIC: u64 = 0x6576_6275_735f_0001;
    const NAME: &'static str = "error";
}

/// The code of an error.
///
/// @param error The error, or NULL.
/// @return One of EVBUS_ERR_*; EVBUS_OK for NULL.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_code(error: *const evbus_error) -> i32 {
    boundary!(EVBUS_ERR_INTERNAL => known(error).map_or(EVBUS_OK, |told| told.error.kind().number() as i32))
}

/// What failed and why, for a person, without the hint.
///
/// @param error The error, or NULL.
/// @return The text; never NULL; empty for NULL.
///
/// Ownership: belongs to the error.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_message(error: *const evbus_error) -> *const c_char {
    boundary!(c"".as_ptr() => known(error).map_or(c"".as_ptr(), |told| told.message.as_ptr()))
}

/// What to do about it, for a person.
///
/// @param error The error, or NULL.
/// @return The text; never NULL; empty where there is no advice.
///
/// Ownership: belongs to the error.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_hint(error: *const evbus_error) -> *const c_char {
    boundary!(c"".as_ptr() => known(error).map_or(c"".as_ptr(), |told| told.hint.as_ptr()))
}

/// Everything on one line: name of the code, message, context, hint. What to print when in doubt.
///
/// @param error The error, or NULL.
/// @return The text; never NULL; empty for NULL.
///
/// Ownership: belongs to the error.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_report(error: *const evbus_error) -> *const c_char {
    boundary!(c"".as_ptr() => known(error).map_or(c"".as_ptr(), |told| told.report.as_ptr()))
}

/// On what it failed.
///
/// @param error The error, or NULL.
/// @param key   "topic", "partition", "option", ...
/// @return The value as text, or NULL where the error has no such context.
///
/// Ownership: belongs to the error.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_context(error: *const evbus_error, key: *const c_char) -> *const c_char {
    boundary!(std::ptr::null() => {
        let Some((told, key)) = known(error).zip(text(key, "key").ok()) else { return std::ptr::null() };
        let found = told.contexts.iter().find(|(name, _)| *name == key);
        found.map_or(std::ptr::null(), |(_, value)| value.as_ptr())
    })
}

/// Whether the same call can succeed later without a change of its input.
///
/// @param error The error, or NULL.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_retryable(error: *const evbus_error) -> bool {
    boundary!(false => known(error).is_some_and(|told| told.error.is_retryable()))
}

/// Whether the bus that raised the error cannot be used any more.
///
/// @param error The error, or NULL.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_fatal(error: *const evbus_error) -> bool {
    boundary!(false => known(error).is_some_and(|told| told.error.is_fatal()))
}

/// Kafka's own error number, where a broker or the client library gave one.
///
/// @param error The error, or NULL.
/// @return The number; 0, which is no error of Kafka's, where there is none.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_kafka_code(error: *const evbus_error) -> i32 {
    boundary!(0 => known(error).and_then(|told| told.error.kafka_code()).unwrap_or(0))
}

/// What is known about the record of a failed publish.
///
/// @param error The error, or NULL.
/// @return EVBUS_OUTCOME_NOT_SENT, EVBUS_OUTCOME_UNKNOWN, or EVBUS_OUTCOME_NONE where no publish failed.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_outcome(error: *const evbus_error) -> i32 {
    boundary!(EVBUS_OUTCOME_NONE => match known(error).and_then(|told| told.error.publish_outcome()) {
        None => EVBUS_OUTCOME_NONE,
        Some(PublishOutcome::NotSent) => EVBUS_OUTCOME_NOT_SENT,
        Some(PublishOutcome::Unknown) => EVBUS_OUTCOME_UNKNOWN,
    })
}

/// Frees an error.
///
/// @param error The error, or NULL, which does nothing.
///
/// Ownership: takes the error back, with all texts that were taken from it.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_error_free(error: *mut evbus_error) {
    boundary!(() => free_object(error))
}

/// The stable name of a code, as logs and the other languages spell it: "EVBUS_TIMEOUT" for EVBUS_ERR_TIMEOUT,
/// "EVBUS_OK" for EVBUS_OK, "EVBUS_UNKNOWN" for a number that is no code. Static, never NULL, not to be freed.
///
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_code_name(code: i32) -> *const c_char {
    boundary!(c"".as_ptr() => match ErrorKind::ALL.iter().position(|kind| is(*kind, code)) {
        Some(index) => NAMES[index].as_ptr().cast(),
        None if code == EVBUS_OK => c"EVBUS_OK".as_ptr(),
        None => c"EVBUS_UNKNOWN".as_ptr(),
    })
}

/// Whether the same call can succeed later without a change of its input; false for a number that is no code.
///
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_code_retryable(code: i32) -> bool {
    boundary!(false => ErrorKind::ALL.iter().any(|kind| is(*kind, code) && kind.is_retryable()))
}

/// Whether the bus that returned the code cannot be used any more; false for a number that is no code.
///
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_code_fatal(code: i32) -> bool {
    boundary!(false => ErrorKind::ALL.iter().any(|kind| is(*kind, code) && kind.is_fatal()))
}

fn is(kind: ErrorKind, code: i32) -> bool {
    i32::try_from(kind.number()) == Ok(code)
}

const NAME_SIZE: usize = 32;

/// The names of the kinds, each ended by a NUL; a name that does not fit fails the build.
static NAMES: [[u8; NAME_SIZE]; ErrorKind::ALL.len()] = {
    let mut names = [[0; NAME_SIZE]; ErrorKind::ALL.len()];
    let mut kind = 0;
    while kind < names.len() {
        let name = ErrorKind::ALL[kind].code().as_bytes();
        assert!(name.len() < NAME_SIZE);
        let mut byte = 0;
        while byte < name.len() {
            names[kind][byte] = name[byte];
            byte += 1;
        }
        kind += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    /// The constants of this file as its text declares them.
    fn declared() -> Vec<(String, i32)> {
        include_str!("error.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const EVBUS_ERR_"))
            .map(|line| {
                let (name, value) = line.split_once(": i32 = ").expect("a literal");
                (format!("EVBUS_ERR_{name}"), value.trim_end_matches(';').parse().expect("an integer"))
            })
            .collect()
    }

    #[test]
    fn the_literals_are_the_table_of_the_core() {
        let expected: Vec<_> =
            ErrorKind::ALL.iter().map(|kind| (kind.c_constant().to_owned(), kind.number() as i32)).collect();
        assert_eq!(declared(), expected);
    }

    #[test]
    fn the_lookups_say_what_the_core_says() {
        for kind in ErrorKind::ALL {
            let code = kind.number() as i32;
            assert_eq!(name(code), kind.code());
            assert_eq!(evbus_code_retryable(code), kind.is_retryable(), "{kind}");
            assert_eq!(evbus_code_fatal(code), kind.is_fatal(), "{kind}");
        }
        assert_eq!(name(EVBUS_OK), "EVBUS_OK");
        for stranger in [-1, 5, 98, 100, i32::MIN, i32::MAX] {
            assert_eq!(name(stranger), "EVBUS_UNKNOWN");
            assert!(!evbus_code_retryable(stranger) && !evbus_code_fatal(stranger));
        }
    }

    fn name(code: i32) -> &'static str {
        let index = ErrorKind::ALL.iter().position(|kind| is(*kind, code));
        let pointer = evbus_code_name(code);
        match index {
            Some(index) => {
                assert_eq!(pointer, NAMES[index].as_ptr().cast());
                CStr::from_bytes_until_nul(&NAMES[index]).unwrap().to_str().unwrap()
            }
            None => [c"EVBUS_OK", c"EVBUS_UNKNOWN"]
                .into_iter()
                .find(|known| known.as_ptr() == pointer)
                .map_or("another pointer", |known| known.to_str().unwrap()),
        }
    }
}
