//! Which value stands behind which mask: what a restorer is given.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use crate::depth::escape;
use crate::secret::Secret;

use super::shape;

/// The masks of one conversation, with their values. Prints none of them.
#[derive(Clone, Default)]
pub struct Known {
    values: BTreeMap<Arc<[u8]>, Arc<Secret<Vec<u8>>>>,
    bytes: usize,
    awkward: bool,
}

/// What comes next in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next<'k> {
    /// A whole mask, with its value.
    Mask {
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
        /// What stands behind it.
        value: &'k [u8],
    },
    /// The text ends with what may become a mask.
    Tail(usize),
    /// Neither.
    Nothing,
}

impl Known {
    /// Whether there is no mask.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many masks there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether some value looks different at different depths.
    pub(crate) fn has_awkward(&self) -> bool {
        self.awkward
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a value; a mask keeps the one it had.
    pub(super) fn insert(&mut self, mask: &Arc<[u8]>, value: &[u8]) {
        if self.values.contains_key(mask) {
            return;
        }
        self.bytes += value.len();
        self.awkward |= escape::is_awkward(value);
        self.values.insert(Arc::clone(mask), Arc::new(Secret::new(value.to_vec())));
    }

    /// The value behind a mask.
    pub(crate) fn value(&self, mask: &[u8]) -> Option<&[u8]> {
        self.values.get(mask).map(|value| value.expose().as_slice())
    }

    /// Whether a mask begins so, and has more.
    pub(crate) fn may_become(&self, beginning: &[u8]) -> bool {
        let from = (Bound::Excluded(beginning), Bound::Unbounded);
        let after = self.values.range::<[u8], _>(from).next();
        after.is_some_and(|(mask, _)| mask.starts_with(beginning))
    }

    /// The next mask of a text from a place on, or the beginning of one at its end.
    pub(crate) fn next(&self, text: &[u8], from: usize) -> Next<'_> {
        let after = text.get(from..).unwrap_or_default();
        for bracket in memchr_iter(b'[', after) {
            let rest = after.get(bracket..).unwrap_or_default();
            if rest.get(1).is_some_and(|byte| *byte != b's') {
                continue;
            }
            let start = from + bracket;
            let near = rest.get(..shape::LONGEST).unwrap_or(rest);
            let Some(length) = memchr(b']', near).map(|last| last + 1) else {
                if self.may_become(rest) {
                    return Next::Tail(start);
                }
                continue;
            };
            if let Some(value) = self.value(rest.get(..length).unwrap_or_default()) {
                return Next::Mask { start, end: start + length, value };
            }
        }
        Next::Nothing
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({} masks)", self.values.len())
    }
}
