//! The logical line on which something stands: in JSON an escape ends it.

use std::ops::Range;

use super::{Scan, before};

/// How far to the left a line is looked at.
const LINE: usize = 200;
/// How far the end of a value is looked for.
const VALUE: usize = 520;

impl Scan<'_> {
    /// A line of its own in a file of settings: `name=value`, `name: value`.
    pub(super) fn is_line(&self, name: &Range<usize>, start: usize) -> bool {
        let tight = start == name.end + 1 && self.at(name.end) == b'=';
        let listed = start > name.end + 1 && self.at(name.end) == b':';
        if !tight && !listed {
            return false;
        }
        let begins = self.begins_line(name.start);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let is_value =
            |byte: &&u8| !matches!(byte, 0..=b' ' | b'"' | b'\'' | b'`' | b'\\' | b'(' | b';');
        let end = start + rest.iter().take(VALUE).take_while(is_value).count();
        let code = matches!(before(self.bytes, end), b',' | b'{' | b'[');
        let after = self.bytes.get(end..).unwrap_or_default();
        let slashes = after.iter().take(16).take_while(|byte| **byte == b'\\').count();
        let ends = match after.get(slashes) {
            None | Some(b'"') => true,
            Some(b'n' | b'r') => slashes > 0,
            Some(other) => slashes == 0 && matches!(other, 0 | b'\n' | b'\r'),
        };
        begins && ends && !code
    }

    /// Whether only blanks and the marks of lists and diffs stand before this on its line.
    fn begins_line(&self, mut at: usize) -> bool {
        for _ in 0..40 {
            at -= match (before(self.bytes, at), before(self.bytes, at.saturating_sub(1))) {
                (b' ' | b'\t' | b'+' | b'-', _) => 1,
                (b't', b'\\') => 1 + self.slashes_before(at - 1),
                _ => break,
            };
        }
        match before(self.bytes, at) {
            0 | b'\n' => true,
            b'n' => before(self.bytes, at - 1) == b'\\',
            // A text of JSON begins here.
            b'"' => {
                let quote = at - 1 - self.slashes_before(at - 1);
                let blank = usize::from(before(self.bytes, quote) == b' ');
                before(self.bytes, quote - blank) == b':'
            }
            _ => false,
        }
    }

    fn slashes_before(&self, at: usize) -> usize {
        let left = self.bytes.get(..at).unwrap_or_default();
        left.iter().rev().take(16).take_while(|byte| **byte == b'\\').count()
    }

    /// `NAME=value` without spaces, the name in capitals: an environment, where no code stands.
    pub(super) fn is_environment(&self, name: &Range<usize>, start: usize) -> bool {
        let tight = start == name.end + 1 && self.at(name.end) == b'=';
        let name = self.bytes.get(name.clone()).unwrap_or_default();
        tight && !name.iter().any(u8::is_ascii_lowercase)
    }

    /// Whether one of these stands to the left on the same logical line.
    pub(super) fn line_has(&self, start: usize, words: &[&[u8]]) -> bool {
        let line = self.bytes.get(self.line_before(start)).unwrap_or_default();
        words.iter().any(|word| super::has(line, word))
    }

    /// What stands to the left on the same logical line.
    pub(super) fn line_before(&self, start: usize) -> Range<usize> {
        let from = start.saturating_sub(LINE);
        let left = self.bytes.get(from..start).unwrap_or_default();
        let real = memchr::memrchr(b'\n', left).map_or(0, |at| at + 1);
        let line = left.get(real..).unwrap_or_default();
        let escaped = line.windows(2).rposition(|pair| pair == b"\\n").map_or(0, |at| at + 2);
        from + real + escaped..start
    }
}
