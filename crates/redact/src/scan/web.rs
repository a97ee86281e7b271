//! What HTTP carries: JSON web tokens, `Authorization`, signed addresses; and files and statements
//! that hold a password by their structure.

use std::ops::Range;

use memchr::memmem;

use super::{Scan, base64, is_token, strength, value};
use crate::rule::Anchor;

/// What the format's own site, and what a library's documents, show everybody.
const SHOWN: [&[u8]; 2] =
    [b"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", b".eyJzb21lIjoicGF5bG9hZCJ9."];
/// The longest part of a web token that is looked at.
const PART: usize = 16 * 1024;

impl Scan<'_> {
    /// Looks at a run that begins like the header of a web token.
    pub(super) fn jwt(&mut self, run: &Range<usize>) -> bool {
        if self.at(run.end) != b'.' || run.len() > PART {
            return false;
        }
        let header = self.bytes.get(run.clone()).and_then(base64::decoded);
        let Some(header) = header.filter(|header| memmem::find(header, b"\"alg\"").is_some())
        else {
            return false;
        };
        let encrypted = memmem::find(&header, b"\"enc\"").is_some();
        let mut end = run.end;
        let mut parts = 1;
        while self.at(end) == b'.' && parts < if encrypted { 5 } else { 3 } {
            let rest = self.bytes.get(end + 1..).unwrap_or_default();
            let length = rest.iter().take(PART).take_while(|byte| is_token(**byte)).count();
            end += 1 + length;
            parts += 1;
        }
        let Some(token) = self.bytes.get(run.start..end) else { return false };
        let payload = self.at(run.end + 1) == b'e' || encrypted;
        if parts >= 3
            && payload
            && !SHOWN.iter().any(|shown| super::has(token, shown))
            && !token.ends_with(b".")
        {
            self.push_anchor(Anchor::Jwt, run.start..end);
        }
        true
    }

    /// Looks at what follows `Bearer`.
    pub(super) fn bearer(&mut self, start: usize) {
        let span = self.span_of(start, b"._~+/=-");
        let Some(token) = self.bytes.get(span.clone()) else { return };
        let digit = token.iter().any(u8::is_ascii_digit);
        let random = strength::entropy(token) >= 3.0 && strength::surprise(token) >= 28;
        if token.len() >= 16 && digit && random && !value::stands_for(token) {
            self.push_anchor(Anchor::Bearer, span);
        }
    }

    /// Looks at what follows `Basic`: user and password, in base64.
    pub(super) fn basic(&mut self, start: usize) {
        let span = self.span_of(start, b"+/=");
        self.basic_value(&span);
    }

    pub(super) fn basic_value(&mut self, span: &Range<usize>) {
        let Some(token) = self.bytes.get(span.clone()).filter(|token| token.len() >= 8) else {
            return;
        };
        let Some(text) = base64::decoded(token) else { return };
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
        let plain = text.iter().all(|byte| (0x20..0x7f).contains(byte));
        let password = text.get(colon + 1..).unwrap_or_default();
        // What RFC 7617 and RFC 6749 show.
        let shown = matches!(
            &text[..],
            b"Aladdin:open sesame" | b"username:password" | b"user:pass" | b"Aladdin:opensesame"
        ) || text.starts_with(b"s6BhdRkqt3:");
        if plain && !shown && text.len() >= 6 && password.len() >= 4 && !value::stands_for(password)
        {
            self.push_anchor(Anchor::Basic, span.clone());
        }
    }

    /// Looks at a signature in an address.
    pub(super) fn signature(&mut self, name: usize, start: usize) {
        let span = self.span_of(start, b"%+/");
        let span = span.start..span.end + usize::from(self.at(span.end) == b'=');
        let Some(token) = self.bytes.get(span.clone()).filter(|t| (40..120).contains(&t.len()))
        else {
            return;
        };
        let left = self.bytes.get(name.saturating_sub(300)..name).unwrap_or_default();
        let right = self.bytes.get(span.end..(span.end + 100).min(self.bytes.len()));
        let signed = [&b"sv="[..], b"se=", b"sr="]
            .iter()
            .any(|field| super::has(left, field) || super::has(right.unwrap_or_default(), field));
        if signed && strength::entropy(token) >= 3.5 && !strength::is_placeholder(token) {
            self.push_anchor(Anchor::SharedAccess, span);
        }
    }

    /// Looks at a line `host:5432:database:user:password`.
    pub(super) fn password_file(&mut self, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &&u8| !(byte.is_ascii_whitespace() || matches!(**byte, b'\\' | b'"'));
        let rest = rest.get(..rest.iter().take(200).take_while(ends).count()).unwrap_or_default();
        let mut colons = memchr::memchr_iter(b':', rest);
        if let (Some(_), Some(second)) = (colons.next(), colons.next()) {
            self.password_at(start + second + 1);
        }
    }

    /// Token bytes and some others, from here on.
    fn span_of(&self, start: usize, others: &[u8]) -> Range<usize> {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let is_part = |byte: &&u8| is_token(**byte) || others.contains(byte);
        start..start + rest.iter().take(600).take_while(is_part).count()
    }

    /// After `IDENTIFIED BY`.
    pub(super) fn identified(&mut self, start: usize) {
        let start = self.after_blanks(start);
        if matches!(self.at(start), b'\'' | b'"' | b'\\') {
            self.password_at(start);
        }
    }
}
