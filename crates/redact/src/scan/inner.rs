//! Tokens that begin like anything, and are known by a text within them.

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{Scan, escape, is_token, strength};
use crate::rule::{Rule, RuleId};

/// How far a token reaches to the left and to the right of its inner text.
const LEFT: usize = 160;
const RIGHT: usize = 320;

/// The inner texts of all rules.
#[derive(Debug)]
pub(crate) struct Inner {
    packed: Option<Searcher>,
    /// Where the processor has no vectors that the other knows.
    plain: Option<AhoCorasick>,
    rules: Vec<(RuleId, Arc<Rule>)>,
}

impl Inner {
    pub(crate) fn new(list: &[Arc<Rule>]) -> Self {
        let mut texts = Vec::new();
        let mut rules = Vec::new();
        for (rule, id) in list.iter().zip((0..u16::MAX).map(RuleId)) {
            for text in &rule.inner {
                texts.push(text.as_str());
                rules.push((id, Arc::clone(rule)));
            }
        }
        let mut config = Config::new();
        let mut builder = config.match_kind(MatchKind::LeftmostFirst).builder();
        let packed = builder.extend(&texts).build();
        let plain = || AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(&texts).ok();
        let plain = if packed.is_none() && !texts.is_empty() { plain() } else { None };
        Self { packed, plain, rules }
    }

    /// Tells of every place where such a text stands.
    fn each(&self, bytes: &[u8], mut tell: impl FnMut(RuleId, &Rule, Range<usize>)) {
        let packed = self.packed.iter().flat_map(|finder| finder.find_iter(bytes));
        let plain = self.plain.iter().flat_map(|finder| finder.find_iter(bytes));
        for found in packed.chain(plain) {
            if let Some((id, rule)) = self.rules.get(found.pattern().as_usize()) {
                tell(*id, rule, found.range());
            }
        }
    }
}

impl Scan<'_> {
    /// Looks around every text that stands within tokens.
    pub(super) fn inner(&mut self) {
        let inner = Arc::clone(&self.rules.inner);
        inner.each(self.bytes, |id, rule, place| {
            if let Some(span) = self.around(rule, &place) {
                self.push(id, span);
            }
        });
    }

    fn around(&self, rule: &Rule, place: &Range<usize>) -> Option<Range<usize>> {
        let from = place.start.saturating_sub(LEFT);
        let window = self.bytes.get(from..(place.end + RIGHT).min(self.bytes.len()))?;
        let span = rule.shape.as_ref()?.around(window, place.start - from)?;
        let span = span.start + from..span.end + from;
        let value = self.bytes.get(span.clone())?;
        // Telegram's addresses have a token right after `bot`.
        let called = self.bytes.get(..span.start)?.ends_with(b"/bot");
        let begins = called || escape::begins(self.bytes, span.start);
        let ends = rule.open || !self.bytes.get(span.end).is_some_and(|byte| is_token(*byte));
        let random = rule.entropy <= 0.0 || strength::entropy(value) >= rule.entropy;
        (begins && ends && random && !strength::is_placeholder(value)).then_some(span)
    }
}
