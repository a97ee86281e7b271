//! Which rules know a name by its words.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::RuleId;
use super::file::Rule;
use super::fnv::Fnv;
use crate::scan::prefix::Bits;

/// A word, folded, and whose it is.
#[derive(Debug)]
struct Word {
    bytes: Box<[u8]>,
    rule: RuleId,
}

/// The words of all rules that want one nearby.
#[derive(Debug)]
pub(crate) struct Words {
    /// Which three bytes the words begin with: most places of a name have none of them.
    firsts: Bits,
    /// Which three come after those, in words that have more than four.
    seconds: Bits,
    /// The same as the first for the words that have no more.
    shorts: Bits,
    by_first: HashMap<[u8; 3], Vec<Word>, BuildHasherDefault<Fnv>>,
}

impl Words {
    pub(super) fn new(list: &[Arc<Rule>]) -> Self {
        let none = Bits::default;
        let by_first = HashMap::default();
        let mut words = Self { firsts: none(), seconds: none(), shorts: none(), by_first };
        for (rule, id) in list.iter().zip((0..u16::MAX).map(RuleId)) {
            for word in rule.words.iter().filter(|_| rule.prefixes.is_empty()) {
                words.add(&fold(word.as_bytes()), id);
            }
        }
        words
    }

    fn add(&mut self, word: &[u8], rule: RuleId) {
        // No rule has a shorter one: the test of the file says so.
        let Some((first, rest)) = word.split_first_chunk() else { return };
        self.firsts.add_all(first);
        if rest.len() < 2 {
            self.shorts.add_all(first);
        } else {
            self.seconds.add_all(rest);
        }
        self.by_first.entry(*first).or_default().push(Word { bytes: word.into(), rule });
    }

    /// Tells of each rule of which a word stands in this name, folded already.
    pub(crate) fn each(&self, name: &[u8], mut tell: impl FnMut(RuleId)) {
        let mut key = 0;
        for (last, byte) in name.iter().enumerate() {
            key = (key << 8 | u32::from(*byte)) & 0xff_ffff;
            if !self.firsts.may_have_key(key) {
                continue;
            }
            let rest = last.checked_sub(2).and_then(|at| name.get(at..)).unwrap_or_default();
            let Some(first) = rest.first_chunk() else { continue };
            // A zero stands where the name has ended: of five letters only two come after three.
            let second = [3, 4, 5].map(|next| rest.get(next).copied().unwrap_or(0));
            if !self.seconds.may_have(second) && !self.shorts.may_have(*first) {
                continue;
            }
            let words = self.by_first.get(first).into_iter().flatten();
            let stands = words.filter(|word| {
                word.bytes.get(3).is_none_or(|byte| rest.get(3) == Some(byte))
                    && rest.starts_with(&word.bytes)
            });
            stands.for_each(|word| tell(word.rule));
        }
    }
}

/// Letters and digits alone, in lower case.
pub(crate) fn fold(name: &[u8]) -> Vec<u8> {
    let kept = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    kept.map(u8::to_ascii_lowercase).collect()
}
