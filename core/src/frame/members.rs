//! A payload as bare texts, of which JSON is made.

use crate::codec;
use crate::error::Result;

/// The members of an object, as they lie in a publish frame.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    texts: &'a str,
    /// Two i32 for each member.
    lengths: &'a [u8],
}

struct Member<'a> {
    name: &'a str,
    value: &'a str,
    is_json: bool,
}

impl<'a> Members<'a> {
    /// Checks that every length is within the texts and at a character's end.
    pub(super) fn read(section: &'a [u8]) -> Option<Self> {
        let (rest, count) = section.split_last_chunk()?;
        let table = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?;
        let (texts, lengths) = rest.split_at(rest.len().checked_sub(table)?);
        let mut used = 0usize;
        for length in lengths.chunks_exact(4) {
            used = used.checked_add(length_of(length).0)?;
        }
        let padding = texts.len().checked_sub(used)?;
        let members = Members { texts: std::str::from_utf8(texts.get(..used)?).ok()?, lengths };
        (padding < 4 && members.are_whole()).then_some(members)
    }

    fn are_whole(&self) -> bool {
        let mut end = 0;
        self.lengths.chunks_exact(4).all(|length| {
            end += length_of(length).0;
            self.texts.is_char_boundary(end)
        }) && self.lengths.chunks_exact(8).all(|pair| !length_of(&pair[..4]).1)
    }

    fn iter(self) -> impl Iterator<Item = Member<'a>> {
        let mut rest = self.texts;
        self.lengths.chunks_exact(8).map(move |pair| {
            let (name_len, (value_len, is_json)) = (length_of(&pair[..4]).0, length_of(&pair[4..]));
            let (name, behind) = rest.split_at(name_len);
            let (value, behind) = behind.split_at(value_len);
            rest = behind;
            Member { name, value, is_json }
        })
    }

    /// Appends the JSON of the object.
    pub(super) fn write(self, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'{');
        for (index, Member { name, value, is_json }) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            codec::write_text(out, name)?;
            out.push(b':');
            if is_json {
                out.extend_from_slice(value.as_bytes());
            } else {
                codec::write_text(out, value)?;
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// How many bytes, and whether they are JSON already.
fn length_of(bytes: &[u8]) -> (usize, bool) {
    let length = bytes.first_chunk().map_or(0, |four| i32::from_le_bytes(*four));
    let is_json = length < 0;
    // All bits of a negative number inverted are those of −1 − n.
    ((if is_json { !length } else { length }) as usize, is_json)
}
