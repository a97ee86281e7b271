//! Numbers and ids that look random and are a function of the request alone.

/// A splitmix64 generator: small, fixed for ever, and not the standard library's to change.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    /// Hashes bytes with FNV-1a.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The hash itself, as a key.
    pub(crate) fn key(self) -> u64 {
        self.0
    }

    /// A seed of its own for one more number.
    pub(crate) fn with(self, number: u64) -> Self {
        let mut mixed = Self(self.0 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(mixed.next())
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the choices; the first when there is only one.
    pub(crate) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let count = u64::try_from(choices.len()).unwrap_or(1).max(1);
        let index = usize::try_from(self.next() % count).unwrap_or(0);
        choices.get(index).copied().unwrap_or_default()
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_be_bytes();
        byte
    }

    /// Bytes, eight from each number.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// The ids of one exchange: made from what was asked and how many asked before.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// What the request's bytes hash to.
    pub(crate) asked: Seed,
    /// How many requests came before.
    pub(crate) counter: u64,
}

impl Ids {
    /// A moment in 2026: times are counted from here, never read from a clock.
    pub(crate) const EPOCH: u64 = 1_795_000_000;

    /// An id such as `resp_…`; `part` tells the ids of one exchange apart.
    pub(crate) fn id(&self, prefix: &str, part: u64) -> String {
        let mut seed = self.asked.with(self.counter).with(part);
        format!("{prefix}{:016x}{:016x}{:016x}", seed.next(), seed.next(), seed.next())
    }

    /// A call's id, shorter, as the API makes them.
    pub(crate) fn call(&self, part: u64) -> String {
        let mut seed = self.asked.with(self.counter).with(part);
        format!("call_{:016x}{:08x}", seed.next(), seed.next() >> 32)
    }

    /// The exchange's moment in seconds since 1970.
    pub(crate) fn created_at(&self) -> u64 {
        Self::EPOCH.saturating_add(self.counter)
    }
}
