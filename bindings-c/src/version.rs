//! Versions: of the library, and of its binary interface.

use std::ffi::c_char;

use crate::boundary::boundary;

/// Major version of the library that this header belongs to.
pub const EVBUS_VERSION_MAJOR: i32 = 2;
/// Minor version of the library that this header belongs to.
pub const EVBUS_VERSION_MINOR: i32 = 0;
/// Patch version of the library that this header belongs to.
pub const EVBUS_VERSION_PATCH: i32 = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literals_are_the_version_of_the_package() {
        let literals = format!("{EVBUS_VERSION_MAJOR}.{EVBUS_VERSION_MINOR}.{EVBUS_VERSION_PATCH}");
        assert_eq!(literals, env!("CARGO_PKG_VERSION"));
    }
}
