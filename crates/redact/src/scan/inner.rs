//! Tokens that begin like anything, and are known by a text within them.

use std::ops::Range;

use super::{Scan, escape, is_token, strength};
use crate::rule::{Rule, RuleId};

/// How far a token reaches to the left and to the right of its inner text.
const LEFT: usize = 160;
const RIGHT: usize = 320;

impl Scan<'_> {
    /// Looks around a text that stands within tokens of a rule.
    pub(super) fn within(&mut self, id: RuleId, place: &Range<usize>) {
        let rules = self.rules;
        if let Some(span) = rules.rule(id).and_then(|rule| self.around(rule, place)) {
            self.push(id, span);
        }
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
