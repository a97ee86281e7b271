//! Puts masks in the place of secrets: `[secret:LABEL:HHHHHHHHHHHH]`.
//!
//! A mask is a function of the value and its conversation's key, never of the order of arrival: the
//! provider's prompt cache sees the same bytes in every turn, and what the client sends again gets
//! the same name again. It is ASCII that no escaping changes.

mod finder;
mod known;
mod places;
pub mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::Secret;

use self::finder::Finder;
pub(crate) use self::finder::is_telling;
pub use self::known::Known;
pub(crate) use self::known::Next;
use self::places::Place;

/// Values that a conversation remembers at most.
const MOST_VALUES: usize = 4096;
/// Bytes that they have at most.
const MOST_BYTES: usize = 512 * 1024;

/// The best name of a value, for its mask: lower-case letters, digits and `-`.
pub type Label<'a> = &'a dyn Fn(&[u8]) -> String;

/// What makes the masks of one conversation differ from those of all others.
#[derive(Clone, Debug)]
pub struct MaskKey(Secret<[u8; 32]>);

impl MaskKey {
    /// Takes the conversation's key, which the caller derives.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Secret::new(key))
    }

    /// The keyed hash of bytes.
    pub(crate) fn hash(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(self.0.expose(), bytes)
    }
}

/// Which mask stands for which value in one conversation. Prints nothing of them; wiped on drop.
pub struct Masks {
    key: MaskKey,
    known: Arc<Known>,
    /// Masks by what the key makes of their values.
    names: BTreeMap<[u8; 32], Arc<[u8]>>,
    finder: Finder,
}

/// A body in which values are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The body as it may go on.
    pub body: Vec<u8>,
    /// What was masked, as places of the body that was given.
    pub spans: Vec<Range<usize>>,
    /// Those of them that nobody pointed at: known values that stand there again.
    pub recurrences: Vec<Range<usize>>,
    /// The masks, in the order of the spans.
    pub(crate) masks: Vec<Arc<[u8]>>,
}

impl Masks {
    /// Knows no value yet.
    pub fn new(key: MaskKey) -> Self {
        let known = Arc::new(Known::default());
        Self { key, known, names: BTreeMap::new(), finder: Finder::default() }
    }

    /// Whether no value is known, so that there is nothing to put back.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The masks as they are now, for whoever puts values back.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }

    /// Where known values stand in these bytes, bare or escaped.
    pub fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        if self.known.is_empty() {
            return Vec::new();
        }
        self.finder.find(bytes, &shape::find(bytes))
    }

    /// Masks what stands at these spans, and wherever a known value stands again; all other bytes
    /// stay as they are. `None` where there is nothing to mask.
    pub fn mask(
        &mut self,
        label: Label<'_>,
        body: &[u8],
        spans: &[Range<usize>],
    ) -> Option<Masked> {
        if spans.is_empty() && self.known.is_empty() {
            return None;
        }
        let masks = shape::find(body);
        let given = places::usable(body.len(), spans, &masks);
        let mut values = Values::new();
        places::name(body, &given, &mut |value| self.named(label, value, &mut values));
        self.learn(&values);
        let again = self.finder.find(body, &masks);
        let all = places::joined([given.clone(), again].concat());
        let mut values = Values::new();
        let places = places::name(body, &all, &mut |value| self.named(label, value, &mut values));
        if places.is_empty() {
            return None;
        }
        self.remember(&values);
        let recurs = |place: &&Place| !begins_inside(&given, &place.span);
        Some(Masked {
            body: places::rewrite(body, &places),
            recurrences: places.iter().filter(recurs).map(|place| place.span.clone()).collect(),
            spans: places.iter().map(|place| place.span.clone()).collect(),
            masks: places.into_iter().map(|place| place.mask).collect(),
        })
    }

    /// The mask of a value, which is noted beside it.
    fn named(&mut self, label: Label<'_>, value: &[u8], values: &mut Values) -> Arc<[u8]> {
        let hash = self.key.hash(value);
        let name = || Arc::from(shape::write(&label(value), &hash));
        let mask = Arc::clone(self.names.entry(*hash.as_bytes()).or_insert_with(name));
        values.push((Arc::clone(&mask), Zeroizing::new(value.to_vec())));
        mask
    }

    /// Takes values in that are to be found again; all others are forgotten where they are too many.
    fn learn(&mut self, values: &Values) {
        let is_new = |(mask, _): &&(Arc<[u8]>, _)| self.known.value(mask).is_none();
        let new: Vec<_> = values.iter().filter(is_new).collect();
        let bytes: usize = new.iter().map(|(_, value)| value.len()).sum();
        if self.names.len() > MOST_VALUES || self.known.bytes() + bytes > MOST_BYTES {
            self.known = Arc::default();
            self.finder.clear();
            self.names.clear();
        }
        self.remember(values);
        let kept = new.iter().filter(|(mask, _)| self.known.value(mask).is_some());
        self.finder.add(kept.map(|(_, value)| value.as_slice()));
    }

    /// Takes values in, as many as there is room for, the latest first; others stay masked in answers.
    fn remember(&mut self, values: &Values) {
        for (mask, value) in values.iter().rev() {
            let room =
                self.known.len() < MOST_VALUES && self.known.bytes() + value.len() <= MOST_BYTES;
            if room && self.known.value(mask).is_none() {
                Arc::make_mut(&mut self.known).insert(mask, value);
            }
        }
    }
}

type Values = Vec<(Arc<[u8]>, Zeroizing<Vec<u8>>)>;

fn begins_inside(spans: &[Range<usize>], place: &Range<usize>) -> bool {
    let first = spans.partition_point(|span| span.start < place.start);
    spans.get(first).is_some_and(|span| span.start < place.end)
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({} values)", self.known.len())
    }
}

#[cfg(test)]
pub(crate) mod tests;
