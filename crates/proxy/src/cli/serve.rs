//! `serve`: the team gateway.

use std::io::Write;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, stop_asked};
use crate::config::listen::Listen;
use crate::config::{Config, Flags};
use crate::serve::doors::Inherited;
use crate::serve::reload::Watch;
use crate::serve::takeover::{Estate, Predecessor, Successor};
use crate::serve::{Gateway, Given, activation};

/// Run the team gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  OPENAI_API_KEY=sk-... codex-proxy serve --listen 0.0.0.0:8080
  OPENAI_API_KEY=sk-... codex-proxy serve --takeover    replaces the one that runs")]
pub struct Args {
    /// Where to listen; may be given several times
    #[arg(long, value_name = "HOST:PORT|unix:PATH")]
    listen: Vec<String>,
    /// Base address of the OpenAI API
    #[arg(long, value_name = "URL")]
    upstream_url: Option<String>,
    /// Take over from the one that runs on this data folder, without refusing anybody
    #[arg(long)]
    takeover: bool,
}

/// Serves until it is told to stop.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    let mut flags = Flags::new();
    if !args.listen.is_empty() {
        flags.push(("listen", args.listen.join(",")));
    }
    flags.extend(args.upstream_url.clone().map(|url| ("upstream.url", url)));
    let passed = activation::sockets()?;
    let (config, watch) = Watch::read(common.origin(flags))?;
    #[cfg(unix)]
    allow_connections();
    #[cfg(target_os = "linux")]
    give_memory_back();
    let start = if args.takeover { Start::Takeover } else { Start::Fresh(passed) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&config, watch, start))
}

/// Takes as many open files as the system lets us: a connection each way is two, and the usual
/// limit of 1024 is far below `limits.connections`.
#[cfg(unix)]
fn allow_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, files) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Else the allocator gives memory back only where more is asked of it, and thousands of silent
/// streams ask nothing. With a thread of its own: so not where a process is hardened.
#[cfg(target_os = "linux")]
fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!(%error, "memory is given back late");
    }
}

/// How a gateway comes to its sockets.
enum Start {
    /// It opens them, or has them from systemd.
    Fresh(Vec<Inherited>),
    /// It has them from the one that runs.
    Takeover,
}

/// Why a gateway ends.
enum End {
    Asked,
    TakenOver(Successor),
}

async fn serve(config: &Config, watch: Watch, start: Start) -> Result<()> {
    // Watched before anything listens: an early signal must not be lost.
    let asked = stop_asked();
    let (given, predecessor) = given(start, config).await?;
    let reload_asked = signal(SignalKind::hangup())?;
    let mut gateway = Gateway::start(config, given).await?;
    gateway.watch(watch, reload_asked);
    if let Some(predecessor) = predecessor {
        say(&format!("takes over from process {}", predecessor.process))?;
        if let Err(error) = gateway.succeed(predecessor).await {
            // The other one serves on: two would be one too many.
            gateway.stop(config.drain_timeout).await?;
            return Err(error.context("taking over"));
        }
    }
    gateway.open_local(&config.data);
    say(&greeting(&gateway, config))?;
    let end = tokio::select! {
        asked = asked => asked.map(|()| End::Asked)?,
        successor = gateway.taken_over() => End::TakenOver(successor),
    };
    let drain = gateway.drain_timeout();
    match end {
        End::Asked => {
            say("stopping: open exchanges may end, then everything is written")?;
            gateway.stop(drain).await?;
        }
        End::TakenOver(successor) => {
            say(&format!("taken over by process {}: open connections may end", successor.process))?;
            gateway.leave(successor, drain).await?;
        }
    }
    say("stopped")
}

async fn given(start: Start, config: &Config) -> Result<(Given, Option<Predecessor>)> {
    let nobody = |sockets| (Given { sockets, ..Given::default() }, None);
    let data = match start {
        Start::Fresh(passed) => return Ok(nobody(passed)),
        Start::Takeover => &config.data,
    };
    let Some((predecessor, estate)) = Predecessor::ask(data).await.context("taking over")? else {
        say("nobody runs on this data folder: there is nothing to take over")?;
        return Ok(nobody(Vec::new()));
    };
    let Estate { lock, sockets } = estate;
    Ok((Given { sockets, lock: Some(lock), read: None }, Some(predecessor)))
}

fn greeting(gateway: &Gateway, config: &Config) -> String {
    let mut lines = Vec::new();
    for address in gateway.addresses() {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        lines.push(format!("codex-proxy listens on {}", url(scheme, address)));
    }
    for address in gateway.operators_addresses() {
        lines.push(format!("  for operators {}", url("http", address)));
    }
    lines.push(format!("  forwards to   {}", config.upstream.main.url));
    for upstream in &config.upstreams {
        lines.push(format!("           and  {} ({})", upstream.url, upstream.name));
    }
    lines.push(format!("  data folder   {}", config.data.display()));
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec();
    lines.push(format!(
        "  memory        request bodies at most {}, one at most {}; answers at most 1.0 MiB an exchange; {} exchanges at once",
        size(config.max_buffered),
        size(config.max_body),
        config.limits.exchanges,
    ));
    if gateway.has_no_key() {
        lines.push("There is no key yet. Make the first one, beside this:".to_owned());
        lines.push(format!(
            "  codex-proxy key create --user ada@example.com --data {}",
            config.data.display()
        ));
    }
    lines.join("\n")
}

fn url(scheme: &str, at: &Listen) -> String {
    match at {
        Listen::Tcp(address) => format!("{scheme}://{address}"),
        Listen::Unix(_) => at.to_string(),
    }
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}
