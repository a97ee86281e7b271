//! `audit export`: records and bodies for other programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use archive::read::Reader;
use clap::ValueEnum;

use super::filter::FilterArgs;
use crate::admin::audit::export::{Depth, Exported, export};
use crate::admin::audit::filter::Filter;
use crate::admin::audit::parquet::Table;
use crate::cli::output::Progress;
use crate::config::Wrong;

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
    /// Columns, without bodies
    Parquet,
}

/// What is written, and how.
struct Wanted {
    filter: Filter,
    depth: Depth,
    form: Form,
    progress: Progress,
}

/// Writes what passes the filter.
pub(super) async fn run(reader: &Reader, args: Export) -> Result<()> {
    if args.bodies && args.format == Form::Parquet {
        return Err(Wrong("--bodies can be had with --format jsonl only".to_owned()).into());
    }
    let depth = if args.bodies { Depth::Bodies } else { Depth::Records };
    let (filter, form) = (args.filter.into(), args.format);
    let Some(path) = &args.output else {
        let wanted = Wanted { filter, depth, form, progress: Progress::beside_stdout() };
        return Ok(write(reader, &wanted, BufWriter::new(std::io::stdout())).await?.flush()?);
    };
    let wanted = Wanted { filter, depth, form, progress: Progress::default() };
    to_file(reader, &wanted, path).await.with_context(|| format!("writing {}", path.display()))
}

async fn to_file(reader: &Reader, wanted: &Wanted, path: &Path) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let out = write(reader, wanted, BufWriter::new(File::create(&part)?)).await?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(std::fs::rename(&part, path)?)
}

async fn write<W: Write + Send>(reader: &Reader, wanted: &Wanted, mut out: W) -> Result<W> {
    let Wanted { filter, depth, form, progress } = wanted;
    let tell = |done: &dyn std::fmt::Display| progress.tell(done);
    match form {
        Form::Jsonl => {
            let mut line = |exported| {
                serde_json::to_writer(&mut out, &exported)?;
                Ok(out.write_all(b"\n")?)
            };
            export(reader, filter, *depth, &mut line, &tell).await?;
            Ok(out)
        }
        Form::Parquet => {
            let mut table = Table::begin(out)?;
            let mut row = |exported: Exported| table.push(exported.record);
            export(reader, filter, *depth, &mut row, &tell).await?;
            table.end()
        }
    }
}
