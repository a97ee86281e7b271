//! `audit erase`: what a person has in the archive goes.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use archive::erase::{Done, ERASED, Eraser, Stopped};
use archive::read::Reader;
use archive::retain::Doing;
use serde::Serialize;

use super::hold::holds;
use super::verify::keys_in;
use crate::admin::keys::normal;
use crate::cli::output::{Format, Listing, Progress};
use crate::clock;
use crate::config::{Config, Wrong};
use crate::secret::Derived;
use crate::serve;

/// Remove what a person has in the archive
///
/// Of each exchange only a hash stays, of its record what was counted and paid, with the user
/// `erased`. `audit verify` knows by a signed statement what was erased. What is still in a spool
/// waits: run it again when serve has published it, a minute later.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit erase --user ada@example.com --dry-run
  codex-proxy audit erase --user ada@example.com --yes

Exit code 1: something of theirs is still there, as is said; run it again. Their keys, limits and
counts in the store, and diagnostics, are not touched.")]
pub(super) struct Erase {
    /// Whose
    #[arg(long, value_name = "EMAIL")]
    user: String,
    /// Only tell what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do it: it cannot be undone
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// File with public keys of earlier secrets, whose manifests count too, one a line
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Form of the sums
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const COLUMNS: &[&str] = &["exchanges", "records", "files", "waiting", "refused"];

/// What is printed.
#[derive(Serialize)]
struct Sums {
    exchanges: u64,
    records: u64,
    files: u64,
    waiting: usize,
    refused: usize,
}

/// Does it, and prints how much went and what is left.
pub(super) async fn run(config: &Config, reader: &Reader, args: &Erase) -> Result<()> {
    let user = normal(&args.user);
    let doing = match (args.dry_run, args.yes) {
        (true, _) => Doing::Tell,
        (false, true) => Doing::Delete,
        (false, false) => {
            let what =
                "this cannot be undone: say --yes to do it, or --dry-run to see what would go";
            return Err(Wrong(what.to_owned()).into());
        }
    };
    if user.is_empty() || user == ERASED {
        return Err(Wrong(format!("`{user}` is nobody: name a person, as in `audit list`")).into());
    }
    let signer = Derived::from(&config.secret)?.signer();
    let others = args.public_key.as_deref().map_or(Ok(Vec::new()), keys_in)?;
    let objects = config.archive.open()?;
    let holds = holds(config, &others).await?;
    if let Some(hold) = holds.on_user(&user) {
        return Err(Stopped::Held(hold.clone()).into());
    }
    // Before the archive: what is published in between is then looked at there.
    let waiting = waiting(config, reader, (&user, doing)).await?;
    let keys = [vec![signer.public_key()], others].concat();
    let (user, now) = (user.as_str(), clock::now());
    let eraser =
        Eraser { objects: &*objects, signer: &signer, keys: &keys, holds: &holds, user, now };
    let shown = Progress::default();
    let mut tell = |so_far: &Done| {
        shown.tell(&format_args!("{} exchanges, {} files", so_far.exchanges, so_far.files));
    };
    let done = eraser.erase(doing, &mut tell).await?;
    drop(shown);
    report(&done, &waiting, args.format)?;
    match doing {
        Doing::Tell => Ok(()),
        Doing::Delete => left(&done, &waiting),
    }
}

/// What is theirs in the spool; what nobody holds any more is brought to the archive first.
async fn waiting(
    config: &Config,
    reader: &Reader,
    (user, doing): (&str, Doing),
) -> Result<Vec<String>> {
    let look = || -> Result<Vec<String>> {
        let view = reader.view().context("reading the spool")?;
        let theirs = view.spooled().filter(|record| record.user == user);
        Ok(theirs.map(|record| record.id.clone()).collect())
    };
    let waiting = look()?;
    if waiting.is_empty() || doing == Doing::Tell {
        return Ok(waiting);
    }
    let (_, spool, publisher) = serve::spool(config).await?;
    spool.close();
    publisher.finish();
    look()
}

fn report(done: &Done, waiting: &[String], format: Format) -> Result<()> {
    let sums = Sums {
        exchanges: done.exchanges,
        records: done.records,
        files: done.files,
        waiting: waiting.len(),
        refused: done.refused.len(),
    };
    Listing::new(COLUMNS, &[sums])?.print(format)?;
    let mut stderr = std::io::stderr();
    for id in waiting {
        let _ = writeln!(stderr, "in the spool, not in the archive yet: exchange {id}");
    }
    for refused in &done.refused {
        let _ = writeln!(stderr, "not erased: {refused}");
    }
    Ok(())
}

/// Fails where something of theirs is left.
fn left(done: &Done, waiting: &[String]) -> Result<()> {
    match (waiting.len(), done.refused.len()) {
        (0, 0) => Ok(()),
        (waiting, 0) => bail!(
            "{waiting} exchanges are still in the spool: run this again in a minute, when serve \
             has published them"
        ),
        (_, refused) => bail!(
            "{refused} files could not be erased from: run this again when the archive allows it"
        ),
    }
}
