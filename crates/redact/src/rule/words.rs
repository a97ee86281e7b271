//! Which rules know a name by its words.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::RuleId;
use super::file::Rule;
use crate::scan::prefix::Bits;

/// The words of all rules that want one nearby.
#[derive(Debug)]
pub(crate) struct Words {
    automaton: Option<AhoCorasick>,
    /// Which three bytes the words begin with: most names have none of them.
    firsts: Bits,
    rules: Vec<RuleId>,
}

impl Words {
    pub(super) fn new(list: &[Arc<Rule>]) -> Self {
        let mut patterns = Vec::new();
        let mut rules = Vec::new();
        for (index, rule) in list.iter().enumerate() {
            let id = RuleId(u16::try_from(index).unwrap_or(u16::MAX));
            for word in rule.words.iter().filter(|_| rule.prefixes.is_empty()) {
                patterns.push(fold(word.as_bytes()));
                rules.push(id);
            }
        }
        let mut firsts = Bits::default();
        for word in &patterns {
            firsts.add_all(word);
        }
        let automaton =
            AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&patterns).ok();
        Self { automaton: automaton.filter(|_| !patterns.is_empty()), firsts, rules }
    }

    /// The rules of which a word stands in this name, folded already.
    pub(crate) fn of<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = RuleId> + 'a {
        let may_have = name
            .windows(3)
            .any(|three| three.first_chunk().is_some_and(|three| self.firsts.may_have(*three)));
        let automaton = self.automaton.as_ref().filter(|_| may_have);
        let found = automaton.into_iter().flat_map(move |a| a.find_overlapping_iter(name));
        found.filter_map(|one| self.rules.get(one.pattern().as_usize()).copied())
    }
}

/// Letters and digits alone, in lower case.
pub(crate) fn fold(name: &[u8]) -> Vec<u8> {
    let kept = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    kept.map(u8::to_ascii_lowercase).collect()
}
