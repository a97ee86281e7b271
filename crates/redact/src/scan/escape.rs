//! Escapes: what stands for another character, in JSON, in JSON within JSON, in source code and
//! on terminals.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{before, byte, is_token};

/// Where a token begins in a run that begins here: after an escape's letter (`\n`), after the
/// digits of `\u001b`, of `%3D` or of a terminal's colour.
pub(crate) fn token_start(bytes: &[u8], run: usize) -> usize {
    match before(bytes, run) {
        b'\\' => run + escape_length(bytes, run),
        b'%' if is_hex(bytes, run..run + 2) => run + 2,
        b'[' | b';' => colour_end(bytes, run).unwrap_or(run),
        _ => run,
    }
}

/// Whether a token may begin here: after no token byte, or after an escape.
pub(crate) fn begins(bytes: &[u8], at: usize) -> bool {
    let left = bytes.get(..at).unwrap_or_default();
    let run = at - left.iter().rev().take(8).take_while(|byte| is_token(**byte)).count();
    run == at || token_start(bytes, run) == at
}

/// How many characters after a backslash are part of the escape.
pub(crate) fn escape_length(bytes: &[u8], at: usize) -> usize {
    match byte(bytes, at) {
        b'n' | b't' | b'r' | b'b' | b'f' => 1,
        b'u' if is_hex(bytes, at + 1..at + 5) => 5,
        b'x' if is_hex(bytes, at + 1..at + 3) => 3,
        b'0' if bytes.get(at..at + 3) == Some(b"033") => 3,
        _ => 0,
    }
}

/// Where the letter that ends a colour (`ESC[1;31m`) stands, and one further.
fn colour_end(bytes: &[u8], run: usize) -> Option<usize> {
    let digits = bytes.get(run..)?.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    (byte(bytes, run + digits) == b'm').then_some(run + digits + 1)
}

fn is_hex(bytes: &[u8], range: Range<usize>) -> bool {
    bytes.get(range).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// A copy in which characters that were escaped without need stand for themselves.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    /// Where something was left out: a place in the copy, and the place in the original from
    /// which on it goes on the same.
    jumps: Vec<(usize, usize)>,
}

static UNICODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));
static SLASH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\/"));

/// Whether an escape begins here that stands for a character without need.
pub(super) fn is_needless(bytes: &[u8], at: usize) -> bool {
    byte(bytes, at + 1) == b'/' || printable(bytes, at).is_some()
}

/// The text without needless escapes (`\u002d`, `\/`), if it has any.
pub(crate) fn decoded(bytes: &[u8]) -> Option<Decoded> {
    let mut unicode = UNICODE.find_iter(bytes).filter(|at| printable(bytes, *at).is_some());
    let mut slashes = SLASH.find_iter(bytes);
    let mut next = [unicode.next(), slashes.next()];
    if next == [None, None] {
        return None;
    }
    let mut copy = Decoded { bytes: Vec::with_capacity(bytes.len()), jumps: Vec::new() };
    let mut copied = 0;
    loop {
        let [one, other] = next;
        let is_slash = other.is_some_and(|other| one.is_none_or(|one| other < one));
        let Some(at) = (if is_slash { other } else { one }) else { break };
        let (character, length) =
            if is_slash { (b'/', 2) } else { (printable(bytes, at).unwrap_or(b' '), 6) };
        copy.replace(bytes, copied..at, character);
        copied = at + length;
        copy.jumps.push((copy.bytes.len(), copied));
        next = if is_slash { [one, slashes.next()] } else { [unicode.next(), other] };
    }
    copy.bytes.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Some(copy)
}

/// The character that `\u00XX` stands for, if it can be printed.
fn printable(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at + 4..at + 6)?;
    let number = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (0x20..0x7f).contains(&number).then_some(number)
}

impl Decoded {
    /// Appends what stood before an escape, and its character. At a greater depth more than one
    /// backslash stands before it; all go, but before a quote or a backslash, which stay escaped.
    fn replace(&mut self, bytes: &[u8], plain: Range<usize>, character: u8) {
        let plain = bytes.get(plain).unwrap_or_default();
        let kept = plain.iter().rposition(|byte| *byte != b'\\').map_or(0, |at| at + 1);
        let escaped = matches!(character, b'"' | b'\\');
        let kept = if escaped { plain.len() } else { kept };
        self.bytes.extend_from_slice(plain.get(..kept).unwrap_or_default());
        self.bytes.extend(escaped.then_some(b'\\'));
        self.bytes.push(character);
    }

    /// Where a span of the copy stands in the original.
    pub(crate) fn span(&self, span: &Range<usize>) -> Range<usize> {
        // A span that ends where something was left out ends before it.
        let start = self.place(span.start);
        let end = span.end.checked_sub(1).map_or(0, |last| self.end(last));
        start..end.max(start)
    }

    /// Where a byte of the copy stands in the original.
    fn place(&self, at: usize) -> usize {
        let index = self.jumps.partition_point(|(copy, _)| *copy <= at);
        let jump = index.checked_sub(1).and_then(|index| self.jumps.get(index));
        let (copy, original) = jump.copied().unwrap_or((0, 0));
        original + (at - copy)
    }

    /// Where a byte of the copy ends in the original.
    fn end(&self, at: usize) -> usize {
        let index = self.jumps.partition_point(|(copy, _)| *copy <= at + 1);
        let jump = index.checked_sub(1).and_then(|index| self.jumps.get(index));
        let (copy, original) = jump.copied().unwrap_or((0, 0));
        original + (at + 1 - copy)
    }
}
