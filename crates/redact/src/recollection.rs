//! What a conversation remembers of its secrets without keeping them.
//!
//! A client that compacts its history may drop the place where a secret was told from other text by
//! what stood beside it, and send it bare from then on.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::beginnings::{self, Beginnings};
use crate::depth::escape::{escape, is_awkward};
use crate::mask::{MaskKey, Masked, Masks, is_telling};

/// How many are remembered, an awkward value counting once for each form.
const MOST: usize = 64;
/// Values with quotes or line feeds are recognised as plain text, in JSON, and in JSON in JSON.
const DEEPEST: usize = 2;
/// How many bytes are hashed for each that is read, before what repeats itself is given up.
const WORK: usize = 4;
const SPARE_WORK: usize = 1 << 20;

/// Traces of values once found.
#[derive(Debug, Clone)]
pub struct Recollection {
    key: MaskKey,
    multiplier: u64,
    traces: VecDeque<Trace>,
}

/// All that is kept of a value: nobody comes back from this to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trace {
    /// Twenty bits of what its first bytes become; they only say where it is worth hashing.
    print: u32,
    length: usize,
    hash: [u8; 16],
}

impl Recollection {
    /// Remembers nothing yet.
    pub fn new(key: &MaskKey) -> Self {
        let hash = key.hash(b"recollection of this conversation");
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        let multiplier = u64::from_le_bytes(first) | 1;
        Self { key: MaskKey::new(*hash.as_bytes()), multiplier, traces: VecDeque::new() }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// Remembers what was masked in a body; the latest last, since histories grow at their end.
    pub fn remember(&mut self, masks: &Masks, masked: &Masked) {
        let known = masks.known();
        let values = masked.masks.iter().filter_map(|mask| known.value(mask));
        for value in values.filter(|value| is_telling(value)) {
            let deepest = if is_awkward(value) { DEEPEST } else { 0 };
            (0..=deepest).for_each(|depth| self.remember_form(value, depth));
        }
    }

    fn remember_form(&mut self, value: &[u8], depth: usize) {
        let mut form = zeroize::Zeroizing::new(Vec::new());
        escape(value, depth, &mut form);
        let Some(trace) = self.trace(&form) else { return };
        self.traces.retain(|other| *other != trace);
        if self.traces.len() == MOST {
            self.traces.pop_front();
        }
        self.traces.push_back(trace);
    }

    fn trace(&self, form: &[u8]) -> Option<Trace> {
        let print = Beginnings::print(self.multiplier, *form.first_chunk()?);
        Some(Trace { print, length: form.len(), hash: self.hash(form) })
    }

    fn hash(&self, bytes: &[u8]) -> [u8; 16] {
        self.key.hash(bytes).as_bytes().first_chunk().copied().unwrap_or_default()
    }

    /// Where remembered values stand: at each place the longest, none across another.
    pub fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.traces.is_empty() || bytes.len() < beginnings::LENGTH {
            return found;
        }
        let (mut beginnings, lengths) = (Beginnings::new(self.multiplier, MOST), self.lengths());
        for print in lengths.keys() {
            beginnings.insert(*print);
        }
        let mut work = bytes.len().saturating_mul(WORK).saturating_add(SPARE_WORK);
        let mut from = 0;
        while let Some(at) = beginnings.next(bytes, from) {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = self.longest(rest, &lengths, &mut work);
            found.extend(length.map(|length| at..at + length));
            from = at + length.unwrap_or(1);
        }
        found
    }

    /// The lengths of values by the print of their beginnings, the longest first.
    fn lengths(&self) -> BTreeMap<u32, Vec<usize>> {
        let mut lengths: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for trace in &self.traces {
            lengths.entry(trace.print).or_default().push(trace.length);
        }
        for some in lengths.values_mut() {
            some.sort_unstable_by(|a, b| b.cmp(a));
            some.dedup();
        }
        lengths
    }

    fn longest(
        &self,
        rest: &[u8],
        lengths: &BTreeMap<u32, Vec<usize>>,
        work: &mut usize,
    ) -> Option<usize> {
        let print = Beginnings::print(self.multiplier, *rest.first_chunk()?);
        for length in lengths.get(&print)? {
            let Some(candidate) = rest.get(..*length) else { continue };
            *work = work.checked_sub(candidate.len())?;
            let hash = self.hash(candidate);
            let is_same = |trace: &Trace| trace.length == *length && trace.hash == hash;
            if self.traces.iter().any(is_same) {
                return Some(*length);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mask::tests::{PEM, awkward_value, masks, plain_value, unmarked};

    /// What is remembered of a conversation that masked what is marked in a text.
    fn remembered(marked: &str) -> Recollection {
        let mut recollection = Recollection::new(&MaskKey::new([1; 32]));
        let (text, spans) = unmarked(marked);
        let mut masks = masks();
        let sent = masks.mask(&|_| String::new(), text.as_bytes(), &spans).unwrap();
        recollection.remember(&masks, &sent);
        recollection
    }

    #[test]
    fn a_value_is_recognised_when_it_comes_back_bare() {
        let recollection = remembered("DB_PASSWORD=‹hunter2hunter2› and ‹short›");
        let found = recollection.find(b"as you said, hunter2hunter2 is short");
        assert_eq!(found, vec![Range { start: 13, end: 27 }]);
        assert!(recollection.find(b"hunter2hunter3, hunter2hunter").is_empty());
    }

    #[test]
    fn a_private_key_is_recognised_in_json_in_json() {
        let recollection = remembered(&format!("‹{PEM}›"));
        let call = json!({ "cmd": PEM }).to_string();
        for (text, length) in
            [(PEM.to_owned(), 95), (call.clone(), 98), (json!([call]).to_string(), 101)]
        {
            let start = text.find("-----BEGIN").unwrap();
            let found = recollection.find(text.as_bytes());
            assert_eq!(found, vec![Range { start, end: start + length }]);
        }
    }

    #[test]
    fn only_the_newest_values_are_remembered() {
        let values: Vec<String> = (0..70).map(|n| format!("‹token-{n:02}›")).collect();
        let recollection = remembered(&values.join(" "));
        assert_eq!(recollection.traces.len(), MOST);
        assert_eq!(recollection.find(b"token-05 token-06"), vec![Range { start: 9, end: 17 }]);
    }

    #[test]
    fn the_longest_value_is_recognised() {
        let recollection = remembered("‹token-1234› ‹token-123456› ‹token-12›");
        assert_eq!(recollection.find(b"token-123456 token-123"), [0..12, 13..21]);
    }

    #[test]
    fn nothing_of_a_value_is_kept() {
        let kept = format!("{:?}", remembered("‹hunter2hunter2›").traces);
        assert!(kept.contains("length: 14") && !kept.contains("hunter"), "{kept}");
    }

    proptest! {
        #[test]
        fn what_was_masked_once_is_recognised_anywhere(
            value in prop_oneof![plain_value(), awkward_value()],
            before in "[^‹›]{0,20}",
            after in "[^‹›]{0,20}",
        ) {
            let recollection = remembered(&format!("‹{value}›"));
            let text = format!("{before}{value}{after}");
            let place = before.len()..before.len() + value.len();
            let found = recollection.find(text.as_bytes());
            prop_assert!(found.iter().any(|span| span.start <= place.start && span.end > place.start));
        }
    }
}
