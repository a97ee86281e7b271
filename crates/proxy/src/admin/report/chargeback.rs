//! What each team is charged for: a line a team, person and model, tokens in classes that are
//! disjoint, as they are priced.

use std::collections::BTreeMap;

use anyhow::Result;
use archive::read::Reader;
use jiff::civil::Date;
use serde::Serialize;
use wire::price::usd;

use super::Filter;
use crate::rollup::{Group, Rollups, Sums};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The first day, UTC.
    pub from: Date,
    /// The last day, inclusive.
    pub to: Date,
    /// The team that is charged; empty where a key has none.
    pub cost_center: String,
    /// Whose keys they were.
    pub user: String,
    /// The model that answered, else the one asked.
    pub model: String,
    /// Exchanges.
    pub requests: u64,
    /// Input that was neither read from the cache nor written to it.
    pub uncached_input_tokens: u64,
    /// Input read from the cache.
    pub cached_input_tokens: u64,
    /// Input written to the cache.
    pub cache_write_tokens: u64,
    /// Output that is no reasoning.
    pub answer_tokens: u64,
    /// Reasoning.
    pub reasoning_tokens: u64,
    /// What is priced of it.
    pub cost_usd: String,
    /// Exchanges of unknown cost, which are in no sum of money.
    pub unpriced_requests: u64,
    /// Exchanges whose tokens are estimated.
    pub estimated_requests: u64,
}

/// All lines of these days, by team, person and model; their costs add up to the report's total.
pub async fn chargeback(
    reader: &Reader,
    rollups: &mut Rollups,
    days: (Date, Date),
    filter: &Filter,
) -> Result<Vec<Line>> {
    let mut lines: BTreeMap<(String, String, String), Sums> = BTreeMap::new();
    let mut add = |group: &Group, sums: &Sums| {
        if filter.fits(group) {
            let line = (group.team.clone(), group.user.clone(), group.model.clone());
            lines.entry(line).or_default().add(sums);
        }
    };
    rollups.each_group(reader, days, &mut add).await?;
    let line = |((cost_center, user, model), sums): ((String, String, String), Sums)| {
        let cached = sums.cached_input_tokens.min(sums.input_tokens);
        let written = sums.cache_write_tokens.min(sums.input_tokens - cached);
        Line {
            from: days.0,
            to: days.1,
            cost_center,
            user,
            model,
            requests: sums.requests,
            uncached_input_tokens: sums.input_tokens - cached - written,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            answer_tokens: sums.output_tokens.saturating_sub(sums.reasoning_tokens),
            reasoning_tokens: sums.reasoning_tokens,
            cost_usd: usd(sums.cost_nanos),
            unpriced_requests: sums.unpriced,
            estimated_requests: sums.estimated,
        }
    };
    Ok(lines.into_iter().map(line).collect())
}
