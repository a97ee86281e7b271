//! `store`: from one engine to another.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use redact::secret::Secret;
use store::{Store, without_secrets};

use super::output::{Format, Listing};
use super::{Common, block_on};
use crate::admin::copy::{Mode, copy};
use crate::config::Flags;
use crate::config::reference::SecretRef;
use crate::secret::Derived;

/// Copy the store to another engine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy store copy sqlite:codex-proxy-data/store.db postgres://codex@db.example.com/codex")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Copy(Copy),
}

/// Copy keys, teams, refusals, budgets and what was spent into another store
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy store copy sqlite:codex-proxy-data/store.db postgres://codex@db.example.com/codex

Stop every `serve` on the first store before: what it counts afterwards is not copied. What is there
already is left as it is, so that a copy that broke off can be made again. The password of a database
is store.password, or stands in the address.")]
struct Copy {
    /// The store that is copied
    from: String,
    /// The store that it is copied into
    to: String,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs one of the subcommands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    let Command::Copy(Copy { from, to, dry_run, format }) = args.command;
    let config = common.settings(Flags::new())?;
    let password = config.store.password.as_ref().map(SecretRef::resolve).transpose()?;
    let fingerprint = Derived::from(&config.secret)?.fingerprint();
    let mode = if dry_run { Mode::DryRun } else { Mode::Copy };
    let copied = block_on(async {
        let (from, to) =
            (open(&from, password.as_ref()).await?, open(&to, password.as_ref()).await?);
        // Both belong to the installation's secret: hashes of keys agree with no other.
        from.claim(fingerprint).await.context("the store that is copied")?;
        to.claim(fingerprint).await.context("the store that it is copied into")?;
        copy(from, to, mode).await
    })?;
    Listing::new(&["what", "found", "known"], &copied)?.print(format)?;
    let said = if dry_run { "nothing was changed" } else { "what was not known is there now" };
    Ok(writeln!(std::io::stderr(), "{said}")?)
}

async fn open(url: &str, password: Option<&Secret<String>>) -> Result<std::sync::Arc<dyn Store>> {
    let password = password.map(|password| password.expose().as_str());
    let opened = store::open(url, password).await;
    opened.with_context(|| format!("opening the store {}", without_secrets(url)))
}
