//! Points in time as text: written as JavaScript's `toISOString` does, read in the variants that peers write.

use std::fmt;
use std::ops::Deref;

const DAY: i64 = 86_400_000;

/// The farthest point in time from the epoch that a JavaScript `Date` can hold, in milliseconds.
pub(crate) const LIMIT: i64 = 8_640_000_000_000_000;

/// A point in time as text, on the stack.
#[derive(Clone, Copy)]
pub(crate) struct IsoText {
    bytes: [u8; 27],
    len: u8,
}

impl Deref for IsoText {
    type Target = str;

    fn deref(&self) -> &str {
        // Only digits, signs and separators are ever written.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for IsoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl IsoText {
    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn digits(&mut self, value: i64, width: u32) {
        for place in (0..width).rev() {
            self.push(b'0' + (value / 10i64.pow(place) % 10) as u8);
        }
    }
}

/// The text that JavaScript's `new Date(milliseconds).toISOString()` gives; `None` outside of a `Date`'s range.
pub(crate) fn format(milliseconds: i64) -> Option<IsoText> {
    if !(-LIMIT..=LIMIT).contains(&milliseconds) {
        return None;
    }
    let (year, month, day) = civil_from_days(milliseconds.div_euclid(DAY));
    let time = milliseconds.rem_euclid(DAY);
    let mut text = IsoText { bytes: [0; 27], len: 0 };
    if (0..=9999).contains(&year) {
        text.digits(year, 4);
    } else {
        text.push(if year < 0 { b'-' } else { b'+' });
        text.digits(year.abs(), 6);
    }
    for (separator, value, width) in [
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', time / 3_600_000, 2),
        (b':', time / 60_000 % 60, 2),
        (b':', time / 1000 % 60, 2),
        (b'.', time % 1000, 3),
    ] {
        text.push(separator);
        text.digits(value, width);
    }
    text.push(b'Z');
    Some(text)
}

/// Milliseconds since the Unix epoch, read from ECMAScript's date-time format or RFC 3339.
///
/// Read are: years of four digits or a sign and six; the date alone (midnight UTC); the time with or without
/// seconds; up to nine digits of a fraction, of which those after the third are cut off; `T` and `Z` in either case
/// or a space instead of `T`; offsets with or without a colon; hour 24 for the end of a day. Refused is a time
/// without a zone, which means another instant on every machine, and a day that its month does not have.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = Scanner(text.as_bytes());
    let year = match rest.any_of(b"+-") {
        None => rest.digits(4)?,
        Some(b'+') => rest.digits(6)?,
        Some(_) => Some(-rest.digits(6)?).filter(|year| *year != 0)?,
    };
    rest.any_of(b"-")?;
    let month = rest.digits(2).filter(|month| (1..=12).contains(month))?;
    rest.any_of(b"-")?;
    let day = rest.digits(2).filter(|day| (1..=days_in_month(year, month)).contains(day))?;
    let midnight = days_from_civil(year, month, day) * DAY;
    let milliseconds = if rest.0.is_empty() { midnight } else { midnight + rest.time()? };
    (rest.0.is_empty() && (-LIMIT..=LIMIT).contains(&milliseconds)).then_some(milliseconds)
}

struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn any_of(&mut self, set: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| set.contains(first))?;
        self.0 = rest;
        Some(*first)
    }

    fn digit(&mut self) -> Option<i64> {
        self.any_of(b"0123456789").map(|digit| i64::from(digit - b'0'))
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        (0..count).try_fold(0, |value, _| Some(value * 10 + self.digit()?))
    }

    /// The time and the zone behind a date, in milliseconds to be added to its midnight.
    fn time(&mut self) -> Option<i64> {
        self.any_of(b"Tt ")?;
        let hour = self.digits(2).filter(|hour| *hour <= 24)?;
        self.any_of(b":")?;
        let minute = self.digits(2).filter(|minute| *minute <= 59)?;
        let mut time = hour * 3_600_000 + minute * 60_000;
        if self.any_of(b":").is_some() {
            time += self.digits(2).filter(|second| *second <= 59)? * 1000;
            if self.any_of(b".").is_some() {
                time += self.fraction()?;
            }
        }
        if time > DAY {
            return None;
        }
        match self.any_of(b"Zz+-")? {
            b'Z' | b'z' => Some(time),
            sign => {
                let hours = self.digits(2).filter(|hours| *hours <= 23)?;
                self.any_of(b":");
                let minutes = self.digits(2).filter(|minutes| *minutes <= 59)?;
                let offset = (hours * 60 + minutes) * 60_000;
                Some(if sign == b'+' { time - offset } else { time + offset })
            }
        }
    }

    fn fraction(&mut self) -> Option<i64> {
        let mut milliseconds = self.digit()? * 100;
        let mut unit = 10;
        for _ in 1..9 {
            let Some(digit) = self.digit() else { break };
            milliseconds += digit * unit;
            unit /= 10;
        }
        Some(milliseconds)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// The calendar repeats every 400 years (146 097 days). Counting a year from March puts the leap day at its end,
// where it needs no special case.

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vectors(name: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../tests/vectors/iso.json")).unwrap();
        all[name].as_array().unwrap().clone()
    }

    #[test]
    fn writes_what_javascript_writes() {
        let vectors = vectors("format");
        assert!(vectors.len() > 100);
        for vector in vectors {
            let milliseconds = vector[0].as_i64().unwrap();
            let text = vector[1].as_str().unwrap();
            assert_eq!(format(milliseconds).as_deref(), Some(text));
            assert_eq!(parse(text), Some(milliseconds), "{text}");
        }
        assert!(format(LIMIT + 1).is_none() && format(-LIMIT - 1).is_none());
        assert!(format(i64::MAX).is_none() && format(i64::MIN).is_none());
    }

    #[test]
    fn reads_what_javascript_reads() {
        let vectors = vectors("parse");
        assert!(vectors.len() > 30);
        for vector in vectors {
            assert_eq!(parse(vector[0].as_str().unwrap()), vector[1].as_i64(), "{vector}");
        }
    }

    #[test]
    fn reads_the_variants_of_peers() {
        for (text, expected) in [
            ("2024-06-01t12:00:00.000z", Some(1_717_243_200_000)),
            ("2024-06-01 12:00:00Z", Some(1_717_243_200_000)),
            ("2024-06-01T12:00:00.000+0000", Some(1_717_243_200_000)),
            ("2024-06-01T14:00:00.000+0200", Some(1_717_243_200_000)),
            ("2024-06-01T12:00:00.123456789-00:00", Some(1_717_243_200_123)),
            ("2024-06-01T12:00:00.1234567890Z", None),
            ("2024-06-01T12:00:00", None),
            ("2024-06-01T12:00:00.000+02", None),
            ("2023-02-29T00:00:00.000Z", None),
            ("2024-04-31", None),
            ("2024-06-01T12:00:00.000Z ", None),
            ("Sat Jun 01 2024 12:00:00 GMT+0000", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_survives_the_round_trip(milliseconds in -LIMIT..=LIMIT) {
            prop_assert_eq!(parse(&format(milliseconds).unwrap()), Some(milliseconds));
        }

        #[test]
        fn every_offset_is_taken_off(milliseconds in -100_000_000_000_000i64..100_000_000_000_000, minutes in -1439i64..=1439) {
            let local = format(milliseconds + minutes * 60_000).unwrap();
            let sign = if minutes < 0 { '-' } else { '+' };
            let text = format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), minutes.abs() / 60, minutes.abs() % 60);
            prop_assert_eq!(parse(&text), Some(milliseconds), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9TtZz:. é]{0,32}") {
            if let Some(milliseconds) = parse(&text) {
                prop_assert!(format(milliseconds).is_some());
            }
        }
    }
}
