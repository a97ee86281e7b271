//! `audit list`: records, newest first.

use anyhow::Result;
use archive::read::Reader;
use archive::record::Record;
use jiff::Timestamp;

use super::filter::FilterArgs;
use crate::admin::audit;
use crate::cli::output::{Format, Progress, Rows};

/// List records, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit list --team blue --from 2026-11-01
  codex-proxy audit list --outcome refused --refusal 'may not ask the model' --format json")]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many at most; 0: all
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// The fields of a table.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "time",
    "user",
    "team",
    "endpoint",
    "model",
    "status",
    "outcome",
    "source",
    "total_tokens",
    "cost_usd",
    "took_ms",
];

/// Prints the records.
pub(super) async fn run(reader: &Reader, list: List) -> Result<()> {
    let blank = Record::blank(String::new(), Timestamp::UNIX_EPOCH, "");
    let mut rows = Rows::new(COLUMNS, list.format).like(&blank)?;
    let filter = list.filter.into();
    let progress = Progress::beside(list.format);
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    audit::list(reader, &filter, list.limit, &mut |record| rows.push(&record), &tell).await?;
    drop(progress);
    rows.end()
}
