//! `audit search`: a text in bodies.

use anyhow::Result;
use archive::read::Reader;

use super::filter::FilterArgs;
use crate::admin::audit::search::{self, Needle};
use crate::cli::output::{Format, Progress, Rows};
use crate::config::Wrong;

/// Find a text in bodies
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit search 'high demand' --from 2026-11-01
  codex-proxy audit search '/AKIA[0-9A-Z]{16}/'")]
pub(super) struct Search {
    /// The text; between slashes a regular expression
    text: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const COLUMNS: &[&str] = &["id", "time", "user", "status", "side", "excerpt"];

/// Prints where the text stands.
pub(super) async fn run(reader: &Reader, search: Search) -> Result<()> {
    let needle = Needle::read(&search.text).map_err(|error| Wrong(format!("{error:#}")))?;
    let mut rows = Rows::new(COLUMNS, search.format);
    let filter = search.filter.into();
    let progress = Progress::beside(search.format);
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    search::search(reader, &needle, &filter, &mut |hit| rows.push(&hit), &tell).await?;
    drop(progress);
    rows.end()
}
