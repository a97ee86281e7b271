//! What the simulated API charges: a few models, by figures and rules of its own.

use crate::bill::Billed;

/// Nano-dollars of a thousand tokens: uncached input, cached input, input to the cache, output.
type Rates = [u64; 4];

/// Above so many input tokens all of a request costs more.
const LONG: u64 = 272_000;

/// What one class of tokens of an exchange costs.
pub(crate) struct Charge {
    /// As a line of the bill names it, after the model.
    pub(crate) class: &'static str,
    /// In millionths of a nano-dollar.
    pub(crate) femtos: u128,
}

/// The lines of an exchange; none for a model that is not sold.
pub(crate) fn charges(billed: &Billed) -> Vec<Charge> {
    let Some(rates) = rates(&billed.model) else { return Vec::new() };
    let written = billed.cache_write_tokens;
    let cached = billed.cached_input_tokens;
    let plain = billed.input_tokens.saturating_sub(cached).saturating_sub(written);
    let classes = [
        ("input", plain),
        ("cached input", cached),
        ("cache write", written),
        ("output", billed.output_tokens),
    ];
    let lines = classes.into_iter().zip(rates).filter(|((_, tokens), _)| *tokens > 0);
    let charge = |((class, tokens), rate): ((&'static str, u64), u64)| {
        let (times, of) = factor(billed, class);
        // A thousand tokens in nano-dollars: a token in thousandths of one.
        let femtos = u128::from(tokens) * u128::from(rate) * 1000 * times / of;
        Charge { class, femtos }
    };
    lines.map(charge).collect()
}

fn rates(model: &str) -> Option<Rates> {
    // Of a dated name the date says nothing.
    let name = match model.len().checked_sub(11).and_then(|at| model.split_at_checked(at)) {
        Some((name, date)) if date.starts_with("-20") => name,
        _ => model,
    };
    Some(match name {
        "gpt-6.1-sol" => [2_000_000, 100_000, 2_500_000, 10_000_000],
        "gpt-6-luna" => [100_000, 10_000, 125_000, 500_000],
        "gpt-5.5" => [5_000_000, 500_000, 5_000_000, 30_000_000],
        "gpt-4.1" => [2_000_000, 500_000, 2_000_000, 8_000_000],
        "gpt-4.1-mini" => [400_000, 100_000, 400_000, 1_600_000],
        "text-embedding-3-small" => [20_000, 20_000, 20_000, 0],
        _ => return None,
    })
}

/// Times what an exchange costs by its tier and length.
fn factor(billed: &Billed, class: &str) -> (u128, u128) {
    let (tier, of) = match (billed.service_tier.as_str(), billed.model.starts_with("gpt-5.5")) {
        ("flex" | "batch", _) => (1, 2),
        ("priority", true) => (5, 2),
        ("priority", false) => (2, 1),
        _ => (1, 1),
    };
    let grows = billed.model.starts_with("gpt-5.5") || billed.model.starts_with("gpt-6");
    match (grows && billed.input_tokens > LONG, class) {
        (true, "output") => (tier * 3, of * 2),
        (true, _) => (tier * 2, of),
        (false, _) => (tier, of),
    }
}
