//! `audit hold`: what must stay, however old it gets.

use anyhow::{Context, Result, bail};
use archive::hold::{self, Held, Hold, Holds};
use archive::sign::PublicKey;
use clap::Subcommand;
use serde::Serialize;

use crate::admin::keys::normal;
use crate::cli::output::{Format, Listing, line};
use crate::clock;
use crate::config::{Config, Wrong};
use crate::secret::Derived;

/// Longer reasons belong into a document of their own, in bytes.
const LONGEST: usize = 1024;

/// Keep what a person or a session has, however old it gets
///
/// A day in which something is held is pruned by nobody, and who is held is not erased, until
/// the hold is removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit hold add --user ada@example.com --reason 'case 4711'
  codex-proxy audit hold list
  codex-proxy audit hold remove 0199a2b4-6f3e-7c11-9a55-0242ac120002")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hold a person or a session; prints the hold's id
    #[command(after_help = "Example:
  codex-proxy audit hold add --session 01a20f0e-9cb6-7a31-8d0b-6a2b41d2f5a1")]
    Add(Add),
    /// List what is held, oldest first
    #[command(after_help = "Example:\n  codex-proxy audit hold list --format json")]
    List {
        /// Form of the listing
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Remove a hold: what it kept goes when it is old enough
    #[command(after_help = "Example:
  codex-proxy audit hold remove 0199a2b4-6f3e-7c11-9a55-0242ac120002")]
    Remove {
        /// Its id, as the list says
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Whatever this person has
    #[arg(long, value_name = "EMAIL", required_unless_present = "session")]
    user: Option<String>,
    /// Whatever belongs to this Codex session or thread
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    session: Option<String>,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A row of the listing.
#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    user: Option<String>,
    session: Option<String>,
    reason: Option<String>,
}

/// Runs one of the commands.
pub(super) async fn run(config: &Config, args: Args) -> Result<()> {
    match args.command {
        Command::Add(args) => add(config, args).await,
        Command::List { format } => {
            let holds = holds(config, &[]).await?;
            let rows: Vec<Row> = holds.all().iter().map(row).collect();
            Listing::new(&["id", "time", "user", "session", "reason"], &rows)?.print(format)
        }
        Command::Remove { id } => {
            let archive = &config.archive;
            let objects = archive::open_stored(&archive.url, &archive.access)
                .with_context(|| format!("opening the archive {}", archive.url))?;
            let was = hold::remove(&*objects, &id).await;
            if !was.with_context(|| format!("removing the hold {id}"))? {
                bail!("no hold has the id {id}: see `codex-proxy audit hold list`");
            }
            line(&format!("removed: hold {id}"))
        }
    }
}

async fn add(config: &Config, args: Add) -> Result<()> {
    let held = match (args.user, args.session) {
        (Some(user), None) => Held::User(normal(&user)),
        (None, Some(session)) => Held::Session(session.trim().to_owned()),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Wrong("a hold needs --user or --session".to_owned()).into());
        }
    };
    let (Held::User(name) | Held::Session(name)) = &held;
    let reason = args.reason.as_deref().unwrap_or_default();
    if name.is_empty() || is_odd(name) || is_odd(reason) {
        let what = format!(
            "--user, --session and --reason hold no control characters, and at most {LONGEST} bytes"
        );
        return Err(Wrong(what).into());
    }
    let id = uuid::Uuid::now_v7().to_string();
    let fresh = Hold { id: id.clone(), time: clock::now(), held, reason: args.reason };
    let signer = Derived::from(&config.secret)?.signer();
    let objects = archive::open_stored(&config.archive.url, &config.archive.access)
        .with_context(|| format!("opening the archive {}", config.archive.url))?;
    hold::add(&*objects, &fresh, &signer).await.context("putting the hold into the archive")?;
    line(&id)
}

fn is_odd(text: &str) -> bool {
    text.len() > LONGEST || text.contains(char::is_control)
}

/// All holds of the archive, signed by this installation or by one of these keys.
pub(super) async fn holds(config: &Config, keys: &[PublicKey]) -> Result<Holds> {
    let objects = archive::open_stored(&config.archive.url, &config.archive.access)
        .with_context(|| format!("opening the archive {}", config.archive.url))?;
    let own = Derived::from(&config.secret)?.signer().public_key();
    let keys = [&[own], keys].concat();
    Holds::load(&*objects, &keys).await.context(
        "reading the holds: what is not ours can be removed with `codex-proxy audit hold remove`",
    )
}

fn row(hold: &Hold) -> Row {
    let (user, session) = match &hold.held {
        Held::User(user) => (Some(user.clone()), None),
        Held::Session(session) => (None, Some(session.clone())),
    };
    let (id, reason) = (hold.id.clone(), hold.reason.clone());
    Row { id, time: hold.time.to_string(), user, session, reason }
}
