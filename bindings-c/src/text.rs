//! Views of texts and bytes, and texts that the caller owns.

use std::ffi::c_char;

use crate::boundary::{boundary, free_text};

/// A view of a text in UTF-8. It has no NUL at its end; print it with "%.*s". data is NULL where there is no text.
///
/// It is valid as long as the object that it was taken from.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct evbus_str {
    /// The first byte.
    pub data: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

/// A view of bytes. data is NULL for Kafka's null, which is not the same as no bytes.
///
/// It is valid as long as the object that it was taken from.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct evbus_bytes {
    /// The first byte.
    pub data: *const u8,
    /// The number of bytes.
    pub len: usize,
}

impl evbus_str {
    pub(crate) const NONE: evbus_str = evbus_str { data: std::ptr::null(), len: 0 };

    pub(crate) fn of(text: &str) -> Self {
        evbus_str { data: text.as_ptr().cast(), len: text.len() }
    }
}

impl evbus_bytes {
    pub(crate) const NULL: evbus_bytes = evbus_bytes { data: std::ptr::null(), len: 0 };

    pub(crate) fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(evbus_bytes::NULL, |bytes| evbus_bytes { data: bytes.as_ptr(), len: bytes.len() })
    }
}

/// Frees a text that a function of this library gave as char *.
///
/// @param text The text, or NULL, which does nothing.
///
/// Ownership: takes the text back; do not use it afterwards.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_string_free(text: *mut c_char) {
    boundary!(() => free_text(text))
}
