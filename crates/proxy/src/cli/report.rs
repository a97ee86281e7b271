//! `report`: who used what.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use archive::read::Reader;
use archive::segment::day_of;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::output::{Format, Listing, Rows, line};
use super::{Common, Found, block_on};
use crate::admin::report::chargeback::chargeback;
use crate::admin::report::{By, Compare, Filter, Question, Report, Row, report, verify};
use crate::clock;
use crate::config::{Config, Flags, Wrong};
use crate::rollup::Rollups;

/// Usage and cost, by user or otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy report 2026-11-01 2026-11-30 --by team --csv november.csv
  codex-proxy report 2026-11-01 2026-11-30 --by model --compare
  codex-proxy report 2026-11-01 2026-11-30 --chargeback november.csv
  codex-proxy report 2026-11-01 2026-11-30 --verify")]
pub struct Args {
    /// First day, UTC [default: today]
    from: Option<Date>,
    /// Last day, inclusive [default: the first day]
    to: Option<Date>,
    /// What a row stands for
    #[arg(long, value_enum, default_value = "user")]
    by: By,
    /// Only exchanges of this person
    #[arg(long)]
    user: Option<String>,
    /// Only exchanges of this team
    #[arg(long)]
    team: Option<String>,
    /// Only exchanges with models that fit this glob
    #[arg(long, value_name = "GLOB")]
    model: Option<String>,
    /// Tell the days before beside, as many of them
    #[arg(long)]
    compare: bool,
    /// Write what each team is charged for to this file as CSV, by person and model
    #[arg(long, value_name = "FILE")]
    chargeback: Option<PathBuf>,
    /// Add every record up anew, and compare: exit code 3 where the sums differ
    #[arg(long, conflicts_with_all = ["compare", "chargeback", "csv"])]
    verify: bool,
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
    if args.verify {
        return prove(&config, (from, to));
    }
    let question = Question {
        days: (from, to),
        by: args.by,
        filter: filter(args),
        compare: if args.compare { Compare::Before } else { Compare::Nothing },
    };
    let (made, charged) = block_on(async {
        let (reader, mut rollups) = (reader(&config)?, Rollups::open(&config)?);
        let made = report(&reader, &mut rollups, &question).await?;
        let charged = match &args.chargeback {
            Some(_) => chargeback(&reader, &mut rollups, (from, to), &question.filter).await?,
            None => Vec::new(),
        };
        anyhow::Ok((made, charged))
    })?;
    print(&made, args.format)?;
    if let Some(path) = &args.chargeback {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        let listing = Listing::new(CHARGEBACK, &charged)?;
        listing.csv(file).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.csv {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        listing(&made, &columns(&made))
            .csv(file)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn filter(args: &Args) -> Filter {
    let Args { user, team, model, .. } = args;
    Filter { user: user.clone(), team: team.clone(), model: model.clone() }
}

/// Whether the sums that are kept are those of the records.
fn prove(config: &Config, days: (Date, Date)) -> Result<()> {
    let (records, differing) = block_on(async {
        let (reader, mut rollups) = (reader(config)?, Rollups::open(config)?);
        verify(&reader, &mut rollups, days).await
    })?;
    if !differing.is_empty() {
        return Err(Found(differing.join("\n")).into());
    }
    let (from, to) = days;
    line(&format!("the sums from {from} to {to} are those of all {records} records"))
}

/// What reads this installation's archive.
pub fn reader(config: &Config) -> Result<Reader> {
    let data = config.data.display();
    ensure!(config.data.exists(), "there is no data folder {data}: is --data right?");
    config.archive.reader()
}

/// Prints a report in one of the forms.
pub fn print(report: &Report, format: Format) -> Result<()> {
    let columns = columns(report);
    if format != Format::Table {
        // There may be hundreds of thousands of sessions.
        let mut rows = Rows::new(&columns, format);
        report.rows.iter().try_for_each(|one| rows.push(&row(report, one)))?;
        return rows.end();
    }
    let mut listing = listing(report, &columns);
    let (from, to) = report.days;
    let sums = &report.total.sums;
    line(&format!(
        "codex-proxy usage | {from} to {to} (UTC) | {} records, {} errors",
        report.records, sums.errors
    ))?;
    if let Some((from, to)) = report.before {
        line(&format!("compared with {from} to {to}"))?;
    }
    line("")?;
    let total = Row { group: Some("total".to_owned()), ..report.total.clone() };
    listing.rows.push(row(report, &total));
    line(&ruled(&listing.table()))
}

fn columns(report: &Report) -> Vec<&'static str> {
    let mut columns = vec![report.by.field()];
    columns.extend(COLUMNS);
    columns.extend(report.before.iter().flat_map(|_| COMPARED));
    columns
}

fn listing<'a>(report: &Report, columns: &'a [&'a str]) -> Listing<'a> {
    Listing { columns, rows: report.rows.iter().map(|one| row(report, one)).collect() }
}

/// A row as an object: the grouping field, then the sums.
fn row(report: &Report, row: &Row) -> Value {
    let mut object = Map::new();
    object.insert(report.by.field().to_owned(), row.group.clone().into());
    if let Ok(Value::Object(sums)) = serde_json::to_value(&row.sums) {
        object.extend(sums);
    }
    if let Some(Ok(Value::Object(before))) = row.before.as_ref().map(serde_json::to_value) {
        object.extend(before);
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

const COLUMNS: [&str; 10] = [
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
];
const COMPARED: [&str; 4] =
    ["previous_requests", "previous_total_tokens", "previous_cost_usd", "cost_change_percent"];
const CHARGEBACK: &[&str] = &[
    "from",
    "to",
    "cost_center",
    "user",
    "model",
    "requests",
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "answer_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced_requests",
    "estimated_requests",
];
