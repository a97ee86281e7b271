//! `prices`: the table listed, checked, added to.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use archive::segment::day_of;
use clap::Subcommand;
use jiff::civil::Date;

use super::output::{Format, Listing};
use super::{Common, Found, block_on};
use crate::admin::prices::{New, add, foreign, list};
use crate::admin::report::{By, Question, report};
use crate::cli::report::reader;
use crate::clock;
use crate::config::{Config, Flags, Wrong};
use crate::rollup::Rollups;
use crate::serve::prices;

/// List, check and add to the price table
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy prices list --model 'gpt-6*'
  codex-proxy prices set gpt-6-sol --from 2026-12-01 --input 1.8 --cached-input 0.18 --output 9
  codex-proxy prices import model_prices_and_context_window.json --dry-run
  codex-proxy prices check")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Check(Check),
    Set(Box<Set>),
    Import(Import),
}

/// List the prices in force on a day, US dollars per million tokens
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy prices list --model 'gpt-6*' --day 2026-11-01")]
struct List {
    /// Glob of the models
    #[arg(long, default_value = "*")]
    model: String,
    /// The day, UTC [default: today]
    #[arg(long)]
    day: Option<Date>,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Say what is wrong with a price table, and which models were used that have no price
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy prices check prices.toml

Exit code 3 where something is found.")]
struct Check {
    /// A table that is not in force yet [default: the one in force]
    file: Option<PathBuf>,
    /// How many days back it is looked for models without a price
    #[arg(long, default_value_t = 30)]
    days: u16,
}

/// Add a dated row to the operator's own table; no row is ever changed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy prices set gpt-6-sol --from 2026-12-01 --input 1.8 --cached-input 0.18 --output 9

Rates are US dollars per million tokens. A running `serve` takes the new row at once; what has passed
is never priced anew.")]
struct Set {
    /// The model, or a pattern with * and ?
    model: String,
    /// The first day of this price
    #[arg(long)]
    from: Date,
    /// Input
    #[arg(long)]
    input: String,
    /// Input from the cache; without it, it costs what input costs
    #[arg(long)]
    cached_input: Option<String>,
    /// Input to the cache; without it, it costs what input costs
    #[arg(long)]
    cache_write: Option<String>,
    /// Output
    #[arg(long)]
    output: String,
    /// A search of the web, US dollars each
    #[arg(long)]
    web_search: Option<String>,
    /// The most input tokens the model takes
    #[arg(long)]
    context_window: Option<u64>,
    /// The most output tokens it gives
    #[arg(long)]
    max_output_tokens: Option<u64>,
    /// Where the figures were read
    #[arg(long, default_value = "set by hand")]
    source: String,
}

/// Add rows from another project's table where they differ from what is in force
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy prices import model_prices_and_context_window.json --dry-run

LiteLLM's model_prices_and_context_window.json and models.dev's api.json are read; of them OpenAI's
models. Look at what they say before you take it: `--dry-run` shows it.")]
struct Import {
    /// The table, as JSON
    file: PathBuf,
    /// The first day of these prices [default: today, UTC]
    #[arg(long)]
    from: Option<Date>,
    /// Only show the rows
    #[arg(long)]
    dry_run: bool,
}

const COLUMNS: &[&str] = &[
    "model",
    "from",
    "table",
    "input",
    "cached_input",
    "cache_write",
    "output",
    "long",
    "flex",
    "priority",
    "discount_percent",
];

/// Runs one of the subcommands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    match args.command {
        Command::List(args) => {
            let day = args.day.unwrap_or_else(|| day_of(clock::now()));
            let table = prices(config.prices.as_deref())?;
            Listing::new(COLUMNS, &list(&table, &args.model, day))?.print(args.format)
        }
        Command::Check(args) => check(&config, &args),
        Command::Set(args) => set(&config, *args),
        Command::Import(args) => import(&config, &args),
    }
}

fn check(config: &Config, args: &Check) -> Result<()> {
    let file = args.file.as_deref().or(config.prices.as_deref());
    let table = prices(file).map_err(|wrong| Found(wrong.0))?;
    say(&format!("{} rows are in force or will be", table.rows().len()))?;
    if !config.data.exists() {
        return Ok(());
    }
    let today = day_of(clock::now());
    let first = today.saturating_sub(jiff::Span::new().days(i64::from(args.days)));
    let question = Question::of((first, today), By::Model);
    let made = block_on(async {
        let mut rollups = Rollups::open(config)?;
        report(&reader(config)?, &mut rollups, &question).await
    })?;
    let unpriced = made.rows.iter().filter(|row| row.sums.unpriced_requests > 0);
    // Others of the same model may have a price by now.
    let unpriced = unpriced.filter_map(|row| Some((row.group.as_deref()?, row)));
    let missing: Vec<String> = unpriced
        .filter(|(model, _)| table.row(model, today).is_none())
        .map(|(model, row)| {
            format!("{model}: {} exchanges without a price", row.sums.unpriced_requests)
        })
        .collect();
    if missing.is_empty() {
        return say(&format!("every model of the last {} days has a price", args.days));
    }
    Err(Found(missing.join("\n")).into())
}

fn set(config: &Config, args: Set) -> Result<()> {
    let rates = [
        ("input", Some(args.input)),
        ("cached_input", args.cached_input),
        ("cache_write", args.cache_write),
        ("output", Some(args.output)),
        ("web_search", args.web_search),
    ];
    let counts =
        [("context_window", args.context_window), ("max_output_tokens", args.max_output_tokens)];
    let row = New {
        model: args.model,
        from: Some(args.from),
        source: args.source,
        read: Some(day_of(clock::now())),
        rates: rates.into_iter().filter_map(|(name, rate)| Some((name, rate?))).collect(),
        tiers: Vec::new(),
        counts: counts.into_iter().filter_map(|(name, count)| Some((name, count?))).collect(),
    };
    write(config, &[row])
}

fn import(config: &Config, args: &Import) -> Result<()> {
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("reading {path}"))?;
    let table = prices(config.prices.as_deref())?;
    let day = args.from.unwrap_or_else(|| day_of(clock::now()));
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let imported = foreign::read(&text, &name.unwrap_or_default(), &table, day)?;
    say(&format!(
        "{} prices of OpenAI's models, {} of them as in force, {} differ or are new",
        imported.found,
        imported.known,
        imported.rows.len()
    ))?;
    if args.dry_run {
        let rows: Vec<String> = imported.rows.iter().map(New::toml).collect();
        super::output::line(&rows.join("\n"))?;
        return say("nothing was changed");
    }
    if imported.rows.is_empty() {
        return Ok(());
    }
    write(config, &imported.rows)
}

/// Adds rows to the table that the configuration names, or to the data folder's.
fn write(config: &Config, rows: &[New]) -> Result<()> {
    if config.prices.is_none() {
        let folder = config.data.display();
        std::fs::create_dir_all(&config.data)
            .map_err(|error| Wrong(format!("making the data folder {folder}: {error}")))?;
    }
    let path = config.prices.clone().unwrap_or_else(|| config.own_prices());
    add(&path, rows)?;
    say(&format!("{} has {} more rows", path.display(), rows.len()))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}
