//! One request while it is looked through: what is found, what is done about it, what goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use archive::record;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
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
/// What records call a value that was masked before, where no rule finds it now.
const SEEN_BEFORE: &str = "seen-before";

/// Headers by which a request is framed and read: they hold no secret, and must stay as they are.
const FRAMING: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What was found in a request, and what became of it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// As records have it.
    pub findings: Vec<record::Finding>,
    /// Of them, those that were not told before in this conversation.
    pub fresh: Vec<Fresh>,
    /// Which masks stand for which values in this request, and before it in its socket; none: there
    /// are no masks.
    pub masks: Option<Arc<Known>>,
    /// Something of this request was masked.
    pub is_masked: bool,
    /// Headers or the address were masked.
    pub head_changed: bool,
    /// How the body was looked through.
    pub body: Looked,
    /// Why it must not go on.
    pub refusal: Option<Refusal>,
}

/// How a body was looked through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looked {
    /// Whole.
    #[default]
    Through,
    /// In part, or not at all.
    Partly,
    /// It has a secret that no mask can stand for: it is not kept.
    Unfit,
}

/// What operators are told.
#[derive(Debug)]
pub struct Fresh {
    /// What was found.
    pub finding: record::Finding,
    /// Fingerprints of the values, by which they can be allowed; not of more than some.
    pub fingerprints: Vec<String>,
}

/// Looks through one request.
pub(super) struct Screening<'s> {
    guard: &'s Guard,
    orders: &'s Orders,
    masks: Masks,
    /// What the conversation remembers; nothing where there is none.
    memory: Option<Memory<'s>>,
    counts: BTreeMap<(RuleId, Tier, Action), Count>,
    seen_before: u64,
    blocked: Vec<String>,
    is_masked: bool,
    head_changed: bool,
    unfit: bool,
}

/// How often something was found.
#[derive(Default)]
struct Count {
    all: u64,
    fresh: u64,
    fingerprints: Vec<String>,
}

/// A text that is looked at, what was found in it, and how to say where.
struct Seen<'t> {
    text: &'t [u8],
    findings: Vec<Finding>,
    /// Where values stand that were masked before, in order.
    again: Vec<Range<usize>>,
    place: &'t dyn Fn(&Range<usize>) -> Place,
}

impl<'s> Screening<'s> {
    /// Begins, with the masks that are known already.
    pub(super) fn new(
        guard: &'s Guard,
        orders: &'s Orders,
        masks: Masks,
        memory: Option<Memory<'s>>,
    ) -> Self {
        // What is masked nowhere is not masked because it was.
        let memory = memory.filter(|_| orders.may_mask);
        Self {
            guard,
            orders,
            masks,
            memory,
            counts: BTreeMap::new(),
            seen_before: 0,
            blocked: Vec::new(),
            is_masked: false,
            head_changed: false,
            unfit: false,
        }
    }

    /// Looks through headers and address.
    pub(super) fn head(&mut self, headers: &mut HeaderMap, uri: &mut Uri) {
        // At once: nearly always there is nothing.
        let all = lines(headers, uri);
        if !self.guard.search.rules.scan(&all).is_empty() || !self.masks.is_empty() {
            self.each_text(headers, uri, Self::line);
        }
    }

    /// Masks in headers and address what the body was found to hold.
    pub(super) fn again(&mut self, headers: &mut HeaderMap, uri: &mut Uri) {
        if !self.masks.is_empty() {
            self.each_text(headers, uri, |screening, _, text| screening.masked(text, &[]));
        }
    }

    fn each_text(
        &mut self,
        headers: &mut HeaderMap,
        uri: &mut Uri,
        look: impl Fn(&mut Self, &str, &[u8]) -> Option<Vec<u8>>,
    ) {
        for (name, value) in headers.iter_mut().filter(|(name, value)| may_hold(name, value)) {
            let Some(masked) = look(self, name.as_str(), value.as_bytes()) else { continue };
            match HeaderValue::from_bytes(&masked) {
                Ok(masked) => *value = masked,
                Err(_) => self.cannot_mask(&format!("the header {name}")),
            }
            self.head_changed = true;
        }
        let Some(query) = uri.query() else { return };
        let Some(masked) = look(self, "query", query.as_bytes()) else { return };
        match with_query(uri, &masked) {
            Some(masked) => *uri = masked,
            None => self.cannot_mask("the address"),
        }
        self.head_changed = true;
    }

    /// Looks through a header's value, which its name says more about.
    fn line(&mut self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let line = [name.as_bytes(), b": ", value].concat();
        let begin = line.len() - value.len();
        let found = self.guard.search.rules.scan(&line).into_iter();
        let in_value = found.filter(|finding| finding.span.start >= begin);
        let findings: Vec<_> = in_value
            .map(|finding| Finding {
                span: finding.span.start - begin..finding.span.end - begin,
                ..finding
            })
            .collect();
        if findings.is_empty() && self.masks.is_empty() {
            return None;
        }
        let words = if name == "query" { "the address" } else { name };
        let place =
            |_: &Range<usize>| Place { words: format!("{words} of the request"), file: None };
        self.judge(Seen { text: value, findings, again: Vec::new(), place: &place })
    }

    /// Looks through a body; gives it with masks, where there is something to mask.
    pub(super) fn body(
        &mut self,
        body: &[u8],
        texts: &Texts<'_>,
        scope: Scope<'_>,
    ) -> Option<Vec<u8>> {
        let (findings, items) = match texts {
            Texts::Items(items) => (self.guard.search.find(body, items, scope), *items),
            Texts::Parts(parts) => (self.guard.search.find_in_parts(body, parts), &[][..]),
        };
        let again = self.memory.as_ref().map(|memory| memory.find(body)).unwrap_or_default();
        if findings.is_empty() && again.is_empty() && self.masks.is_empty() {
            return None;
        }
        let request = Request::new(body, items, &self.guard.search.rules);
        let place = |span: &Range<usize>| request.place(span);
        self.judge(Seen { text: body, findings, again, place: &place })
    }

    /// Ends: what was found, and whether it may go on. The masks are for the next of a socket.
    pub(super) fn verdict(mut self) -> (Verdict, Masks) {
        let refusal = self.refusal();
        let mut findings: Vec<_> =
            self.counts.iter().map(|(what, count)| self.finding(*what, count.all)).collect();
        findings.extend(self.seen_before());
        let is_fresh = self.counts.iter().filter(|(_, count)| count.fresh > 0);
        let fresh = is_fresh.map(|(what, count)| Fresh {
            finding: self.finding(*what, count.fresh),
            fingerprints: count.fingerprints.clone(),
        });
        let verdict = Verdict {
            findings,
            fresh: fresh.collect(),
            masks: (!self.masks.is_empty()).then(|| self.masks.known()),
            is_masked: self.is_masked,
            head_changed: self.head_changed,
            body: if self.unfit { Looked::Unfit } else { Looked::Through },
            refusal,
        };
        (verdict, self.masks)
    }

    fn finding(&self, (rule, tier, action): (RuleId, Tier, Action), count: u64) -> record::Finding {
        record::Finding {
            rule: self.guard.search.rules.name(rule).to_owned(),
            tier: tier.as_str().to_owned(),
            action: action.as_str().to_owned(),
            count,
        }
    }

    /// Values that are masked only because they were before.
    fn seen_before(&self) -> Option<record::Finding> {
        (self.seen_before > 0).then(|| record::Finding {
            rule: SEEN_BEFORE.to_owned(),
            tier: Tier::Certain.as_str().to_owned(),
            action: Action::Mask.as_str().to_owned(),
            count: self.seen_before,
        })
    }

    /// Does what is ordered about findings, and masks what was masked before. Where a request is
    /// refused its record has masks in the place of what it is refused for.
    fn judge(&mut self, seen: Seen<'_>) -> Option<Vec<u8>> {
        let Seen { text, findings, again, place } = seen;
        let mut before = again.iter().peekable();
        let mut spans = Vec::new();
        for finding in findings {
            let action = self.orders.action(&finding);
            let value = text.get(finding.span.clone()).unwrap_or_default();
            if action == Action::Off || self.guard.allows(value, &|| place(&finding.span).file) {
                continue;
            }
            while before.next_if(|span| span.end <= finding.span.start).is_some() {}
            let is_fresh = before.peek().is_none_or(|span| span.start >= finding.span.end);
            let count = self.counts.entry((finding.rule, finding.tier, action)).or_default();
            count.all += 1;
            if is_fresh {
                count.fresh += 1;
                if count.fingerprints.len() < NAMED {
                    count.fingerprints.push(self.guard.fingerprint(value));
                }
            }
            if action == Action::Block && self.blocked.len() < NAMED {
                let words = place(&finding.span).words;
                self.blocked.push(self.guard.described(&finding, value, &words));
            }
            if action >= Action::Mask {
                spans.push(finding.span);
            }
        }
        let found = spans.len();
        let allowed = |span: &Range<usize>| {
            self.guard.allows(text.get(span.clone()).unwrap_or_default(), &|| None)
        };
        spans.extend(again.into_iter().filter(|span| !allowed(span)));
        if found == 0 {
            self.seen_before += spans.len() as u64;
        }
        self.masked(text, &spans)
    }

    /// The text with masks at these spans, and wherever a known value stands; nothing where nothing
    /// changes. What no mask can stand for must not leave.
    fn masked(&mut self, text: &[u8], spans: &[Range<usize>]) -> Option<Vec<u8>> {
        let rules = &self.guard.search.rules;
        let label = |value: &[u8]| rules.label(value).to_owned();
        let masked = self.masks.mask(&label, text, spans);
        let done = masked.as_ref().map_or(&[][..], |masked| &masked.spans);
        if !spans.iter().all(|span| is_covered(span, done)) {
            self.unfit = true;
            self.cannot_mask("the body, outside of its texts");
        }
        let masked = masked?;
        self.is_masked = true;
        if let Some(memory) = &mut self.memory {
            memory.note(&self.masks, &masked);
        }
        Some(masked.body)
    }

    fn cannot_mask(&mut self, place: &str) {
        self.blocked.push(format!("something in {place} that no mask can stand for"));
    }

    /// Why the request is refused, if it is. The words may repeat what a tool was given: with masks.
    fn refusal(&mut self) -> Option<Refusal> {
        if self.blocked.is_empty() {
            return None;
        }
        let message = format!(
            "This request holds a secret that must not leave: {}. Take it out of the conversation, or begin a new one, and replace the secret where it is used: it has been in a prompt.",
            self.blocked.join("; ")
        );
        let masked = self.masks.mask(&|_| String::new(), message.as_bytes(), &[]);
        let masked = masked.map(|masked| String::from_utf8_lossy(&masked.body).into_owned());
        Some(Refusal::new(Word::SecretBlocked, masked.unwrap_or(message)))
    }
}

/// Whether a header is looked through.
fn may_hold(name: &HeaderName, value: &HeaderValue) -> bool {
    value.len() >= SHORTEST && !FRAMING.contains(name) && !is_credential(name.as_str())
}

/// Headers that are looked through and the query, a line each.
fn lines(headers: &HeaderMap, uri: &Uri) -> Vec<u8> {
    let mut all = Vec::with_capacity(1024);
    for (name, value) in headers.iter().filter(|(name, value)| may_hold(name, value)) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            all.extend_from_slice(piece);
        }
    }
    all.extend_from_slice(b"query: ");
    all.extend_from_slice(uri.query().unwrap_or_default().as_bytes());
    all
}

/// Whether some of these spans, which are in order, reach over all of it.
fn is_covered(span: &Range<usize>, by: &[Range<usize>]) -> bool {
    let after = by.partition_point(|other| other.end <= span.start);
    by.get(after).is_some_and(|other| other.start < span.end)
}

/// The same address with another query. Brackets are no characters of one (RFC 3986 §3.4); what the
/// client wrote stays as it is.
fn with_query(uri: &Uri, query: &[u8]) -> Option<Uri> {
    let query = String::from_utf8_lossy(query);
    let mut pieces = query.split("[secret:");
    let mut written = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        written.push_str("%5Bsecret:");
        written.push_str(&piece.replacen(']', "%5D", 1));
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{}?{written}", uri.path()).parse().ok()?);
    Uri::from_parts(parts).ok()
}
