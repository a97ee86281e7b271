//! Finds secrets in bytes: a JSON body, a part of one, or plain text.
//!
//! Tokens first: one fast pass finds runs of token bytes, and nearly all of them are put aside
//! by their first bytes; another finds the few places that a name or a structure marks. Only
//! there is anything looked at closely, and what is looked at is bounded.
//!
//! In JSON, and in JSON inside JSON, an escape like `\n` stands where the text has a line break:
//! it parts tokens as the line break does, at any depth.

pub(crate) mod checksum;
pub(crate) mod escape;
pub(crate) mod prefix;
pub(crate) mod runs;
pub(crate) mod strength;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::rule::{RuleId, Rules, Tier};

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
        let mut found = match escape::decoded(bytes) {
            None => Scan::over(self, bytes),
            Some(copy) => {
                let mut found = Scan::over(self, &copy.bytes);
                found.iter_mut().for_each(|one| one.span = copy.span(&one.span));
                found
            }
        };
        found.retain(|one| !one.span.is_empty());
        disjoint(found)
    }

    /// The name of the best rule for this value alone, for the label of a mask; `value` where
    /// none knows it.
    pub fn label(&self, value: &[u8]) -> &str {
        let found = Scan::over(self, value);
        let whole = found.iter().filter(|one| one.span == (0..value.len()));
        whole
            .max_by_key(|one| (one.tier, Reverse(one.rule)))
            .map_or("value", |one| self.name(one.rule))
    }
}

/// One pass over one text.
pub(crate) struct Scan<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) bytes: &'a [u8],
    found: Vec<Finding>,
}

impl<'a> Scan<'a> {
    fn over(rules: &'a Rules, bytes: &'a [u8]) -> Vec<Finding> {
        let mut scan = Self { rules, bytes, found: Vec::new() };
        runs::each(bytes, |run| scan.run(run));
        scan.custom();
        scan.found
    }

    fn run(&mut self, run: Range<usize>) {
        let start = escape::token_start(self.bytes, run.start).min(run.end);
        self.prefixed(start);
    }

    /// What the installation's own patterns find.
    fn custom(&mut self) {
        for custom in &self.rules.custom {
            for groups in custom.pattern.captures_iter(self.bytes) {
                let secret = groups.get(1).or_else(|| groups.get(0));
                if let Some(secret) = secret {
                    self.push(custom.rule, secret.range());
                }
            }
        }
    }

    /// Keeps a finding, unless it is allowed or a mask of ours.
    pub(crate) fn push(&mut self, rule: RuleId, span: Range<usize>) {
        let Some(value) = self.bytes.get(span.clone()) else { return };
        if self.rules.allows(value) {
            return;
        }
        self.found.push(Finding { rule, tier: self.rules.tier(rule), span });
    }
}

/// The surest of what overlaps, then the longest, then that of the earlier rule.
fn disjoint(mut found: Vec<Finding>) -> Vec<Finding> {
    if found.len() < 2 {
        return found;
    }
    found.sort_by_key(|one| (Reverse(one.tier), Reverse(one.span.len()), one.rule, one.span.start));
    let mut kept: BTreeMap<usize, Finding> = BTreeMap::new();
    for one in found {
        let before = kept.range(..one.span.end).next_back();
        if before.is_none_or(|(_, before)| before.span.end <= one.span.start) {
            kept.insert(one.span.start, one);
        }
    }
    kept.into_values().collect()
}

/// The byte at a place; nothing stands outside.
pub(crate) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The byte before a place.
pub(crate) fn before(bytes: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(0, |at| byte(bytes, at))
}

/// What tokens are made of.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
