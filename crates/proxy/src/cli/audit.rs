//! `audit`: find exchanges and read them back.

mod erase;
mod export;
mod filter;
mod hold;
mod import;
mod lifecycle;
mod list;
mod origin;
mod prune;
mod reseal;
mod scan;
mod search;
mod session;
mod show;
mod sql;
mod tail;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use super::report::reader;
use super::{Common, block_on};
use crate::config::Flags;

/// Find exchanges and read them back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  codex-proxy audit list --user ada@example.com --outcome failed
  codex-proxy audit session 01a200ee-dcd4
  codex-proxy audit show 0199a2b4-6f3e-7c11-9a55-0242ac120002 --part response --raw")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Session(session::Session),
    Tail(tail::Tail),
    Search(search::Search),
    Scan(scan::Scan),
    Origin(origin::Origin),
    Sql(sql::Sql),
    Export(export::Export),
    Import(import::Import),
    Verify(verify::Verify),
    Prune(prune::Prune),
    Reseal(reseal::Reseal),
    Hold(hold::Args),
    Erase(erase::Erase),
    Lifecycle(lifecycle::Lifecycle),
}

/// Runs one of the audit commands.
pub fn run(common: &Common, args: Args) -> Result<()> {
    // It needs nothing of the installation.
    if let Command::Scan(scan) = &args.command
        && scan.needs_no_archive()
    {
        return scan::run_alone(common, scan);
    }
    let config = common.settings(Flags::new())?;
    let reader = reader(&config);
    block_on(async {
        match args.command {
            Command::List(list) => list::run(&reader?, list).await,
            Command::Show(show) => show::run(&reader?, &show).await,
            Command::Session(session) => session::run(&reader?, session).await,
            Command::Tail(tail) => tail::run(&reader?, tail).await,
            Command::Origin(origin) => origin::run(&reader?, origin).await,
            Command::Sql(sql) => sql::run(&reader?, sql).await,
            Command::Export(export) => export::run(&reader?, export).await,
            Command::Import(import) => import::run(&config, &reader?, import).await,
            Command::Search(search) => search::run(&reader?, search).await,
            Command::Scan(scan) => scan::run(&config, &reader?, &scan).await,
            // It needs no folder on this machine.
            Command::Verify(verify) => verify::run(&config, verify).await,
            Command::Prune(args) => {
                // Else nothing would be found where nothing is.
                reader?;
                prune::run(&config, &args).await
            }
            Command::Reseal(args) => reseal::run(&config, &args).await,
            Command::Hold(args) => {
                reader?;
                hold::run(&config, args).await
            }
            Command::Erase(args) => erase::run(&config, &reader?, &args).await,
            Command::Lifecycle(_) => lifecycle::run(&config),
        }
    })
}
