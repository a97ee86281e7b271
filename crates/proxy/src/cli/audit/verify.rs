//! `audit verify`: whether the archive is complete and unchanged.

use std::path::PathBuf;

use anyhow::{Context, Result};
use archive::segment::day_of;
use archive::sign::PublicKey;
use archive::verify::{Verdict, Verifier};
use bytesize::ByteSize;
use jiff::civil::Date;

use super::prune::keep;
use crate::cli::Found;
use crate::cli::output::{Progress, line};
use crate::clock;
use crate::config::{Config, Wrong};
use crate::secret::Derived;

/// Tell whether the archive is complete and unchanged
///
/// Exit code 0: it is. 3: it is not; the first thing that is wrong is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit verify
  codex-proxy audit verify --print-key > archive.pub      where the archive is written
  codex-proxy audit verify 2026-11-01 2026-11-30 --public-key archive.pub      anywhere")]
pub(super) struct Verify {
    /// First day (UTC) on which it was written [default: whatever there is]
    from: Option<Date>,
    /// Last day [default: the first, if that is given]
    to: Option<Date>,
    /// File with the public keys whose signatures count, one a line [default: this installation's]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Print this installation's public key, and nothing else
    #[arg(long, conflicts_with_all = ["from", "to", "public_key"])]
    print_key: bool,
}

pub(super) async fn run(config: &Config, verify: Verify) -> Result<()> {
    if verify.print_key {
        return line(&own_key(config)?.to_string());
    }
    let (from, to) = (verify.from, verify.to.or(verify.from));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        return Err(Wrong(format!("the last day {to} is before the first, {from}")).into());
    }
    let keys = match &verify.public_key {
        Some(file) => keys_in(file)?,
        None => vec![own_key(config)?],
    };
    let objects = config.archive.open()?;
    let spool = config.archive.spool.as_path();
    let spool = Some(spool).filter(|spool| spool.exists());
    let kept = keep(config).on(day_of(clock::now()));
    let verifier = Verifier { objects: &*objects, keys: &keys, spool, kept };
    let shown = Progress::default();
    let mut tell = |so_far: &Verdict| shown.tell(&counts(so_far));
    let verdict = verifier.verify((from, to), &mut tell).await.context("reading the archive")?;
    drop(shown);
    if let Some(wrong) = verdict.wrong {
        return Err(Found(format!("the archive is not what was written: {wrong}")).into());
    }
    line(&format!("complete and unchanged: {}", counts(&verdict)))?;
    if verdict.gone > 0 {
        line(&format!("kept no longer: {} files", verdict.gone))?;
    }
    if verdict.erased > 0 {
        line(&format!("erased, as signed statements say: {} exchanges", verdict.erased))?;
    }
    if verdict.masked > 0 {
        line(&format!("masked, as signed statements say: {} exchanges", verdict.masked))?;
    }
    if verdict.unfinished > 0 {
        let files = verdict.unfinished;
        line(&format!(
            "to be erased or masked, and still there: {files} files; run `audit erase` or \
             `audit scan --mask` again"
        ))?;
    }
    if verdict.waiting > 0 {
        line(&format!("in the spool, not in the archive yet: {} journals", verdict.waiting))?;
    }
    for key in keys {
        line(&format!("by signatures of the key {key}"))?;
    }
    Ok(())
}

fn counts(verdict: &Verdict) -> String {
    let Verdict { manifests, files, exchanges, bytes, .. } = verdict;
    let bytes = ByteSize::b(*bytes).display().iec();
    format!("{exchanges} exchanges, {files} files of {bytes}, {manifests} manifests")
}

fn own_key(config: &Config) -> Result<PublicKey> {
    Ok(Derived::from(&config.secret)?.signer().public_key())
}

/// The public keys in a file, one a line.
pub(super) fn keys_in(file: &std::path::Path) -> Result<Vec<PublicKey>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading public keys from {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let key = |(at, line): (usize, &str)| {
        let what = || {
            let (file, at) = (file.display(), at + 1);
            Wrong(format!("{file}, line {at}: a public key is 64 hexadecimal digits"))
        };
        PublicKey::parse(line).ok_or_else(what)
    };
    let keys = lines.map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(Wrong(format!("{} has no public key in it", file.display())).into());
    }
    Ok(keys)
}
