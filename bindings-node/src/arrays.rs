//! Writing into memory that JavaScript owns: the one file of this crate with `unsafe`.

use napi::bindgen_prelude::Int32ArraySlice;

/// Lets `write` fill the array during this call.
pub(crate) fn fill<T>(mut array: Int32ArraySlice<'_>, write: impl FnOnce(&mut [i32]) -> T) -> T {
    // SAFETY: the slice is scoped to the native call, during which JavaScript does not run, and `write` gets the only
    // reference that Rust has. A detached array has length 0.
    write(unsafe { array.as_mut() })
}
