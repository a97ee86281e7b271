//! Where in many bytes one of some values may begin, told by their first eight bytes.

/// Bytes that are looked at; what is shorter cannot be told from other text.
pub(crate) const LENGTH: usize = 8;
/// Bits of a print.
const PRINT: u32 = 20;
/// The smallest set, in bits of its size; it fits the nearest cache with room to spare.
const SMALLEST: u32 = 13;
/// How many times larger than its contents a set is, in bits: one place in 256 is looked at in vain.
const SPARSE: u32 = 8;

/// A set of beginnings: it may say yes where it should not, never no.
pub(crate) struct Beginnings {
    multiplier: u64,
    /// The size of the set, in bits: how much of a print is a place in it.
    size: u32,
    bits: Vec<u64>,
}

impl Beginnings {
    /// An empty set for so many prints; the multiplier must be odd, or little is told apart.
    pub(crate) fn new(multiplier: u64, count: usize) -> Self {
        let size = count.max(1).ilog2().saturating_add(SPARSE).clamp(SMALLEST, PRINT);
        Self { multiplier, size, bits: vec![0; 1 << (size - 6)] }
    }

    /// What is remembered of a beginning: twenty bits of what it becomes.
    pub(crate) fn print(multiplier: u64, beginning: [u8; LENGTH]) -> u32 {
        u32::try_from(mixed(multiplier, beginning) >> (64 - PRINT)).unwrap_or_default()
    }

    /// Adds a beginning by its print.
    pub(crate) fn insert(&mut self, print: u32) {
        let place = u64::from(print >> (PRINT - self.size));
        if let Some(word) = self.bits.get_mut(word(place)) {
            *word |= 1 << (place & 63);
        }
    }

    /// The next place, from here on, where one of the set may begin.
    pub(crate) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut windows = bytes.get(from..)?.array_windows();
        Some(from + windows.position(|window| self.may_have(*window))?)
    }

    fn may_have(&self, window: [u8; LENGTH]) -> bool {
        let place = mixed(self.multiplier, window) >> (64 - self.size);
        self.bits.get(word(place)).is_some_and(|word| word >> (place & 63) & 1 == 1)
    }
}

fn mixed(multiplier: u64, beginning: [u8; LENGTH]) -> u64 {
    u64::from_le_bytes(beginning).wrapping_mul(multiplier)
}

fn word(place: u64) -> usize {
    usize::try_from(place >> 6).unwrap_or_default()
}
