//! What was used lately, and only so much of it.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps what was used among the newest `generation` entries at least, and twice as many at most.
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    /// Two generations of so many entries each.
    pub fn new(generation: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation }
    }

    /// What is kept under a key, which is used by that.
    pub fn look(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    /// Keeps something; what was not used for long is forgotten.
    pub fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten_in_time() {
        let mut recent = Recent::new(10);
        recent.put(0, "used");
        recent.put(1, "unused");
        for number in 2..=20 {
            recent.put(number, "new");
            if number % 5 == 0 {
                assert_eq!(recent.look(&0), Some("used"), "{number}");
            }
        }
        assert_eq!([0, 1, 20].map(|number| recent.look(&number).is_some()), [true, false, true]);
    }
}
