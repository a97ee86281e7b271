//! `audit origin`: whether an error came from `OpenAI` or from this proxy.

use anyhow::Result;
use archive::read::Reader;
use clap::ValueEnum;

use super::filter::FilterArgs;
use crate::admin::audit::origin;
use crate::cli::output::{Listing, Progress, line};

/// Tell whether an error came from the upstream or from this proxy
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy audit origin 'experiencing high demand'")]
pub(super) struct Origin {
    /// The text, or a part of it, as the developer saw it
    text: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// One object
    Json,
}

const COLUMNS: &[&str] = &["id", "time", "user", "status", "outcome", "origin", "excerpt"];

/// Prints who said the text.
pub(super) async fn run(reader: &Reader, args: Origin) -> Result<()> {
    let progress = Progress::default();
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    let found = origin::origin(reader, &args.text, &args.filter.into(), &tell).await?;
    drop(progress);
    if args.format == Form::Json {
        return line(&serde_json::to_string_pretty(&found)?);
    }
    line(&verdict(&found))?;
    if found.answers.is_empty() {
        return Ok(());
    }
    line("")?;
    line(&Listing::new(COLUMNS, &found.answers)?.table())
}

fn verdict(found: &origin::Origin) -> String {
    let origin::Origin { origin, upstream, proxy, .. } = found;
    match origin {
        Some("upstream") => format!("OpenAI's: the upstream said it in {upstream} of its answers."),
        Some("proxy") => format!("Ours: this proxy said it in {proxy} of its refusals."),
        Some(_) => format!(
            "Both: the upstream said it in {upstream} of its answers, this proxy in {proxy} of its refusals."
        ),
        None => "Nobody's on record: no stored answer has it. Not stored are what Codex says \
                 itself, refusals that leave no record, and what is told after an answer has begun; \
                 those of this proxy have the header x-codex-proxy-refusal."
            .to_owned(),
    }
}
