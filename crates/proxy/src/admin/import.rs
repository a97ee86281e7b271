//! Many keys at once, from a list that exists already.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use redact::own_key;
use redact::secret::Secret;
use serde::{Deserialize, Serialize};
use store::{Key, KeyState};

use super::keys::{Keys, fresh_id, normal, visible};
use crate::secret::random_digits;

/// A line of the list: CSV with a head line, or JSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(alias = "user_id", alias = "user")]
    email: String,
    name: Option<String>,
    team: Option<String>,
    token: Option<String>,
    #[serde(default, deserialize_with = "yes_or_no")]
    enabled: Option<bool>,
    created_at: Option<String>,
    #[serde(rename = "id")]
    _id: Option<serde_json::Value>,
}

/// What becomes of a line.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Whose key.
    pub user: String,
    /// Their name.
    pub name: Option<String>,
    /// Their team.
    pub team: Option<String>,
    /// Stable name of the key.
    pub key_id: String,
    /// Its first characters.
    pub prefix: String,
    /// `active` or `disabled`.
    pub state: &'static str,
    /// `kept` where the list brought a token, else `new`.
    pub token: &'static str,
    /// The key itself, for the file that is handed out.
    #[serde(skip)]
    pub key: Secret<String>,
}

/// Reads a list; every problem is named with its line.
pub fn read(text: &str) -> Result<Vec<Entry>> {
    let entries: Vec<Entry> =
        if text.trim_start().starts_with(['[', '{']) { from_json(text)? } else { from_csv(text)? };
    ensure!(!entries.is_empty(), "the list is empty");
    check(&entries)?;
    Ok(entries)
}

impl Keys {
    /// What an import would do.
    pub async fn plan(&self, entries: &[Entry], now: Timestamp) -> Result<Vec<(Key, Imported)>> {
        let taken = self.store.keys().await?;
        let mut plan = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, imported) = self.planned(entry, now)?;
            if let Some(owner) = taken.iter().find(|other| other.hash == key.hash) {
                bail!(
                    "the token {}… of {} is in the store already, as {} of {}",
                    key.prefix,
                    key.user,
                    owner.id,
                    owner.user
                );
            }
            plan.push((key, imported));
        }
        Ok(plan)
    }

    /// Adds all keys of a plan, or none.
    pub async fn import(&self, plan: Vec<(Key, Imported)>) -> Result<Vec<Imported>> {
        let (keys, imported): (Vec<Key>, Vec<Imported>) = plan.into_iter().unzip();
        self.store.add_keys(keys).await?;
        Ok(imported)
    }

    fn planned(&self, entry: &Entry, now: Timestamp) -> Result<(Key, Imported)> {
        let given = entry.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let secret = match given {
            Some(token) => Secret::new(token.to_owned()),
            None => Secret::new(own_key::build(random_digits()?)),
        };
        let created = entry.created_at.as_deref().map(parse_time).transpose()?.unwrap_or(now);
        let enabled = entry.enabled.unwrap_or(true);
        let key = Key {
            id: fresh_id()?,
            hash: self.derived.key_hash(secret.expose()),
            prefix: visible(secret.expose()),
            user: normal(&entry.email),
            team: entry.team.clone().filter(|team| !team.is_empty()),
            label: entry.name.clone().filter(|name| !name.is_empty()),
            models: Vec::new(),
            created_ms: created.as_millisecond(),
            expires_ms: None,
            state: if enabled { KeyState::Active } else { KeyState::Disabled },
        };
        let imported = Imported {
            user: key.user.clone(),
            name: key.label.clone(),
            team: key.team.clone(),
            key_id: key.id.clone(),
            prefix: key.prefix.clone(),
            state: key.state.as_str(),
            token: if given.is_some() { "kept" } else { "new" },
            key: secret,
        };
        Ok((key, imported))
    }
}

fn from_json(text: &str) -> Result<Vec<Entry>> {
    let value: serde_json::Value = serde_json::from_str(text).context("the list is no JSON")?;
    let list = match value {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    let read = |(index, value)| {
        serde_json::from_value(value).with_context(|| format!("in entry {}", index + 1))
    };
    list.into_iter().enumerate().map(read).collect()
}

fn from_csv(text: &str) -> Result<Vec<Entry>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let read = |entry: Result<Entry, csv::Error>| entry.context("in the list");
    reader.deserialize().map(read).collect()
}

fn check(entries: &[Entry]) -> Result<()> {
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let number = index + 1;
        ensure!(!entry.email.trim().is_empty(), "entry {number} has no email");
        let Some(token) = entry.token.as_deref().map(str::trim).filter(|t| !t.is_empty()) else {
            continue;
        };
        let visible_ascii = token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(visible_ascii, "the token of entry {number} cannot stand in a header");
        ensure!(token.len() >= 8, "the token of entry {number} is shorter than 8 characters");
        ensure!(seen.insert(token), "the token of entry {number} stands in the list twice");
    }
    Ok(())
}

fn parse_time(text: &str) -> Result<Timestamp> {
    let date = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let time = text.parse().ok().or_else(date);
    time.with_context(|| format!("`{text}` is no time: write 2026-01-15T00:00:00Z"))
}

/// Lists come from spreadsheets and other programs: they spell yes and no in several ways.
fn yes_or_no<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let Some(value) = Option::<serde_json::Value>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let text = match &value {
        serde_json::Value::String(text) => text.to_ascii_lowercase(),
        other => other.to_string(),
    };
    match text.as_str() {
        "" | "null" => Ok(None),
        "true" | "yes" | "1" => Ok(Some(true)),
        "false" | "no" | "0" => Ok(Some(false)),
        _ => Err(serde::de::Error::custom(format!("`{text}` is neither true nor false"))),
    }
}
