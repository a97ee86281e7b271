//! `audit reseal`: what is encrypted with old keys or not at all goes over to the current one.

use anyhow::{Context, Result, bail};
use archive::seal::reseal::{Doing, Resealed, reseal};

use crate::cli::output::{Progress, line};
use crate::config::{Config, Wrong};

/// Bring what is encrypted with old keys, or not at all, to the current key
///
/// Afterwards the old keys are not needed any more. May be broken off and begun again, also while
/// serve runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy audit reseal --dry-run")]
pub(super) struct Reseal {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(config: &Config, args: &Reseal) -> Result<()> {
    let doing = if args.dry_run { Doing::Tell } else { Doing::Reseal };
    let archive = &config.archive;
    let keys = archive.keys()?;
    if !keys.seals() {
        let what = "archive.encryption_key is not set: there is no key to bring anything to";
        return Err(Wrong(what.to_owned()).into());
    }
    let objects = archive::open_stored(&archive.url, &archive.access)
        .with_context(|| format!("opening the archive {}", archive.url))?;
    let shown = Progress::default();
    let mut tell = |so_far: &Resealed| shown.tell(&counts(so_far, doing));
    let seen = reseal(&objects, &keys, doing, &mut tell).await;
    drop(shown);
    let seen = seen.context("going through the archive")?;
    line(&counts(&seen, doing))?;
    if let Some((key, files)) = seen.closed.first_key_value() {
        bail!(
            "{files} files are encrypted with the key {key}, which is not at hand: \
             name it in archive.encryption_keys_old"
        );
    }
    Ok(())
}

fn counts(seen: &Resealed, doing: Doing) -> String {
    let Resealed { current, resealed, sealed, .. } = seen;
    let (brought, encrypted) = match doing {
        Doing::Reseal => ("brought", "encrypted"),
        Doing::Tell => ("would be brought", "would be encrypted"),
    };
    format!(
        "{resealed} files {brought} to the current key; {current} have it already; \
         {sealed} {encrypted} that were not"
    )
}
