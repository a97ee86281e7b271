//! `key`: make, list and switch keys.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use store::KeyState;

use super::output::{Format, Listing, line};
use super::{Common, block_on};
use crate::admin::import;
use crate::admin::keys::{Keys, Listed, Order};
use crate::budget::rule::Rule;
use crate::clock;
use crate::config::{Flags, Wrong};
use crate::secret::Derived;
use crate::serve;

/// Where an import leaves what is to be handed out.
const HANDOUT: &str = "codex-keys.json";

/// Make, list and switch developers' keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy key create --user ada@example.com --team blue --expires 90d
  codex-proxy key disable ada@example.com")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Import(Import),
    List(List),
    Show(Show),
    /// Switch keys off, from the next request on; open streams end within a second
    #[command(after_help = "Example:\n  codex-proxy key disable ada@example.com")]
    Disable(Which),
    /// Switch disabled keys on again
    #[command(after_help = "Example:\n  codex-proxy key enable key_0f3a9c21d4b7")]
    Enable(Which),
    /// Give a key a new value; the old one stops at once
    #[command(after_help = "Example:\n  codex-proxy key rotate key_0f3a9c21d4b7")]
    Rotate(Which),
    /// Switch keys off for good
    #[command(after_help = "Example:\n  codex-proxy key revoke cpk_1A2b3C4d")]
    Revoke(Which),
}

/// Make a key; it is printed once
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy key create --user ada@example.com --team blue --models 'gpt-5*,gpt-6*'
  codex-proxy key create --user ada@example.com --budget 50usd/month --budget 8at-once")]
struct Create {
    /// Whose key, as an e-mail address
    #[arg(long)]
    user: String,
    /// The team it is counted for; made if new
    #[arg(long)]
    team: Option<String>,
    /// What its owner calls it
    #[arg(long)]
    label: Option<String>,
    /// How long it is valid, as 90d
    #[arg(long, value_parser = humantime::parse_duration)]
    expires: Option<std::time::Duration>,
    /// Globs of the models it may ask, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "GLOB")]
    models: Vec<String>,
    /// How much it may use, as 50usd/month; may be given several times, see `budget set --help`
    #[arg(long = "budget", value_name = "BUDGET", value_parser = Rule::parse)]
    budgets: Vec<Rule>,
    /// Form of the listing; `table` prints the key alone
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Make many keys at once from CSV or JSON; tokens that are in it keep working
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy key import team.csv --dry-run

Fields: email (or user_id), name, team, token, enabled, created_at.")]
struct Import {
    /// The list
    file: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// List all keys
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy key list --format json")]
struct List {
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Show keys with their last refusals
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy key show ada@example.com")]
struct Show {
    /// Key id, its visible prefix, or an e-mail address for all of a person's
    id: String,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Key id, its visible prefix, or an e-mail address for all of a person's
    id: String,
}

const COLUMNS: &[&str] =
    &["id", "prefix", "user", "team", "label", "state", "created", "expires", "models"];

/// Runs one of the key commands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    block_on(async {
        let store = serve::store(&config).await?;
        let keys = Keys { store, derived: Derived::from(&config.secret)? };
        let now = clock::now();
        match args.command {
            Command::Create(create) => make(&keys, create).await,
            Command::Import(import) => bring(&keys, &import).await,
            Command::List(list) => {
                Listing::new(COLUMNS, &keys.list(now).await?)?.print(list.format)
            }
            Command::Show(show) => describe(&keys, &show).await,
            Command::Disable(which) => {
                say_states(&keys.switch(&which.id, KeyState::Disabled, now).await?)
            }
            Command::Enable(which) => {
                say_states(&keys.switch(&which.id, KeyState::Active, now).await?)
            }
            Command::Revoke(which) => {
                say_states(&keys.switch(&which.id, KeyState::Revoked, now).await?)
            }
            Command::Rotate(which) => {
                let (key, secret) = keys.rotate(&which.id, now).await?;
                note(&format!("{} of {} has a new value:", key.id, key.user))?;
                line(secret.expose())
            }
        }
    })
}

/// A key with its value, which is seen only when it is made.
#[derive(serde::Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    listed: &'a Listed,
    key: &'a str,
}

async fn make(keys: &Keys, create: Create) -> Result<()> {
    let Create { user, team, label, expires, models, budgets, format } = create;
    let order = Order { user, team, label, expires, models, budgets };
    let (key, secret) = keys.create(order, clock::now()).await?;
    if format == Format::Table {
        note(&format!("{} for {}; the key is shown only now:", key.id, key.user))?;
        return line(secret.expose());
    }
    let made = Made { listed: &key, key: secret.expose() };
    let row = serde_json::to_value(made)?;
    match format {
        Format::Csv => Listing { columns: COLUMNS, rows: vec![row] }.print(format),
        Format::Json | Format::Table => line(&serde_json::to_string_pretty(&row)?),
    }
}

async fn bring(keys: &Keys, args: &Import) -> Result<()> {
    let path = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("reading {path}"))?;
    let entries = import::read(&text).map_err(|error| Wrong(format!("{path}: {error:#}")))?;
    let plan = keys.plan(&entries, clock::now()).await?;
    let columns = &["user", "name", "team", "key_id", "prefix", "state", "token"];
    if args.dry_run {
        let rows: Vec<_> = plan.iter().map(|(_, imported)| imported).collect();
        Listing::new(columns, &rows)?.print(args.format)?;
        return note(&format!("{} keys would be imported; nothing was changed", rows.len()));
    }
    // The file first: a key that nobody can hand out is worse than one that is not imported.
    let handout: Vec<_> = plan.iter().map(|(_, imported)| hand_out(imported)).collect();
    write_private(Path::new(HANDOUT), &serde_json::to_string_pretty(&handout)?)?;
    let imported = keys.import(plan).await?;
    Listing::new(columns, &imported)?.print(args.format)?;
    note(&format!(
        "{} keys imported; {HANDOUT} has them, for nobody's eyes but yours",
        imported.len()
    ))
}

fn hand_out(imported: &import::Imported) -> serde_json::Value {
    serde_json::json!({
        "email": imported.user,
        "name": imported.name,
        "team": imported.team,
        "key_id": imported.key_id,
        "key": imported.key.expose(),
        "enabled": imported.state == "active",
    })
}

async fn describe(keys: &Keys, args: &Show) -> Result<()> {
    let shown = keys.show(&args.id, clock::now()).await?;
    if args.format != Format::Table {
        return Listing::new(COLUMNS, &shown)?.print(args.format);
    }
    for key in shown {
        line(&Listing::new(COLUMNS, &[&key.key])?.table())?;
        if key.refusals.is_empty() {
            line("no refusals\n")?;
        } else {
            let columns = &["refusal", "count", "last"];
            line(&format!("{}\n", Listing::new(columns, &key.refusals)?.table()))?;
        }
    }
    Ok(())
}

fn say_states(keys: &[Listed]) -> Result<()> {
    for key in keys {
        line(&format!("{} {} of {} is {}", key.id, key.prefix, key.user, key.state))?;
    }
    Ok(())
}

fn note(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

/// Writes a file that only its owner may read; an older one is not overwritten.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let writing = || format!("writing {} (move an older one away first)", path.display());
    let mut file = options.open(path).with_context(writing)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).with_context(writing)
}
