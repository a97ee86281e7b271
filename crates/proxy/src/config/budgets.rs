//! How budgets are reserved from.

use super::layer::Layers;

/// How budgets are reserved from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// What an exchange reserves.
    pub bound: Bound,
    /// What a model without a price counts, in US dollars per million tokens; nothing: it is refused.
    pub unpriced_rate: Option<u64>,
}

/// What an exchange reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The most it may cost.
    Worst,
    /// What hardly any exchange of its model has cost here.
    Observed,
}

impl Budgets {
    pub(super) fn build(layers: &Layers) -> Self {
        let bound = match layers.text("budgets.bound").as_str() {
            "observed" => Bound::Observed,
            _ => Bound::Worst,
        };
        let rate = layers.bytes("budgets.unpriced_rate");
        Self { bound, unpriced_rate: Some(rate).filter(|rate| *rate > 0) }
    }
}
