//! What is published: a domain event, or a record as it is.

use std::ffi::c_char;
use std::sync::Mutex;

use event_bus::{Error, ErrorKind, Event, HeadersBuf, Result};

use crate::boundary::{Object, Out, boundary, elements, free_object, give_text, new_object, object, text};
use crate::error::evbus_error;
use crate::gate::lock;

/// What is published: a domain event, or a record as it is. It can be published several times and changed between.
pub struct evbus_event {
    _opaque: [u8; 0],
}

/// What an `evbus_event` holds.
#[derive(Clone)]
pub(crate) enum Content {
    Domain(Event<'static>),
    Raw(Raw),
}

#[derive(Clone, Default)]
pub(crate) struct Raw {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: HeadersBuf,
}

impl Object for evbus_event {
    type Inner = Mutex<Content>;
    const MAGIC: u64 = 0x6576_6275_735f_0004;
    const NAME: &'static str = "event";
}

fn other_kind(what: &str, needed: &str) -> Error {
    Error::new(ErrorKind::IllegalState, format!("{what} belongs to {needed}"))
        .hint("a domain event is made by evbus_event_new, a record by evbus_event_new_record")
}

fn change_domain(
    event: *mut evbus_event,
    what: &str,
    change: impl FnOnce(Event<'static>) -> Event<'static>,
) -> Result<()> {
    let mut content = lock(object(event.cast_const())?);
    match &mut *content {
        Content::Domain(event) => {
            *event = change(event.clone());
            Ok(())
        }
        Content::Raw(_) => Err(other_kind(what, "a domain event")),
    }
}

fn change_raw(event: *mut evbus_event, what: &str, change: impl FnOnce(&mut Raw) -> Result<()>) -> Result<()> {
    let mut content = lock(object(event.cast_const())?);
    match &mut *content {
        Content::Raw(raw) => change(raw),
        Content::Domain(_) => Err(other_kind(what, "a record")),
    }
}

/// Replaces bytes and keeps their memory.
fn replace(place: &mut Option<Vec<u8>>, bytes: *const u8, len: usize, name: &str) -> Result<()> {
    if bytes.is_null() && len == 0 {
        *place = None;
        return Ok(());
    }
    let bytes = elements(bytes, len, name)?;
    let buffer = place.get_or_insert_default();
    buffer.clear();
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// Makes a domain event that occurred now, with a random event id and version 1. Its type is the topic, its
/// aggregate id the key: events of one aggregate and one type keep their order.
///
/// @param event_type   The type: 1 to 249 of a-z A-Z 0-9 . _ -
/// @param aggregate_id The id of the aggregate that the event is about; not empty.
/// @param payload      The payload as JSON text.
/// @param event        Where the event goes.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the texts are copied; the event is the caller's, who frees it with evbus_event_free.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_CODEC when the payload is not JSON. Type and aggregate id are checked when it is published.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_new(
    event_type: *const c_char,
    aggregate_id: *const c_char,
    payload: *const c_char,
    event: *mut *mut evbus_event,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (event_type, aggregate_id) = (text(event_type, "event_type")?, text(aggregate_id, "aggregate_id")?);
        let payload = text(payload, "payload")?;
        let out = Out::of(event, "event")?;
        let event = Event::from_json(event_type.to_owned(), aggregate_id.to_owned(), payload.to_owned())?;
        out.set(new_object(Mutex::new(Content::Domain(event))));
        Ok(())
    })
}

/// Makes a record without key, value and headers, for topics that hold something else than domain events.
///
/// @param topic The topic: 1 to 249 of a-z A-Z 0-9 . _ -
/// @param event Where the record goes.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is copied; the record is the caller's, who frees it with evbus_event_free.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for NULL. The topic's name is checked when the record is published.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_new_record(
    topic: *const c_char,
    event: *mut *mut evbus_event,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let topic = text(topic, "topic")?.to_owned();
        let out = Out::of(event, "event")?;
        out.set(new_object(Mutex::new(Content::Raw(Raw { topic, ..Raw::default() }))));
        Ok(())
    })
}

/// Replaces the random id of a domain event.
///
/// @param event    The event.
/// @param event_id The id, unique over all events; not empty.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is copied.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_id(
    event: *mut evbus_event,
    event_id: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let id = text(event_id, "event_id")?.to_owned();
        change_domain(event, "an event id", |event| event.with_event_id(id))
    })
}

/// Replaces the time at which a domain event occurred.
///
/// @param event        The event.
/// @param milliseconds Since the Unix epoch.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_occurred_on(
    event: *mut evbus_event,
    milliseconds: i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_domain(event, "occurred_on", |event| event.with_occurred_on(milliseconds)))
}

/// Replaces the version of a domain event's schema.
///
/// @param event   The event.
/// @param version The version.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_version(event: *mut evbus_event, version: i64, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => change_domain(event, "a version", |event| event.with_version(version)))
}

/// The id of a domain event, to log it or to publish the same event again.
///
/// @param event    The event.
/// @param event_id Where the text goes.
/// @param error    Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is the caller's, who frees it with evbus_string_free.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_id(
    event: *const evbus_event,
    event_id: *mut *mut c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let out = Out::of(event_id, "event_id")?;
        match &*lock(object(event)?) {
            Content::Domain(event) => out.set(give_text(event.event_id())),
            Content::Raw(_) => return Err(other_kind("an event id", "a domain event")),
        }
        Ok(())
    })
}

/// Sets the key of a record, which decides its partition.
///
/// @param event The record.
/// @param key   The bytes; NULL with length 0 for Kafka's null.
/// @param len   How many.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the bytes are copied.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event, whose key is its aggregate id.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_key(
    event: *mut evbus_event,
    key: *const u8,
    len: usize,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_raw(event, "a key", |raw| replace(&mut raw.key, key, len, "key")))
}

/// Sets the value of a record.
///
/// @param event The record.
/// @param value The bytes; NULL with length 0 for Kafka's null, a tombstone.
/// @param len   How many.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the bytes are copied.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event, whose value is made of its fields.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_value(
    event: *mut evbus_event,
    value: *const u8,
    len: usize,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_raw(event, "a value", |raw| replace(&mut raw.value, value, len, "value")))
}

/// Adds a header to a record. Headers keep their order, and names may come several times.
///
/// @param event The record.
/// @param name  The name.
/// @param value The bytes; NULL with length 0 for Kafka's null.
/// @param len   How many.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: name and bytes are copied.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event; EVBUS_ERR_ARGUMENT for a name of more than 65535 bytes.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_add_header(
    event: *mut evbus_event,
    name: *const c_char,
    value: *const u8,
    len: usize,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_raw(event, "a header", |raw| {
        let name = text(name, "name")?;
        if name.len() > usize::from(u16::MAX) {
            let message = format!("the name of a header has {} bytes", name.len());
            return Err(Error::new(ErrorKind::Argument, message).hint("give a name of at most 65535 bytes"));
        }
        let null = value.is_null() && len == 0;
        let value = if null { None } else { Some(elements(value, len, "value")?) };
        raw.headers.push(name, value);
        Ok(())
    }))
}

/// Takes all headers off a record.
///
/// @param event The record.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_clear_headers(event: *mut evbus_event, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => change_raw(event, "a header", |raw| {
        raw.headers.clear();
        Ok(())
    }))
}

/// Sends a record to a partition of the caller's choice.
///
/// @param event     The record.
/// @param partition From 0; -1 for the choice by key, which is the default.
/// @param error     Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT below -1; EVBUS_ERR_ILLEGAL_STATE for a domain event.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_partition(
    event: *mut evbus_event,
    partition: i32,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_raw(event, "a partition", |raw| {
        raw.partition = not_below_minus_one(i64::from(partition), "the partition")?.map(|_| partition);
        Ok(())
    }))
}

/// Sets the timestamp of a record.
///
/// @param event        The record.
/// @param milliseconds Since the Unix epoch; -1 for the time of publishing, which is the default.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT below -1; EVBUS_ERR_ILLEGAL_STATE for a domain event.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_set_timestamp(
    event: *mut evbus_event,
    milliseconds: i64,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => change_raw(event, "a timestamp", |raw| {
        raw.timestamp = not_below_minus_one(milliseconds, "the timestamp")?;
        Ok(())
    }))
}

fn not_below_minus_one(number: i64, what: &str) -> Result<Option<i64>> {
    match number {
        -1 => Ok(None),
        0.. => Ok(Some(number)),
        _ => Err(Error::new(ErrorKind::Argument, format!("{what} is {number}")).hint("give -1 or a number from 0 on")),
    }
}

/// Frees an event. Publishes of it go on.
///
/// @param event The event, or NULL, which does nothing.
///
/// Ownership: takes the event back.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_event_free(event: *mut evbus_event) {
    boundary!(() => free_object(event))
}
