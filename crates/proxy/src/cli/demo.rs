//! `demo`: a guided tour on loopback, with nothing else.

mod chat;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use archive::segment::day_of;
use redact::secret::Secret;
use simulate::{Options, Simulator};
use store::KeyState;

use super::output::{Format, is_watched, line};
use super::report::{print, reader};
use super::stop_asked;
use crate::admin::keys::{Keys, Order};
use crate::admin::report::{By, Question, report};
use crate::clock;
use crate::config::listen::Listen;
use crate::config::reference::SecretRef;
use crate::config::{Config, Flags};
use crate::rollup::Rollups;
use crate::secret::{Derived, hex, random};
use crate::serve::{self, Gateway, Given};
use chat::Prompt;

/// See what it does: a guided tour on this machine alone.
///
/// A simulated OpenAI API, the gateway on a throw-away data folder, two developers, real streamed
/// exchanges, then the report.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  codex-proxy demo --once")]
pub struct Args {
    /// End after the report instead of serving on
    #[arg(long)]
    once: bool,
}

/// The simulated provider's key: it never leaves the gateway.
const PROVIDER_KEY: &str = "sk-simulated-organisation-key";
/// Between two events, where a person watches.
const PACE: Duration = Duration::from_millis(40);

/// Runs the tour.
pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(tour(args))
}

async fn tour(args: &Args) -> Result<()> {
    let folder = Throwaway::make()?;
    let pace = if is_watched() { PACE } else { Duration::ZERO };
    let simulator = Simulator::start(Options {
        listen: "127.0.0.1:0".parse()?,
        key: Some(PROVIDER_KEY.to_owned()),
        pace,
    })
    .await?;
    let config = configure(&folder, simulator.address())?;
    let gateway = Gateway::start(&config, Given::default()).await?;
    let address = gateway.addresses().iter().find_map(Listen::tcp);
    let address = address.context("the gateway has no address")?;
    step("1", "A simulated OpenAI API and the gateway are up, on this machine alone")?;
    line(&format!(
        "    upstream  http://{}/v1   takes only the organisation's key",
        simulator.address()
    ))?;
    line(&format!(
        "    gateway   http://{address}/v1   holds that key; data in {}",
        folder.path()
    ))?;

    let keys = keys(&config).await?;
    let (ada, grace) = developers(&keys).await?;
    talk(address, &ada, &grace).await?;
    switch_off(&keys, address, &grace).await?;
    books(&config).await?;
    if !args.once {
        invite(address, &ada, &config)?;
        stop_asked().await?;
        line("")?;
    }
    gateway.stop(Duration::from_secs(2)).await?;
    simulator.stop().await;
    Ok(())
}

fn configure(folder: &Throwaway, upstream: SocketAddr) -> Result<Config> {
    let key_file = folder.0.join("provider.key");
    std::fs::write(&key_file, PROVIDER_KEY)?;
    let flags: Flags = vec![
        ("data", folder.path()),
        ("listen", "127.0.0.1:0".to_owned()),
        ("upstream.url", format!("http://{upstream}/v1")),
        ("upstream.key", SecretRef::File(key_file).to_string()),
        ("contact", "platform@example.com".to_owned()),
    ];
    Config::only(&flags)
}

async fn keys(config: &Config) -> Result<Keys> {
    Ok(Keys { store: serve::store(config).await?, derived: Derived::from(&config.secret)? })
}

async fn developers(keys: &Keys) -> Result<(Secret<String>, Secret<String>)> {
    step("2", "Two developers get keys of ours; nobody sees the organisation's")?;
    let mut made = Vec::new();
    for (user, team) in [("ada@example.com", "engines"), ("grace@example.com", "compilers")] {
        let order =
            Order { user: user.to_owned(), team: Some(team.to_owned()), ..Order::default() };
        let (key, secret) = keys.create(order, clock::now()).await?;
        line(&format!("    {user:<18} {team:<10} {}…", key.prefix))?;
        made.push(secret);
    }
    let grace = made.pop().context("two keys were made")?;
    Ok((made.pop().context("two keys were made")?, grace))
}

async fn talk(address: SocketAddr, ada: &Secret<String>, grace: &Secret<String>) -> Result<()> {
    step("3", "They ask; answers stream through as they come")?;
    let prompts = [
        (
            ada,
            Prompt::new(
                "ada",
                "gpt-6.1-sol",
                "Why is the difference engine late?",
                "sim:reasoning=64 sim:say=\"Because every wheel must be cut twice: once for the sum, once for the carry.\"",
            ),
        ),
        (
            grace,
            Prompt::new(
                "grace",
                "gpt-5.5",
                "What is in this relay?",
                "sim:say=\"A moth. It has been taped to the logbook.\"",
            ),
        ),
        (
            ada,
            Prompt::new(
                "ada",
                "gpt-5.4-mini",
                "List the files here.",
                "sim:tool=\"exec_command\" sim:args=\"{\\\"cmd\\\":\\\"ls\\\"}\"",
            ),
        ),
        (
            grace,
            Prompt::new(
                "grace",
                "gpt-5.5",
                "And now?",
                "sim:status=429 sim:message=\"Rate limit reached for gpt-5.5\"",
            ),
        ),
    ];
    for (key, prompt) in &prompts {
        chat::ask(address, key, prompt).await?;
    }
    Ok(())
}

async fn switch_off(keys: &Keys, address: SocketAddr, grace: &Secret<String>) -> Result<()> {
    step("4", "grace's key is switched off: it counts from the very next request")?;
    keys.switch("grace@example.com", KeyState::Disabled, clock::now()).await?;
    chat::ask(address, grace, &Prompt::new("grace", "gpt-5.5", "Hello?", "")).await
}

async fn books(config: &Config) -> Result<()> {
    step("5", "Every exchange is recorded whole, metered and priced: codex-proxy report")?;
    line("")?;
    let today = day_of(clock::now());
    let mut rollups = Rollups::open(config)?;
    let question = Question::of((today, today), By::User);
    print(&report(&reader(config)?, &mut rollups, &question).await?, Format::Table)
}

fn invite(address: SocketAddr, ada: &Secret<String>, config: &Config) -> Result<()> {
    step("6", "It goes on serving; Ctrl-C ends it. Try it with the real Codex CLI:")?;
    line(&format!("    export CODEX_DEMO_KEY={}", ada.expose()))?;
    let provider = format!(
        "{{name=\"Codex Proxy\",base_url=\"http://{address}/v1\",env_key=\"CODEX_DEMO_KEY\",wire_api=\"responses\"}}"
    );
    line(&format!(
        "    codex exec -c model_provider=demo -c 'model_providers.demo={provider}' 'hello'"
    ))?;
    line("  and look at what it left:")?;
    line(&format!("    codex-proxy audit list --data {}", config.data.display()))
}

fn step(number: &str, title: &str) -> Result<()> {
    let (bold, plain) = if is_watched() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    line(&format!("\n{bold}{number}. {title}{plain}"))
}

/// A folder that is removed at the end.
struct Throwaway(std::path::PathBuf);

impl Throwaway {
    fn make() -> Result<Self> {
        let name = format!("codex-proxy-demo-{}", hex(&random::<4>()?));
        let folder = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn path(&self) -> String {
        Path::new(&self.0).display().to_string()
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            let _ = writeln!(std::io::stderr(), "{} stays behind: {error}", self.path());
        }
    }
}
