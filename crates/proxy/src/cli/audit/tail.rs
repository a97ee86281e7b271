//! `audit tail`: records as they come.

use std::io::Write;

use anyhow::Result;
use archive::read::Reader;
use archive::record::Record;
use clap::ValueEnum;

use super::filter::FilterArgs;
use crate::admin::audit::filter::Filter;
use crate::admin::audit::tail::Tail as Follower;
use crate::cli::output::{line, visible};
use crate::cli::stop_asked;
use crate::clock;

/// Print records as their exchanges end, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit tail --outcome failed
  codex-proxy audit tail --format json | jq -r .model")]
pub(super) struct Tail {
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of each line
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

/// Prints records until the order to stop.
pub(super) async fn run(reader: &Reader, tail: Tail) -> Result<()> {
    let stop = stop_asked();
    let filter = tail.filter.into();
    tokio::select! {
        stopped = stop => stopped,
        failed = follow(reader, &filter, tail.format) => failed,
    }
}

async fn follow(reader: &Reader, filter: &Filter, form: Form) -> Result<()> {
    let follower = Follower::begin(reader, filter, clock::now).await?;
    writeln!(std::io::stderr(), "Waiting for exchanges to end; Ctrl-C stops.")?;
    let mut print = |record: &Record| match form {
        Form::Json => line(&serde_json::to_string(record)?),
        Form::Text => line(&visible(&text(record))),
    };
    follower.follow(&mut print).await
}

/// A record in a line.
fn text(record: &Record) -> String {
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    let model = record.upstream_model.as_ref().or(record.model.as_ref()).cloned();
    format!(
        "{:.3} {} {} {} {} {} {} tokens, {} USD, {} ms {}",
        record.time,
        record.id,
        record.user,
        record.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        record.refusal.as_deref().unwrap_or(record.outcome.as_str()),
        word(&model),
        record.total_tokens,
        word(&record.cost_usd),
        record.took_ms,
        record.endpoint,
    )
}
