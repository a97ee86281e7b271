//! Items that were looked through before, and what was found in them: places, never values.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redact::scan::Finding;

/// Of an item, its keyed hash: with what it was looked for, and for whom.
pub type Name = [u8; 16];

/// Two generations of so many items each: about a hundred bytes of memory an item.
const GENERATION: usize = 1 << 16;

/// What is known, of the newest items. What is forgotten is only looked through once more.
#[derive(Default)]
pub struct Known(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Name, Box<[Finding]>>,
    old: HashMap<Name, Box<[Finding]>>,
}

impl Known {
    /// What was found in these items, where they are known: places counted from each one's begin.
    pub fn look(&self, names: &[Name]) -> Vec<Option<Box<[Finding]>>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|name| generations.look(name)).collect()
    }

    /// Remembers what was found.
    pub fn note(&self, found: Vec<(Name, Box<[Finding]>)>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, findings) in found {
            generations.note(name, findings);
        }
    }
}

impl Generations {
    fn look(&mut self, name: &Name) -> Option<Box<[Finding]>> {
        if let Some(findings) = self.young.get(name) {
            return Some(findings.clone());
        }
        let findings = self.old.remove(name)?;
        self.note(*name, findings.clone());
        Some(findings)
    }

    fn note(&mut self, name: Name, findings: Box<[Finding]>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, findings);
    }
}

#[cfg(test)]
mod tests {
    use super::{GENERATION, Known, Name};

    fn name(number: usize) -> Name {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&number.to_le_bytes());
        name
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten_in_time() {
        let known = Known::default();
        let is_known = |number| known.look(&[name(number)])[0].is_some();
        known.note(vec![(name(0), Box::default()), (name(1), Box::default())]);
        assert!(is_known(0) && !is_known(2));
        for number in 2..=2 * GENERATION {
            known.note(vec![(name(number), Box::default())]);
            if number % (GENERATION / 2) == 0 {
                assert!(is_known(0), "{number}");
            }
        }
        assert!(is_known(0) && !is_known(1) && is_known(2 * GENERATION));
    }
}
