//! Versions: of the library, and of its binary interface.

use std::ffi::c_char;

use event_bus::{Error, ErrorKind};

use crate::boundary::boundary;
use crate::error::evbus_error;

/// Major version of the library that this header belongs to.
pub const EVBUS_VERSION_MAJOR: i32 = 2;
/// Minor version of the library that this header belongs to.
pub const EVBUS_VERSION_MINOR: i32 = 0;
/// Patch version of the library that this header belongs to.
pub const EVBUS_VERSION_PATCH: i32 = 0;
/// The three as one number to compare: major * 10000 + minor * 100 + patch.
pub const EVBUS_VERSION_NUMBER: i32 = 20000;
/// Version of the binary interface that this header describes; the number in the name of the shared library.
pub const EVBUS_ABI_VERSION: i32 = 1;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The version of the library that runs, for example "2.0.0". Static, never NULL, not to be freed.
///
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_version_string() -> *const c_char {
    boundary!(c"".as_ptr() => VERSION.as_ptr().cast())
}

/// The version of the binary interface of the library that runs. A program works with it when it equals the
/// EVBUS_ABI_VERSION that the program was compiled with.
///
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_abi_version() -> i32 {
    boundary!(0 => EVBUS_ABI_VERSION)
}

/// Compares the header that a program was compiled with to the library that runs. Call it once at start:
/// evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER, &error).
///
/// @param abi_version    EVBUS_ABI_VERSION of the header.
/// @param version_number EVBUS_VERSION_NUMBER of the header.
/// @param error          Where the error goes, or NULL.
/// @return EVBUS_OK when the interface is the same and the library is not older than the header.
///
/// Ownership: the error is the caller's.
/// Thread: any, callbacks included; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when the header and the library do not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_abi_check(abi_version: i32, version_number: i32, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => {
        if abi_version == EVBUS_ABI_VERSION && version_number <= EVBUS_VERSION_NUMBER {
            return Ok(());
        }
        let message = format!(
            "the program was compiled with a header of interface {abi_version}, version {version_number}, but runs \
             with a library of interface {EVBUS_ABI_VERSION}, version {EVBUS_VERSION_NUMBER}"
        );
        Err(Error::new(ErrorKind::IllegalState, message).hint("compile and run with the same release of evbus"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literals_are_the_version_of_the_package() {
        let literals = format!("{EVBUS_VERSION_MAJOR}.{EVBUS_VERSION_MINOR}.{EVBUS_VERSION_PATCH}");
        assert_eq!(literals, env!("CARGO_PKG_VERSION"));
        assert_eq!(
            EVBUS_VERSION_NUMBER,
            EVBUS_VERSION_MAJOR * 10_000 + EVBUS_VERSION_MINOR * 100 + EVBUS_VERSION_PATCH
        );
    }
}
