//! Whether every part of an installation does what it is there for.

mod upstream;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use archive::objects::retention::Retention;
use archive::retain::probe;
use archive::seal::Keys;
use archive::seal::reseal::{Newest, newest};
use archive::spool::backlog::Backlog;
use bytesize::ByteSize;
use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::config::archive::Archive;
use crate::config::reference::SecretRef;

/// The longest that is waited for one part.
const PATIENCE: Duration = Duration::from_mins(1);
/// How far our clock may be from another: Amazon takes no signature that is a quarter of an hour
/// off, and what two machines tell is hard to put in order long before.
const CLOCKS_APART: Duration = Duration::from_mins(1);

/// One part, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What was looked at.
    pub part: String,
    /// How it is.
    pub state: State,
    /// What was seen, or what is wrong.
    pub detail: String,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does its work.
    Ok,
    /// It does not: somebody must look.
    Wrong,
    /// It cannot be told.
    Unknown,
}

impl Part {
    fn new(part: &str, state: State, detail: impl Into<String>) -> Self {
        Self { part: part.to_owned(), state, detail: detail.into() }
    }

    fn of(part: &str, seen: Result<String>) -> Self {
        match seen {
            Ok(detail) => Self::new(part, State::Ok, detail),
            Err(error) => Self::new(part, State::Wrong, format!("{error:#}")),
        }
    }
}

/// Looks at every part, one after another.
pub async fn examine(config: &Config, now: fn() -> Timestamp) -> Vec<Part> {
    let mut parts = vec![
        Part::of("data folder", data_folder(&config.data)),
        Part::of("secret", secret(&config.secret)),
    ];
    if config.data.exists() {
        parts.push(Part::of("store", in_time(store(config)).await));
    }
    parts.push(Part::of("spool", spool(&config.archive, now())));
    // To open a folder is to make it.
    let folder = config.archive.url.strip_prefix("file:").map(Path::new);
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        parts.push(Part::new("archive", State::Ok, not_there_yet(folder)));
    } else {
        parts.push(Part::of("archive", in_time(archive(&config.archive)).await));
        parts.push(lock(&config.archive).await);
    }
    parts.push(encryption(&config.archive).await);
    let answers = upstream::ask_all(config, now).await;
    parts.extend(answers.iter().map(upstream::Asked::part));
    parts.push(clock(answers.iter().find_map(|asked| asked.clock)));
    parts
}

async fn in_time(work: impl Future<Output = Result<String>>) -> Result<String> {
    let late = || format!("it does not answer within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, work).await.with_context(late)?
}

fn data_folder(folder: &Path) -> Result<String> {
    let name = folder.display();
    if !folder.exists() {
        return Ok(not_there_yet(folder));
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&folder.metadata()?.permissions());
    let others = mode & 0o077;
    ensure!(others == 0, "{name} has mode {:o}: others may look inside; chmod 700", mode & 0o777);
    let probe = folder.join(".doctor");
    std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe))?;
    Ok(format!("{name} can be written, by its owner alone"))
}

fn not_there_yet(folder: &Path) -> String {
    format!("{} is not there yet: the first command that needs it makes it", folder.display())
}

fn secret(reference: &SecretRef) -> Result<String> {
    if let SecretRef::File(path) = reference
        && !path.exists()
    {
        return Ok(format!("{reference} is made on first need"));
    }
    // What comes from stdin is for whoever serves.
    if *reference != SecretRef::Stdin {
        reference.resolve()?;
    }
    Ok(format!("{reference} is there"))
}

async fn store(config: &Config) -> Result<String> {
    let password = config.store.password.as_ref().map(SecretRef::resolve).transpose()?;
    let password = password.as_ref().map(|password| password.expose().as_str());
    let store = store::open(&config.store.url, password).await?;
    let (keys, budgets) = (store.keys().await?, store.budgets().await?);
    let address = store::without_secrets(&config.store.url);
    Ok(format!("{address}: {} keys, {} budgets", keys.len(), budgets.len()))
}

fn spool(archive: &Archive, now: Timestamp) -> Result<String> {
    let backlog = Backlog::measure(&archive.spool, now)?;
    let size = |bytes| ByteSize::b(bytes).display().iec().to_string();
    let (bytes, quota) = (size(backlog.bytes), size(archive.spool_quota));
    let detail = format!("{bytes} of {quota} wait, the oldest for {} s", backlog.oldest.as_secs());
    ensure!(backlog.bytes < archive.spool_quota, "{detail}: archive.spool_quota is used up");
    Ok(detail)
}

async fn archive(archive: &Archive) -> Result<String> {
    let objects = archive::open_stored(&archive.url, &archive.access)?;
    probe(&*objects, &uuid::Uuid::now_v7().to_string()).await.context("writing a probe")?;
    Ok(format!("{} can be written", archive.url))
}

/// Whether what is put is sealed, and whether what was put last can be opened.
async fn encryption(archive: &Archive) -> Part {
    let keys = match archive.keys() {
        Ok(keys) => keys,
        Err(wrong) => return Part::new("encryption", State::Wrong, wrong.to_string()),
    };
    let looked = tokio::time::timeout(PATIENCE, newest_of(archive, &keys)).await;
    let (state, detail) = match looked {
        Ok(Ok(Newest::None)) => (State::Ok, "nothing is there yet".to_owned()),
        Ok(Ok(Newest::Unsealed(path))) => {
            (State::Ok, format!("the newest file is not sealed: {path}"))
        }
        Ok(Ok(Newest::Opens(path, key))) => {
            (State::Ok, format!("the key {key} opens the newest file, {path}"))
        }
        Ok(Err(error @ archive::Error::Closed(_))) => (State::Wrong, error.to_string()),
        Ok(Err(error)) => (State::Unknown, error.to_string()),
        Err(late) => (State::Unknown, late.to_string()),
    };
    let on = match (&keys.current, &keys.service) {
        (Some(key), _) => format!("on, with the key {}", key.id()),
        (None, Some(service)) => format!("on, with the KMS key {}", service.name()),
        (None, None) => "off".to_owned(),
    };
    Part::new("encryption", state, format!("{on}; {detail}"))
}

async fn newest_of(archive: &Archive, keys: &Keys) -> Result<Newest, archive::Error> {
    // To open a folder is to make it.
    let folder = archive.url.strip_prefix("file:").map(Path::new);
    if folder.is_some_and(|folder| !folder.exists()) {
        return Ok(Newest::None);
    }
    let objects = archive::open_stored(&archive.url, &archive.access)?;
    newest(&objects, keys).await
}

async fn lock(archive: &Archive) -> Part {
    let asked = archive::retention(&archive.url, &archive.access);
    let told = tokio::time::timeout(PATIENCE, asked).await;
    let retention = match told {
        Ok(Ok(retention)) => retention,
        Ok(Err(error)) => Retention::Unknown(error.to_string()),
        Err(late) => Retention::Unknown(late.to_string()),
    };
    let state = match retention {
        Retention::On(_) | Retention::Off => State::Ok,
        Retention::Unknown(_) => State::Unknown,
    };
    Part::new("object lock", state, retention.to_string())
}

fn clock(others: Option<Duration>) -> Part {
    let Some(apart) = others else {
        return Part::new("clock", State::Unknown, "no upstream has told the time");
    };
    let told = format!("{} s from the upstream's", apart.as_secs());
    let seen = if apart <= CLOCKS_APART { Ok(told) } else { Err(anyhow::Error::msg(told)) };
    Part::of("clock", seen)
}

/// That something is wrong; names it.
pub fn verdict(parts: &[Part]) -> Result<()> {
    let wrong: Vec<&str> = parts
        .iter()
        .filter(|part| part.state == State::Wrong)
        .map(|part| part.part.as_str())
        .collect();
    if !wrong.is_empty() {
        bail!("something is wrong: {}", wrong.join(", "));
    }
    Ok(())
}
