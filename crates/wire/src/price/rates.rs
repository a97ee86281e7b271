//! Rates, and the disjoint classes of tokens that they are charged by: the only place with those.

use crate::usage::Usage;

/// What tokens cost, in pico-dollars each: a US dollar per million tokens is a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Input that was neither read from the cache nor written to it.
    pub input_picos: u64,
    /// Input read from the cache; without a rate it costs what input costs.
    pub cached_input_picos: Option<u64>,
    /// Input written to the cache; without a rate it costs what input costs.
    pub cache_write_picos: Option<u64>,
    /// Output, reasoning included.
    pub output_picos: u64,
    /// Input that is a picture; without a rate it costs what input costs.
    pub image_input_picos: Option<u64>,
    /// Input that is sound; without a rate it costs what input costs.
    pub audio_input_picos: Option<u64>,
    /// Output that is a picture; without a rate it costs what output costs.
    pub image_output_picos: Option<u64>,
    /// Output that is sound; without a rate it costs what output costs.
    pub audio_output_picos: Option<u64>,
}

impl Rates {
    /// These rates of a tier, with the ones that its source leaves out put in: they follow the input
    /// rate, as they do wherever sources give them.
    pub(super) fn completed(&self, standard: &Self) -> Self {
        let follow = |rate| scale(rate, self.input_picos, standard.input_picos);
        let write = |rate| scale(rate, self.output_picos, standard.output_picos);
        Self {
            cached_input_picos: self.cached_input_picos.or(standard.cached_input_picos.map(follow)),
            cache_write_picos: self.cache_write_picos.or(standard.cache_write_picos.map(follow)),
            image_input_picos: self.image_input_picos.or(standard.image_input_picos.map(follow)),
            audio_input_picos: self.audio_input_picos.or(standard.audio_input_picos.map(follow)),
            image_output_picos: self.image_output_picos.or(standard.image_output_picos.map(write)),
            audio_output_picos: self.audio_output_picos.or(standard.audio_output_picos.map(write)),
            ..*self
        }
    }

    /// These rates of a tier for long requests: raised as the standard ones are.
    pub(super) fn raised(&self, standard: &Self, long: &Self) -> Self {
        let long = long.completed(standard);
        let raise = |tier: Option<u64>, standard: Option<u64>, long: Option<u64>| {
            Some(scale(tier?, long?, standard?))
        };
        Self {
            input_picos: scale(self.input_picos, long.input_picos, standard.input_picos),
            cached_input_picos: raise(
                self.cached_input_picos,
                standard.cached_input_picos,
                long.cached_input_picos,
            ),
            cache_write_picos: raise(
                self.cache_write_picos,
                standard.cache_write_picos,
                long.cache_write_picos,
            ),
            output_picos: scale(self.output_picos, long.output_picos, standard.output_picos),
            // No source raises these.
            ..*self
        }
    }

    /// What tokens cost together with all input in its dearest class.
    pub(super) fn dearest_picos(&self, input_tokens: u64, output_tokens: u64) -> u128 {
        let others = [
            self.cached_input_picos,
            self.cache_write_picos,
            self.image_input_picos,
            self.audio_input_picos,
        ];
        let input = others.into_iter().flatten().fold(self.input_picos, u64::max);
        let others = [self.image_output_picos, self.audio_output_picos];
        let output = others.into_iter().flatten().fold(self.output_picos, u64::max);
        let charge = |tokens: u64, rate: u64| u128::from(tokens) * u128::from(rate);
        charge(input_tokens, input).saturating_add(charge(output_tokens, output))
    }

    /// What the tokens cost together. Usage counts a cached token as input too; here each token is in
    /// one class, and a count that contradicts itself never charges a token twice.
    pub(super) fn picos(&self, usage: &Usage) -> u128 {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let fresh = usage.input_tokens - cached - written;
        let pictures = usage.other.image_input_tokens.min(fresh);
        let sound = usage.other.audio_input_tokens.min(fresh - pictures);
        let drawn = usage.other.image_output_tokens.min(usage.output_tokens);
        let spoken = usage.other.audio_output_tokens.min(usage.output_tokens - drawn);
        let charges = [
            (fresh - pictures - sound, self.input_picos),
            (pictures, self.image_input_picos.unwrap_or(self.input_picos)),
            (sound, self.audio_input_picos.unwrap_or(self.input_picos)),
            (cached, self.cached_input_picos.unwrap_or(self.input_picos)),
            (written, self.cache_write_picos.unwrap_or(self.input_picos)),
            (usage.output_tokens - drawn - spoken, self.output_picos),
            (drawn, self.image_output_picos.unwrap_or(self.output_picos)),
            (spoken, self.audio_output_picos.unwrap_or(self.output_picos)),
        ];
        let charges = charges.map(|(tokens, rate)| u128::from(tokens) * u128::from(rate));
        charges.into_iter().fold(0, u128::saturating_add)
    }
}

impl Rates {
    /// These rates with so many millionths taken off, each rounded half up to a pico-dollar.
    pub(super) fn less(&self, millionths: u32) -> Self {
        let less = |rate| less(rate, millionths);
        Self {
            input_picos: less(self.input_picos),
            cached_input_picos: self.cached_input_picos.map(less),
            cache_write_picos: self.cache_write_picos.map(less),
            output_picos: less(self.output_picos),
            image_input_picos: self.image_input_picos.map(less),
            audio_input_picos: self.audio_input_picos.map(less),
            image_output_picos: self.image_output_picos.map(less),
            audio_output_picos: self.audio_output_picos.map(less),
        }
    }
}

/// A rate with so many millionths taken off.
pub(super) fn less(rate: u64, millionths: u32) -> u64 {
    scale(rate, u64::from(MILLION.saturating_sub(millionths)), u64::from(MILLION))
}

/// Parts of a whole that discounts count.
pub(super) const MILLION: u32 = 1_000_000;

/// `rate` × `to` / `from`, rounded half up to a pico-dollar; from nothing there is no proportion, and
/// `to` is the rate.
fn scale(rate: u64, to: u64, from: u64) -> u64 {
    if from == 0 {
        return to;
    }
    let scaled = (u128::from(rate) * u128::from(to) + u128::from(from / 2)) / u128::from(from);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
