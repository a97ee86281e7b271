//! One request while it is looked through: what is found, what is done about it, what goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use archive::record;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use redact::headers::is_credential;
use redact::mask::{Known, Masks};
use redact::rule::{RuleId, Tier};
use redact::scan::Finding;

use super::guard::Guard;
use super::known::Memory;
use super::place::{Place, Request};
use super::policy::Orders;
use super::search::Scope;
use super::texts::Texts;
use crate::config::screen::Action;
use crate::exchange::refusal::{Refusal, Word};

/// More places of one request are not named in its refusal.
const NAMED: usize = 3;
/// No secret is shorter.
const SHORTEST: usize = 8;

/// What was found in a request, and what became of it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// As records have it.
    pub findings: Vec<record::Finding>,
    /// Which masks stand for which values in what goes on; none: nothing was masked.
    pub masks: Option<Arc<Known>>,
    /// Headers or the address were masked.
    pub head_changed: bool,
    /// Something of the body was not looked through.
    pub unscanned: bool,
    /// Why it must not go on.
    pub refusal: Option<Refusal>,
}

/// Looks through one request.
pub(super) struct Screening<'s> {
    guard: &'s Guard,
    orders: &'s Orders,
    masks: Masks,
    /// What the conversation remembers; nothing where there is none.
    memory: Option<Memory<'s>>,
    counts: BTreeMap<(RuleId, Tier, Action), u64>,
    blocked: Vec<String>,
    head_changed: bool,
}

impl<'s> Screening<'s> {
    /// Begins, with the masks that are known already.
    pub(super) fn new(
        guard: &'s Guard,
        orders: &'s Orders,
        masks: Masks,
        memory: Option<Memory<'s>>,
    ) -> Self {
        let (counts, blocked) = (BTreeMap::new(), Vec::new());
        Self { guard, orders, masks, memory, counts, blocked, head_changed: false }
    }

    /// Looks through headers and address.
    pub(super) fn head(&mut self, headers: &mut HeaderMap, uri: &mut Uri) {
        self.each_text(headers, uri, Self::text);
    }

    /// Masks in headers and address what the body was found to hold.
    pub(super) fn again(&mut self, headers: &mut HeaderMap, uri: &mut Uri) {
        if !self.masks.is_empty() {
            self.each_text(headers, uri, |screening, text, _| screening.masked(text, &[]));
        }
    }

    fn each_text(
        &mut self,
        headers: &mut HeaderMap,
        uri: &mut Uri,
        look: impl Fn(&mut Self, &[u8], &dyn Fn() -> String) -> Option<Vec<u8>>,
    ) {
        for (name, value) in headers.iter_mut() {
            if value.len() < SHORTEST || is_credential(name.as_str()) {
                continue;
            }
            let masked = look(self, value.as_bytes(), &|| format!("the header {name}"));
            if let Some(masked) = masked.and_then(|masked| HeaderValue::from_bytes(&masked).ok()) {
                *value = masked;
                self.head_changed = true;
            }
        }
        let Some(query) = uri.query() else { return };
        let masked = look(self, query.as_bytes(), &|| "the address".to_owned());
        if let Some(masked) = masked.and_then(|masked| with_query(uri, &masked)) {
            *uri = masked;
            self.head_changed = true;
        }
    }

    /// Looks through a body; gives it with masks, where there is something to mask.
    pub(super) async fn body(
        &mut self,
        body: &Bytes,
        texts: &Texts<'_>,
        scope: Scope<'_>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let findings = match texts {
            Texts::Items(items) => self.guard.search.find(body, items, scope).await?,
            Texts::Parts(parts) => self.guard.search.find_in_parts(body, parts),
        };
        let again = self.memory.as_ref().map(|memory| memory.find(body)).unwrap_or_default();
        if findings.is_empty() && again.is_empty() && self.masks.is_empty() {
            return Ok(None);
        }
        let items = match texts {
            Texts::Items(items) => items,
            Texts::Parts(_) => &[][..],
        };
        let request = Request { body, items, rules: &self.guard.search.rules };
        let place = |span: &Range<usize>| request.place(span);
        Ok(self.judge(body, (findings, again), &place))
    }

    /// Ends: what was found, and whether it may go on. The masks are for the next of a socket.
    pub(super) fn verdict(self) -> (Verdict, Masks) {
        let rules = &self.guard.search.rules;
        let findings = self.counts.iter().map(|((rule, tier, action), count)| record::Finding {
            rule: rules.name(*rule).to_owned(),
            tier: tier.as_str().to_owned(),
            action: action.as_str().to_owned(),
            count: *count,
        });
        let verdict = Verdict {
            findings: findings.collect(),
            masks: (!self.masks.is_empty()).then(|| self.masks.known()),
            head_changed: self.head_changed,
            unscanned: false,
            refusal: refusal(&self.blocked),
        };
        (verdict, self.masks)
    }

    fn text(&mut self, text: &[u8], place: &dyn Fn() -> String) -> Option<Vec<u8>> {
        let findings = self.guard.search.rules.scan(text);
        if findings.is_empty() && self.masks.is_empty() {
            return None;
        }
        let place = |_: &Range<usize>| Place { words: place(), file: None };
        self.judge(text, (findings, Vec::new()), &place)
    }

    fn masked(&mut self, text: &[u8], spans: &[Range<usize>]) -> Option<Vec<u8>> {
        let rules = &self.guard.search.rules;
        let label = |value: &[u8]| rules.label(value).to_owned();
        let masked = self.masks.mask(&label, text, spans)?;
        if let Some(memory) = &mut self.memory {
            memory.note(&self.masks, &masked);
        }
        Some(masked.body)
    }

    /// Does what is ordered about findings, and masks what was masked before. Where a request is refused its record has masks in the
    /// place of what it is refused for.
    fn judge(
        &mut self,
        text: &[u8],
        (findings, again): (Vec<Finding>, Vec<Range<usize>>),
        place: &dyn Fn(&Range<usize>) -> Place,
    ) -> Option<Vec<u8>> {
        let mut spans = Vec::new();
        for finding in findings {
            let action = self.orders.action(&finding);
            let value = text.get(finding.span.clone()).unwrap_or_default();
            if action == Action::Off || self.guard.allows(value, &|| place(&finding.span).file) {
                continue;
            }
            *self.counts.entry((finding.rule, finding.tier, action)).or_default() += 1;
            match action {
                Action::Off | Action::Alert => {}
                Action::Mask => spans.push(finding.span),
                Action::Block => {
                    if self.blocked.len() < NAMED {
                        let words = place(&finding.span).words;
                        self.blocked.push(self.guard.described(&finding, value, &words));
                    }
                    spans.push(finding.span);
                }
            }
        }
        let is_new = |span: &Range<usize>| !spans.iter().any(|known| overlap(known, span));
        let again: Vec<_> = again.into_iter().filter(is_new).collect();
        spans.extend(again);
        spans.sort_unstable_by_key(|span| span.start);
        self.masked(text, &spans)
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn refusal(blocked: &[String]) -> Option<Refusal> {
    if blocked.is_empty() {
        return None;
    }
    let message = format!(
        "This request holds a secret that must not leave: {}. Take it out of the conversation, or begin a new one, and replace the secret where it is used: it has been in a prompt.",
        blocked.join("; ")
    );
    Some(Refusal::new(Word::SecretBlocked, message))
}

/// The same address with another query.
fn with_query(uri: &Uri, query: &[u8]) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    // Brackets are no characters of a query (RFC 3986 §3.4).
    let query = String::from_utf8_lossy(query).replace('[', "%5B").replace(']', "%5D");
    parts.path_and_query = Some(format!("{}?{query}", uri.path()).parse().ok()?);
    Uri::from_parts(parts).ok()
}
