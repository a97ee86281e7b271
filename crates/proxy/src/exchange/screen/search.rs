//! Looks for secrets in bodies. What a conversation repeats is looked through twice, and then known.

use std::ops::Range;
use std::sync::Arc;

use redact::rule::Rules;
use redact::scan::Finding;
use wire::ask::{Item, Part};

use super::known::{Known, Name};

/// A body up to this length is looked through whole: hashing its items would cost as much.
const SHORT: usize = 32 << 10;
/// Items that are no longer go together with their neighbours: a hash of few bytes costs more than a
/// look at them.
const SHORT_ITEM: usize = 4 << 10;
/// Short items are named together once they have so many bytes.
const RUN: usize = 16 << 10;

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
    /// Whether it is worth a name.
    may_recur: bool,
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
        // What is asked once needs no names: they begin with a conversation's second request.
        let conversation = name(key, &[]);
        if self.known.look(&[conversation]).iter().all(Option::is_none) {
            self.known.note(vec![(conversation, Arc::default())]);
            return self.rules.scan(body);
        }
        let pieces = pieces(body.len(), items);
        let text = |piece: &Piece| body.get(piece.range.clone()).unwrap_or_default();
        let recurring = pieces.iter().filter(|piece| piece.may_recur);
        let names: Vec<Name> = recurring.map(|piece| name(key, text(piece))).collect();
        let mut known = names.iter().zip(self.known.look(&names));
        let (mut findings, mut fresh) = (Vec::new(), Vec::new());
        for piece in &pieces {
            let known = if piece.may_recur { known.next() } else { None };
            let found = match known {
                Some((_, Some(found))) => found,
                Some((name, None)) => {
                    let found: Arc<[Finding]> = self.rules.scan(text(piece)).into();
                    // What is full of secrets is looked through again, rather than remembered.
                    if found.len() <= MOST {
                        fresh.push((*name, found.clone()));
                    }
                    found
                }
                None => self.rules.scan(text(piece)).into(),
            };
            findings.extend(found.iter().map(|found| moved(found, piece.range.start)));
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

fn name(key: &[u8; 32], text: &[u8]) -> Name {
    let hash = blake3::keyed_hash(key, text);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// A body of this length in pieces, in order: items, each with short ones that follow it, and what is
/// between. A run of them does not go on into another member, and ends once it is long enough: so that
/// its pieces are the same where a later request has more items.
fn pieces(length: usize, items: &[Item]) -> Vec<Piece> {
    let mut runs: Vec<(Part, Range<usize>)> = Vec::with_capacity(items.len());
    for Item { range, of } in items {
        let is_short = range.len() <= SHORT_ITEM;
        match runs.last_mut() {
            Some((part, run))
                if part == of && is_short && run.len() < RUN && run.end <= range.start =>
            {
                run.end = range.end;
            }
            _ => runs.push((*of, range.clone())),
        }
    }
    let mut pieces = Vec::with_capacity(2 * runs.len() + 1);
    let mut at = 0;
    for (_, run) in runs {
        if at <= run.start && run.len() > SHORT_ITEM {
            pieces.push(Piece { range: at..run.start, may_recur: false });
            at = run.end;
            pieces.push(Piece { range: run, may_recur: true });
        }
    }
    pieces.push(Piece { range: at..length, may_recur: false });
    pieces
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use redact::rule::Rules;
    use wire::ask::Ask;

    use super::{RUN, SHORT, Scope, Search, pieces};

    /// A request of so many items, short ones and now and then a long one, each tenth with a secret.
    fn body(items: usize) -> String {
        let item = |number: usize| {
            let words = "let the words of an item stand here; ".repeat(if number % 25 == 4 {
                200
            } else {
                number % 7 * 15 + 3
            });
            let secret =
                if number % 10 == 3 { "ghp_16C7e42F292c6912E7710c838347Ae178B4a" } else { "" };
            format!(r#"{{"role":"user","content":"{number} {words}{secret}"}}"#)
        };
        let items: Vec<_> = (0..items).map(item).collect();
        format!(
            r#"{{"instructions":"short","input":[{}],"tools":[{{"name":"x"}}]}}"#,
            items.join(",")
        )
    }

    fn recurring(body: &str) -> Vec<Range<usize>> {
        let ask = Ask::read(body.as_bytes()).unwrap();
        let pieces = pieces(body.len(), &ask.items);
        let all: Vec<_> = pieces.iter().map(|piece| piece.range.clone()).collect();
        assert!(all.windows(2).all(|two| two[0].end == two[1].start), "nothing is left out");
        assert_eq!((all[0].start, all[all.len() - 1].end), (0, body.len()));
        pieces.into_iter().filter(|piece| piece.may_recur).map(|piece| piece.range).collect()
    }

    #[test]
    fn pieces_are_the_same_where_a_request_has_more_items() {
        let (before, after) = (body(100), body(102));
        let (before, after) = (recurring(&before), recurring(&after));
        assert_eq!(before[..before.len() - 1], after[..before.len() - 1]);
        let longest = before.iter().map(Range::len).max().unwrap();
        assert!((RUN..2 * RUN).contains(&longest), "{longest}");
    }

    #[test]
    fn what_is_known_is_found_where_it_stands() {
        let rules = Arc::new(Rules::builtin());
        let search = Search::new(rules.clone(), [7; 32]);
        let scope = Scope { key_id: "key", orders: 0, conversation: "one" };
        for items in [60, 60, 61, 70, 70] {
            let body = body(items);
            assert!(body.len() > SHORT);
            let ask = Ask::read(body.as_bytes()).unwrap();
            let found = search.find(body.as_bytes(), &ask.items, scope);
            let spans = |found: &[super::Finding]| -> Vec<_> {
                found.iter().map(|found| found.span.clone()).collect()
            };
            assert_eq!(spans(&found), spans(&rules.scan(body.as_bytes())), "{items}");
            assert_eq!(found.len(), (items + 6) / 10);
        }
    }
}
