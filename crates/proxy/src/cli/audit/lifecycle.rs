//! `audit lifecycle`: the bucket's own rules for what is kept no longer.

use anyhow::Result;

use super::prune::keep;
use crate::admin::lifecycle::rules;
use crate::cli::output::line;
use crate::config::{Config, Wrong};

/// Print the rules by which an S3 bucket deletes what is kept no longer
///
/// They say what the settings of the archive say, in the form that Amazon's tool takes. They take the place of all rules that the bucket has. A bucket knows of no holds: where there are any, leave deleting to `serve` and `audit prune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit lifecycle > rules.json
  aws s3api put-bucket-lifecycle-configuration --bucket BUCKET --lifecycle-configuration file://rules.json")]
pub(super) struct Lifecycle {}

/// Prints them.
pub(super) fn run(config: &Config) -> Result<()> {
    let url = &config.archive.url;
    let Some(rules) = rules(url, keep(config)) else {
        let what = format!("the archive {url} is no bucket of S3: use `codex-proxy audit prune`");
        return Err(Wrong(what).into());
    };
    line(&serde_json::to_string_pretty(&rules)?)
}
