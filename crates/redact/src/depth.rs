//! How deep in JSON in JSON a place stands: how often what is written there must be escaped.
//!
//! A text that begins with `{` or `[` is read as JSON for as long as it looks like it; what stands
//! in one of its strings, decoded, is again a text, one level deeper. Function-call arguments are
//! JSON in a string, and so are the outputs of some tools. Requests and answers are read with this
//! same machine, so that what is taken out of a place is written back into it as it was.

pub mod escape;

use memchr::memchr2;

/// The deepest level; a text at it is not read as JSON any more.
const DEEPEST: usize = 6;
/// Stands for a decoded character beyond ASCII: it is neither blank nor means anything to JSON.
const BEYOND_ASCII: u8 = 0x80;

/// A place in a text that is read piece by piece.
#[derive(Debug, Clone)]
pub struct Depth {
    levels: [Level; DEEPEST + 1],
    depth: usize,
}

impl Default for Depth {
    fn default() -> Self {
        Self::new()
    }
}

impl Depth {
    /// Stands at the start of a text.
    pub fn new() -> Self {
        Self { levels: [Level::FRESH; DEEPEST + 1], depth: 0 }
    }

    /// Stands at the start of what a JSON string holds.
    pub fn in_string() -> Self {
        let mut depth = Self::new();
        depth.feed(b"[\"");
        depth
    }

    /// How often what is written here must be escaped.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the place is among the brackets, names and numbers of a JSON document, where
    /// no text can be put without breaking it.
    pub fn in_structure(&self) -> bool {
        let outermost = self.levels.first().map(|level| level.place);
        self.depth == 0 && !matches!(outermost, Some(Place::Blank | Place::Plain) | None)
    }

    /// Reads the next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.is_settled() {
                // A text that is not JSON stays so; only its string's end, or an escape, matters.
                let ordinary = match self.depth {
                    0 => rest.len(),
                    _ => memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
                };
                rest = rest.get(ordinary..).unwrap_or_default();
            }
            let Some((byte, after)) = rest.split_first() else { return };
            self.push(*byte);
            rest = after;
        }
    }

    fn is_settled(&self) -> bool {
        let outer = self.levels.iter().take(self.depth);
        let plain = self.levels.get(self.depth).is_some_and(|level| level.place == Place::Plain);
        plain && outer.into_iter().all(|level| level.escape == Escape::None)
    }

    /// Hands a byte from level to level, each decoding it for the next.
    fn push(&mut self, byte: u8) {
        let mut byte = byte;
        for (index, level) in self.levels.iter_mut().enumerate() {
            match level.take(byte) {
                Step::Within => return,
                Step::Decoded(inner) => byte = inner,
                Step::Close => {
                    self.depth = index;
                    return;
                }
                Step::Open => {
                    self.depth = index + 1;
                    break;
                }
            }
        }
        let place = if self.depth < DEEPEST { Place::Blank } else { Place::Plain };
        if let Some(inner) = self.levels.get_mut(self.depth) {
            *inner = Level { place, ..Level::FRESH };
        }
    }
}

/// One level's text.
#[derive(Debug, Clone, Copy)]
struct Level {
    place: Place,
    brackets: u32,
    escape: Escape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a document, or between two that follow each other.
    Blank,
    /// In a text that is not JSON.
    Plain,
    /// Where a value may begin.
    Value,
    /// Behind `{`.
    Name,
    /// In a number, or in `true`, `false`, `null`.
    Literal,
    /// Behind a value or name.
    After,
    /// In a string.
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    /// In `\uXXXX`: how many digits are still to come, and what they say so far.
    Unicode(u8, u32),
}

enum Step {
    /// The byte stays in this level.
    Within,
    /// The byte is, or ends, a character of this level's string.
    Decoded(u8),
    /// A string begins.
    Open,
    /// The string has ended.
    Close,
}

impl Level {
    const FRESH: Self = Self { place: Place::Blank, brackets: 0, escape: Escape::None };

    fn take(&mut self, byte: u8) -> Step {
        match self.place {
            Place::Plain => Step::Within,
            Place::String => self.in_string(byte),
            Place::Blank | Place::Value | Place::Name | Place::Literal | Place::After => {
                self.structure(byte)
            }
        }
    }

    fn in_string(&mut self, byte: u8) -> Step {
        let escape = std::mem::replace(&mut self.escape, Escape::None);
        match (escape, byte) {
            (Escape::None, b'"') => {
                self.place = Place::After;
                Step::Close
            }
            (Escape::None, b'\\') => self.escaping(Escape::Backslash),
            (Escape::None, _) => Step::Decoded(byte),
            (Escape::Backslash, b'u') => self.escaping(Escape::Unicode(4, 0)),
            (Escape::Backslash, _) => Step::Decoded(escape::meant(byte).unwrap_or(byte)),
            (Escape::Unicode(left, code), _) => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    return Step::Decoded(BEYOND_ASCII);
                };
                let code = code * 16 + digit;
                if left > 1 {
                    return self.escaping(Escape::Unicode(left - 1, code));
                }
                let ascii = u8::try_from(code).ok().filter(u8::is_ascii);
                Step::Decoded(ascii.unwrap_or(BEYOND_ASCII))
            }
        }
    }

    fn escaping(&mut self, escape: Escape) -> Step {
        self.escape = escape;
        Step::Within
    }

    /// Reads a byte outside of strings; what JSON cannot have there makes the text a plain one.
    fn structure(&mut self, byte: u8) -> Step {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            if self.place == Place::Literal {
                self.place = Place::After;
            }
            return Step::Within;
        }
        self.place = match (self.place, byte) {
            (Place::Value | Place::Name, b'"') => {
                self.place = Place::String;
                return Step::Open;
            }
            (Place::Blank | Place::Value, b'{') => self.opened(Place::Name),
            (Place::Blank | Place::Value, b'[') => self.opened(Place::Value),
            (Place::Name | Place::Value | Place::Literal | Place::After, b'}' | b']') => {
                self.closed()
            }
            (Place::Literal | Place::After, b',') | (Place::After, b':') => Place::Value,
            (Place::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Place::Literal,
            (Place::Literal, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') => {
                Place::Literal
            }
            _ => Place::Plain,
        };
        Step::Within
    }

    fn opened(&mut self, inside: Place) -> Place {
        self.brackets = self.brackets.saturating_add(1);
        inside
    }

    fn closed(&mut self) -> Place {
        self.brackets = self.brackets.saturating_sub(1);
        if self.brackets == 0 { Place::Blank } else { Place::After }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::escape::{escape, unescape};
    use super::*;

    /// The depth at the mark `@` of a text.
    fn depth_at_mark(text: &str) -> usize {
        let mut depth = Depth::new();
        depth.feed(text.split_once('@').unwrap().0.as_bytes());
        depth.depth()
    }

    #[test]
    fn each_string_that_holds_json_is_one_deeper() {
        let inner = json!({ "cmd": ["echo", "@"] }).to_string();
        let middle = json!([{ "arguments": inner }]).to_string();
        let outer = json!({ "input": middle, "n": 1 }).to_string();
        assert_eq!(depth_at_mark("@"), 0);
        assert_eq!(depth_at_mark(&inner), 1);
        assert_eq!(depth_at_mark(&middle), 2);
        assert_eq!(depth_at_mark(&outer), 3);
    }

    #[test]
    fn what_only_begins_like_json_is_plain() {
        assert_eq!(depth_at_mark(r#"[x] he said "@""#), 0);
        assert_eq!(depth_at_mark(r#"{ a: "@" }"#), 0);
        assert_eq!(depth_at_mark(r#"[1] and then "@""#), 0);
        assert_eq!(depth_at_mark(r#"if ok { "@" }"#), 0);
    }

    #[test]
    fn documents_may_follow_each_other() {
        assert_eq!(depth_at_mark("{\"a\":1}\n{\"b\":\"@\"}"), 1);
        assert_eq!(depth_at_mark("{\"a\":1}\nexit code 0: \"@\""), 0);
    }

    #[test]
    fn quotes_that_are_escaped_with_their_number_count() {
        assert_eq!(depth_at_mark(r#"["\u007b\u0022a\u0022:\u0022@"#), 2);
        assert_eq!(depth_at_mark(r#"["é{ \"a\": \"@"#), 1);
    }

    #[test]
    fn names_and_numbers_are_structure_and_texts_are_not() {
        let mut depth = Depth::new();
        let seen: Vec<bool> = [&b""[..], b"{\"a", b"\":", b"12", b",\"b\":\"x"]
            .map(|piece| {
                depth.feed(piece);
                depth.in_structure()
            })
            .to_vec();
        assert_eq!(seen, [false, false, true, true, false]);
    }

    #[test]
    fn the_deepest_level_is_not_read_as_json() {
        let nested =
            |times: usize| (0..times).fold("@".to_owned(), |inner, _| json!([inner]).to_string());
        let depths: Vec<usize> = (0..9).map(|times| depth_at_mark(&nested(times))).collect();
        assert_eq!(depths, [0, 1, 2, 3, 4, 5, 6, 6, 6]);
    }

    fn value() -> impl Strategy<Value = String> {
        "([a-z{}\\[\\]\":,\\\\/\n\r\t\u{1}\u{1b}é\u{1F600} ]){0,24}"
    }

    proptest! {
        #[test]
        fn a_value_is_written_as_the_documents_around_it_would(
            value in value(),
            times in 0usize..6,
        ) {
            let wrap = |inner: String| json!({ "k": [1, inner] }).to_string();
            let text = (0..times).fold(format!("@{value}@"), |inner, _| wrap(inner));
            let (before, rest) = text.split_once('@').unwrap();
            let raw = rest.split_once('@').unwrap().0;
            let mut depth = Depth::new();
            depth.feed(before.as_bytes());
            prop_assert_eq!(depth.depth(), times);
            let mut written = Vec::new();
            escape(value.as_bytes(), depth.depth(), &mut written);
            prop_assert_eq!(String::from_utf8(written).unwrap(), raw);
            prop_assert_eq!(&unescape(raw.as_bytes(), depth.depth())[..], value.as_bytes());
        }

        #[test]
        fn the_depth_is_the_same_however_the_text_is_cut(
            text in "(\\{|\\}|\\[|\\]|\"|\\\\|\\\\u002|:|,| |1|a|u){0,60}",
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = text.as_bytes().split_at(cut.index(text.len() + 1));
            let (mut whole, mut pieces, mut single) = (Depth::new(), Depth::new(), Depth::new());
            whole.feed(text.as_bytes());
            pieces.feed(first);
            pieces.feed(second);
            text.bytes().for_each(|byte| single.push(byte));
            prop_assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
            prop_assert_eq!(single.depth(), whole.depth());
        }

        #[test]
        fn a_string_begins_as_it_does_in_a_document(value in value()) {
            let document: Value = json!({ "delta": value });
            let raw = document.to_string();
            let mut inside = Depth::in_string();
            let mut whole = Depth::new();
            let end = raw.len() - 2;
            whole.feed(&raw.as_bytes()[..end]);
            inside.feed(&raw.as_bytes()[10..end]);
            prop_assert_eq!(inside.depth(), whole.depth());
        }
    }
}
