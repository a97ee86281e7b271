//! `audit prune`: what is kept no longer goes.

use anyhow::Result;
use archive::retain::{Doing, Keep, Old, prune};
use archive::segment::day_of;
use serde::Serialize;

use super::hold::holds;
use crate::cli::output::{Format, Listing};
use crate::clock;
use crate::config::Config;

/// Delete the days that are kept no longer
///
/// The settings of the archive say how long bodies and records are kept. A running serve does the
/// same once a day. A day in which something is held stays: see `audit hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy audit prune --dry-run")]
pub(super) struct Prune {
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A row of the listing.
#[derive(Serialize)]
struct Row {
    kind: &'static str,
    day: String,
    objects: u64,
    bytes: u64,
    outcome: String,
}

/// Does it, and prints what went.
pub(super) async fn run(config: &Config, args: &Prune) -> Result<()> {
    let doing = if args.dry_run { Doing::Tell } else { Doing::Delete };
    let objects = config.archive.open()?;
    let today = day_of(clock::now());
    let holds = holds(config, &[]).await?;
    let old = prune(&*objects, keep(config), today, (doing, &holds)).await?;
    let rows: Vec<Row> = old.into_iter().map(|old| row(old, doing)).collect();
    Listing::new(&["kind", "day", "objects", "bytes", "outcome"], &rows)?.print(args.format)
}

/// How long things are kept.
pub(super) fn keep(config: &Config) -> Keep {
    let archive = &config.archive;
    Keep { bodies_days: archive.retain_days, records_days: archive.retain_records_days }
}

fn row(old: Old, doing: Doing) -> Row {
    let outcome = match (old.refused, doing) {
        _ if old.held.is_some() => format!("kept by {}", old.held.unwrap_or_default()),
        (Some(why), _) => format!("not all deleted: {why}"),
        (None, Doing::Delete) => "deleted".to_owned(),
        (None, Doing::Tell) => "would be deleted".to_owned(),
    };
    let (kind, objects, bytes) = (old.kind, old.objects, old.bytes);
    Row { kind, day: old.day.to_string(), objects, bytes, outcome }
}
