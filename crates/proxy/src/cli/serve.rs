//! `serve`: the team gateway.

use std::io::Write;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, stop_asked};
use crate::config::listen::Listen;
use crate::config::{Config, Flags};
use crate::serve::Gateway;
use crate::serve::reload::Watch;

/// Run the team gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  OPENAI_API_KEY=sk-... codex-proxy serve --listen 0.0.0.0:8080")]
pub struct Args {
    /// Where to listen; may be given several times
    #[arg(long, value_name = "HOST:PORT|unix:PATH")]
    listen: Vec<String>,
    /// Base address of the OpenAI API
    #[arg(long, value_name = "URL")]
    upstream_url: Option<String>,
}

/// Serves until it is told to stop.
pub fn run(common: &Common, args: &Args) -> Result<()> {
    let mut flags = Flags::new();
    if !args.listen.is_empty() {
        flags.push(("listen", args.listen.join(",")));
    }
    flags.extend(args.upstream_url.clone().map(|url| ("upstream.url", url)));
    let (config, watch) = Watch::read(common.origin(flags))?;
    #[cfg(unix)]
    allow_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&config, watch))
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

async fn serve(config: &Config, watch: Watch) -> Result<()> {
    // Watched before anything listens: an early signal must not be lost.
    let asked = stop_asked();
    let reload_asked = signal(SignalKind::hangup())?;
    let gateway = Gateway::start(config).await?;
    gateway.watch(watch, reload_asked);
    say(&greeting(&gateway, config))?;
    asked.await?;
    say("stopping: open exchanges may end, then everything is written")?;
    let drain = gateway.drain_timeout();
    gateway.stop(drain).await?;
    say("stopped")
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
