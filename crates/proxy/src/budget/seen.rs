//! What is known of responses: what recent ones had in all, since a later request may build on them
//! by their name alone; and how much models write.

use std::collections::{HashMap, VecDeque};

/// Of so many responses it is known; of older ones the worst is assumed.
const RESPONSES: usize = 16 << 10;
/// So many models are told apart; of others the worst is assumed.
const MODELS: usize = 256;
/// Fewer exchanges than this say nothing about one in a thousand.
const ENOUGH: u64 = 1000;
/// Counts are told apart by their highest bits, so many of them: to an eighth.
const BITS: u32 = 3;

/// What an answer had, as the upstream said.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'s> {
    /// Its id.
    pub response_id: Option<&'s str>,
    /// Input and output together.
    pub total_tokens: u64,
    /// The model that was asked.
    pub model: Option<&'s str>,
    /// Output, with reasoning.
    pub output_tokens: u64,
}

/// What was seen so far. Bounded.
#[derive(Default)]
pub(super) struct Experience {
    totals: HashMap<Box<str>, u64>,
    /// Of the responses, the oldest first.
    order: VecDeque<Box<str>>,
    models: HashMap<Box<str>, Histogram>,
}

/// How often which counts were seen, by their size.
#[derive(Default)]
struct Histogram {
    seen: u64,
    sizes: HashMap<u32, u64>,
}

impl Experience {
    /// Takes note of an answer.
    pub(super) fn take(&mut self, seen: &Seen<'_>) {
        if let Some(id) = seen.response_id {
            self.note(id, seen.total_tokens);
        }
        let Some(model) = seen.model else { return };
        if !self.models.contains_key(model) && self.models.len() < MODELS {
            self.models.insert(model.into(), Histogram::default());
        }
        if let Some(histogram) = self.models.get_mut(model) {
            histogram.add(seen.output_tokens);
        }
    }

    /// How many tokens a response had.
    pub(super) fn total(&self, id: &str) -> Option<u64> {
        self.totals.get(id).copied()
    }

    /// How many output tokens all but a thousandth of a model's exchanges had at most, rounded up by
    /// less than an eighth.
    pub(super) fn hardly_exceeded(&self, model: &str) -> Option<u64> {
        self.models.get(model)?.hardly_exceeded()
    }

    fn note(&mut self, id: &str, total: u64) {
        if self.totals.insert(id.into(), total).is_some() {
            return;
        }
        self.order.push_back(id.into());
        if self.order.len() > RESPONSES
            && let Some(oldest) = self.order.pop_front()
        {
            self.totals.remove(&oldest);
        }
    }
}

impl Histogram {
    fn add(&mut self, count: u64) {
        self.seen += 1;
        *self.sizes.entry(size(count)).or_default() += 1;
    }

    fn hardly_exceeded(&self) -> Option<u64> {
        if self.seen < ENOUGH {
            return None;
        }
        let mut sizes: Vec<_> = self.sizes.iter().collect();
        sizes.sort_unstable();
        let mut more = self.seen;
        let within = sizes.into_iter().find(|(_, times)| {
            more -= **times;
            more * 1000 <= self.seen
        });
        within.map(|(size, _)| largest(*size))
    }
}

/// Where a count stands among sizes: by its highest bit, and the few below it.
fn size(count: u64) -> u32 {
    let bits = u64::BITS - count.leading_zeros();
    let Some(shift) = bits.checked_sub(BITS + 1) else {
        return u32::try_from(count).unwrap_or(0);
    };
    let top = u32::try_from(count >> shift).unwrap_or(0);
    (shift << BITS) + top
}

/// The largest count of a size.
fn largest(size: u32) -> u64 {
    let Some(shift) = (size >> BITS).checked_sub(1) else { return u64::from(size) };
    let top = u64::from(size - (shift << BITS));
    // Beyond what fits there is no larger count.
    top.checked_add(1)
        .and_then(|next| next.checked_mul(1 << shift))
        .map_or(u64::MAX, |next| next - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Experience, RESPONSES, Seen, largest, size};

    fn seen(id: &str, total_tokens: u64, output_tokens: u64) -> Seen<'_> {
        Seen { response_id: Some(id), total_tokens, model: Some("m"), output_tokens }
    }

    #[test]
    fn the_oldest_response_is_forgotten_first() {
        let mut experience = Experience::default();
        experience.take(&seen("a", 1, 0));
        experience.take(&seen("a", 2, 0));
        (1..RESPONSES).for_each(|number| experience.take(&seen(&number.to_string(), 0, 0)));
        assert_eq!(experience.total("a"), Some(2));
        experience.take(&seen("b", 3, 0));
        assert_eq!((experience.total("a"), experience.total("b")), (None, Some(3)));
    }

    #[test]
    fn one_in_a_thousand_may_exceed_it() {
        let mut experience = Experience::default();
        (0..999).for_each(|_| experience.take(&seen("a", 0, 500)));
        assert_eq!(experience.hardly_exceeded("m"), None, "too few were seen");
        experience.take(&seen("a", 0, 90_000));
        assert_eq!(experience.hardly_exceeded("m"), Some(511));
        experience.take(&seen("a", 0, 90_000));
        assert_eq!(experience.hardly_exceeded("m"), Some(90_111));
        assert_eq!(experience.hardly_exceeded("other"), None);
    }

    proptest! {
        #[test]
        fn sizes_are_in_order_and_close(count in any::<u64>()) {
            let top = largest(size(count));
            prop_assert!(top >= count && top - count <= count / 8);
            if let Some(next) = top.checked_add(1) {
                prop_assert_eq!(size(next), size(count) + 1);
            }
        }
    }
}
