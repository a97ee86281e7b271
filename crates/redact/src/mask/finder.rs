//! Finds known values wherever they stand in many bytes, bare or escaped.
//!
//! Not `aho-corasick`: its automata keep copies of the values that nobody wipes, and with many
//! values they read a quarter of the bytes a second.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::beginnings::{self, Beginnings};
use crate::depth::escape::{escape, is_awkward};

/// The deepest form that is looked for.
const DEEPEST: usize = 4;
/// Longer values are not looked for: that many bytes of a repetitive text would have to be compared
/// at each of its places.
const LONGEST: usize = 16 * 1024;
/// How many bytes are compared for each that is read, before what repeats itself is given up.
const WORK: usize = 16;
const SPARE_WORK: usize = 1 << 20;
/// How many shorter values are tried where a longer one nearly stood.
const TRIES: usize = 32;
/// A `\uXXXX` but for its last digit.
const ESCAPE: usize = 5;
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Values to look for, in all their forms, sorted.
#[derive(Default)]
pub(super) struct Finder {
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl Finder {
    /// Adds values, but those which are found by chance as well.
    pub(super) fn add<'v>(&mut self, values: impl Iterator<Item = &'v [u8]>) {
        for value in values.filter(|value| is_telling(value)) {
            self.forms.extend(forms(value));
        }
        self.forms.sort_unstable_by(|a, b| a.as_slice().cmp(b));
        self.forms.dedup();
    }

    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        self.forms.clear();
    }

    /// Where values stand in these bytes but not in what is to be avoided: at each place the
    /// longest, none across another.
    pub(super) fn find(&self, bytes: &[u8], avoid: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.forms.is_empty() {
            return found;
        }
        let mut beginnings = Beginnings::new(MULTIPLIER, self.forms.len());
        for first in self.forms.iter().filter_map(|form| form.first_chunk()) {
            beginnings.insert(Beginnings::print(MULTIPLIER, *first));
        }
        let mut work = bytes.len().saturating_mul(WORK).saturating_add(SPARE_WORK);
        let mut from = 0;
        let ends = avoid.iter().map(|range| (range.start, range.end));
        for (end, next) in ends.chain([(bytes.len(), bytes.len())]) {
            let gap = bytes.get(..end).unwrap_or_default();
            while let Some(at) = beginnings.next(gap, from) {
                let text = gap.get(at..).unwrap_or_default();
                let length = self.longest(text, &mut work);
                // A value with backslashes may seem to stand across escapes that are none of its own.
                let is_whole = |length: &usize| {
                    let form = text.get(..*length).unwrap_or_default();
                    !cuts_escape(bytes, at, form) && !cuts_escape(bytes, at + length, form)
                };
                let length = length.filter(is_whole);
                found.extend(length.map(|length| at..at + length));
                from = at + length.unwrap_or(1);
            }
            from = next;
        }
        found
    }

    /// The length of the longest form that a text begins with.
    fn longest(&self, text: &[u8], work: &mut usize) -> Option<usize> {
        let mut text = text.get(..LONGEST).unwrap_or(text);
        let mut forms = self.forms.as_slice();
        for _ in 0..TRIES {
            // The forms that a text begins with are not behind it, and the longest is the last.
            let before = forms.partition_point(|form| form.as_slice() <= text);
            forms = forms.get(..before)?;
            let last = forms.last()?;
            let same = std::iter::zip(last.iter(), text).take_while(|(a, b)| a == b).count();
            *work = work.checked_sub(same)?;
            if same == last.len() {
                return Some(same);
            }
            // Any other has no more in common with the text than this one.
            text = text.get(..same)?;
            if same < beginnings::LENGTH {
                return None;
            }
        }
        None
    }
}

/// Whether a form that begins or ends here cuts an escape in two (RFC 8259 §7): the digits of a
/// `\uXXXX`, or what follows a backslash, which in a plain text escapes nothing, so that this counts
/// only for forms that have backslashes themselves.
fn cuts_escape(bytes: &[u8], at: usize, form: &[u8]) -> bool {
    let before = bytes.get(at.saturating_sub(ESCAPE)..at).unwrap_or_default();
    let Some(back) = before.iter().rev().position(|byte| *byte == b'\\') else { return false };
    let backslash = at - 1 - back;
    let all = bytes.get(..=backslash).unwrap_or_default();
    let run = all.iter().rev().take_while(|byte| **byte == b'\\').count();
    let follows = back == 0 && form.contains(&b'\\');
    run % 2 == 1 && (follows || bytes.get(backslash + 1) == Some(&b'u'))
}

/// Whether a value that stands elsewhere is the same for sure: not a short one, and no word, such
/// as the API has among its names and a careless password may be.
pub(crate) fn is_telling(value: &[u8]) -> bool {
    let is_word = value.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'.' | b'-'));
    value.len() >= beginnings::LENGTH && value.len() <= LONGEST && !is_word
}

/// A value as it is written at each depth, by those who escape slashes too.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(value.to_vec())];
    if is_awkward(value) {
        forms.extend((1..=DEEPEST).map(|depth| form(value, depth)));
    }
    if value.contains(&b'/') {
        let mut slashed = Zeroizing::new(Vec::with_capacity(2 * value.len()));
        for piece in form(value, 1).split_inclusive(|byte| *byte == b'/') {
            let Some((b'/', before)) = piece.split_last() else {
                slashed.extend_from_slice(piece);
                continue;
            };
            slashed.extend_from_slice(before);
            slashed.extend(b"\\/");
        }
        forms.extend((0..DEEPEST).map(|depth| form(&slashed, depth)));
    }
    forms.retain(|form| form.len() <= LONGEST);
    forms
}

fn form(value: &[u8], depth: usize) -> Zeroizing<Vec<u8>> {
    let mut form = Zeroizing::new(Vec::with_capacity(value.len()));
    escape(value, depth, &mut form);
    form
}
