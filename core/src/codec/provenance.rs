//! The headers that say where a dead letter comes from and why, and those of a letter that was replayed.
//!
//! They are a block behind the record's own headers and begin with the topic, so that the record's own ones, whatever
//! their names, can be told from them: a dead letter of a dead letter has two blocks.

use std::str;

use crate::event::{Headers, HeadersBuf};
use crate::iso;

/// The longest error message in a header, in bytes.
pub(crate) const MAX_MESSAGE: usize = 1024;

/// The longest name of a handler and the longest error code in a header, in bytes.
const MAX_NAME: usize = 256;

/// Declares the headers once, so that code, documentation and other languages agree.
macro_rules! headers {
    ($( $constant:ident = $name:literal, $doc:literal; )+) => {
        $( pub(crate) const $constant: &str = concat!("dead-letter.", $name); )+

        /// The headers of dead letters and of replayed records: name and meaning, in the order in which they are written.
        ///
        /// ```
        /// assert_eq!(event_bus::DEAD_LETTER_HEADERS[0].0, "dead-letter.topic");
        /// ```
        pub const DEAD_LETTER_HEADERS: &[(&str, &str)] = &[ $( ($constant, $doc), )+ ];
    };
}

headers! {
    TOPIC = "topic", "the topic of the record";
    PARTITION = "partition", "its partition";
    OFFSET = "offset", "its offset";
    AT = "timestamp", "its timestamp in milliseconds since the Unix epoch, if it had one";
    GROUP = "group", "the consumer group that could not handle it";
    REASON = "reason", "`exhausted`: the last attempt failed; `fatal`: the handler said that no attempt can succeed; `invalid`: it holds no event; `parked`: an earlier event of its key is a dead letter; `requested`: the handler asked for it";
    HANDLER = "handler", "the handler that failed, if one did";
    ATTEMPTS = "attempts", "how many attempts there were";
    ERROR_CODE = "error-code", "the code or class of the last error, if there was one";
    ERROR_MESSAGE = "error-message", "its message, at most 1024 bytes of it";
    FIRST_FAILED_AT = "first-failed-at", "when the first attempt failed, in ISO 8601";
    LAST_FAILED_AT = "last-failed-at", "when the last attempt failed, in ISO 8601";
    REDUCED = "reduced", "only where the broker refused the whole record: the code of that error. Key, value, the record's own headers and the rest of these are missing, and the letter cannot be replayed";
    REPLAY_ID = "replay-id", "on a replayed record: `<dead-letter topic>/<partition>/<offset>`, the same whenever that dead letter is replayed";
    REPLAY_COUNT = "replay-count", "on a replayed record: how often its event was replayed, from 1";
}

/// Where a dead letter comes from and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Provenance<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) group: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) handler: Option<&'a str>,
    pub(crate) attempts: Option<u32>,
    pub(crate) error_code: Option<&'a str>,
    pub(crate) error_message: Option<&'a str>,
    /// Milliseconds since the Unix epoch.
    pub(crate) first_failed_at: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub(crate) last_failed_at: Option<i64>,
    /// Why the record itself is missing.
    pub(crate) reduced: Option<&'a str>,
}

impl<'a> Provenance<'a> {
    /// Adds the block; what is not known is left out, and long texts are cut at a character.
    pub(crate) fn write(&self, out: &mut HeadersBuf) {
        let mut add = |name, value: Option<&str>| {
            if let Some(value) = value {
                out.push(name, Some(value.as_bytes()));
            }
        };
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let time = |at: Option<i64>| at.and_then(iso::format);
        add(TOPIC, Some(self.topic));
        add(PARTITION, Some(&self.partition.to_string()));
        add(OFFSET, Some(&self.offset.to_string()));
        add(AT, number(self.timestamp).as_deref());
        add(GROUP, self.group);
        add(REASON, self.reason);
        add(HANDLER, self.handler.map(|text| cut(text, MAX_NAME)));
        add(ATTEMPTS, number(self.attempts.map(i64::from)).as_deref());
        add(ERROR_CODE, self.error_code.map(|text| cut(text, MAX_NAME)));
        add(ERROR_MESSAGE, self.error_message.map(|text| cut(text, MAX_MESSAGE)));
        add(FIRST_FAILED_AT, time(self.first_failed_at).as_deref());
        add(LAST_FAILED_AT, time(self.last_failed_at).as_deref());
        add(REDUCED, self.reduced);
    }

    /// Tells the record's own headers from the last block; `None` when there is none, or it does not say of which
    /// record.
    pub(crate) fn split(headers: Headers<'a>) -> Option<(Headers<'a>, Provenance<'a>)> {
        let (own, block) = headers.split_at_last(TOPIC)?;
        let text = |name| block.get(name).and_then(|value| str::from_utf8(value).ok());
        let number = |name| text(name).and_then(|value| value.parse::<i64>().ok());
        let time = |name| text(name).and_then(iso::parse);
        let provenance = Provenance {
            topic: text(TOPIC)?,
            partition: number(PARTITION)?.try_into().ok()?,
            offset: number(OFFSET)?,
            timestamp: number(AT),
            group: text(GROUP),
            reason: text(REASON),
            handler: text(HANDLER),
            attempts: number(ATTEMPTS).and_then(|value| value.try_into().ok()),
            error_code: text(ERROR_CODE),
            error_message: text(ERROR_MESSAGE),
            first_failed_at: time(FIRST_FAILED_AT),
            last_failed_at: time(LAST_FAILED_AT),
            reduced: text(REDUCED),
        };
        Some((own, provenance))
    }
}

/// How often the event of a record with these headers, which are its own, was replayed.
pub(crate) fn replays(own: Headers<'_>) -> u32 {
    let count = own.get(REPLAY_COUNT).and_then(|value| str::from_utf8(value).ok());
    count.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The headers of a replayed record: its own ones, with those of this replay instead of those of an earlier one.
pub(crate) fn write_replay(own: Headers<'_>, id: &str, count: u32, out: &mut HeadersBuf) {
    out.clear();
    out.extend(own, |name| name != REPLAY_ID && name != REPLAY_COUNT);
    out.push(REPLAY_ID, Some(id.as_bytes()));
    out.push(REPLAY_COUNT, Some(count.to_string().as_bytes()));
}

/// As much of a text as fits into so many bytes, ending with a whole character.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Provenance<'static> {
        Provenance {
            topic: "order.placed",
            partition: 3,
            offset: 42,
            timestamp: Some(-1),
            group: Some("billing"),
            reason: Some("exhausted"),
            handler: Some("Invoices"),
            attempts: Some(5),
            error_code: Some("TypeError"),
            error_message: Some("no total"),
            first_failed_at: Some(1_700_000_000_000),
            last_failed_at: Some(1_700_000_001_500),
            reduced: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_records_own_headers_stay_apart() {
        let mut packed = HeadersBuf::new();
        packed.push("a", Some(&[0, 255]));
        packed.push("a", None);
        let own = packed.clone();
        full().write(&mut packed);
        let (read_own, read) = Provenance::split(packed.as_headers()).unwrap();
        assert_eq!((read_own, read), (own.as_headers(), full()));
        assert_eq!(packed.as_headers().get(LAST_FAILED_AT), Some(&b"2023-11-14T22:13:21.500Z"[..]));
    }

    #[test]
    fn a_letter_of_a_letter_has_two_blocks_and_the_last_one_counts() {
        let mut packed = HeadersBuf::new();
        full().write(&mut packed);
        let first = packed.clone();
        let second = Provenance { topic: "order.placed.dead-letter", offset: 7, ..Provenance::default() };
        second.write(&mut packed);
        assert_eq!(Provenance::split(packed.as_headers()), Some((first.as_headers(), second)));
    }

    #[test]
    fn other_records_are_no_dead_letters() {
        let mut packed = HeadersBuf::new();
        assert_eq!(Provenance::split(packed.as_headers()), None);
        packed.push(TOPIC, Some(b"t"));
        packed.push(PARTITION, Some(b"x"));
        assert_eq!(Provenance::split(packed.as_headers()), None);
    }

    #[test]
    fn long_texts_end_with_a_whole_character() {
        let long = format!("{}ß", "x".repeat(MAX_MESSAGE - 1));
        let mut packed = HeadersBuf::new();
        Provenance { error_message: Some(&long), ..full() }.write(&mut packed);
        let message = packed.as_headers().get(ERROR_MESSAGE).unwrap();
        assert_eq!(message, "x".repeat(MAX_MESSAGE - 1).as_bytes());
        assert_eq!(cut("ß", 0), "");
    }

    #[test]
    fn a_replay_replaces_the_headers_of_the_one_before() {
        let mut own = HeadersBuf::new();
        own.push("a", None);
        own.push(REPLAY_ID, Some(b"t/0/1"));
        own.push("b", Some(b"2"));
        own.push(REPLAY_COUNT, Some(b"1"));
        assert_eq!(replays(own.as_headers()), 1);
        let mut out = HeadersBuf::new();
        write_replay(own.as_headers(), "t/0/9", 2, &mut out);
        let all: Vec<_> = out.as_headers().iter().collect();
        let expected: [(&str, Option<&[u8]>); 4] =
            [("a", None), ("b", Some(b"2")), (REPLAY_ID, Some(b"t/0/9")), (REPLAY_COUNT, Some(b"2"))];
        assert_eq!(all, expected);
    }

    #[test]
    fn every_header_is_written_in_the_order_of_the_table() {
        let mut packed = HeadersBuf::new();
        Provenance { reduced: Some("EVBUS_TOO_LARGE"), ..full() }.write(&mut packed);
        let mut replayed = HeadersBuf::new();
        write_replay(Headers::default(), "t/0/1", 1, &mut replayed);
        let names = |headers: &HeadersBuf| -> Vec<String> {
            headers.as_headers().iter().map(|(name, _)| name.to_owned()).collect()
        };
        let written = [names(&packed), names(&replayed)].concat();
        assert_eq!(written, DEAD_LETTER_HEADERS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
