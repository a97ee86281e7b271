//! Where in many bytes one of some values may begin, told by their first eight bytes.

/// Bytes that are looked at; what is shorter cannot be told from other text.
pub(crate) const LENGTH: usize = 8;
const BITS: u32 = 16;

/// A set of beginnings: it may say yes where it should not, never no.
pub(crate) struct Beginnings {
    multiplier: u64,
    bits: Vec<u64>,
}

impl Beginnings {
    /// An empty set; the multiplier must be odd, or little is told apart.
    pub(crate) fn new(multiplier: u64) -> Self {
        Self { multiplier, bits: vec![0; 1 << (BITS - 6)] }
    }

    /// What is remembered of a beginning: a sixteenth of its bits, mixed.
    pub(crate) fn print(multiplier: u64, beginning: [u8; LENGTH]) -> u16 {
        let mixed = u64::from_le_bytes(beginning).wrapping_mul(multiplier) >> (64 - BITS);
        u16::try_from(mixed).unwrap_or_default()
    }

    /// Adds a beginning by its print.
    pub(crate) fn insert(&mut self, print: u16) {
        if let Some(word) = self.bits.get_mut(usize::from(print >> 6)) {
            *word |= 1 << (print & 63);
        }
    }

    /// The next place, from here on, where one of the set may begin.
    pub(crate) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut windows = bytes.get(from..)?.array_windows();
        Some(from + windows.position(|window| self.may_have(*window))?)
    }

    fn may_have(&self, window: [u8; LENGTH]) -> bool {
        let print = Self::print(self.multiplier, window);
        let word = self.bits.get(usize::from(print >> 6)).copied().unwrap_or_default();
        word >> (print & 63) & 1 == 1
    }
}
