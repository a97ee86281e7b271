//! What things cost: the table listed, checked, added to, and compared with others' tables.

pub mod foreign;

use std::path::Path;

use anyhow::{Context, Result};
use jiff::civil::Date;
use serde::Serialize;
use wildmatch::WildMatch;
use wire::price::{Origin, PriceTable, Rates, Row, per_million};

use crate::config::Wrong;

/// A row as listings show it: US dollars per million tokens, but for searches, which are each, and
/// sound, which is a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The model, or a pattern.
    pub model: String,
    /// Its first day.
    pub from: Date,
    /// `own` or `builtin`.
    pub table: &'static str,
    /// How much is off by discounts, in percent.
    pub discount_percent: String,
    /// Rates of the standard tier.
    pub input: String,
    /// Input from the cache.
    pub cached_input: Option<String>,
    /// Input to the cache.
    pub cache_write: Option<String>,
    /// Output.
    pub output: String,
    /// Above 272,000 input tokens, as `input / cached_input / cache_write / output`.
    pub long: Option<String>,
    /// The flex tier, in the same form.
    pub flex: Option<String>,
    /// The priority tier.
    pub priority: Option<String>,
    /// The batch tier.
    pub batch: Option<String>,
    /// A search of the web.
    pub web_search: Option<String>,
    /// A second of sound.
    pub audio_second: Option<String>,
    /// The most input tokens.
    pub context_window: Option<u64>,
    /// The most output tokens.
    pub max_output_tokens: Option<u64>,
    /// Where the figures were read.
    pub source: String,
    /// When.
    pub read: Option<Date>,
}

/// The rows in force on a day, by name; of a model the one that counts.
pub fn list(table: &PriceTable, glob: &str, day: Date) -> Vec<Listed> {
    let pattern = WildMatch::new(glob);
    let rows = table.rows().iter().filter(|row| pattern.matches(&row.model) && row.from <= day);
    let counts = |row: &&Row| {
        let same = |other: &Row| other.model == row.model && other.from <= day;
        let best = table.rows().iter().filter(|other| same(other));
        best.max_by_key(|other| (other.origin, other.from))
            .is_some_and(|best| std::ptr::eq(best, *row))
    };
    let mut listed: Vec<_> = rows.filter(counts).map(|row| listed(table, row, day)).collect();
    listed.sort_by(|one, other| one.model.cmp(&other.model));
    listed
}

fn listed(table: &PriceTable, row: &Row, day: Date) -> Listed {
    let standard = &row.standard;
    let some = |picos: Option<u64>| picos.map(per_million);
    let each = |picos: Option<u64>| picos.map(|picos| per_million(picos / 1_000_000));
    Listed {
        model: row.model.clone(),
        from: row.from,
        table: match row.origin {
            Origin::Own => "own",
            Origin::Builtin => "builtin",
        },
        discount_percent: per_million(u64::from(table.discount(&row.model, day)) * 100),
        input: per_million(standard.input_picos),
        cached_input: some(standard.cached_input_picos),
        cache_write: some(standard.cache_write_picos),
        output: per_million(standard.output_picos),
        long: row.long.as_ref().map(in_one),
        flex: row.flex.as_ref().map(in_one),
        priority: row.priority.as_ref().map(in_one),
        batch: row.batch.as_ref().map(in_one),
        web_search: each(row.web_search_picos),
        audio_second: each(row.audio_second_picos),
        context_window: row.context_window,
        max_output_tokens: row.max_output_tokens,
        source: row.source.clone(),
        read: row.read,
    }
}

fn in_one(rates: &Rates) -> String {
    let some = |picos: Option<u64>| picos.map_or("-".to_owned(), per_million);
    let output = per_million(rates.output_picos);
    let input = per_million(rates.input_picos);
    format!(
        "{input} / {} / {} / {output}",
        some(rates.cached_input_picos),
        some(rates.cache_write_picos)
    )
}

/// A row that is to be added to the operator's table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct New {
    /// The model, or a pattern.
    pub model: String,
    /// Its first day.
    pub from: Option<Date>,
    /// Where the figures were read.
    pub source: String,
    /// When.
    pub read: Option<Date>,
    /// Rates as they are written, by their names in the table.
    pub rates: Vec<(&'static str, String)>,
    /// Rates of tiers and of long requests, by their names.
    pub tiers: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// Numbers of tokens, by their names.
    pub counts: Vec<(&'static str, u64)>,
}

impl New {
    /// The row as the table's file writes it.
    pub fn toml(&self) -> String {
        // What JSON writes for a text TOML reads as the same.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut lines = vec!["[[price]]".to_owned(), format!("model = {}", quoted(&self.model))];
        let from = self.from.map(|day| format!("from = \"{day}\""));
        lines.extend(from);
        lines.push(format!("source = {}", quoted(&self.source)));
        lines.extend(self.read.map(|day| format!("read = \"{day}\"")));
        lines.extend(self.rates.iter().map(|(name, rate)| format!("{name} = {}", quoted(rate))));
        for (tier, rates) in &self.tiers {
            let rates: Vec<_> =
                rates.iter().map(|(name, rate)| format!("{name} = {}", quoted(rate))).collect();
            lines.push(format!("{tier} = {{ {} }}", rates.join(", ")));
        }
        lines.extend(self.counts.iter().map(|(name, count)| format!("{name} = {count}")));
        lines.join("\n") + "\n"
    }
}

/// Adds rows to the operator's table, all or none; what stands in it stays as it is. The file is
/// replaced in one step: a `serve` that watches it never reads half of it.
pub fn add(path: &Path, rows: &[New]) -> Result<PriceTable> {
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    for row in rows {
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&row.toml());
    }
    let table = PriceTable::parse(&text).map_err(|error| Wrong(error.to_string()))?;
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, &text)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(table)
}
