//! A received record's headers.
//!
//! librdkafka makes a list of allocations of them, which costs more than all else that it does to hand a record out.
//! The bytes that came from the broker are there, behind what its header file shows of a message. What lies there is
//! known of one version only: with any other, the list it is.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::LazyLock;

use rdkafka::bindings as rd;

use super::{bytes, text};
use crate::event::HeadersBuf;

/// The version that [`Received`] describes, as `rd_kafka_version` says it: 2.12.1.
const KNOWN_VERSION: c_int = 0x020c_01ff;

static IS_KNOWN: LazyLock<bool> = LazyLock::new(|| {
    // SAFETY: no arguments.
    unsafe { rd::rd_kafka_version() == KNOWN_VERSION }
});

/// More headers than this in one record are an error to librdkafka.
const MOST: u64 = 100_000;

/// `rd_kafka_msg_t` of a consumer, up to its headers.
#[repr(C)]
struct Received {
    message: rd::rd_kafka_message_t,
    link: [*const c_void; 2],
    flags: c_int,
    timestamp_type: c_int,
    timestamp: i64,
    parsed: *const c_void,
    status: c_int,
    broker: i32,
    headers_len: i32,
    headers: *const c_void,
}

/// Packs the headers of a message behind those in `packed`.
///
/// # Safety
/// `message` is live, and was received.
pub(super) unsafe fn pack(message: *const rd::rd_kafka_message_t, packed: &mut HeadersBuf) {
    if !*IS_KNOWN {
        // SAFETY: as the caller says.
        return unsafe { pack_list(message, packed) };
    }
    // SAFETY: librdkafka hands out received messages as the first part of this structure, in this version; the bytes
    // live as long as the message.
    let raw = unsafe {
        let received = message.cast::<Received>();
        bytes((*received).headers, usize::try_from((*received).headers_len).unwrap_or(0))
    };
    if let Some(raw) = raw
        && pack_raw(raw, packed).is_none()
    {
        // As librdkafka has it: a record whose headers cannot be read has none.
        packed.clear();
    }
}

/// Packs the list that librdkafka makes.
///
/// # Safety
/// `message` is live.
unsafe fn pack_list(message: *const rd::rd_kafka_message_t, packed: &mut HeadersBuf) {
    let mut headers = ptr::null_mut();
    // SAFETY: pointers and lengths describe parts of the message, which is live, and are copied.
    unsafe {
        if rd::rd_kafka_message_headers(message, &mut headers) as i32 != 0 {
            return;
        }
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        let mut index = 0;
        while rd::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len) as i32 == 0 {
            packed.push(text(name), bytes(value, len));
            index += 1;
        }
    }
}

/// Packs headers as Kafka's protocol has them; `None` when they cannot be read.
fn pack_raw(mut raw: &[u8], packed: &mut HeadersBuf) -> Option<()> {
    if raw.is_empty() {
        return Some(());
    }
    let count = u64::try_from(varint(&mut raw)?).unwrap_or(0);
    if count > MOST {
        return None;
    }
    for _ in 0..count {
        let len = usize::try_from(varint(&mut raw)?).ok()?;
        let name = raw.split_off(..len)?;
        let value = match varint(&mut raw)? {
            -1 => None,
            len => Some(raw.split_off(..usize::try_from(len).ok()?)?),
        };
        packed.push(text_of(name), value);
    }
    Some(())
}

/// A name is a text of C to librdkafka, and here it is UTF-8 too.
fn text_of(name: &[u8]) -> &str {
    // Nearly all are ASCII, and short: this is quicker than two looks for what they hardly ever contain.
    if name.iter().fold(true, |plain, byte| plain & matches!(byte, 1..=0x7f)) {
        // SAFETY: ASCII is UTF-8.
        return unsafe { std::str::from_utf8_unchecked(name) };
    }
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    std::str::from_utf8(&name[..end]).unwrap_or("\u{fffd}")
}

/// Takes a number in zigzag code of variable length.
fn varint(raw: &mut &[u8]) -> Option<i64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *raw.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header<'a> = (&'a str, Option<&'a [u8]>);

    fn raw(headers: &[Header<'_>]) -> Vec<u8> {
        let mut raw = Vec::new();
        let number = |raw: &mut Vec<u8>, number: i64| {
            let mut rest = ((number << 1) ^ (number >> 63)) as u64;
            while rest >= 0x80 {
                raw.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            raw.push(rest as u8);
        };
        number(&mut raw, headers.len() as i64);
        for (name, value) in headers {
            number(&mut raw, name.len() as i64);
            raw.extend_from_slice(name.as_bytes());
            number(&mut raw, value.map_or(-1, |value| value.len() as i64));
            raw.extend_from_slice(value.unwrap_or_default());
        }
        raw
    }

    #[test]
    fn the_layout_is_that_of_the_version_in_use() {
        assert!(*IS_KNOWN, "look whether rd_kafka_msg_t still begins as Received says, then change KNOWN_VERSION");
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        let long = [7; 300];
        let headers: [Header<'_>; 5] =
            [("a", Some(b"1")), ("a", None), ("b", Some(b"")), ("", Some(&long)), ("ü", Some(&[0, 255]))];
        let mut packed = HeadersBuf::new();
        assert_eq!(pack_raw(&raw(&headers), &mut packed), Some(()));
        assert_eq!(packed.as_headers().iter().collect::<Vec<_>>(), headers);
    }

    #[test]
    fn what_is_cut_short_or_out_of_bounds_cannot_be_read() {
        let whole = raw(&[("name", Some(b"value")), ("other", None)]);
        for end in 1..whole.len() {
            assert_eq!(pack_raw(&whole[..end], &mut HeadersBuf::new()), None, "cut at {end}");
        }
        // A length below −1, one beyond the end, too many headers, and a number that does not end.
        for broken in [&[2, 2, b'a', 3][..], &[2, 200, 1, b'a'], &[0xc2, 0x9a, 0x0c], &[0xff; 11]] {
            assert_eq!(pack_raw(broken, &mut HeadersBuf::new()), None, "{broken:?}");
        }
        for none in [&[][..], &[0], &[1]] {
            let mut packed = HeadersBuf::new();
            assert_eq!(pack_raw(none, &mut packed), Some(()));
            assert!(packed.as_headers().is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_name_ends_at_a_nul_and_one_that_is_no_text_is_replaced() {
        let mut packed = HeadersBuf::new();
        assert_eq!(pack_raw(&raw(&[("a\0b", None)]), &mut packed), Some(()));
        assert_eq!(pack_raw(&[2, 2, 0xff, 1], &mut packed), Some(()));
        assert_eq!(packed.as_headers().iter().collect::<Vec<_>>(), [("a", None), ("\u{fffd}", None)]);
    }
}
