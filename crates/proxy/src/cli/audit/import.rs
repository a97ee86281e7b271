//! `audit import`: what a forerunner kept.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use archive::read::Reader;

use crate::admin::audit::import::Importer;
use crate::cli::output::{Format, Listing, Progress};
use crate::config::Config;
use crate::serve;

/// Take over exchanges that were kept as one JSON object each
///
/// The folder is a copy of the bucket, with a folder for each year, month, day and token. What has
/// been taken over before is left out. Bodies that are cut off are marked in the record's tags.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  aws s3 sync s3://codex-proxy-logs-123456789012 logs
  codex-proxy audit import logs --dry-run")]
pub(super) struct Import {
    /// The folder with the folders of years
    folder: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Form of the sums
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const COLUMNS: &[&str] = &["imported", "truncated", "known", "unreadable"];

/// Takes the objects over, and prints how many.
pub(super) async fn run(config: &Config, reader: &Reader, args: Import) -> Result<()> {
    let prices = serve::prices(config.prices.as_deref())?;
    let (bodies, node) = (config.archive.bodies, String::new());
    let mut importer = Importer { reader, desk: None, prices, bodies, node };
    let mut writing = None;
    if !args.dry_run {
        let (node, spool, publisher) = serve::spool(config).await?;
        importer = Importer { desk: Some(spool.desk().clone()), node, ..importer };
        writing = Some((spool, publisher));
    }
    let progress = Progress::default();
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    let mut told = |what: &str| {
        let _ = writeln!(std::io::stderr(), "left out: {what}");
    };
    let done = importer.import(&args.folder, &mut told, &tell).await;
    drop((progress, importer));
    if let Some((spool, publisher)) = writing {
        // What was taken over is in the archive before this ends, if that takes it.
        spool.close();
        publisher.finish();
    }
    let done = done?;
    Listing::new(COLUMNS, &[&done])?.print(args.format)?;
    if done.unreadable > 0 {
        bail!("{} objects could not be read", done.unreadable);
    }
    Ok(())
}
