//! Tokens that are known by what they begin with.

use std::sync::Arc;

use memchr::memmem;

use super::strength;
use super::{Scan, before, is_token};
use crate::rule::{Rule, RuleId};

/// The prefixes of all rules, found by the first bytes of a run.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Pairs of bytes with which some prefix begins: a bit each.
    pairs: Box<[u64; 1024]>,
    /// By first byte, the longest prefix first.
    by_first: Vec<Vec<Entry>>,
    /// Prefixes of which less than two bytes are in the run: `SG.`, `1//0`.
    joined: Vec<Entry>,
    /// The bytes that stand before the run in one of those.
    joints: [u64; 4],
    /// Prefixes that are addresses, each after its scheme.
    urls: Vec<(Box<[u8]>, Entry)>,
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
            pairs: Box::new([0; 1024]),
            by_first: (0..256).map(|_| Vec::new()).collect(),
            joined: Vec::new(),
            joints: [0; 4],
            urls: Vec::new(),
        };
        for (index, rule) in list.iter().enumerate() {
            let id = RuleId(u16::try_from(index).unwrap_or(u16::MAX));
            for prefix in &rule.prefixes {
                prefixes.add(prefix.as_bytes(), rule, id);
            }
        }
        let longest = |entry: &Entry| std::cmp::Reverse(entry.outside.len() + entry.inside.len());
        prefixes.by_first.iter_mut().for_each(|entries| entries.sort_by_key(longest));
        prefixes.joined.sort_by_key(longest);
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
        if let [first, second, ..] = *inside {
            let pair = pair(first, second);
            if let Some(word) = self.pairs.get_mut(pair / 64) {
                *word |= 1 << (pair % 64);
            }
            if let Some(entries) = self.by_first.get_mut(usize::from(first)) {
                entries.push(entry);
            }
        } else if let Some(last) = outside.last() {
            if let Some(word) = self.joints.get_mut(usize::from(*last) / 64) {
                *word |= 1 << (*last % 64);
            }
            self.joined.push(entry);
        }
    }

    /// The prefixes with which an address begins, after its scheme; and how long each is.
    pub(super) fn urls(&self, address: &[u8]) -> impl Iterator<Item = (&Entry, usize)> {
        let urls = self.urls.iter();
        let known = urls.filter(move |(prefix, _)| address.starts_with(prefix));
        known.map(|(prefix, entry)| (entry, prefix.len()))
    }

    /// What may begin at this place, the longest prefix first.
    fn at<'a>(&'a self, bytes: &'a [u8], start: usize) -> impl Iterator<Item = &'a Entry> {
        let inside = match bytes.get(start..) {
            Some([first, second, ..]) => {
                let pair = pair(*first, *second);
                let known =
                    self.pairs.get(pair / 64).is_some_and(|word| word >> (pair % 64) & 1 == 1);
                known.then(|| self.by_first.get(usize::from(*first))).flatten()
            }
            _ => None,
        };
        let last = before(bytes, start);
        let joint = self.joints.get(usize::from(last) / 64);
        let joint = joint.is_some_and(|word| word >> (last % 64) & 1 == 1);
        let joined = joint.then_some(&self.joined);
        let all = inside.into_iter().flatten().chain(joined.into_iter().flatten());
        all.filter(move |entry| entry.stands(bytes, start))
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

impl Entry {
    fn stands(&self, bytes: &[u8], start: usize) -> bool {
        let (before, after) = bytes.split_at_checked(start).unwrap_or_default();
        after.starts_with(&self.inside) && before.ends_with(&self.outside)
    }
}

impl Scan<'_> {
    /// Looks for a token of a known prefix whose run begins here.
    pub(crate) fn prefixed(&mut self, start: usize) -> bool {
        let prefixes = Arc::clone(&self.rules.prefixes);
        let mut any = false;
        for entry in prefixes.at(self.bytes, start) {
            let from = start - entry.outside.len();
            any |= self.token(entry, start + entry.inside.len(), from);
        }
        any
    }

    /// Keeps a token whose prefix ends at `body`, if the rest of it is right.
    pub(super) fn token(&mut self, entry: &Entry, body: usize, from: usize) -> bool {
        let end = self.token_end(entry, body);
        if let Some(end) = end {
            self.push(entry.id, from..end);
        }
        end.is_some()
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
