//! Escaping as JSON does in strings (RFC 8259 §7), any number of times.

use memchr::memchr;
use zeroize::Zeroizing;

/// Whether bytes look different at different depths: all but these are escaped by nobody.
pub fn is_awkward(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

/// Writes a value as it stands at this depth, in the shortest form that JSON has.
pub fn escape(value: &[u8], depth: usize, out: &mut Vec<u8>) {
    if depth == 0 || !is_awkward(value) {
        out.extend_from_slice(value);
        return;
    }
    let mut level = Zeroizing::new(value.to_vec());
    for _ in 1..depth {
        let mut next = Zeroizing::new(Vec::with_capacity(2 * level.len()));
        once(&level, &mut next);
        level = next;
    }
    once(&level, out);
}

/// Reads what stands at this depth. What is not escaped as JSON does stays as it is.
pub fn unescape(raw: &[u8], depth: usize) -> Zeroizing<Vec<u8>> {
    let mut level = Zeroizing::new(raw.to_vec());
    for _ in 0..depth {
        if memchr(b'\\', &level).is_none() {
            break;
        }
        level = unescape_once(&level);
    }
    level
}

/// The character that is meant by this one behind a backslash.
pub(super) fn meant(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(8),
        b't' => Some(b'\t'),
        b'n' => Some(b'\n'),
        b'f' => Some(12),
        b'r' => Some(b'\r'),
        _ => None,
    }
}

fn once(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            8 => out.extend(b"\\b"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            12 => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            0..0x20 => out.extend(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
}

fn unescape_once(raw: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (ordinary, escaped) = rest.split_at(at);
        out.extend_from_slice(ordinary);
        let used = character(escaped, &mut out);
        rest = escaped.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Decodes the escape that bytes begin with, and says how long it is.
fn character(escaped: &[u8], out: &mut Vec<u8>) -> usize {
    if let Some(byte) = escaped.get(1).copied().and_then(meant) {
        out.push(byte);
        return 2;
    }
    if let Some((character, used)) = numbered(escaped) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return used;
    }
    out.push(b'\\');
    1
}

/// Reads `\uXXXX`, or two of them that are a surrogate pair.
fn numbered(escaped: &[u8]) -> Option<(char, usize)> {
    let first = unit(escaped)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = unit(escaped.get(6..)?)?;
    let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, 12))
}

fn unit(escaped: &[u8]) -> Option<u32> {
    let digits = escaped.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ways_of_escaping_are_read_as_well() {
        let read = |raw: &str| String::from_utf8(unescape(raw.as_bytes(), 1).to_vec()).unwrap();
        assert_eq!(read(r"a\/b\u0041\u00e9\ud83d\ude00\u001B"), "a/bAé😀\u{1b}");
        assert_eq!(
            read(r"lone \ud83d, wrong \x \u12, cut \"),
            r"lone \ud83d, wrong \x \u12, cut \"
        );
    }
}
