//! An installation's own patterns, which are written for texts as people see them: so they look at
//! the texts that stand in JSON, and in JSON in JSON, each for itself and without escapes.

use std::ops::Range;

use memchr::memchr2;

use crate::rule::{RuleId, Rules};

/// Deeper texts are looked at as they are.
const DEEPEST: usize = 6;

/// A text without escapes.
struct Text {
    bytes: Vec<u8>,
    /// Where each of its bytes stands in what it was read from, and where that ends.
    places: Vec<usize>,
}

/// What the patterns find, as places of these bytes.
pub(super) fn find(rules: &Rules, bytes: &[u8]) -> Vec<(RuleId, Range<usize>)> {
    let mut found = Vec::new();
    if !rules.custom.is_empty() {
        let places = (0..=bytes.len()).collect();
        look(rules, &Text { bytes: bytes.to_vec(), places }, DEEPEST, &mut found);
    }
    found
}

fn look(rules: &Rules, text: &Text, deepest: usize, found: &mut Vec<(RuleId, Range<usize>)>) {
    if deepest == 0 || !is_json(&text.bytes) {
        return matches(rules, text, found);
    }
    let mut at = 0;
    while let Some(string) = next_string(&text.bytes, at) {
        look(rules, &unescaped(text, &string), deepest - 1, found);
        at = string.end + 1;
    }
}

fn matches(rules: &Rules, text: &Text, found: &mut Vec<(RuleId, Range<usize>)>) {
    for custom in &rules.custom {
        for groups in custom.pattern.captures_iter(&text.bytes) {
            let Some(secret) = groups.get(1).or_else(|| groups.get(0)) else { continue };
            let place = |at: usize| text.places.get(at).copied();
            if let (Some(start), Some(end)) = (place(secret.start()), place(secret.end())) {
                found.push((custom.rule, start..end));
            }
        }
    }
}

/// Whether this is JSON, or a piece of it as it stands between two items.
fn is_json(bytes: &[u8]) -> bool {
    let first = bytes.trim_ascii_start().first();
    let closes = || bytes.trim_ascii_end().last().is_some_and(|last| b"}]\",:[{".contains(last));
    first.is_some_and(|first| b"{[\",:]}".contains(first)) && closes()
}

/// The next string from here on: what stands between its quotes.
fn next_string(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let begin = from + memchr::memchr(b'"', bytes.get(from..)?)? + 1;
    let mut at = begin;
    loop {
        let Some(turn) = memchr2(b'"', b'\\', bytes.get(at..)?) else {
            return Some(begin..bytes.len());
        };
        if bytes.get(at + turn) == Some(&b'"') {
            return Some(begin..at + turn);
        }
        at += turn + 2;
    }
}

/// A string of a text, without its escapes (RFC 8259 §7).
fn unescaped(text: &Text, string: &Range<usize>) -> Text {
    let mut read = Text { bytes: Vec::new(), places: Vec::new() };
    let mut at = string.start;
    while at < string.end {
        let (character, length) = next(&text.bytes, at);
        for byte in character {
            read.bytes.push(byte);
            read.places.push(text.places.get(at).copied().unwrap_or_default());
        }
        at += length;
    }
    read.places.push(text.places.get(string.end).copied().unwrap_or_default());
    read
}

/// A character, or a byte of one, and how many bytes it is written with.
fn next(bytes: &[u8], at: usize) -> (Vec<u8>, usize) {
    let byte = bytes.get(at).copied().unwrap_or_default();
    if byte != b'\\' {
        return (vec![byte], 1);
    }
    let plain = match bytes.get(at + 1) {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'u') => {
            let digits = bytes.get(at + 2..at + 6).and_then(|four| std::str::from_utf8(four).ok());
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return (character.to_string().into_bytes(), if digits.is_some() { 6 } else { 2 });
        }
        Some(other) => *other,
        None => b'\\',
    };
    (vec![plain], 2)
}

#[cfg(test)]
mod tests {
    use crate::rule::{Allowed, CustomRule, Rules, Tier};

    /// What a pattern finds, as it is written.
    fn check(pattern: &str, text: &str, expected: &[&str]) {
        let custom = CustomRule {
            id: "acme".to_owned(),
            pattern: pattern.to_owned(),
            tier: Tier::Certain,
            example: "PASS=x ACME-12345678".to_owned(),
        };
        let rules = Rules::new(&[custom], &Allowed::default()).unwrap();
        let found: Vec<_> = rules.scan(text.as_bytes()).into_iter().map(|one| one.span).collect();
        let found: Vec<&str> = found.into_iter().map(|span| text.get(span).unwrap()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_pattern_ends_where_the_text_does() {
        let greedy = "PASS=(.*)";
        check(greedy, "a PASS=one two\nb", &["one two"]);
        check(greedy, r#"{"a":"PASS=one \"two\"\nb","c":"d"}"#, &[r#"one \"two\""#]);
        check(greedy, r#"[{"a":"{\"b\":\"PASS=x\\ny\"}"}]"#, &["x"]);
        check(greedy, r#""PASS=whole""#, &["whole"]);
        check(greedy, r#","n":{"a":"PASS=between"},"#, &["between"]);
        check(r"PASS=(\S+)", r#"{"a":"PASS=p\u00e4\\ss\tz"}"#, &[r"p\u00e4\\ss"]);
        check(r"ACME-\d{8}", "badge ACME-00112233.", &["ACME-00112233"]);
    }

    #[test]
    fn no_character_is_cut() {
        check("PASS=((?-u:.))", "PASS=é!", &["é"]);
    }
}
