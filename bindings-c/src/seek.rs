//! Reading a partition from another place on.

use std::ffi::c_char;

use event_bus::{Result, SeekTo};

use crate::boundary::{boundary, object, text};
use crate::bus::evbus_bus;
use crate::callback::may_block;
use crate::error::evbus_error;
use crate::wait;

/// The oldest record of a partition, for evbus_bus_seek. Kafka's number for it.
pub const EVBUS_OFFSET_BEGINNING: i64 = -2;
/// Behind the newest record of a partition, for evbus_bus_seek. Kafka's number for it.
pub const EVBUS_OFFSET_END: i64 = -1;

fn seek(call: &str, bus: *const evbus_bus, event_type: *const c_char, partition: i32, to: SeekTo) -> Result<()> {
    let (bus, event_type) = (object(bus)?, text(event_type, "event_type")?);
    may_block(call)?;
    wait::block_on(bus.bus.seek(event_type, partition, to))
}

/// Reads a partition from another offset on, to replay a part of the log or to pass one over. The partition has to be
/// assigned to this bus; the metrics name those that are. Events from before that are still with their handlers count no
/// more, and may overlap with what comes next. The offset that the group has stored follows when the first event from
/// the new place is finished.
///
/// @param bus        The bus.
/// @param event_type The event type, which is the topic.
/// @param partition  The partition, from 0.
/// @param offset     The offset, EVBUS_OFFSET_BEGINNING or EVBUS_OFFSET_END.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK when reading goes on there, or a code.
///
/// Ownership: the text is copied; the error is the caller's.
/// Thread: any, handlers included, but not completion and log callbacks; blocks until the client has moved.
/// Errors: EVBUS_ERR_ILLEGAL_STATE when the partition is not assigned to this bus; EVBUS_ERR_ARGUMENT for another
/// negative offset; EVBUS_ERR_TIMEOUT or EVBUS_ERR_UNAVAILABLE when the partition's leader does not tell its offsets;
/// EVBUS_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_seek(
    bus: *const evbus_bus,
    event_type: *const c_char,
    partition: i32,
    offset: i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let to = match offset {
            EVBUS_OFFSET_BEGINNING => SeekTo::Beginning,
            EVBUS_OFFSET_END => SeekTo::End,
            offset => SeekTo::Offset(offset),
        };
        seek("evbus_bus_seek", bus, event_type, partition, to)
    })
}

/// Reads a partition from the first record of a time or later on; otherwise as evbus_bus_seek.
///
/// @param bus          The bus.
/// @param event_type   The event type, which is the topic.
/// @param partition    The partition, from 0.
/// @param milliseconds Since the Unix epoch; behind the newest record where none is that young.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK when reading goes on there, or a code.
///
/// Ownership: the text is copied; the error is the caller's.
/// Thread: any, handlers included, but not completion and log callbacks; blocks until the client has moved.
/// Errors: those of evbus_bus_seek.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_seek_to_timestamp(
    bus: *const evbus_bus,
    event_type: *const c_char,
    partition: i32,
    milliseconds: i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        seek("evbus_bus_seek_to_timestamp", bus, event_type, partition, SeekTo::Timestamp(milliseconds))
    })
}
