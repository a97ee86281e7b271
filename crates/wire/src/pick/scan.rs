//! Finds where a key or a value ends, over any number of pieces.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

const LOW_BITS: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
/// Most strings are shorter.
const SHORT: usize = 32;

/// A place inside one JSON value.
#[derive(Default)]
pub(super) struct Scan {
    /// Brackets open; in a string at depth 0 the value itself is a string.
    depth: u64,
    in_string: bool,
    /// The last byte was a backslash that escapes the next one, in a piece yet to come.
    escaped: bool,
    is_string: bool,
    /// Raw bytes of the value so far.
    bytes: u64,
}

impl Scan {
    /// Stands behind the first byte of a value.
    pub(super) fn begin(byte: u8) -> Self {
        let is_string = byte == b'"';
        let depth = u64::from(matches!(byte, b'{' | b'['));
        Self { depth, in_string: is_string, escaped: false, is_string, bytes: 1 }
    }

    /// Raw bytes between the quotes of a string that has ended; 0 for other values.
    pub(super) fn string_bytes(&self) -> u64 {
        if self.is_string { self.bytes.saturating_sub(2) } else { 0 }
    }

    /// Says how many bytes of `rest` still belong to the value; nothing if all do and more come.
    pub(super) fn find_end(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let ahead = rest.get(at..).filter(|ahead| !ahead.is_empty());
            let Some(ahead) = ahead else { break };
            let Some(used) = self.find_turn(ahead) else { break };
            at += used;
            if self.depth == 0 && !self.in_string {
                self.count(at);
                return Some(at);
            }
        }
        self.count(rest.len());
        None
    }

    fn count(&mut self, used: usize) {
        self.bytes = self.bytes.saturating_add(used as u64);
    }

    /// Goes to where a string begins or ends, or the value ends.
    fn find_turn(&mut self, ahead: &[u8]) -> Option<usize> {
        if self.in_string {
            let end = find_string_end(ahead, &mut self.escaped)?;
            self.in_string = false;
            return Some(end);
        }
        if self.depth == 0 {
            return ahead.iter().position(|byte| ends_scalar(*byte));
        }
        for (at, byte) in ahead.iter().enumerate() {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => continue,
            }
            if self.in_string || self.depth == 0 {
                return Some(at + 1);
            }
        }
        None
    }
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
}

/// The bytes of the string with which `rest` begins, if it ends there and escapes nothing; and how
/// many bytes it has with its quotes.
pub(crate) fn plain_string(rest: &[u8]) -> Option<(&[u8], usize)> {
    let inside = rest.get(1..)?;
    let end = find_turn(inside).filter(|end| inside.get(*end) == Some(&b'"'))?;
    Some((inside.get(..end)?, end + 2))
}

/// Finds the first quote or backslash. Keys and most values are so short that calling for `memchr`
/// would cost more than looking: eight bytes at a time, whichever has the lowest bit wins.
fn find_turn(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk).filter(|_| at < SHORT) {
        let eight = u64::from_le_bytes(*eight);
        let found = zero_bytes(eight ^ QUOTES) | zero_bytes(eight ^ BACKSLASHES);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    Some(at + memchr2(b'"', b'\\', text.get(at..)?)?)
}

/// The high bit of each byte that is zero; of those above the lowest it may be set wrongly.
fn zero_bytes(eight: u64) -> u64 {
    eight.wrapping_sub(LOW_BITS) & !eight & (LOW_BITS << 7)
}

/// How long the value is with which `rest` begins, and how many bytes it has between its quotes:
/// if it ends there, has no parts, and escapes nothing.
pub(crate) fn whole_plain(rest: &[u8]) -> Option<(usize, u64)> {
    match rest.first()? {
        b'"' => plain_string(rest).map(|(inside, used)| (used, inside.len() as u64)),
        b'-' | b'0'..=b'9' | b'a'..=b'z' => {
            let end = rest.iter().position(|byte| ends_scalar(*byte))?;
            Some((end, 0))
        }
        _ => None,
    }
}

/// Finds the end of the string that `rest` continues, behind its closing quote.
pub(super) fn find_string_end(rest: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut at = usize::from(std::mem::take(escaped));
    loop {
        let found = at + memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest.get(found) == Some(&b'"') {
            return Some(found + 1);
        }
        at = found + 2;
        if at > rest.len() {
            *escaped = true;
            return None;
        }
    }
}

/// The raw bytes of a key or value, as long as they stay within a limit.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    limit: usize,
}

impl Kept {
    /// Forgets what was kept and begins anew.
    pub(super) fn begin(&mut self, byte: u8, limit: usize) {
        self.bytes.clear();
        self.limit = limit;
        self.add(&[byte]);
    }

    /// Keeps these bytes too; if that is too much, keeps nothing from then on.
    pub(super) fn add(&mut self, more: &[u8]) {
        if self.bytes.len() + more.len() > self.limit {
            self.bytes.clear();
            self.limit = 0;
        } else {
            self.bytes.extend_from_slice(more);
        }
    }

    /// The whole raw value; empty if it was too long.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that is kept; nothing if it was too long.
    pub(super) fn key(&self) -> Option<Cow<'_, [u8]>> {
        let plain = self.bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr(b'\\', plain).is_none() {
            return Some(Cow::Borrowed(plain));
        }
        super::string(&self.bytes).map(|key| Cow::Owned(key.into_bytes()))
    }
}
