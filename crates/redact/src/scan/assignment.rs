//! What a name is given: `password = "…"`, `"apiKey": "…"`, `export TOKEN=…`, `--secret …`,
//! `<password>…</password>`, `PASSWORD '…'`.

use std::ops::Range;

use super::name::{self, Kind};
use super::value::{self, Form};
use super::{Scan, before, byte, is_token};

/// How far a name reaches to the left and to the right of the word that marks it.
const NAME_LEFT: usize = 64;
const NAME_RIGHT: usize = 40;
/// How far the end of a value is looked for.
const VALUE: usize = 520;

/// How many values are looked at that begin within one bare value.
const NESTED: usize = 4;

/// What stands between a name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// `=`, `:` and their kind: a value, or code.
    Sign,
    /// Only a text in quotes is a value here.
    Quoted,
    /// A value, whatever it looks like: after a flag, in an XML element.
    Plain,
}

/// A quote, and how many backslashes stand before it: the depth at which the text is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quote {
    mark: u8,
    depth: usize,
}

impl Scan<'_> {
    /// Looks at the name that this word is part of, and at what it is given.
    pub(super) fn named(&mut self, word: &Range<usize>) {
        if word.start < self.name_end {
            return;
        }
        let name = self.name_around(word);
        self.name_end = name.end;
        let Some((start, between)) = self.given(&name) else { return };
        let Some(kind) = self.kind(&name) else { return };
        if self.at(start) == b'(' && between == Between::Sign {
            return self.second_of_pair(start + 1);
        }
        let called = self.at(name.end) == b'(';
        if called && self.bytes.get(..name.end).is_some_and(|n| n.ends_with(b"redential")) {
            return self.second_of_pair(start);
        }
        let Some((span, form)) = self.value(&name, start, between) else { return };
        self.contextual(name.end, span.start);
        let Some(value) = self.bytes.get(span.clone()) else { return };
        if let Some(anchor) = value::judge(kind, value, form) {
            self.push_anchor(anchor, span.clone());
        }
        if form == Form::Literal && self.bytes.get(..name.end).is_some_and(|n| n.ends_with(b"auth"))
        {
            self.basic_value(&span);
        }
    }

    /// What a name promises; `key` alone, with the words before it: `Secret Access Key: …`.
    fn kind(&self, name: &Range<usize>) -> Option<Kind> {
        let text = self.bytes.get(name.clone())?;
        let kind = name::kind(text);
        if kind.is_some() || !text.eq_ignore_ascii_case(b"key") {
            return kind;
        }
        let left = self.bytes.get(..name.start)?;
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b' ';
        let words = left.iter().rev().take(24).take_while(is_word).count();
        name::kind(self.bytes.get(name.start - words..name.end)?)
    }

    /// `auth=("user", "password")`.
    fn second_of_pair(&mut self, start: usize) {
        let Some((quote, user)) = self.quote(start) else { return };
        let Some(end) = self.quoted_end(quote, user) else { return };
        let comma = self.after_blanks(self.after_quote(end));
        let second = self.after_blanks(comma + 1);
        if self.at(comma) == b',' && self.quote(second).is_some() {
            self.password_at(second);
        }
    }

    fn name_around(&self, word: &Range<usize>) -> Range<usize> {
        let is_name = |byte: &&u8| is_token(**byte) || **byte == b'.';
        let left = self.bytes.get(..word.start).unwrap_or_default();
        let left = left.iter().rev().take(NAME_LEFT).take_while(is_name).count();
        let right = self.bytes.get(word.end..).unwrap_or_default();
        let right = right.iter().take(NAME_RIGHT).take_while(|byte| is_token(**byte)).count();
        let start = word.start - left;
        let letter = super::escape::token_start(self.bytes, start);
        letter.min(word.start)..word.end + right
    }

    /// Where a value begins that this name is given.
    fn given(&self, name: &Range<usize>) -> Option<(usize, Between)> {
        let unquoted = self.after_quote(name.end);
        let quoted = unquoted > name.end;
        let closed = if self.at(unquoted) == b']' { unquoted + 1 } else { unquoted };
        let at = self.after_default(self.after_blanks(closed));
        let sign = |length: usize, between| Some((self.after_blanks(at + length), between));
        match (self.at(at), self.at(at + 1)) {
            (b':', b':') => None,
            (b':', b'=') | (b'=', b'>' | b'~') => sign(2, Between::Sign),
            (b'=', b'=') if self.at(at + 2) == b'=' => sign(3, Between::Quoted),
            (b'=' | b'!' | b'?', b'=') | (b'|', b'|') | (b'?', b'?') => sign(2, Between::Quoted),
            (b'=', _) => sign(1, Between::Sign),
            (b':', _) => {
                let value = self.after_blanks(at + 1);
                if self.at(value) == b'{' { self.pair_value(value) } else { None }
                    .or_else(|| Some(self.after_type(value)))
            }
            (b'(', _) => sign(1, Between::Quoted),
            (b',', _) if quoted => self.pair_value(at).or_else(|| sign(1, Between::Quoted)),
            (b'>', _) if quoted || before(self.bytes, name.start) == b'<' => {
                self.is_closed(at + 1).then_some((at + 1, Between::Plain))
            }
            _ if quoted => self.pair_value(unquoted),
            _ if at > name.end && before(self.bytes, name.start) == b'<' => self.pair_value(at),
            _ if at > name.end => self.after_space(name, at),
            _ => self.pair_value(name.end),
        }
    }

    /// Whether the next tag is one that closes an element.
    fn is_closed(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(VALUE)).unwrap_or_default();
        memchr::memchr(b'<', rest)
            .is_some_and(|tag| matches!(rest.get(tag + 1), Some(b'/' | b'\\')))
    }

    /// `Secret Access Key [None]: …`: after what is shown in brackets.
    fn after_default(&self, at: usize) -> usize {
        let shown = self.bytes.get(at..(at + 24).min(self.bytes.len())).unwrap_or_default();
        match (shown.first(), shown.iter().position(|byte| *byte == b']')) {
            (Some(b'['), Some(end)) if shown.get(end + 1) == Some(&b':') => at + end + 1,
            _ => at,
        }
    }

    /// `password: str = "…"`: a value stands after the type.
    fn after_type(&self, at: usize) -> (usize, Between) {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let is_type = |byte: &&u8| byte.is_ascii_alphanumeric() || b"&<>[]|?_. '*:".contains(byte);
        let length = rest.iter().take(40).take_while(is_type).count();
        let assigned =
            length > 0 && self.at(at + length) == b'=' && self.at(at + length + 1) == b' ';
        if assigned {
            (self.after_blanks(at + length + 1), Between::Quoted)
        } else {
            (at, Between::Sign)
        }
    }

    /// What only a space parts from its name: the value of a flag, a text in quotes, a password in
    /// a `.netrc`, and `… is …`.
    fn after_space(&self, name: &Range<usize>, at: usize) -> Option<(usize, Between)> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let dashed = self.at(name.start) == b'-' || before(self.bytes, name.start) == b'-';
        let quote = self.quote(at).is_some();
        if dashed {
            return (self.at(at) != b'-').then_some((at, Between::Plain));
        }
        let text = self.bytes.get(name.clone()).unwrap_or_default();
        if text.eq_ignore_ascii_case(b"pass") || text.eq_ignore_ascii_case(b"auth") {
            return None;
        }
        if rest.starts_with(b"FOR ") {
            // `SET PASSWORD FOR user = '…'`.
            let sign = rest.iter().take(80).position(|byte| *byte == b'=')?;
            return Some((self.after_blanks(at + sign + 1), Between::Quoted));
        }
        let words: [&[u8]; 6] = [b"is ", b"BY ", b"by ", b"to ", b"is: ", b"--body "];
        if let Some(word) = words.iter().find(|word| rest.starts_with(word)) {
            let between = if word.starts_with(b"is") { Between::Sign } else { Between::Quoted };
            return Some((self.after_blanks(at + word.len()), between));
        }
        if quote && self.at(at) != b'`' {
            return Some((at, Between::Quoted));
        }
        let typed = rest.iter().take(16).take_while(|byte| is_token(**byte)).count();
        let assigned = self.after_blanks(at + typed);
        if typed > 0 && assigned > at + typed && self.at(assigned) == b'=' {
            return Some((self.after_blanks(assigned + 1), Between::Quoted));
        }
        let left = self.bytes.get(name.start.saturating_sub(160)..name.start)?;
        let has = |words: &[&[u8]]| words.iter().any(|word| super::has(left, word));
        let file = has(&[b"login ", b"machine ", b"config set ", b"configure set "]);
        let set = [&b"ENV "[..], b"setx ", b"ARG "].iter().any(|word| left.ends_with(word));
        (file || set || text == b"requirepass").then_some((at, Between::Plain))
    }

    /// `"name": "DB_PASSWORD", "value": "…"` and the like: the name was itself a value.
    fn pair_value(&self, at: usize) -> Option<(usize, Between)> {
        let mut at = at;
        for _ in 0..48 {
            at = match self.at(at) {
                b'\\' if matches!(self.at(at + 1), b'n' | b'r' | b't') => at + 2,
                b',' | b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'' | b'+' | b'-' | b'{' | b'\\' => {
                    at + 1
                }
                _ => break,
            };
        }
        let rest = self.bytes.get(at..)?;
        let is_word = |word: &&[u8]| {
            rest.get(..word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word))
        };
        let word = [&b"value"[..], b"default"].into_iter().find(is_word)?;
        let at = self.after_blanks(self.after_quote(at + word.len()));
        let sign = matches!(self.at(at), b':' | b'=').then_some(at + 1)?;
        Some((self.after_blanks(sign), Between::Sign))
    }

    /// The value that begins here, without its quotes.
    fn value(
        &mut self,
        name: &Range<usize>,
        start: usize,
        between: Between,
    ) -> Option<(Range<usize>, Form)> {
        let start = self.after_opening(start);
        if let Some((quote, start)) = self.quote(start) {
            let start = self.after_scheme(start);
            let end = self.quoted_end(quote, start)?;
            return Some((start..end, Form::Literal));
        }
        let form = match between {
            Between::Quoted => return None,
            Between::Plain => Form::Literal,
            Between::Sign if self.is_environment(name, start) => Form::Literal,
            Between::Sign if self.is_line(name, start) => Form::Literal,
            Between::Sign => Form::Bare,
        };
        let start = self.after_scheme(start);
        let span = start..self.bare_end(start, form);
        // What parts connection strings ends with `;`, and there is no code in one.
        let parted = self.at(span.end) == b';' || before(self.bytes, name.start) == b';';
        let tight = start == name.end + 1;
        Some((span, if parted && tight { Form::Literal } else { form }))
    }

    /// What may stand before a quote: `b"…"`, `String::from("…")`.
    fn after_opening(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let is_path = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.:@$& ".contains(byte);
        let length = rest.iter().take(32).take_while(is_path).count();
        let call = usize::from(self.at(at + length) == b'(');
        let opening = length + call;
        if (call == 1 || length <= 2) && self.quote(at + opening).is_some() {
            at + opening
        } else {
            at
        }
    }

    /// After the word that says how somebody proves who they are: `Authorization: token …`.
    fn after_scheme(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let schemes = [
            &b"Bearer "[..],
            b"bearer ",
            b"Token ",
            b"token ",
            b"ApiKey ",
            b"Key ",
            b"Bot ",
            // As OpenSSL takes it.
            b"pass:",
        ];
        at + schemes.iter().find(|scheme| rest.starts_with(scheme)).map_or(0, |scheme| scheme.len())
    }

    /// The quote that opens here, and where the text in it begins.
    fn quote(&self, at: usize) -> Option<(Quote, usize)> {
        let rest = self.bytes.get(at..)?;
        let depth = rest.iter().take(16).take_while(|byte| **byte == b'\\').count();
        let mark = rest.get(depth).copied().filter(|mark| matches!(mark, b'"' | b'\'' | b'`'))?;
        let step = depth + 1;
        let triple = (1..3).all(|n| rest.get(n * step..(n + 1) * step) == rest.get(..step));
        Some((Quote { mark, depth }, at + if triple { 3 * step } else { step }))
    }

    /// Where the quote closes: before the same mark with no more backslashes, or where the text
    /// is cut.
    fn quoted_end(&self, quote: Quote, start: usize) -> Option<usize> {
        let rest = self.bytes.get(start..)?;
        let mut slashes = 0;
        for (index, byte) in rest.iter().take(VALUE).enumerate() {
            match *byte {
                b'\\' => slashes += 1,
                b'\n' | b'\r' | b'\t' => return None,
                b'n' | b'r' | b't' if slashes > 0 && slashes <= quote.depth => return None,
                mark if mark == quote.mark && slashes <= quote.depth => {
                    return Some(start + index - slashes);
                }
                _ => slashes = 0,
            }
        }
        (rest.len() < VALUE).then_some(self.bytes.len())
    }

    /// Where a bare value ends.
    fn bare_end(&mut self, start: usize, form: Form) -> usize {
        if self.bare.contains(&start) {
            // `token:token:token:…`: not each of its ends is worth a look.
            self.nested += 1;
            return if self.nested > NESTED { start } else { self.bare.end };
        }
        self.nested = 0;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: u8| match byte {
            0..=b' ' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b';' | 0x7f => true,
            b',' | b')' | b'}' | b']' | b'&' => form == Form::Bare,
            _ => false,
        };
        let length = rest.iter().take(VALUE).position(|byte| ends(*byte));
        self.bare = start..start + length.unwrap_or(rest.len().min(VALUE));
        self.bare.end
    }

    /// After a closing quote, if there is one.
    fn after_quote(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let slashes = rest.iter().take(16).take_while(|byte| **byte == b'\\').count();
        if matches!(rest.get(slashes), Some(b'"' | b'\'' | b'`')) { at + slashes + 1 } else { at }
    }

    /// After spaces and tabs, also escaped ones.
    pub(super) fn after_blanks(&self, mut at: usize) -> usize {
        for _ in 0..32 {
            at = match self.at(at) {
                b' ' | b'\t' => at + 1,
                b'\\' if self.at(at + 1) == b't' => at + 2,
                _ => break,
            };
        }
        at
    }

    pub(super) fn at(&self, at: usize) -> u8 {
        byte(self.bytes, at)
    }

    /// What stands here as an argument, in quotes or bare.
    pub(super) fn argument(&mut self, start: usize) -> Option<Range<usize>> {
        self.value(&(start..start), start, Between::Plain).map(|(span, _)| span)
    }

    /// A password that stands here, in quotes or bare; for what a structure has marked.
    pub(super) fn password_at(&mut self, start: usize) {
        let Some(span) = self.argument(start) else { return };
        let Some(value) = self.bytes.get(span.clone()) else { return };
        if let Some(anchor) = value::judge(Kind::Password, value, Form::Literal) {
            self.push_anchor(anchor, span);
        }
    }
}
