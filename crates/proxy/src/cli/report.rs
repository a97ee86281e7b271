//! `report`: who used what.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use archive::read::Reader;
use archive::segment::day_of;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::output::{Format, Listing, line};
use super::{Common, block_on};
use crate::admin::report::{By, Report, Row, report};
use crate::clock;
use crate::config::{Config, Flags, Wrong};

/// Usage and cost, by user or otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy report 2026-11-01 2026-11-30 --by team --csv november.csv")]
pub struct Args {
    /// First day, UTC [default: today]
    from: Option<Date>,
    /// Last day, inclusive [default: the first day]
    to: Option<Date>,
    /// What a row stands for
    #[arg(long, value_enum, default_value = "user")]
    by: By,
    /// Also write the rows to this file as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Prints the report.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    let today = day_of(clock::now());
    let from = args.from.unwrap_or(today);
    let to = args.to.unwrap_or(from);
    if to < from {
        return Err(Wrong(format!("the last day {to} is before the first, {from}")).into());
    }
    let made = block_on(async { report(&reader(&config)?, (from, to), args.by).await })?;
    print(&made, args.format)?;
    if let Some(path) = &args.csv {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        rows(&made).csv(file).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What reads this installation's archive.
pub fn reader(config: &Config) -> Result<Reader> {
    let data = config.data.display();
    ensure!(config.data.exists(), "there is no data folder {data}: is --data right?");
    let objects = archive::open(&config.archive.url, &config.archive.access)
        .with_context(|| format!("opening the archive {}", config.archive.url))?;
    Ok(Reader::new(config.archive.spool.clone(), objects))
}

/// Prints a report in one of the forms.
pub fn print(report: &Report, format: Format) -> Result<()> {
    if format != Format::Table {
        return rows(report).print(format);
    }
    let (from, to) = report.days;
    let sums = &report.total.sums;
    line(&format!(
        "codex-proxy usage | {from} to {to} (UTC) | {} records, {} errors",
        report.records, sums.errors
    ))?;
    line("")?;
    let mut listing = rows(report);
    let total = Row { group: Some("total".to_owned()), ..report.total.clone() };
    listing.rows.push(row(report, &total));
    line(&ruled(&listing.table()))
}

fn rows(report: &Report) -> Listing<'static> {
    let rows = report.rows.iter().map(|one| row(report, one)).collect();
    Listing { columns: columns(report.by), rows }
}

/// A row as an object: the grouping field, then the sums.
fn row(report: &Report, row: &Row) -> Value {
    let mut object = Map::new();
    object.insert(report.by.field().to_owned(), row.group.clone().into());
    if let Ok(Value::Object(sums)) = serde_json::to_value(&row.sums) {
        object.extend(sums);
    }
    Value::Object(object)
}

/// A line below the head and above the total.
fn ruled(table: &str) -> String {
    let mut lines: Vec<&str> = table.lines().collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let rule = "-".repeat(width);
    lines.insert(1.min(lines.len()), &rule);
    lines.insert(lines.len().saturating_sub(1), &rule);
    lines.join("\n")
}

macro_rules! columns {
    ($field:literal) => {
        &[
            $field,
            "requests",
            "errors",
            "input_tokens",
            "cached_input_tokens",
            "output_tokens",
            "reasoning_tokens",
            "total_tokens",
            "cost_usd",
            "unpriced_requests",
            "models",
        ]
    };
}

fn columns(by: By) -> &'static [&'static str] {
    match by {
        By::User => columns!("user"),
        By::Team => columns!("team"),
        By::Model => columns!("model"),
        By::Key => columns!("key_id"),
        By::Day => columns!("day"),
        By::Repo => columns!("repo"),
        By::Session => columns!("session_id"),
        By::Client => columns!("client"),
    }
}
