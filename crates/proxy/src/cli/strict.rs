//! `strict`: a proxy for one key and one endpoint, closed to everybody else on the machine.

pub mod called;
pub mod oidc;
pub mod source;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use http::Uri;

use super::{Common, block_on, keep_private, stop_asked};
use crate::config::preset::{Keeps, Shutdown, Strict};
use crate::config::reference::SecretRef;
use crate::config::{Config, Wrong};
use crate::harden::key::{Key, Unusable};
use crate::harden::{self, Needs};
use crate::serve::doors::{Given as GivenBy, Inherited, Meant, Whom};
use crate::serve::identity::{Identity, Renewal};
use crate::serve::terms::Read;
use crate::serve::{Gateway, Given};
pub use called::Called;

/// What the key's memory holds, with `Bearer ` before it, in the program that this stands in for.
const KEY: usize = 1024 - 7 - 1;

/// Run a strict proxy for one key, hardened; a drop-in for `codex responses-api-proxy`.
///
/// Reads the key from stdin, listens on 127.0.0.1 and forwards exactly `POST /v1/responses` with
/// that key. Anything else is answered 403.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  printenv OPENAI_API_KEY | env -u OPENAI_API_KEY \\
    codex-proxy strict --http-shutdown --server-info /tmp/server-info.json")]
pub struct Args {
    /// Port to listen on [default: one that is free]
    #[arg(long)]
    port: Option<u16>,
    /// Where the key is
    #[arg(long, value_name = "stdin|file:PATH|secretsmanager:NAME", default_value = source::STDIN, conflicts_with = "github_oidc")]
    key: String,
    /// File to which the port and the process are written, as one line of JSON
    #[arg(long, value_name = "FILE")]
    server_info: Option<PathBuf>,
    /// End at GET /shutdown
    #[arg(long)]
    http_shutdown: bool,
    /// The address that requests are forwarded to
    #[arg(long, value_name = "URL", default_value = oidc::RESPONSES)]
    upstream_url: String,
    /// Folder in which each exchange is written down as JSON, for its owner and without secrets
    #[arg(long, value_name = "DIR")]
    dump_dir: Option<PathBuf>,
    #[command(flatten)]
    oidc: oidc::Workload,
    /// Data folder of records and bodies, as `codex-proxy audit --data DIR` reads them
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// What is done about secrets in requests [default: off]
    #[arg(long, value_name = "off|alert|mask|block")]
    screen: Option<String>,
    /// Fail where any part of the hardening cannot be had on this machine
    #[arg(long)]
    require_hardening: bool,
}

/// Serves until it is told to stop; an error is told as the program does that this stands in for.
pub fn main(common: &Common, args: &Args, missing: Vec<String>) -> ExitCode {
    match run(common, args, missing) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Wrong>() => super::report_error(&error),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(common: &Common, args: &Args, mut missing: Vec<String>) -> Result<()> {
    if common.data.is_some() {
        bail!(Wrong("--data means nothing here: --record DIR keeps records".into()));
    }
    let upstream = upstream(&args.upstream_url)?;
    let credential = credential(args, &mut missing)?;
    let port = args.port.unwrap_or(0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("failed to bind 127.0.0.1:{port}"))?;
    let listen = listener.local_addr().context("failed to read local_addr")?;
    let config = config(common, args, upstream, listen)?;
    let (read, splice) = Read::spliced(&config, credential.key)?;
    if let Some(file) = &args.server_info {
        write_info(file, listen.port())?;
    }
    keep_private();
    let renewal = credential.identity.map(|identity| Renewal::new(identity, splice));
    let needs = needs(&config, renewal.as_ref());
    missing.extend(harden::seal(&needs));
    tell_missing(args, &missing)?;
    let meant = Meant { at: listen.to_string(), whom: Whom::Clients, given: GivenBy::Configured };
    let sockets = vec![Inherited { meant, socket: listener.into() }];
    block_on(serve(&config, Given { sockets, lock: None, read: Some(read) }, renewal))
}

async fn serve(config: &Config, given: Given, renewal: Option<Renewal>) -> Result<()> {
    // Watched before anything is said: an early signal must not be lost.
    let asked = stop_asked();
    let gateway = Gateway::start(config, given).await?;
    if let Some(renewal) = renewal {
        gateway.renew(renewal);
    }
    for address in gateway.addresses() {
        writeln!(std::io::stderr(), "responses-api-proxy listening on {address}")?;
    }
    tokio::select! {
        asked = asked => asked?,
        () = gateway.shutdown_asked() => {}
    }
    gateway.stop(config.drain_timeout).await
}

/// The key, or what it is fetched with.
struct Credential {
    key: Key,
    identity: Option<Identity>,
}

fn credential(args: &Args, missing: &mut Vec<String>) -> Result<Credential> {
    if let Some(identity) = args.oidc.identity(&args.upstream_url, missing)? {
        let key = block_on(identity.token())?;
        return Ok(Credential { key, identity: Some(identity) });
    }
    let may_hold = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let read = match source::open(&args.key)? {
        Some(file) => Key::read(file, KEY, may_hold),
        None => Key::read(std::io::stdin(), KEY, may_hold),
    };
    let (key, unprotected) = read.map_err(unusable)?;
    missing.extend(unprotected);
    Ok(Credential { key, identity: None })
}

/// In the words of the program that this stands in for.
fn unusable(why: Unusable) -> anyhow::Error {
    let message = match why {
        Unusable::Missing => {
            "API key must be provided via stdin (e.g. printenv OPENAI_API_KEY | env -u OPENAI_API_KEY codex-responses-api-proxy)"
        }
        Unusable::TooLong => "API key is too large to fit in the 1024-byte buffer",
        Unusable::Characters => "API key may only contain ASCII letters, numbers, '-' or '_'",
        Unusable::Failed(error) => {
            return anyhow::Error::from(error).context("reading the API key from stdin");
        }
    };
    anyhow::Error::msg(message)
}

fn upstream(text: &str) -> Result<Uri> {
    let parsing = || "parsing --upstream-url";
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(anyhow::Error::msg("relative URL without a base").context(parsing()));
    };
    if !rest.starts_with("//") {
        bail!("upstream URL must include a host");
    }
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        let what = format!("{scheme}: only http and https are spoken");
        return Err(anyhow::Error::msg(what).context(parsing()));
    }
    let url: Uri = text.parse().with_context(parsing)?;
    if url.host().is_none_or(str::is_empty) {
        bail!("upstream URL must include a host");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(anyhow::Error::msg("a user in it would be sent to nobody").context(parsing()));
    }
    Ok(url)
}

fn config(common: &Common, args: &Args, upstream: Uri, listen: SocketAddr) -> Result<Config> {
    let whole = |path: &PathBuf| std::path::absolute(path);
    let folders = [(&args.dump_dir, "creating --dump-dir"), (&args.record, "creating --record")];
    for (folder, creating) in folders {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).context(creating)?;
        }
    }
    let shutdown = if args.http_shutdown { Shutdown::Open } else { Shutdown::Closed };
    let strict = Strict {
        listen,
        upstream,
        shutdown,
        dumps: args.dump_dir.as_ref().map(whole).transpose()?,
        record: args.record.as_ref().map(whole).transpose()?,
        screen: args.screen.clone(),
    };
    strict.config(common.config.as_deref()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Wrong(lines.join("\n")).into()
    })
}

/// What is needed from here on. Names are asked once, so that what the system loads for that is
/// loaded now.
fn needs(config: &Config, renewal: Option<&Renewal>) -> Needs {
    let mut needs = Needs::default();
    let upstream = &config.upstream.main.url;
    let others = renewal.into_iter().flat_map(Renewal::addresses);
    for url in [upstream].into_iter().chain(others) {
        let is_plain = url.scheme_str() == Some("http");
        let port = url.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        // Whether it is known now does not matter.
        let _ = (url.host().unwrap_or_default(), port).to_socket_addrs();
        needs.ports.push(port);
    }
    needs.folders.extend(config.dumps.clone());
    if config.keeps == Keeps::Records {
        needs.archive = true;
        needs.folders.push(config.data.clone());
        let secrets = config.archive.references();
        needs.files.extend(secrets.filter_map(|(_, secret)| match secret {
            SecretRef::File(path) => Some(path.clone()),
            _ => None,
        }));
    }
    needs
}

fn tell_missing(args: &Args, missing: &[String]) -> Result<()> {
    if args.require_hardening && !missing.is_empty() {
        bail!("not as hard as --require-hardening asks for: {}", missing.join("; "));
    }
    for one in missing {
        writeln!(std::io::stderr(), "not hardened: {one}")?;
    }
    Ok(())
}

/// Others may read it: it is how they find this proxy.
fn write_info(file: &Path, port: u16) -> Result<()> {
    let writing = || format!("writing {}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(writing)?;
    }
    let info = format!("{{\"port\":{port},\"pid\":{}}}\n", std::process::id());
    std::fs::write(file, info).with_context(writing)
}
