//! Values without a prefix: a rule knows them by a word in the name to their left.

use std::ops::Range;
use std::sync::LazyLock;

use super::strength;
use super::{Scan, before, is_token};

/// How far to the left a name is looked for.
const LEFT: usize = 96;

/// Endings of names that are given something just as random: hashes.
const HASHES: [&[u8]; 14] = [
    b"sha",
    b"sha1",
    b"sha256",
    b"sha512",
    b"md5",
    b"hash",
    b"commit",
    b"digest",
    b"checksum",
    b"etag",
    b"integrity",
    b"fingerprint",
    b"revision",
    b"version",
];

impl Scan<'_> {
    /// Looks at a run that has no known prefix: whether a name to its left has a word of a rule.
    pub(super) fn unprefixed(&mut self, run: &Range<usize>) {
        let Some(text) = self.bytes.get(run.clone()) else { return };
        let last = before(self.bytes, run.start);
        if !matches!(last, b'"' | b'\'' | b'`' | b' ' | b'=' | b':' | b'>' | b'\t' | b'(' | b',') {
            return;
        }
        let digit = has_digit(text);
        if text.len() > 600 || !digit && (text.len() < 32 || strength::surprise(text) < 30) {
            return;
        }
        if let Some(name_end) = self.name_before(run.start) {
            self.match_words(name_end, run.start);
        }
    }

    /// The same for a value that a name was found for, where its run is too short to be told of.
    pub(super) fn contextual(&mut self, name_end: usize, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let run = rest.iter().take(super::runs::SHORTEST).take_while(|b| is_token(**b)).count();
        if run < super::runs::SHORTEST {
            self.match_words(name_end, start);
        }
    }

    /// Where the name ends that is given the value that begins here.
    fn name_before(&self, start: usize) -> Option<usize> {
        let left = self.bytes.get(..start)?;
        let quote = left.iter().rev().take(2).take_while(|b| b"\"'`".contains(b)).count();
        let mut at = start - quote;
        let mut signs = 0;
        for _ in 0..24 {
            match before(self.bytes, at) {
                b'=' | b':' | b'>' | b',' | b'(' | b'|' | b'?' => signs += 1,
                b' ' | b'\t' | b'\\' | b'"' | b'\'' => {}
                b't' if at >= 2 && before(self.bytes, at - 1) == b'\\' => {}
                _ => break,
            }
            at -= 1;
        }
        let name = self.bytes.get(..at)?;
        let name = name.iter().rev().take(LEFT).take_while(|byte| is_token(**byte)).count();
        let flag = at < start && super::byte(self.bytes, at - name) == b'-';
        let said = self.bytes.get(at - name..at).is_some_and(|word| {
            matches!(word, b"is" | b"Bearer" | b"bearer" | b"Basic" | b"token" | b"Token")
        });
        // A command's argument, or the value of a header after the word for its scheme.
        let argument = self.bytes.get(at - name..at).is_some_and(|word| {
            word.iter().any(|byte| b"_-".contains(byte))
                || self.bytes.get(..at - name).is_some_and(|left| left.ends_with(b": "))
        });
        (signs > 0 || at < start && (flag || said || argument)).then_some(at)
    }

    fn match_words(&mut self, name_end: usize, start: usize) {
        let mut folded = [0; LEFT];
        let Some(name) = self.fold_left(name_end, &mut folded) else { return };
        let rules = self.rules;
        rules.words.each(name, |id| {
            if let Some(length) = self.shaped(id, start)
                && !HASHES.iter().any(|ending| name.ends_with(ending))
            {
                self.push(id, start..start + length);
            }
        });
    }

    /// How long the value is that begins here, if it is one of this rule.
    fn shaped(&self, id: crate::rule::RuleId, start: usize) -> Option<usize> {
        let rule = self.rules.rule(id)?;
        let rest = self.bytes.get(start..)?;
        let shape = rule.shape.as_ref()?;
        let length = shape.length(rest)?;
        let (value, after) = rest.split_at_checked(length)?;
        let closed = rule.open || !after.first().is_some_and(|byte| is_token(*byte));
        let random = rule.entropy <= 0.0 || strength::entropy(value) >= rule.entropy;
        let sum = rule.checksum.is_none_or(|checksum| checksum.agrees(b"", value));
        let mixed = !shape.has_digits()
            || value.iter().any(u8::is_ascii_digit)
            || strength::surprise(value) > 18;
        (length > 0 && closed && random && sum && mixed && !strength::is_placeholder(value))
            .then_some(length)
    }

    /// The letters and digits of the logical line up to here, in lower case; what a comma or
    /// semicolon parts off belongs to another value.
    fn fold_left<'a>(&self, end: usize, folded: &'a mut [u8; LEFT]) -> Option<&'a [u8]> {
        let left = self.bytes.get(end.saturating_sub(LEFT)..end)?;
        let (letters, mut at) = (&*FOLDED, LEFT);
        for (index, byte) in left.iter().enumerate().rev() {
            let letter = letters.get(usize::from(*byte)).copied().unwrap_or_default();
            // An escape stands for a line's end, in text that was escaped.
            let is_escape = || index > 0 && left.get(index - 1) == Some(&b'\\');
            if letter == END || matches!(byte, b'n' | b'r') && is_escape() {
                break;
            }
            // Written first and kept if it is one: nobody can foretell which bytes are.
            *folded.get_mut(at - 1)? = letter;
            at -= usize::from(letter != 0);
        }
        folded.get(at..)
    }
}

/// Stands in [`FOLDED`] for what ends a name's line.
const END: u8 = 1;

/// Of each byte its letter in lower case, or its digit; 0 for what is neither, [`END`] for what ends
/// a name's line.
static FOLDED: LazyLock<[u8; 256]> = LazyLock::new(|| {
    let mut bytes = 0..=u8::MAX;
    std::array::from_fn(|_| match bytes.next() {
        Some(b'\n' | b'\r' | b',' | b';') => END,
        Some(byte) if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
        _ => 0,
    })
});

/// Whether a digit stands in a text: eight bytes at once, since nearly every run of letters is
/// asked.
fn has_digit(text: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks();
    let digits = |eight: &[u8; 8]| {
        // A digit is 0 to 9 then; adding 118 leaves its highest bit clear, and no other byte's.
        let from_zero = u64::from_ne_bytes(*eight) ^ 0x3030_3030_3030_3030;
        let sums = (from_zero & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676;
        (sums | from_zero) & 0x8080_8080_8080_8080 != 0x8080_8080_8080_8080
    };
    eights.iter().any(digits) || rest.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::has_digit;

    #[test]
    fn a_digit_is_found_wherever_it_stands_and_nothing_else_is_one() {
        for byte in 0..=255_u8 {
            for at in 0..19 {
                let mut text = [b'x'; 19];
                text[at] = byte;
                assert_eq!(has_digit(&text), byte.is_ascii_digit(), "{byte} at {at}");
            }
        }
    }
}
