//! Finds secrets in bytes: a JSON body, a part of one, or plain text.
//!
//! Tokens first: one fast pass finds runs of token bytes, nearly all of which are put aside by
//! their first bytes, and the few places that a name or a structure marks. Only there is anything
//! looked at closely, and what is looked at is bounded.
//!
//! In JSON, and in JSON inside JSON, an escape like `\n` stands where the text has a line break:
//! it parts tokens as the line break does, at any depth.

pub(crate) mod anchors;
mod assignment;
mod base64;
pub(crate) mod checksum;
mod command;
mod context;
mod custom;
mod escape;
mod inner;
mod line;
mod name;
mod pem;
pub(crate) mod prefix;
mod runs;
mod strength;
mod url;
mod value;
mod web;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use self::anchors::Mark;
use self::runs::Place;
use crate::rule::{Anchor, RuleId, Rules, Tier};

/// Something found: which rule and where, never what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: RuleId,
    /// How sure it is.
    pub tier: Tier,
    /// Where the secret stands, and nothing but the secret: byte offsets into what was scanned.
    pub span: Range<usize>,
}

impl Rules {
    /// Finds secrets in raw bytes: a JSON body, a part of one, or plain text, at any escape
    /// depth. What is found is sorted and disjoint (of what overlaps, the surest and longest
    /// stays), and lies on character boundaries.
    pub fn scan(&self, bytes: &[u8]) -> Vec<Finding> {
        let (found, end) = Scan::over(self, bytes, Escapes::Stop);
        let copy = if end == End::Escape { escape::decoded(bytes) } else { None };
        let Some(copy) = copy else { return disjoint(found) };
        let mut found = Scan::over(self, &copy.bytes, Escapes::Pass).0;
        for one in &mut found {
            one.span = copy.span(&one.span);
        }
        disjoint(found)
    }

    /// The name of the best rule for this value alone, for the label of a mask; `value` where
    /// none knows it.
    pub fn label(&self, value: &[u8]) -> &str {
        let (found, _) = Scan::over(self, value, Escapes::Pass);
        let whole = found.iter().filter(|one| one.span == (0..value.len()));
        whole
            .max_by_key(|one| (one.tier, Reverse(one.rule)))
            .map_or("value", |one| self.name(one.rule))
    }
}

/// What to do about an escape without need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Stop there: it must be undone first.
    Stop,
    /// Take it as it stands.
    Pass,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Escape,
}

/// One pass over one text.
pub(crate) struct Scan<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) bytes: &'a [u8],
    found: Vec<Finding>,
    /// Where the last name ended that was looked at: a name is looked at once.
    name_end: usize,
    /// The last bare value: where it ends is not looked for again from within it.
    bare: Range<usize>,
    /// How many have begun within it.
    nested: usize,
}

impl<'a> Scan<'a> {
    fn over(rules: &'a Rules, bytes: &'a [u8], escapes: Escapes) -> (Vec<Finding>, End) {
        let mut scan = Self { rules, bytes, found: Vec::new(), name_end: 0, bare: 0..0, nested: 0 };
        let mut end = End::Text;
        runs::each(&rules.texts.nibbles, bytes, |place| {
            match place {
                Place::Run(run) => scan.run(&run),
                Place::Text(at) => rules.texts.at(bytes, at, |mark, place| {
                    if mark != Mark::Escape {
                        scan.marked(mark, &place);
                    } else if escapes == Escapes::Stop && escape::is_needless(bytes, place.start) {
                        end = End::Escape;
                    }
                }),
            }
            end == End::Text
        });
        if end == End::Text {
            scan.custom();
        }
        (scan.found, end)
    }

    fn run(&mut self, run: &Range<usize>) {
        let start = escape::token_start(self.bytes, run.start).min(run.end);
        if self.prefixed(start) {
            return;
        }
        let (whole, run) = (run.start == start, start..run.end);
        let web = self.bytes.get(run.clone()).is_some_and(|text| text.starts_with(b"eyJ"));
        if web && self.jwt(&run) {
            return;
        }
        if whole && !is_joint(before(self.bytes, start)) {
            return self.unprefixed(&run);
        }
        let Some(begin) = self.joined_start(start) else { return };
        if begin < start && self.prefixed_between(begin, start) {
            return;
        }
        self.unprefixed(&(begin..run.end));
    }

    /// Where a token begins of which this run is a later part, after `.`, `/`, `+` and their kind;
    /// `None` where it is part of something long.
    fn joined_start(&self, start: usize) -> Option<usize> {
        let left = self.bytes.get(start.saturating_sub(JOINED)..start).unwrap_or_default();
        let is_part = |byte: &&u8| is_token(**byte) || is_joint(**byte);
        let length = left.iter().rev().take_while(is_part).count();
        if length == 0 {
            return Some(start);
        }
        let begin = escape::token_start(self.bytes, start - length).min(start);
        (length < JOINED || begin == 0).then_some(begin)
    }

    /// Looks for known prefixes at the short runs before a long one.
    fn prefixed_between(&mut self, begin: usize, start: usize) -> bool {
        let mut any = false;
        for at in begin..start {
            if at == begin || is_joint(before(self.bytes, at)) {
                any |= self.prefixed(at);
            }
        }
        any
    }

    fn marked(&mut self, mark: Mark, place: &Range<usize>) {
        match mark {
            Mark::Name => self.named(place),
            Mark::Pem => self.pem(place.start, place.end),
            Mark::Url => self.url(place.end),
            Mark::Bearer => self.bearer(place.end),
            Mark::Basic => self.basic(place.end),
            Mark::Identified => self.identified(place.end),
            Mark::Signature => self.signature(place.start, place.end),
            Mark::User => self.user_flag(place.end),
            Mark::Flag => self.password_flag(place.end),
            Mark::PasswordFile => self.password_file(place.end),
            Mark::Letter => self.letter_flag(place.end.saturating_sub(2), place.end),
            Mark::ShareUser => self.share_user(place.end),
            Mark::Curl => self.curl(place.end - 1),
            Mark::Net => self.net(place.end),
            Mark::Piped => self.piped(place.start),
            Mark::SecureString => self.secure_string(place.end),
            Mark::Oracle => self.oracle(place.end),
            Mark::Cookies => self.cookies(place.end),
            Mark::Inner(rule) => self.within(rule, place),
            Mark::Escape => {}
        }
    }

    /// What the installation's own patterns find.
    fn custom(&mut self) {
        for (rule, span) in custom::find(self.rules, self.bytes) {
            self.push(rule, whole_characters(self.bytes, span));
        }
    }

    /// Keeps a finding, unless it is allowed or a mask of ours.
    pub(crate) fn push(&mut self, rule: RuleId, span: Range<usize>) {
        let Some(value) = self.bytes.get(span.clone()) else { return };
        let shown = self.rules.rule(rule).is_some_and(|rule| rule.excepts(value));
        if value.is_empty() || shown || self.rules.allows(value) || self.is_masked(&span) {
            return;
        }
        self.found.push(Finding { rule, tier: self.rules.tier(rule), span });
    }

    /// Keeps what the product's code for an anchor has found.
    pub(crate) fn push_anchor(&mut self, anchor: Anchor, span: Range<usize>) {
        if let Some(rule) = self.rules.anchored(anchor) {
            self.push(rule, span);
        }
    }

    /// Whether this is in a mask of ours, or has one in it.
    fn is_masked(&self, span: &Range<usize>) -> bool {
        let within = self.bytes.get(span.clone()).unwrap_or_default();
        if has(within, MASK) {
            return true;
        }
        let left = self.bytes.get(..span.start).unwrap_or_default();
        let is_label = |b: &&u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-:".contains(b);
        let label = left.iter().rev().take(80).take_while(is_label).count();
        let opened = self.bytes.get((span.start - label).saturating_sub(1)..).unwrap_or_default();
        label >= MASK.len() - 1 && opened.starts_with(MASK)
    }
}

/// How far to the left of a long run its token may begin.
const JOINED: usize = 48;

/// What joins the parts of a token that has several.
fn is_joint(byte: u8) -> bool {
    class(byte) == JOINT
}

/// What our masks begin with.
const MASK: &[u8] = b"[secret:";

/// The span with the characters that it cuts.
fn whole_characters(bytes: &[u8], span: Range<usize>) -> Range<usize> {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let (mut start, mut end) = (span.start, span.end);
    while start > 0 && continues(start) {
        start -= 1;
    }
    while continues(end) {
        end += 1;
    }
    start..end
}

/// The surest of what overlaps, then the longest, then that of the earlier rule.
fn disjoint(mut found: Vec<Finding>) -> Vec<Finding> {
    if found.len() < 2 {
        return found;
    }
    found.sort_by_key(|one| one.span.start);
    let mut kept = Vec::with_capacity(found.len());
    let mut cluster: Vec<Finding> = Vec::new();
    let mut end = 0;
    for one in found {
        if one.span.start >= end {
            settle(&mut cluster, &mut kept);
        }
        end = end.max(one.span.end);
        cluster.push(one);
    }
    settle(&mut cluster, &mut kept);
    kept
}

/// Keeps what may stay of findings that overlap.
fn settle(cluster: &mut Vec<Finding>, kept: &mut Vec<Finding>) {
    if cluster.len() < 2 {
        return kept.append(cluster);
    }
    cluster
        .sort_by_key(|one| (Reverse(one.tier), Reverse(one.span.len()), one.rule, one.span.start));
    let mut stay: BTreeMap<usize, Finding> = BTreeMap::new();
    for one in cluster.drain(..) {
        let before = stay.range(..one.span.end).next_back();
        if before.is_none_or(|(_, before)| before.span.end <= one.span.start) {
            stay.insert(one.span.start, one);
        }
    }
    kept.extend(stay.into_values());
}

/// The byte at a place; nothing stands outside.
pub(crate) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The byte before a place.
pub(crate) fn before(bytes: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(0, |at| byte(bytes, at))
}

/// Whether a short text stands in another.
fn has(text: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return true };
    memchr::memchr_iter(*first, text)
        .any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(word)))
}

/// What tokens are made of.
pub(crate) fn is_token(byte: u8) -> bool {
    class(byte) == TOKEN
}

/// What a byte is to a token, read off a table: no other question is asked as often.
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

const TOKEN: u8 = 1;
const JOINT: u8 = 2;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut rest = classes.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((class, more)) = rest.split_first_mut() {
        *class = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => TOKEN,
            b'.' | b'/' | b'+' | b':' | b'$' | b'!' | b'~' => JOINT,
            _ => 0,
        };
        byte = byte.wrapping_add(1);
        rest = more;
    }
    classes
};

#[cfg(test)]
mod tests;
