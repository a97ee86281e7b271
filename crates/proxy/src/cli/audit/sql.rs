//! `audit sql`: questions about records.

use anyhow::Result;
use archive::read::Reader;

use super::filter::FilterArgs;
use crate::admin::audit::sql::Question;
use crate::cli::output::{Format, Progress, Rows};
use crate::config::Wrong;

/// Ask a question in SQL over the table records
///
/// The columns are the fields of a record, with day, and exact nano-dollars beside the cost: see the
/// example. The flags leave out records before the question is asked, which is quicker than WHERE.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit sql 'select user, usd(sum(cost_nanos)) from records group by 1' --from 2026-11-01")]
pub(super) struct Sql {
    /// One SELECT, in SQLite's SQL
    query: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Prints the answer.
pub(super) async fn run(reader: &Reader, sql: Sql) -> Result<()> {
    // A query that is wrong is told before anything is read.
    let question = Question::read(&sql.query).map_err(|error| Wrong(format!("{error:#}")))?;
    let progress = Progress::default();
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    let question = question.load(reader, &sql.filter.into(), &tell).await?;
    drop(progress);
    let names = question.columns.clone();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rows = Rows::new(&names, sql.format);
    question.ask(&mut |row| rows.push(&row))?;
    rows.end()
}
