//! The command line: one file a command. Data goes to stdout, everything else to stderr.

pub mod audit;
pub mod budget;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod key;
pub mod output;
pub mod prices;
pub mod reconcile;
pub mod report;
pub mod secret;
pub mod serve;
pub mod simulate;
pub mod store;
pub mod strict;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Flags, Origin, Wrong};
use crate::serve::reload::Watch;

/// The gateway between your developers' Codex CLI and the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "codex-proxy", version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example:
  codex-proxy demo --once                          see what it does, on this machine alone
  codex-proxy key create --user ada@example.com    make a key
  OPENAI_API_KEY=sk-... codex-proxy serve          run the gateway";

/// What every command takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Folder of everything this installation owns [env CODEX_PROXY_DATA; default codex-proxy-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file [env CODEX_PROXY_CONFIG; default codex-proxy.toml, if there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much to say about what is going on [default: info; of the demo: error]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<tracing::Level>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Key(key::Args),
    Budget(budget::Args),
    Prices(prices::Args),
    Report(report::Args),
    Reconcile(reconcile::Args),
    Audit(audit::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    Strict(strict::Args),
    Store(store::Args),
    Simulate(simulate::Args),
    #[command(name = strict::source::PRINT, hide = true)]
    PrintSecret(secret::Args),
}

impl Command {
    /// The demo tells itself what it shows; strict mode says as little as what it stands in for.
    fn usual_log(&self) -> tracing::Level {
        match self {
            Self::Demo(_) => tracing::Level::ERROR,
            Self::Strict(_) => tracing::Level::WARN,
            _ => tracing::Level::INFO,
        }
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    // Before anything else, even before the arguments are read.
    let called = strict::Called::by(std::env::args_os());
    let missing = match called.close(std::env::args_os().collect()) {
        Ok(missing) => missing,
        Err(error) => return report_error(&error),
    };
    let cli = called.parse();
    if !matches!(cli.command, Command::Strict(_)) {
        keep_private();
    }
    tracing_subscriber::fmt()
        .with_max_level(cli.common.log.unwrap_or_else(|| cli.command.usual_log()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let result = match cli.command {
        Command::Strict(args) => return strict::main(&cli.common, &args, missing),
        command => start(&cli.common, command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report_error(&error),
    }
}

/// Whatever this program writes from here on is its owner's business alone.
fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

fn start(common: &Common, command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(common, &args),
        Command::Demo(args) => demo::run(&args),
        Command::Key(args) => key::run(common, args),
        Command::Budget(args) => budget::run(common, args),
        Command::Prices(args) => prices::run(common, args),
        Command::Report(args) => report::run(common, &args),
        Command::Reconcile(args) => reconcile::run(common, &args),
        Command::Audit(args) => audit::run(common, args),
        Command::Config(args) => config::run(common, &args),
        Command::Doctor(args) => doctor::run(common, &args),
        Command::Store(args) => store::run(common, args),
        Command::Simulate(args) => simulate::run(&args),
        Command::PrintSecret(args) => secret::run(&args),
        // It tells errors in words of its own.
        Command::Strict(_) => Ok(()),
    }
}

/// What a check has found; its exit code is 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Found(pub String);

impl Common {
    /// Where the settings come from, with these flags over them.
    pub fn origin(&self, mut flags: Flags) -> Origin {
        if let Some(data) = &self.data {
            flags.push(("data", data.display().to_string()));
        }
        Origin::new(self.config.clone(), flags)
    }

    /// The settings, with these flags over them.
    pub fn settings(&self, flags: Flags) -> Result<Config> {
        Ok(Watch::read(self.origin(flags))?.0)
    }
}

/// Runs a command that needs one thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Waits for the order to stop: SIGTERM, or Ctrl-C. Watches from the moment it is called.
pub(crate) fn stop_asked() -> impl Future<Output = Result<()>> {
    let watches = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (mut terminate, mut interrupt) = (watches.0?, watches.1?);
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    }
}

/// Whether nobody reads what is written; CSV and JSON have errors of their own around that.
fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
        csv::ErrorKind::Io(io) => Some(io.kind()),
        _ => None,
    });
    let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    [csv, json, io].contains(&Some(std::io::ErrorKind::BrokenPipe))
}

/// The error, once, and what it means for the caller.
fn report_error(error: &anyhow::Error) -> ExitCode {
    // Whoever read our output had enough of it.
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    let text = format!("{error:#}");
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "error: {line}");
    }
    ExitCode::from(match (error.is::<Wrong>(), error.is::<Found>()) {
        (true, _) => 2,
        (_, true) => 3,
        _ => 1,
    })
}
