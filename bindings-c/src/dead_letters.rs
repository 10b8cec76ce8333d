//! Dead letters: looking at them and sending them back.

use std::ffi::{CString, c_char};
use std::str::FromStr;
use std::sync::Mutex;

use event_bus::{
    DeadLetterFilter, DeadLetterInfo, DeadLetterReason, DeadLetterRecord, DeadLetters, Error, ErrorKind, ReplayOptions,
    ReplayReport, Result,
};
use serde_json::Value;

use crate::boundary::{
    Object, Out, boundary, c_text, elements, free_object, known, new_object, object, set_if_wanted, text,
};
use crate::bus::evbus_bus;
use crate::callback::may_block;
use crate::error::evbus_error;
use crate::gate::lock;
use crate::text::{evbus_bytes, evbus_str};
use crate::wait;

/// How many letters a list has unless the options say otherwise.
const LIMIT: u64 = 100;

/// Which dead letters are meant, and how to replay them.
pub struct evbus_dead_letter_options {
    _opaque: [u8; 0],
}

/// Dead letters of one event type, as they were when they were looked at.
pub struct evbus_dead_letters {
    _opaque: [u8; 0],
}

/// What a replay did, or, as a dry run, would do.
pub struct evbus_replay_report {
    _opaque: [u8; 0],
}

#[derive(Clone, Default)]
pub(crate) struct Wanted {
    topic: Option<String>,
    replay: ReplayOptions,
    /// An option that was set and has nothing to say for a list.
    of_replays: Option<&'static str>,
}

pub(crate) struct Letter {
    info: DeadLetterInfo,
    /// What is known of it, by name.
    fields: Vec<(String, CString)>,
    record: Option<DeadLetterRecord>,
}

pub(crate) struct Replayed {
    report: ReplayReport,
    json: CString,
}

impl Object for evbus_dead_letter_options {
    type Inner = Mutex<Wanted>;
    const MAGIC: u64 = 0x6576_6275_735f_000c;
    const NAME: &'static str = "options for dead letters";
}

impl Object for evbus_dead_letters {
    type Inner = Vec<Letter>;
    const MAGIC: u64 = 0x6576_6275_735f_000d;
    const NAME: &'static str = "list of dead letters";
}

impl Object for evbus_replay_report {
    type Inner = Replayed;
    const MAGIC: u64 = 0x6576_6275_735f_000e;
    const NAME: &'static str = "report of a replay";
}

fn argument(key: &str, message: String, hint: &'static str) -> Error {
    Error::new(ErrorKind::Argument, message).with("option", key).hint(hint)
}

/// A value of an option as a number or a boolean.
fn read<T: FromStr>(key: &str, value: &str, what: &'static str) -> Result<T> {
    value
        .trim()
        .parse()
        .map_err(|_| argument(key, format!("{key} must be {what}, but is {value:?}"), "give another value"))
}

impl Wanted {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let Wanted { topic, replay, of_replays } = self;
        let filter = &mut replay.filter;
        match key {
            "deadLetterTopic" => *topic = Some(value.trim().to_owned()),
            "reason" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                filter.reasons = names.map(DeadLetterReason::from_name).collect::<Result<_>>()?;
            }
            "since" => filter.since = Some(read(key, value, "a time in milliseconds since the Unix epoch")?),
            "until" => filter.until = Some(read(key, value, "a time in milliseconds since the Unix epoch")?),
            "partition" => filter.partition = Some(read(key, value, "the number of a partition")?),
            "offset" => filter.offset = Some(read(key, value, "an offset")?),
            "limit" => replay.limit = Some(read(key, value, "a number of letters")?),
            "ratePerSecond" => {
                replay.rate = Some(read(key, value, "a number of letters")?);
                *of_replays = Some("ratePerSecond");
            }
            "dryRun" => {
                replay.dry_run = read(key, value, "true or false")?;
                *of_replays = Some("dryRun");
            }
            "maxReplays" => {
                replay.max_replays = read(key, value, "a number of replays")?;
                *of_replays = Some("maxReplays");
            }
            _ => {
                return Err(argument(
                    key,
                    format!("dead letters have no option {key:?}"),
                    "use deadLetterTopic, reason, since, until, partition, offset, limit, ratePerSecond, dryRun or maxReplays",
                ));
            }
        }
        Ok(())
    }
}

/// The letters of an event type, and what is wanted of them.
fn meant(
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_dead_letter_options,
) -> Result<(DeadLetters, Wanted)> {
    let (bus, event_type) = (object(bus)?, text(event_type, "event_type")?);
    let wanted = if options.is_null() { Wanted::default() } else { lock(object(options)?).clone() };
    let letters = bus.bus.dead_letters(event_type);
    let letters = wanted.topic.as_deref().map_or_else(|| letters.clone(), |topic| letters.clone().stored_in(topic));
    Ok((letters, wanted))
}

async fn look(letters: &DeadLetters, wanted: &Wanted) -> Result<Vec<Letter>> {
    if let Some(option) = wanted.of_replays {
        let message = format!("{option} is an option of replays");
        return Err(argument(option, message, "use other options to look at letters"));
    }
    let DeadLetterFilter { partition, offset, .. } = wanted.replay.filter;
    if let (Some(partition), Some(offset)) = (partition, offset) {
        let one = letters.show(partition, offset).await?;
        return Ok(vec![letter(one.info.clone(), Some(one))?]);
    }
    let limit = usize::try_from(wanted.replay.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
    letters.list(&wanted.replay.filter, limit).await?.into_iter().map(|info| letter(info, None)).collect()
}

fn letter(info: DeadLetterInfo, record: Option<DeadLetterRecord>) -> Result<Letter> {
    let text = |(name, value): (String, Value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, c_text(&text))),
        other => Some((name, c_text(&other.to_string()))),
    };
    let fields = match serde_json::to_value(&info) {
        Ok(Value::Object(all)) => all.into_iter().filter_map(text).collect(),
        other => return Err(Error::new(ErrorKind::Internal, format!("a dead letter could not be told: {other:?}"))),
    };
    Ok(Letter { info, fields, record })
}

fn one<'a>(letters: *const evbus_dead_letters, index: usize) -> Option<&'a Letter> {
    known(letters).and_then(|letters| letters.get(index))
}

/// Makes options that say nothing yet: all letters, all of each replay.
///
/// @return The options; NULL only after a defect of the library.
///
/// Ownership: the caller's; free them with evbus_dead_letter_options_free.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letter_options_new() -> *mut evbus_dead_letter_options {
    boundary!(std::ptr::null_mut() => new_object(Mutex::default()))
}

/// Sets an option from text. What is set has to hold all together:
///
/// - "reason": one of exhausted, fatal, invalid, parked, requested, or several, separated by commas.
/// - "since", "until": the last attempt failed then or later, before then; in milliseconds since the Unix epoch.
/// - "partition", "offset": where they lie in the dead-letter topic; an offset needs its partition.
/// - "limit": how many letters at most; 100 by default for a list, no bound for a replay.
/// - "deadLetterTopic": the topic that they lie in, where a subscription had one of its own.
///
/// For replays only:
///
/// - "ratePerSecond": how many letters a second at most, for example 0.5; no bound by default.
/// - "dryRun": "true" only tells what would be replayed; "false" by default.
/// - "maxReplays": an event that was replayed so often is skipped and reported; 3 by default.
///
/// @param options The options.
/// @param key     The name of the option.
/// @param value   Its value.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the texts are copied; the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for an unknown key and for a value that the option does not take.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letter_options_set(
    options: *mut evbus_dead_letter_options,
    key: *const c_char,
    value: *const c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (options, key, value) = (object(options.cast_const())?, text(key, "key")?, text(value, "value")?);
        lock(options).set(key, value)
    })
}

/// Asks for the letters of one key, which is the aggregate id where the records are events.
///
/// @param options The options.
/// @param key     The bytes; NULL for any key again.
/// @param len     Their number.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the bytes are copied; the error is the caller's.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for NULL with a length.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letter_options_set_key(
    options: *mut evbus_dead_letter_options,
    key: *const u8,
    len: usize,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let options = object(options.cast_const())?;
        let bytes = elements(key, len, "key")?;
        lock(options).replay.filter.key = (!key.is_null()).then(|| bytes.to_vec());
        Ok(())
    })
}

/// Frees options.
///
/// @param options The options, or NULL, which does nothing.
///
/// Ownership: takes the options back.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letter_options_free(options: *mut evbus_dead_letter_options) {
    boundary!(() => free_object(options))
}

/// Looks at the dead letters of an event type, those whose last attempt failed first in front. Letters that were
/// replayed stay in their topic and in the list. With partition and offset it is the one letter that lies there, with
/// its value and headers.
///
/// @param bus        The bus.
/// @param event_type The type, which is also the topic that the records come from.
/// @param options    Which letters, or NULL for the first 100.
/// @param letters    Where the list goes.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the list is the caller's, who frees it with evbus_dead_letters_free; the options stay the caller's.
/// Thread: any, handlers included, but not completion and log callbacks; blocks while the topic is read, until the bus
/// closes.
/// Errors: EVBUS_ERR_UNKNOWN_TOPIC while there is no dead-letter topic; EVBUS_ERR_ARGUMENT for options of replays, for
/// an offset without its partition, and when no letter lies there; EVBUS_ERR_TIMEOUT; EVBUS_ERR_UNAVAILABLE;
/// EVBUS_ERR_REJECTED without the right to read; EVBUS_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_dead_letters(
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_dead_letter_options,
    letters: *mut *mut evbus_dead_letters,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (from, wanted) = meant(bus, event_type, options)?;
        let out = Out::of(letters, "letters")?;
        may_block("evbus_bus_dead_letters")?;
        out.set(new_object(wait::block_on(look(&from, &wanted))?));
        Ok(())
    })
}

/// How many letters a list has.
///
/// @param letters The list.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_count(letters: *const evbus_dead_letters) -> usize {
    boundary!(0 => known(letters).map_or(0, Vec::len))
}

/// The partition of the dead-letter topic that a letter lies in.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @return The partition; -1 for a number that is none.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_partition(letters: *const evbus_dead_letters, index: usize) -> i32 {
    boundary!(-1 => one(letters, index).map_or(-1, |letter| letter.info.partition))
}

/// The offset at which a letter lies in its partition.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @return The offset; -1 for a number that is none.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_offset(letters: *const evbus_dead_letters, index: usize) -> i64 {
    boundary!(-1 => one(letters, index).map_or(-1, |letter| letter.info.offset))
}

/// What is known of a letter, by name: "sourceTopic", "sourcePartition", "sourceOffset", "timestamp", "eventId",
/// "group", "reason", "handler", "attempts", "errorCode", "errorMessage", "firstFailedAt", "lastFailedAt", "reduced",
/// "replays", "size", "partition", "offset". Numbers are decimal, times in milliseconds since the Unix epoch.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @param name    Which field.
/// @return The value as text, or NULL where the letter does not have it.
///
/// Ownership: belongs to the list.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_field(
    letters: *const evbus_dead_letters,
    index: usize,
    name: *const c_char,
) -> *const c_char {
    boundary!(std::ptr::null() => {
        let Some((letter, name)) = one(letters, index).zip(text(name, "name").ok()) else { return std::ptr::null() };
        let found = letter.fields.iter().find(|(known, _)| known == name);
        found.map_or(std::ptr::null(), |(_, value)| value.as_ptr())
    })
}

/// The record's key.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @return The bytes; data is NULL for Kafka's null.
///
/// Ownership: belongs to the list.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_key(letters: *const evbus_dead_letters, index: usize) -> evbus_bytes {
    boundary!(evbus_bytes::NULL => evbus_bytes::of(one(letters, index).and_then(|letter| letter.info.key.as_deref())))
}

/// The record's value, of a letter that was asked for by partition and offset.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @return The bytes; data is NULL for Kafka's null, and for letters of a longer list.
///
/// Ownership: belongs to the list.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_value(letters: *const evbus_dead_letters, index: usize) -> evbus_bytes {
    boundary!(evbus_bytes::NULL => {
        let record = one(letters, index).and_then(|letter| letter.record.as_ref());
        evbus_bytes::of(record.and_then(|shown| shown.record.value()))
    })
}

/// One header that the record had before it became a dead letter, of a letter that was asked for by partition and
/// offset.
///
/// @param letters The list.
/// @param index   The number of the letter, from 0.
/// @param header  The number of the header, from 0.
/// @param name    Where the name goes.
/// @param value   Where the value goes; its data is NULL for Kafka's null.
/// @return false, with nothing written, when there is no header of that number.
///
/// Ownership: both belong to the list.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_header(
    letters: *const evbus_dead_letters,
    index: usize,
    header: usize,
    name: *mut evbus_str,
    value: *mut evbus_bytes,
) -> bool {
    boundary!(false => {
        let record = one(letters, index).and_then(|letter| letter.record.as_ref());
        let found = record.and_then(|shown| shown.own_headers().iter().nth(header));
        found.inspect(|(key, bytes)| {
            set_if_wanted(name, evbus_str::of(key));
            set_if_wanted(value, evbus_bytes::of(*bytes));
        }).is_some()
    })
}

/// Frees a list.
///
/// @param letters The list, or NULL, which does nothing.
///
/// Ownership: takes the list back, with everything that was taken from it.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_dead_letters_free(letters: *mut evbus_dead_letters) {
    boundary!(() => free_object(letters))
}

/// Publishes dead letters to the topic and partition that they came from, as they were, with the headers
/// dead-letter.replay-id and dead-letter.replay-count. It goes on where the last replay with the same filter ended, and
/// ends where the topic ended when it began: killed and started again it leaves nothing out and repeats at most the
/// last 100 letters, which their replay id tells. With partition and offset it always replays that letter.
///
/// @param bus        The bus.
/// @param event_type The type, which is also the topic that the records come from.
/// @param options    Which letters and how, or NULL for all.
/// @param report     Where the report goes, or NULL.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the report is the caller's, who frees it with evbus_replay_report_free; the options stay the caller's.
/// Thread: any, handlers included, but not completion and log callbacks; blocks until the replay has ended, as long as
/// ratePerSecond makes it take. Closing the bus ends it.
/// Errors: as evbus_bus_dead_letters; EVBUS_ERR_UNKNOWN_TOPIC also when the event's topic is gone; and the code of a
/// publish that may succeed later. evbus_error_context(error, "replayed") says how many letters were replayed before;
/// call it again to go on.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_replay_dead_letters(
    bus: *const evbus_bus,
    event_type: *const c_char,
    options: *const evbus_dead_letter_options,
    report: *mut *mut evbus_replay_report,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let (from, wanted) = meant(bus, event_type, options)?;
        may_block("evbus_bus_replay_dead_letters")?;
        let replayed = wait::block_on(from.replay(wanted.replay))?;
        if let Ok(out) = Out::of(report, "report") {
            let json = serde_json::to_string(&replayed)
                .map_err(|error| Error::new(ErrorKind::Internal, format!("a replay could not be told: {error}")))?;
            out.set(new_object(Replayed { json: c_text(&json), report: replayed }));
        }
        Ok(())
    })
}

/// Letters that are stored in the event's topic again, or would be.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_replay_report_replayed(report: *const evbus_replay_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |replayed| replayed.report.replayed))
}

/// Letters that match and were not replayed: too often before, without their record, or refused by the broker.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_replay_report_skipped(report: *const evbus_replay_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |replayed| replayed.report.skipped))
}

/// Whether nothing that matches is left: the end was reached, not the limit.
///
/// @param report The report.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_replay_report_complete(report: *const evbus_replay_report) -> bool {
    boundary!(false => known(report).is_some_and(|replayed| replayed.report.complete))
}

/// The whole report as a JSON object: read, replayed, skipped, skippedLetters (the first 1000, each with partition,
/// offset, replays and why), dryRun, complete.
///
/// @param report The report.
/// @return The text; never NULL; "{}" for NULL.
///
/// Ownership: belongs to the report.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_replay_report_json(report: *const evbus_replay_report) -> *const c_char {
    boundary!(c"{}".as_ptr() => known(report).map_or(c"{}".as_ptr(), |replayed| replayed.json.as_ptr()))
}

/// Frees a report.
///
/// @param report The report, or NULL, which does nothing.
///
/// Ownership: takes the report back, with the text that was taken from it.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_replay_report_free(report: *mut evbus_replay_report) {
    boundary!(() => free_object(report))
}
