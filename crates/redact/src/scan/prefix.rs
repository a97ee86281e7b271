//! Tokens that are known by what they begin with.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use memchr::memmem;

use super::{Scan, before, is_token};
use super::{escape, strength};
use crate::rule::fnv::Fnv;
use crate::rule::{Rule, RuleId};

/// Hashes what is short.
type Quick = BuildHasherDefault<Fnv>;

fn key(bytes: [u8; 3]) -> u32 {
    let [a, b, c] = bytes;
    u32::from_be_bytes([0, a, b, c])
}

/// The prefixes of all rules, found by the first bytes of a run.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Which first three bytes some prefix has: what has others is put aside at once.
    firsts: Bits,
    /// By the first three bytes, the longest prefix first; a shorter prefix has 0 for the third.
    by_first: HashMap<u32, Vec<Entry>, Quick>,
    /// Which two bytes stand before the run in those of `joined`.
    lasts: Bits,
    /// Prefixes of which less than two bytes are in the run (`SG.`, `1//0`), by the two bytes before
    /// it; where there is but one, the other is 0.
    joined: HashMap<u32, Vec<Entry>, Quick>,
    /// Prefixes that are addresses, each after its scheme.
    urls: Vec<(Box<[u8]>, Entry)>,
}

/// A set of short texts that may say yes without having one.
#[derive(Debug)]
pub(crate) struct Bits(Box<[u64; 1024]>);

impl Default for Bits {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Bits {
    /// Adds the first three bytes of a text; all that begin with it where it has but two.
    pub(crate) fn add_all(&mut self, text: &[u8]) {
        let [first, second, rest @ ..] = text else { return };
        let thirds = rest.first().map_or(0..=u8::MAX, |third| *third..=*third);
        thirds.for_each(|third| self.add([*first, *second, third]));
    }

    fn add(&mut self, three: [u8; 3]) {
        let at = Self::place(key(three));
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn may_have(&self, three: [u8; 3]) -> bool {
        self.may_have_key(key(three))
    }

    /// The same of three bytes as one number, the first of them highest.
    pub(crate) fn may_have_key(&self, key: u32) -> bool {
        let at = Self::place(key);
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn place(key: u32) -> usize {
        usize::try_from(key.wrapping_mul(0x9e37_79b1) >> 16).unwrap_or(0)
    }
}

/// A prefix: what of it stands before the run of token bytes, and what in it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    outside: Box<[u8]>,
    inside: Box<[u8]>,
    rule: Arc<Rule>,
    id: RuleId,
}

impl Prefixes {
    pub(crate) fn new(list: &[Arc<Rule>]) -> Self {
        let mut prefixes = Self {
            firsts: Bits::default(),
            by_first: HashMap::default(),
            lasts: Bits::default(),
            joined: HashMap::default(),
            urls: Vec::new(),
        };
        for (index, rule) in list.iter().enumerate() {
            let id = RuleId(u16::try_from(index).unwrap_or(u16::MAX));
            for prefix in &rule.prefixes {
                prefixes.add(prefix.as_bytes(), rule, id);
            }
        }
        let longest = |entry: &Entry| std::cmp::Reverse(entry.outside.len() + entry.inside.len());
        prefixes.by_first.values_mut().for_each(|entries| entries.sort_by_key(longest));
        prefixes.joined.values_mut().for_each(|entries| entries.sort_by_key(longest));
        prefixes
    }

    fn add(&mut self, prefix: &[u8], rule: &Arc<Rule>, id: RuleId) {
        let cut = prefix.iter().rposition(|byte| !is_token(*byte)).map_or(0, |at| at + 1);
        let Some((outside, inside)) = prefix.split_at_checked(cut) else { return };
        let entry =
            Entry { outside: outside.into(), inside: inside.into(), rule: Arc::clone(rule), id };
        let after_scheme = memmem::find(prefix, b"://").map_or(0, |at| at + 3);
        if let Some(address) = prefix.get(after_scheme..).filter(|rest| rest.contains(&b'/')) {
            self.urls.push((address.into(), entry.clone()));
        }
        if let [first, second, ref rest @ ..] = *inside {
            let thirds = rest.first().map_or(0..=u8::MAX, |third| *third..=*third);
            thirds.for_each(|third| self.firsts.add([first, second, third]));
            let third = rest.first().copied().unwrap_or(0);
            self.by_first.entry(key([first, second, third])).or_default().push(entry);
        } else if let Some(last) = outside.last() {
            let seconds = match outside {
                [.., second, _] => *second..=*second,
                _ => 0..=u8::MAX,
            };
            seconds.for_each(|second| self.lasts.add([second, *last, 0]));
            let second = outside.iter().rev().nth(1).copied().unwrap_or(0);
            self.joined.entry(key([0, second, *last])).or_default().push(entry);
        }
    }

    /// The prefixes with which an address begins, after its scheme; and how long each is.
    pub(super) fn urls(&self, address: &[u8]) -> impl Iterator<Item = (&Entry, usize)> {
        let urls = self.urls.iter();
        let known = urls.filter(move |(prefix, _)| address.starts_with(prefix));
        known.map(|(prefix, entry)| (entry, prefix.len()))
    }

    /// Whether anything may begin at this place: what most runs are put aside by.
    fn may_begin(&self, bytes: &[u8], start: usize) -> bool {
        let first = |three: &[u8; 3]| self.firsts.may_have(*three);
        bytes.get(start..).and_then(<[u8]>::first_chunk).is_some_and(first) || {
            let second = before(bytes, start.saturating_sub(1));
            self.lasts.may_have([second, before(bytes, start), 0])
        }
    }

    /// What may begin at this place, the longest prefix first.
    fn at(&self, bytes: &[u8], start: usize) -> [Option<&Vec<Entry>>; 4] {
        let first = bytes.get(start..).and_then(<[u8]>::first_chunk).copied();
        let first = first.filter(|three| self.firsts.may_have(*three));
        let inside = first.map(|[a, b, c]| [[a, b, c], [a, b, 0]]);
        let last = [before(bytes, start.saturating_sub(1)), before(bytes, start)];
        let [second, last] = last;
        let joint = self.lasts.may_have([second, last, 0]);
        let joined = joint.then_some([[0, second, last], [0, 0, last]]);
        let [long, short] =
            inside.map_or([None; 2], |two| two.map(|one| self.by_first.get(&key(one))));
        let [wide, one] = joined.map_or([None; 2], |two| two.map(|one| self.joined.get(&key(one))));
        [long, short, wide, one]
    }
}

impl Entry {
    /// How long the prefix's scheme is, where it stands before this place: it is part of what an
    /// address gives away.
    pub(super) fn scheme(&self, bytes: &[u8], start: usize) -> usize {
        let length = memmem::find(&self.outside, b"://").map_or(0, |at| at + 3);
        let scheme = self.outside.get(..length).unwrap_or_default();
        let left = bytes.get(..start).unwrap_or_default();
        if left.ends_with(scheme) { length } else { 0 }
    }

    fn stands(&self, bytes: &[u8], start: usize) -> bool {
        bytes.get(start..).is_some_and(|after| after.starts_with(&self.inside))
            && bytes.get(..start).is_some_and(|before| before.ends_with(&self.outside))
            && (self.outside.is_empty() || escape::begins(bytes, start - self.outside.len()))
    }
}

impl Scan<'_> {
    /// Looks for a token of a known prefix whose run begins here.
    pub(crate) fn prefixed(&mut self, start: usize) -> bool {
        let prefixes = &self.rules.prefixes;
        if !prefixes.may_begin(self.bytes, start) {
            return false;
        }
        let mut any = false;
        for entry in prefixes.at(self.bytes, start).into_iter().flatten().flatten() {
            if !entry.stands(self.bytes, start) {
                continue;
            }
            let from = start - entry.outside.len();
            any |= self.token(entry, start + entry.inside.len(), from);
        }
        any
    }

    /// Keeps a token whose prefix ends at `body`, if the rest of it is right.
    pub(super) fn token(&mut self, entry: &Entry, body: usize, from: usize) -> bool {
        let Some(end) = self.token_end(entry, body) else {
            return false;
        };
        self.push(entry.id, from..end);
        true
    }

    fn token_end(&self, entry: &Entry, body: usize) -> Option<usize> {
        let rule = &entry.rule;
        let rest = self.bytes.get(body..)?;
        let length = rule.shape.as_ref().map_or(Some(0), |shape| shape.length(rest))?;
        let (matched, after) = rest.split_at_checked(length)?;
        if !rule.open && after.first().is_some_and(|byte| is_token(*byte)) {
            return None;
        }
        match rule.checksum {
            Some(checksum) => checksum.agrees(&entry.prefix(), matched).then_some(())?,
            None => (!strength::is_placeholder(matched)).then_some(())?,
        }
        (rule.entropy <= 0.0 || strength::entropy(matched) >= rule.entropy).then_some(())?;
        Some(body + length)
    }
}

impl Entry {
    fn prefix(&self) -> Vec<u8> {
        [&self.outside[..], &self.inside[..]].concat()
    }
}
