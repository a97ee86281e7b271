//! `audit export`: records and bodies for other programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use archive::read::Reader;
use clap::ValueEnum;

use super::filter::FilterArgs;
use crate::admin::audit::export::{Depth, export};
use crate::admin::audit::filter::Filter;
use crate::cli::output::Progress;

/// Write records, oldest first, for other programs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit export --from 2026-11-01 --to 2026-11-30 --output november.jsonl
  codex-proxy audit export --user ada@example.com --bodies | jq -r .request.body")]
pub(super) struct Export {
    #[command(flatten)]
    filter: FilterArgs,
    /// With heads and bodies of both sides
    #[arg(long)]
    bodies: bool,
    /// Write to this file, which is there once it is whole, instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the export
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A JSON object a line
    Jsonl,
}

/// Writes what passes the filter.
pub(super) async fn run(reader: &Reader, args: Export) -> Result<()> {
    let depth = if args.bodies { Depth::Bodies } else { Depth::Records };
    let filter = args.filter.into();
    match (args.format, &args.output) {
        (Form::Jsonl, None) => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            lines(reader, (&filter, depth), &mut out, &Progress::beside_stdout()).await?;
            Ok(out.flush()?)
        }
        (Form::Jsonl, Some(path)) => {
            let writing = || format!("writing {}", path.display());
            to_file(reader, (&filter, depth), path).await.with_context(writing)
        }
    }
}

async fn to_file(reader: &Reader, wanted: (&Filter, Depth), path: &Path) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let mut out = BufWriter::new(File::create(&part)?);
    lines(reader, wanted, &mut out, &Progress::default()).await?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(std::fs::rename(&part, path)?)
}

async fn lines(
    reader: &Reader,
    (filter, depth): (&Filter, Depth),
    out: &mut dyn Write,
    progress: &Progress,
) -> Result<()> {
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    let mut write = |exported| {
        serde_json::to_writer(&mut *out, &exported)?;
        Ok(out.write_all(b"\n")?)
    };
    export(reader, filter, depth, &mut write, &tell).await
}
