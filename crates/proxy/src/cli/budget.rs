//! `budget`: set, raise, list and remove budgets and limits.

use anyhow::Result;
use clap::Subcommand;
use store::budget::Scope;

use super::output::{Format, Listing};
use super::{Common, block_on};
use crate::admin::budgets::{Budgets, Listed, Wanted};
use crate::budget::rule::Rule;
use crate::clock;
use crate::config::Flags;
use crate::serve;

/// Set, raise, list and remove budgets and limits
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy budget set --team blue 500usd/month
  codex-proxy budget set --user ada@example.com 2000000tokens/day --models 'gpt-6*'
  codex-proxy budget set --organisation 64at-once
  codex-proxy budget raise team:blue:usd:month 100usd --for 7d
  codex-proxy budget list")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Set),
    Raise(Raise),
    List(List),
    /// Remove a budget, with what was counted
    #[command(after_help = "Example:\n  codex-proxy budget remove team:blue:usd:month")]
    Remove {
        /// The budget's id, as `budget list` tells it
        id: String,
    },
}

/// Make a budget, or change the amount of one that is there; what was spent stays spent
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy budget set --team blue 500usd/month --zone Europe/Berlin
  codex-proxy budget set --key key_0f3a9c21d4b7 60requests/minute

A budget is an amount of usd, tokens or requests, per minute, hour, day, week or month, or for ever
where no time is named; or so many exchanges at once, as 8at-once.")]
struct Set {
    /// How much, as 500usd/month
    #[arg(value_parser = Rule::parse)]
    rule: Rule,
    #[command(flatten)]
    scope: Whose,
    /// Globs of the models that count, separated by commas; without it, all
    #[arg(long, value_delimiter = ',', value_name = "GLOB")]
    models: Vec<String>,
    /// The time zone in which days, weeks and months begin
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Exchanges of everybody together
    #[arg(long)]
    organisation: bool,
    /// Exchanges of a team together
    #[arg(long)]
    team: Option<String>,
    /// Exchanges of a person, over all keys
    #[arg(long)]
    user: Option<String>,
    /// Exchanges of one key, by its id
    #[arg(long)]
    key: Option<String>,
}

/// Raise a budget for a while; an earlier raise is replaced
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy budget raise team:blue:usd:month 100usd --for 7d")]
struct Raise {
    /// The budget's id, as `budget list` tells it
    id: String,
    /// By how much, in its unit, as 100usd
    by: String,
    /// For how long, as 7d
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    lasts: std::time::Duration,
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// List all budgets, and how they stand
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy budget list --format json")]
struct List {
    /// Form of the listing
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const COLUMNS: &[&str] = &[
    "id",
    "scope",
    "name",
    "budget",
    "models",
    "limit",
    "spent",
    "reserved",
    "resets",
    "raised",
    "raised_until",
];

/// Runs one of the subcommands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    let config = common.settings(Flags::new())?;
    block_on(async {
        let budgets = Budgets { store: serve::store(&config).await? };
        let now = clock::now();
        match args.command {
            Command::Set(set) => {
                let Set { rule, scope, models, zone, format } = set;
                let wanted = Wanted { scope: scope.scope(), rule, models, zone };
                print(&[budgets.set(wanted, now).await?], format)
            }
            Command::Raise(Raise { id, by, lasts, format }) => {
                print(&[budgets.raise(&id, &by, lasts, now).await?], format)
            }
            Command::List(List { format }) => print(&budgets.list(now).await?, format),
            Command::Remove { id } => budgets.remove(&id).await,
        }
    })
}

impl Whose {
    fn scope(self) -> Scope {
        let Self { team, user, key, .. } = self;
        let scopes = [team.map(Scope::Team), user.map(Scope::User), key.map(Scope::Key)];
        scopes.into_iter().flatten().next().unwrap_or(Scope::Organisation)
    }
}

fn print(budgets: &[Listed], format: Format) -> Result<()> {
    Listing::new(COLUMNS, budgets)?.print(format)
}
