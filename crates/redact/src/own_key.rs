//! The shape of the keys that this proxy gives out: `cpk_` and 43 base62 characters, of which
//! the last six are a CRC-32 of those before them.
//!
//! The checksum proves nothing; it tells a mistyped key from an unknown one, and lets a scan
//! find our keys in a text without false alarms.

use std::borrow::Cow;
use std::ops::Range;

/// What each of our keys begins with.
pub const PREFIX: &str = "cpk_";
/// Random base62 characters in a key: 220 bits.
pub const RANDOM_CHARACTERS: usize = 37;
const CHECKSUM_CHARACTERS: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a presented credential looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Ours, and the checksum agrees.
    Ours,
    /// Begins like ours, but a character is wrong, missing or too many.
    Mistyped,
    /// Something else; an imported key may look like anything.
    Foreign,
}

/// Builds a key from random digits, each below 62 (larger ones are taken modulo 62).
pub fn build(digits: [u8; RANDOM_CHARACTERS]) -> String {
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    key.extend(digits.iter().map(|digit| character(u32::from(*digit))));
    let checksum = checksum(&key);
    key.push_str(&checksum);
    key
}

/// Tells whether a presented credential is one of ours, as far as its shape goes.
pub fn shape(presented: &str) -> Shape {
    if !presented.starts_with(PREFIX) {
        return Shape::Foreign;
    }
    if is_ours(presented.as_bytes()) { Shape::Ours } else { Shape::Mistyped }
}

/// Finds our keys in a text, in order, as byte ranges.
pub fn find(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(window) = text.get(at..at + LENGTH) {
        if window.starts_with(PREFIX.as_bytes()) && is_ours(window) {
            found.push(at..at + LENGTH);
            at += LENGTH;
        } else {
            at += 1;
        }
    }
    found
}

/// The text with each of our keys replaced by `cpk_***`.
pub fn mask(text: &str) -> Cow<'_, str> {
    let found = find(text.as_bytes());
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = text.to_owned();
    for range in found.into_iter().rev() {
        masked.replace_range(range, "cpk_***");
    }
    Cow::Owned(masked)
}

fn is_ours(key: &[u8]) -> bool {
    let Ok(key) = std::str::from_utf8(key) else { return false };
    if key.len() != LENGTH || !key.bytes().skip(PREFIX.len()).all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, sum) = key.split_at(LENGTH - CHECKSUM_CHARACTERS);
    checksum(body) == sum
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = ['0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = character(rest);
        rest /= 62;
    }
    digits.iter().collect()
}

fn character(digit: u32) -> char {
    let index = usize::try_from(digit % 62).unwrap_or(0);
    char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RANDOM_CHARACTERS, Shape, build, find, mask, shape};

    fn digits() -> impl Strategy<Value = [u8; RANDOM_CHARACTERS]> {
        proptest::array::uniform32(0u8..62).prop_map(|some| {
            let mut all = [0; RANDOM_CHARACTERS];
            all[..32].copy_from_slice(&some);
            all
        })
    }

    #[test]
    fn the_shape_is_told_from_the_outside() {
        let key = build([1; RANDOM_CHARACTERS]);
        assert_eq!(key.len(), 47);
        assert_eq!(shape(&key), Shape::Ours);
        assert_eq!(shape(key.split_at(46).0), Shape::Mistyped);
        assert_eq!(shape("codexproxy_a1b2"), Shape::Foreign);
    }

    proptest! {
        #[test]
        fn a_changed_character_is_noticed(digits in digits(), at in 4usize..47) {
            let mut key = build(digits).into_bytes();
            key[at] = if key[at] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(shape(std::str::from_utf8(&key).unwrap()), Shape::Mistyped);
        }

        #[test]
        fn keys_are_found_wherever_they_stand(digits in digits(), before in ".{0,40}", after in "[^a-zA-Z0-9]{0,40}") {
            let key = build(digits);
            let text = format!("{before}{key}{after}");
            prop_assert_eq!(find(text.as_bytes()), vec![before.len()..before.len() + 47]);
            prop_assert_eq!(mask(&text).into_owned(), format!("{before}cpk_***{after}"));
        }

        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            find(&bytes);
        }
    }
}
