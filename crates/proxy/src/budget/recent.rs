//! What recent responses had in all: a later request may build on them by their name alone.

use std::collections::{HashMap, VecDeque};

/// Of so many responses it is known; of older ones the worst is assumed.
const MOST: usize = 16 << 10;

/// Tokens by response, the oldest forgotten first.
#[derive(Default)]
pub(super) struct Recent {
    totals: HashMap<Box<str>, u64>,
    order: VecDeque<Box<str>>,
}

impl Recent {
    /// Notes how many tokens a response had.
    pub(super) fn put(&mut self, id: &str, total: u64) {
        if self.totals.insert(id.into(), total).is_some() {
            return;
        }
        self.order.push_back(id.into());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.totals.remove(&oldest);
        }
    }

    /// How many tokens a response had.
    pub(super) fn get(&self, id: &str) -> Option<u64> {
        self.totals.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Recent};

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        recent.put("a", 1);
        recent.put("a", 2);
        (1..MOST).for_each(|number| recent.put(&number.to_string(), 0));
        assert_eq!(recent.get("a"), Some(2));
        recent.put("b", 3);
        assert_eq!((recent.get("a"), recent.get("b")), (None, Some(3)));
    }
}
