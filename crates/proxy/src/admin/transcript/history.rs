//! Which elements of a conversation are known: each request sends again what was before.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::item::Item;

/// The elements of one thread so far, in order.
#[derive(Default)]
pub(super) struct History {
    /// With random keys: nobody can write a text that hides another.
    hasher: RandomState,
    entries: Vec<Entry>,
    /// Ids with what stood under them: some upstreams give the same id to all.
    ids: HashSet<(String, u64)>,
}

struct Entry {
    /// Of its bytes as they were sent last.
    raw: u64,
    /// Of what it says.
    content: u64,
}

/// How far a request has been compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position(usize);

impl History {
    /// The place behind everything.
    pub(super) fn end(&self) -> Position {
        Position(self.entries.len())
    }

    /// Whether the very bytes of an element stand at this place; then it is passed.
    pub(super) fn passes(&self, at: &mut Position, raw: &str) -> bool {
        let raw = self.hasher.hash_one(raw);
        let same = self.entries.get(at.0).is_some_and(|entry| entry.raw == raw);
        at.0 += usize::from(same);
        same
    }

    /// Whether the element is new; then it is known from now on. The same words are known again
    /// behind what was compared before, since a person may say the same twice; before that only
    /// where they have the same id.
    pub(super) fn takes(&mut self, at: &mut Position, raw: &str, item: &Item) -> bool {
        let (raw, content) = (self.hasher.hash_one(raw), self.content(item));
        let named = item.id.clone().map(|id| (id, content));
        let ahead = self.entries.iter().skip(at.0).position(|entry| entry.content == content);
        if let Some(steps) = ahead {
            at.0 += steps;
            if let Some(entry) = self.entries.get_mut(at.0) {
                entry.raw = raw;
            }
            at.0 += 1;
            self.ids.extend(named);
            return false;
        }
        if named.is_some_and(|named| !self.ids.insert(named)) {
            return false;
        }
        self.entries.insert(at.0.min(self.entries.len()), Entry { raw, content });
        at.0 += 1;
        true
    }

    fn content(&self, item: &Item) -> u64 {
        let parts: Vec<_> =
            item.parts.iter().map(|part| (format!("{:?}", part.what), &part.call)).collect();
        self.hasher.hash_one(parts)
    }
}
