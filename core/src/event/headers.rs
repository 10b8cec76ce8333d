//! A record's headers.

use std::fmt;

/// A record's headers: names with values, in order, duplicates and null values kept.
///
/// Kept packed, `u16 nameLen | name | i32 valueLen (−1 = null) | value` little-endian per header, so that a
/// record crosses threads and languages as one run of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Headers over bytes that [`HeadersBuf`] or this crate packed.
    pub(crate) fn from_packed(bytes: &'a [u8]) -> Self {
        Headers(bytes)
    }

    /// The packed bytes.
    pub fn as_packed(&self) -> &'a [u8] {
        self.0
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the last header of that name; Kafka's clients read the last one too.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().filter(|(key, _)| *key == name).last().and_then(|(_, value)| value)
    }

    /// All headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.entries().map(|(name, value, _)| (name, value))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.raw_entries().count()
    }

    /// The header of that number, from 0.
    pub fn nth(&self, index: usize) -> Option<(&'a str, Option<&'a [u8]>)> {
        self.raw_entries().nth(index).map(|(name, value, _)| (text(name), value))
    }

    /// Name, value and packed bytes of each header.
    fn entries(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>, &'a [u8])> + use<'a> {
        self.raw_entries().map(|(name, value, packed)| (text(name), value, packed))
    }

    /// As [`Headers::entries`], without a look into the names.
    fn raw_entries(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let whole = rest;
            let (name, after) = split_len(rest.get(2..)?, u16::from_le_bytes(rest[..2].try_into().ok()?) as usize)?;
            let len = i32::from_le_bytes(after.get(..4)?.try_into().ok()?);
            let (value, after) = match usize::try_from(len) {
                Ok(len) => split_len(&after[4..], len).map(|(value, after)| (Some(value), after))?,
                Err(_) => (None, &after[4..]),
            };
            rest = after;
            let packed = &whole[..whole.len() - after.len()];
            Some((name, value, packed))
        })
    }

    /// The headers in front of the last one of that name, and those from it on.
    pub(crate) fn split_at_last(&self, name: &str) -> Option<(Headers<'a>, Headers<'a>)> {
        let mut at = 0;
        let mut found = None;
        for (key, _, packed) in self.entries() {
            if key == name {
                found = Some(at);
            }
            at += packed.len();
        }
        found.map(|at| (Headers(&self.0[..at]), Headers(&self.0[at..])))
    }
}

fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or("\u{fffd}")
}

fn split_len(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    (bytes.len() >= len).then(|| bytes.split_at(len))
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.map(String::from_utf8_lossy)))).finish()
    }
}

/// Packs headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadersBuf(Vec<u8>);

impl HeadersBuf {
    /// No headers yet.
    pub fn new() -> Self {
        HeadersBuf::default()
    }

    /// Adds a header; a name longer than 65 535 bytes is cut off there, far above what brokers accept.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        self.0.reserve(2 + name.len() + 4 + value.map_or(0, <[u8]>::len));
        self.0.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.0.extend_from_slice(name);
        match value {
            Some(value) => {
                self.0.extend_from_slice(&(value.len() as i32).to_le_bytes());
                self.0.extend_from_slice(value);
            }
            None => self.0.extend_from_slice(&(-1i32).to_le_bytes()),
        }
    }

    /// Adds those of other headers whose name is wanted, byte for byte.
    pub(crate) fn extend(&mut self, headers: Headers<'_>, wanted: impl Fn(&str) -> bool) {
        for (_, _, packed) in headers.entries().filter(|(name, ..)| wanted(name)) {
            self.0.extend_from_slice(packed);
        }
    }

    /// The headers packed so far.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }

    /// Forgets the headers and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_order_duplicates_null_and_binary_values() {
        let mut packed = HeadersBuf::new();
        packed.push("a", Some(b"1"));
        packed.push("b", None);
        packed.push("a", Some(&[0, 255]));
        packed.push("", Some(b""));
        let all: Vec<_> = packed.as_headers().iter().collect();
        assert_eq!(all, [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&[0, 255][..])), ("", Some(&b""[..]))]);
        assert_eq!(packed.as_headers().get("a"), Some(&[0u8, 255][..]));
        assert_eq!(packed.as_headers().get("b"), None);
        assert_eq!(packed.as_headers().count(), 4);
        assert_eq!((packed.as_headers().nth(2), packed.as_headers().nth(4)), (Some(all[2]), None));
    }

    #[test]
    fn headers_cut_short_end_instead_of_panicking() {
        let mut packed = HeadersBuf::new();
        packed.push("name", Some(b"value"));
        let bytes = packed.as_headers().as_packed();
        for end in 0..bytes.len() {
            assert_eq!(Headers::from_packed(&bytes[..end]).iter().count(), 0, "cut at {end}");
        }
    }
}
