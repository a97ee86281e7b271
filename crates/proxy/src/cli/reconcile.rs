//! `reconcile`: our books beside the provider's.

use std::io::Write;

use anyhow::{Context, Result};
use jiff::civil::Date;

use super::output::{Format, Listing};
use super::{Common, Found, block_on};
use crate::admin::reconcile::theirs::Theirs;
use crate::admin::reconcile::{Finding, Line, reconcile};
use crate::cli::report::reader;
use crate::clock;
use crate::config::{Flags, Wrong};

/// Compare our records with `OpenAI`'s own counts, and explain each difference
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  CODEX_PROXY_RECONCILE_ADMIN_KEY=env:OPENAI_ADMIN_KEY codex-proxy reconcile 2026-11-01 2026-11-30

Exit code 3 where something differs that is not only still open.")]
pub struct Args {
    /// First day, UTC
    from: Date,
    /// Last day, inclusive [default: the first day]
    to: Option<Date>,
    /// Show also what agrees
    #[arg(long)]
    all: bool,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const COLUMNS: &[&str] = &[
    "day",
    "model",
    "key",
    "finding",
    "their_requests",
    "our_requests",
    "their_input_tokens",
    "our_input_tokens",
    "their_output_tokens",
    "our_output_tokens",
    "their_cost_usd",
    "our_cost_usd",
    "explanation",
];

/// Prints what differs.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    let to = args.to.unwrap_or(args.from);
    if to < args.from {
        return Err(Wrong(format!("the last day {to} is before the first, {}", args.from)).into());
    }
    let Some(admin_key) = &config.reconcile.admin_key else {
        let what = "reconcile.admin_key is not set: an administrator's key of the OpenAI organisation, as env:OPENAI_ADMIN_KEY";
        return Err(Wrong(what.to_owned()).into());
    };
    let admin_key = admin_key.resolve()?;
    let days = (args.from, to);
    let lines = block_on(async {
        let theirs = Theirs::fetch(&config.reconcile, &admin_key, days).await;
        let theirs = theirs.with_context(|| format!("asking {}", config.reconcile.url))?;
        reconcile(&reader(&config)?, &theirs, days, clock::now()).await
    })?;
    let shown: Vec<&Line> =
        lines.iter().filter(|line| args.all || line.finding != Finding::Agrees).collect();
    Listing::new(COLUMNS, &shown)?.print(args.format)?;
    let is_closed = |line: &&Line| !matches!(line.finding, Finding::Agrees | Finding::StillOpen);
    let differing = lines.iter().filter(is_closed).count();
    let agreeing = lines.iter().filter(|line| line.finding == Finding::Agrees).count();
    writeln!(std::io::stderr(), "{agreeing} of {} lines agree", lines.len())?;
    if differing > 0 {
        return Err(Found(format!("{differing} differ")).into());
    }
    Ok(())
}
