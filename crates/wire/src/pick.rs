//! Picks a few members out of a JSON document while its bytes pass, without keeping the document.
//!
//! The picker reads structure only on the way to the wanted members; every other value is skipped by
//! its brackets and quotes. It trusts that a skipped value is JSON: the API checks that, not we.

mod scan;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use scan::{Kept, Scan};
pub(crate) use scan::{plain_string, whole_plain};

/// A member that is looked for in an object.
pub(crate) struct Member<P: 'static> {
    pub(crate) key: &'static str,
    pub(crate) want: Want<P>,
}

/// What is wanted of a member's value.
#[derive(Clone, Copy)]
pub(crate) enum Want<P: 'static> {
    /// Its raw text, if that is no longer than so many bytes.
    Text(P, usize),
    /// Where it stands.
    Place(P),
    /// Where each element of it stands, if it is an array, else where itself does.
    Elements(P),
    /// These members of it, if it is an object, or of each object in it, if it is an array.
    Inside(&'static [Member<P>]),
}

/// Wants the raw text of a member.
pub(crate) const fn text<P>(place: P, key: &'static str, limit: usize) -> Member<P> {
    Member { key, want: Want::Text(place, limit) }
}

/// Wants the places of a member's elements.
pub(crate) const fn elements<P>(place: P, key: &'static str) -> Member<P> {
    Member { key, want: Want::Elements(place) }
}

/// Wants members of a member.
pub(crate) const fn inside<P>(key: &'static str, members: &'static [Member<P>]) -> Member<P> {
    Member { key, want: Want::Inside(members) }
}

/// The value of a wanted member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// The raw text; empty where it is over the limit or only its place was wanted.
    pub(crate) raw: &'a [u8],
    /// Raw bytes between the quotes; 0 where it is no string.
    pub(crate) string_bytes: u64,
    /// Where its first byte stands, counted from the document's.
    pub(crate) begin: usize,
    /// Where the first byte behind it stands.
    pub(crate) end: usize,
}

/// Longest raw key that is compared: the longest wanted key with each of its letters escaped fits.
const KEY_LIMIT: usize = 192;

/// Reads one document, piece by piece, and reports wanted members in the order they end.
///
/// Of a repeated key every value is reported, so that the last one can win, as it does with the
/// API's own parsers.
pub(crate) struct Picker<P: 'static> {
    root: &'static [Member<P>],
    /// The containers entered on the way to wanted members: never deeper than the wanted members.
    levels: Vec<Level<P>>,
    state: State,
    /// What is wanted of the value that comes next or is being read.
    wanted: Option<Want<P>>,
    scan: Scan,
    kept: Kept,
    /// Where in the document the next byte stands.
    at: usize,
    /// Where the value began that is being read.
    begin: usize,
}

struct Level<P: 'static> {
    inner: Inner<P>,
    container: Container,
}

/// What is wanted of what a container holds.
#[derive(Clone, Copy)]
enum Inner<P: 'static> {
    /// These members of an object, or of each object in an array.
    Members(&'static [Member<P>]),
    /// Where each element of an array stands.
    Places(P),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between keys and values.
    Between(Expect),
    /// Inside a key.
    Key,
    /// Inside a value that is not entered.
    Value,
    /// The document has ended.
    Ended,
    /// Nothing more is read: this is no JSON object, or the receiver has seen enough.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Key,
    Colon,
    Value,
    Comma,
}

impl<P: Copy> Picker<P> {
    /// Makes a picker for a document whose root is an object with these members.
    pub(crate) fn new(root: &'static [Member<P>]) -> Self {
        Self {
            root,
            levels: Vec::new(),
            state: State::Between(Expect::Value),
            wanted: None,
            scan: Scan::default(),
            kept: Kept::default(),
            at: 0,
            begin: 0,
        }
    }

    /// Starts over with a new document, keeping the memory.
    pub(crate) fn restart(&mut self) {
        self.levels.clear();
        self.state = State::Between(Expect::Value);
        (self.at, self.begin) = (0, 0);
    }

    /// Tells whether nothing of a document has been read.
    pub(crate) fn is_fresh(&self) -> bool {
        self.at == 0 && self.state == State::Between(Expect::Value)
    }

    /// Reads nothing more of this document.
    pub(crate) fn enough(&mut self) {
        self.state = State::Over;
    }

    /// Tells whether exactly one object was read, from end to end.
    pub(crate) fn read_whole_object(&self) -> bool {
        self.state == State::Ended
    }

    /// Reads the next piece; `receive` is given each wanted member when its value has ended, and
    /// breaks when it has seen enough of this document.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        receive: &mut impl FnMut(P, Value<'_>) -> ControlFlow<()>,
    ) {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let used = match self.state {
                State::Between(Expect::Key) if byte == b'"' => self.key(rest),
                State::Between(Expect::Value) => match self.whole_value(rest, receive) {
                    Some(used) => used,
                    None => self.between(Expect::Value, byte),
                },
                State::Between(expect) => self.between(expect, byte),
                State::Key | State::Value => self.inside(rest, receive),
                State::Ended => self.after(byte),
                State::Over => return,
            };
            self.at += used;
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Begins a key with its quote; one that is whole and plain is read at once.
    fn key(&mut self, rest: &[u8]) -> usize {
        let Some((key, used)) = plain_string(rest) else {
            self.start(State::Key, b'"', KEY_LIMIT);
            return 1;
        };
        self.wanted = self.find_wanted(key);
        let colon = rest.get(used) == Some(&b':');
        self.state = State::Between(if colon { Expect::Value } else { Expect::Colon });
        used + usize::from(colon)
    }

    /// Reads a value that is here whole and is neither entered nor escapes anything, as most are,
    /// with the comma behind it.
    fn whole_value(
        &mut self,
        rest: &[u8],
        receive: &mut impl FnMut(P, Value<'_>) -> ControlFlow<()>,
    ) -> Option<usize> {
        self.levels.last()?;
        let (used, string_bytes) = whole_plain(rest)?;
        let within = |limit: usize| rest.get(..used).filter(|_| used <= limit).unwrap_or_default();
        let raw = match self.wanted {
            Some(Want::Text(_, limit)) => within(limit),
            Some(Want::Place(_) | Want::Elements(_) | Want::Inside(_)) | None => &[],
        };
        let (begin, end) = (self.at, self.at + used);
        self.take(Value { raw, string_bytes, begin, end }, receive);
        let comma = self.state == State::Between(Expect::Comma) && rest.get(used) == Some(&b',');
        if comma {
            self.next_member();
        }
        Some(used + usize::from(comma))
    }

    /// Takes one byte of structure.
    fn between(&mut self, expect: Expect, byte: u8) -> usize {
        match (expect, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (Expect::Colon, b':') => self.state = State::Between(Expect::Value),
            (Expect::Comma, b',') => self.next_member(),
            (Expect::Key | Expect::Comma, b'}') => self.leave(Container::Object),
            (Expect::Value | Expect::Comma, b']') => self.leave(Container::Array),
            (Expect::Value, b',' | b':' | b'}') => self.state = State::Over,
            (Expect::Value, _) => self.value(byte),
            _ => self.state = State::Over,
        }
        1
    }

    /// Begins a value with its first byte: enters it, or reads over it.
    fn value(&mut self, byte: u8) {
        let container = self.levels.last().map(|level| level.container);
        match (self.wanted, byte, container) {
            (_, b'{', None) => self.enter(Inner::Members(self.root), Container::Object),
            (_, _, None) => self.state = State::Over,
            (Some(Want::Inside(members)), b'{', _) => {
                self.enter(Inner::Members(members), Container::Object);
            }
            // Only one array deep: that is what the API has, and it bounds `levels`.
            (Some(Want::Inside(members)), b'[', Some(Container::Object)) => {
                self.enter(Inner::Members(members), Container::Array);
            }
            (Some(Want::Elements(place)), b'[', Some(Container::Object)) => {
                self.enter(Inner::Places(place), Container::Array);
            }
            (Some(Want::Text(_, limit)), ..) => self.start(State::Value, byte, limit),
            _ => self.start(State::Value, byte, 0),
        }
    }

    fn start(&mut self, state: State, byte: u8, limit: usize) {
        (self.state, self.begin) = (state, self.at);
        self.scan = Scan::begin(byte);
        self.kept.begin(byte, limit);
    }

    fn enter(&mut self, inner: Inner<P>, container: Container) {
        self.levels.push(Level { inner, container });
        self.next_member();
    }

    /// Makes ready for the next key of an object, or the next element of an array.
    fn next_member(&mut self) {
        let Some(level) = self.levels.last() else { return };
        self.state = State::Between(match level.container {
            Container::Object => Expect::Key,
            Container::Array => Expect::Value,
        });
        self.wanted = Some(match level.inner {
            Inner::Members(members) => Want::Inside(members),
            Inner::Places(place) => Want::Place(place),
        });
    }

    fn leave(&mut self, container: Container) {
        self.state = match self.levels.pop() {
            Some(left) if left.container != container => State::Over,
            Some(_) if self.levels.is_empty() => State::Ended,
            Some(_) => State::Between(Expect::Comma),
            None => State::Over,
        };
    }

    /// Reads on in a key or a value.
    fn inside(
        &mut self,
        rest: &[u8],
        receive: &mut impl FnMut(P, Value<'_>) -> ControlFlow<()>,
    ) -> usize {
        let end = self.scan.find_end(rest);
        let used = end.unwrap_or(rest.len());
        self.kept.add(rest.get(..used).unwrap_or_default());
        if end.is_some() && self.state == State::Key {
            self.wanted = self.kept.key().and_then(|key| self.find_wanted(&key));
            self.state = State::Between(Expect::Colon);
        } else if end.is_some() {
            let kept = std::mem::take(&mut self.kept);
            let (raw, string_bytes) = (kept.bytes(), self.scan.string_bytes());
            let (begin, end) = (self.begin, self.at + used);
            self.take(Value { raw, string_bytes, begin, end }, receive);
            self.kept = kept;
        }
        used
    }

    fn find_wanted(&self, key: &[u8]) -> Option<Want<P>> {
        let Inner::Members(members) = self.levels.last()?.inner else { return None };
        Some(members.iter().find(|member| member.key.as_bytes() == key)?.want)
    }

    /// Shows a value that has ended to whoever wants it.
    fn take(
        &mut self,
        value: Value<'_>,
        receive: &mut impl FnMut(P, Value<'_>) -> ControlFlow<()>,
    ) {
        self.state = State::Between(Expect::Comma);
        let place = match self.wanted {
            None | Some(Want::Inside(_)) => return,
            Some(Want::Text(place, _) | Want::Place(place) | Want::Elements(place)) => place,
        };
        if receive(place, value).is_break() {
            self.state = State::Over;
        }
    }

    fn after(&mut self, byte: u8) -> usize {
        if !byte.is_ascii_whitespace() {
            self.state = State::Over;
        }
        1
    }
}

/// How long the string is with which `text` begins, with its quotes, if it ends there.
pub(crate) fn string_end(text: &[u8]) -> Option<usize> {
    let (_, inside) = text.split_at_checked(1)?;
    Some(scan::find_string_end(inside, &mut false)? + 1)
}

/// Reads a raw JSON string; anything else, and an empty string, is nothing.
pub(crate) fn string(raw: &[u8]) -> Option<String> {
    let plain = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let is_plain = |byte: &u8| *byte >= b' ' && !matches!(byte, b'\\' | b'"');
    // Nearly all are: then there is nothing to parse.
    let text = match plain.filter(|plain| plain.iter().all(is_plain)) {
        Some(plain) => std::str::from_utf8(plain).ok()?.to_owned(),
        None => serde_json::from_slice(raw).ok()?,
    };
    Some(text).filter(|text: &String| !text.is_empty())
}
