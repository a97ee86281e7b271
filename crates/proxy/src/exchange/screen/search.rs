//! Looks for secrets in bodies. What a conversation repeats is looked through once.

use std::ops::Range;
use std::sync::Arc;

use redact::rule::Rules;
use redact::scan::Finding;
use wire::ask::Item;

use super::known::{Known, Name};

/// A body up to this length is looked through whole: hashing its items would cost as much.
const SHORT: usize = 16 << 10;
/// So are items that are no longer.
const SHORT_ITEM: usize = 256;

/// More findings of one item are not remembered.
const MOST: usize = 64;

/// Looks for secrets.
#[derive(Clone)]
pub struct Search {
    /// By these rules.
    pub rules: Arc<Rules>,
    known: Arc<Known>,
    key: [u8; 32],
}

/// For whom something is looked for, and where: what is known of an item holds only there.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// The key's id.
    pub key_id: &'s str,
    /// The orders that hold for it.
    pub orders: usize,
    /// The conversation.
    pub conversation: &'s str,
}

/// A piece of a body.
struct Piece {
    range: Range<usize>,
    /// Its name where it is an item.
    name: Option<Name>,
}

impl Search {
    /// With these rules; `key` is for the names of items.
    pub fn new(rules: Arc<Rules>, key: [u8; 32]) -> Self {
        Self { rules, known: Arc::default(), key }
    }

    /// With other rules, and what is known by now.
    #[must_use]
    pub fn with(&self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self.clone() }
    }

    /// What is found in a body whose items stand at these places.
    pub fn find(&self, body: &[u8], items: &[Item], scope: Scope<'_>) -> Vec<Finding> {
        if body.len() <= SHORT {
            return self.rules.scan(body);
        }
        self.find_in_pieces(body, items, &self.scope_key(scope))
    }

    /// What is found in these parts of a body.
    pub fn find_in_parts(&self, body: &[u8], parts: &[Range<usize>]) -> Vec<Finding> {
        let in_part = |part: &Range<usize>| {
            let found = self.rules.scan(body.get(part.clone()).unwrap_or_default());
            let begin = part.start;
            found.into_iter().map(move |found| moved(&found, begin))
        };
        parts.iter().flat_map(in_part).collect()
    }

    fn find_in_pieces(&self, body: &[u8], items: &[Item], key: &[u8; 32]) -> Vec<Finding> {
        let pieces = pieces(body, items, key);
        let names: Vec<Name> = pieces.iter().filter_map(|piece| piece.name).collect();
        let mut known = self.known.look(&names).into_iter();
        let (mut findings, mut fresh) = (Vec::new(), Vec::new());
        for Piece { range, name } in pieces {
            let begin = range.start;
            let text = body.get(range).unwrap_or_default();
            let found = name.and_then(|_| known.next()?).unwrap_or_else(|| {
                let found: Arc<[Finding]> = self.rules.scan(text).into();
                // What is full of secrets is looked through again, rather than remembered.
                let name = name.filter(|_| found.len() <= MOST);
                fresh.extend(name.map(|name| (name, found.clone())));
                found
            });
            findings.extend(found.iter().map(|found| moved(found, begin)));
        }
        if !fresh.is_empty() {
            self.known.note(fresh);
        }
        findings
    }

    fn scope_key(&self, scope: Scope<'_>) -> [u8; 32] {
        let mut key = blake3::Hasher::new_keyed(&self.key);
        key.update(&self.rules.version().to_le_bytes());
        key.update(&scope.orders.to_le_bytes());
        for text in [scope.key_id, scope.conversation] {
            key.update(&text.len().to_le_bytes()).update(text.as_bytes());
        }
        *key.finalize().as_bytes()
    }
}

fn moved(found: &Finding, by: usize) -> Finding {
    Finding { span: found.span.start + by..found.span.end + by, ..found.clone() }
}

/// The body in pieces, in order: items that are long enough to be worth a name, and what is between.
fn pieces(body: &[u8], items: &[Item], key: &[u8; 32]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * items.len() + 1);
    let mut at = 0;
    for range in items.iter().map(|item| &item.range).filter(|range| range.len() > SHORT_ITEM) {
        if range.start < at {
            continue;
        }
        let text = body.get(range.clone()).unwrap_or_default();
        let hash = blake3::keyed_hash(key, text);
        pieces.push(Piece { range: at..range.start, name: None });
        pieces.push(Piece { range: range.clone(), name: hash.as_bytes().first_chunk().copied() });
        at = range.end;
    }
    pieces.push(Piece { range: at..body.len(), name: None });
    pieces
}
