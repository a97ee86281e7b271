//! The events that a stream has most of, read without the picker.

use super::notes::Kind;
use super::places::RESPONSES_EVENT;
use crate::pick::{plain_string, string_end, whole_plain};

/// The raw delta of an event that carries a piece of text, if it has the form in which the API sends
/// it: no blanks, the type first, and only plain members that nobody looks for before the delta.
/// Then the picker would find the same.
pub(super) fn text_delta(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(br#"{"type":"#)?;
    let (_, used) = plain_string(rest).filter(|_| rest.starts_with(b"\""))?;
    let (kind, mut rest) = rest.split_at_checked(used)?;
    if !matches!(Kind::of(kind), Kind::TextDelta) {
        return None;
    }
    loop {
        rest = rest.strip_prefix(b",").filter(|rest| rest.starts_with(b"\""))?;
        let (key, used) = plain_string(rest)?;
        rest = rest.get(used..)?.strip_prefix(b":")?;
        if key == b"delta" {
            return rest.get(..string_end(rest).filter(|_| rest.starts_with(b"\""))?);
        }
        if RESPONSES_EVENT.iter().any(|member| member.key.as_bytes() == key) {
            return None;
        }
        let (used, _) = whole_plain(rest)?;
        rest = rest.get(used..)?;
    }
}
