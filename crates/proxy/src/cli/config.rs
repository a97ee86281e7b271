//! `config`: what the program was told, and whether it is right.

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;

use super::Common;
use super::output::line;
use crate::config::entry;
use crate::config::layer::Layers;
use crate::config::setting::{Kind, schema};
use crate::config::target::Target;
use crate::config::{Config, Flags, Wrong};
use crate::serve::{prices, tls};

/// Check, show or describe the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy config check --config codex-proxy.toml")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong, if anything
    #[command(after_help = "Example:\n  codex-proxy config check --resolve")]
    Check {
        /// Also try every secret reference
        #[arg(long)]
        resolve: bool,
    },
    /// Show every setting, its value and where that came from
    #[command(after_help = "Example:\n  codex-proxy config show")]
    Show,
    /// Print the JSON Schema of the file
    #[command(after_help = "Example:\n  codex-proxy config schema > codex-proxy.schema.json")]
    Schema,
}

/// Runs one of the config commands.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    match args.command {
        Command::Schema => line(&serde_json::to_string_pretty(&schema())?),
        Command::Check { resolve: true } => check_secrets(&common.settings(Flags::new())?),
        Command::Check { resolve: false } => {
            let config = common.settings(Flags::new())?;
            prices(config.prices.as_deref())?;
            config.tls.as_ref().map(tls::read).transpose()?;
            Ok(writeln!(std::io::stderr(), "the configuration is right")?)
        }
        Command::Show => show(common),
    }
}

fn check_secrets(config: &Config) -> Result<()> {
    let mut problems = Vec::new();
    // The secret is made on first need: that it is not there yet is no problem.
    let references = config.targets().flat_map(Target::references);
    for (name, reference) in references
        .chain(config.archive.references())
        .chain(config.store.references())
        .chain(config.reconcile.references())
    {
        match reference.resolve() {
            Ok(_) => writeln!(std::io::stderr(), "{name}: {reference} is there")?,
            Err(error) => problems.push(format!("{name}: {error:#}")),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Wrong(problems.join("\n")).into()) }
}

fn show(common: &Common) -> Result<()> {
    let mut flags = Flags::new();
    flags.extend(common.data.as_ref().map(|data| ("data", data.display().to_string())));
    let (_, layers) = Config::load(common.config.as_deref(), &flags).map_err(|problems| {
        Wrong(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    line(&shown(&layers))
}

/// The settings as TOML, each with where its value came from.
fn shown(layers: &Layers) -> String {
    let (mut lines, mut table) = (Vec::new(), "");
    for (path, kind, given) in layers.shown() {
        let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
        if above != table {
            lines.push(format!("\n[{above}]"));
            table = above;
        }
        lines.push(match given {
            None => format!("# {name} is not set"),
            Some((texts, place)) => format!("{name} = {}  # {place}", value(kind, texts)),
        });
    }
    lines.join("\n")
}

fn value(kind: Kind, texts: &[String]) -> String {
    let quoted: Vec<String> =
        texts.iter().map(|text| format!("\"{}\"", hidden(kind, text))).collect();
    match kind {
        Kind::Tables(_) => format!("[{}]", texts.join(", ")),
        _ if kind.is_table() => entry::pairs(texts),
        _ if kind.is_list() => format!("[{}]", quoted.join(", ")),
        Kind::Count => texts.concat(),
        _ => quoted.concat(),
    }
}

/// What may hold a password is not shown whole.
fn hidden(kind: Kind, text: &str) -> String {
    let url = matches!(kind, Kind::Engine(_) | Kind::Url);
    match (url, text.rsplit_once('@'), text.split_once("://")) {
        (true, Some((_, host)), Some((scheme, _))) => format!("{scheme}://***@{host}"),
        _ => text.escape_default().to_string(),
    }
}
