//! Keys: made, listed, switched.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use redact::own_key;
use redact::secret::Secret;
use serde::Serialize;
use store::budget::Scope;
use store::{Key, KeyState, Store};

use super::budgets::{Wanted, budget};
use crate::budget::rule::Rule;
use crate::config::Wrong;
use crate::secret::{Derived, hex, random, random_digits};

/// Who is to get a key, and for what.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Whose key.
    pub user: String,
    /// The team it is counted for.
    pub team: Option<String>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// How long it is valid.
    pub expires: Option<Duration>,
    /// Globs of the models it may ask; empty: all.
    pub models: Vec<String>,
    /// How much it may use.
    pub budgets: Vec<Rule>,
}

/// A key as listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Stable name of the key.
    pub id: String,
    /// Its first characters.
    pub prefix: String,
    /// Whose it is.
    pub user: String,
    /// The team it is counted for.
    pub team: Option<String>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// `active`, `disabled`, `revoked` or `expired`.
    pub state: &'static str,
    /// Globs of the models it may ask; empty: all.
    pub models: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is valid.
    pub expires: Option<Timestamp>,
}

/// A key in full, with what it was refused.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The key.
    #[serde(flatten)]
    pub key: Listed,
    /// Its refusals, newest first.
    pub refusals: Vec<Refused>,
}

/// How often a key was refused for one reason.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The refusal's word.
    pub refusal: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// The keys of a store.
pub struct Keys {
    /// Where they live.
    pub store: Arc<dyn Store>,
    /// How they are hashed.
    pub derived: Derived,
}

impl Keys {
    /// Makes a key. It can be seen only now.
    pub async fn create(&self, order: Order, now: Timestamp) -> Result<(Listed, Secret<String>)> {
        if order.user.trim().is_empty() {
            return Err(Wrong("a key needs a user: --user ada@example.com".to_owned()).into());
        }
        let texts = [Some(&order.user), order.team.as_ref(), order.label.as_ref()];
        if texts.into_iter().flatten().any(|text| text.contains(char::is_control)) {
            return Err(Wrong("user, team and label hold no control characters".to_owned()).into());
        }
        let secret = Secret::new(own_key::build(random_digits()?));
        let rules = order.budgets.clone();
        let key = self.key(order, &secret, now)?;
        let budgets = rules.into_iter().map(|rule| {
            let (scope, zone) = (Scope::Key(key.id.clone()), "UTC".to_owned());
            budget(Wanted { scope, rule, models: Vec::new(), zone }, now)
        });
        // Before the key: it is never without them.
        self.store.put_budgets(budgets.collect::<Result<_, _>>()?).await?;
        self.store.add_keys(vec![key.clone()]).await?;
        Ok((listed(&key, now), secret))
    }

    /// All keys, oldest first.
    pub async fn list(&self, now: Timestamp) -> Result<Vec<Listed>> {
        Ok(self.store.keys().await?.iter().map(|key| listed(key, now)).collect())
    }

    /// The keys that a selector names, with their refusals.
    pub async fn show(&self, selector: &str, now: Timestamp) -> Result<Vec<Shown>> {
        let mut shown = Vec::new();
        for key in self.select(selector).await? {
            let refusals = self.store.refusals(key.id.clone()).await?;
            let refusals = refusals.into_iter().map(|refused| Refused {
                refusal: refused.word,
                count: refused.count,
                last: time(refused.last_ms),
            });
            shown.push(Shown { key: listed(&key, now), refusals: refusals.collect() });
        }
        Ok(shown)
    }

    /// Sets the state of the keys that a selector names; returns them as they are now.
    pub async fn switch(
        &self,
        selector: &str,
        state: KeyState,
        now: Timestamp,
    ) -> Result<Vec<Listed>> {
        let keys = self.select(selector).await?;
        let revoked = keys.iter().find(|key| key.state == KeyState::Revoked);
        if let (Some(key), true) = (revoked, state == KeyState::Active) {
            bail!("key {} was revoked, which is for good: create a new one", key.id);
        }
        let ids: Vec<String> = keys.into_iter().map(|key| key.id).collect();
        self.store.set_state(ids.clone(), state).await?;
        let keys = self.store.keys().await?;
        let switched = keys.iter().filter(|key| ids.contains(&key.id));
        Ok(switched.map(|key| listed(key, now)).collect())
    }

    /// Gives one key a new value; the old one is unknown at once.
    pub async fn rotate(&self, selector: &str, now: Timestamp) -> Result<(Listed, Secret<String>)> {
        let [key] = &self.select(selector).await?[..] else {
            bail!("{selector} names several keys: rotate them one by one, by their ids");
        };
        ensure!(key.state != KeyState::Revoked, "key {} was revoked: create a new one", key.id);
        let secret = Secret::new(own_key::build(random_digits()?));
        let (hash, prefix) = (self.derived.key_hash(secret.expose()), visible(secret.expose()));
        self.store.rehash(key.id.clone(), hash, prefix.clone()).await?;
        Ok((listed(&Key { prefix, ..key.clone() }, now), secret))
    }

    /// The keys of an id, a visible prefix, or a person's address.
    async fn select(&self, selector: &str) -> Result<Vec<Key>> {
        let keys = self.store.keys().await?;
        if let Some(key) = keys.iter().find(|key| key.id == selector) {
            return Ok(vec![key.clone()]);
        }
        let pick = |of: &dyn Fn(&Key) -> bool| -> Vec<Key> {
            keys.iter().filter(|key| of(key)).cloned().collect()
        };
        let persons = pick(&|key| key.user.eq_ignore_ascii_case(selector));
        if !persons.is_empty() {
            return Ok(persons);
        }
        let prefixed = pick(&|key| selector.len() >= 4 && key.prefix.starts_with(selector));
        match prefixed.len() {
            1 => Ok(prefixed),
            0 => bail!("no key has the id, prefix or user {selector}: see `codex-proxy key list`"),
            many => bail!("{many} keys begin with {selector}: name one by its id"),
        }
    }

    fn key(&self, order: Order, secret: &Secret<String>, now: Timestamp) -> Result<Key> {
        if order.expires.is_some_and(|life| life.is_zero()) {
            return Err(
                Wrong("a key that expires at once is no use: --expires 90d".to_owned()).into()
            );
        }
        let lifetime = order.expires.map(|life| i64::try_from(life.as_millis())).transpose();
        let lifetime = lifetime.context("the lifetime is too long")?;
        Ok(Key {
            id: fresh_id()?,
            hash: self.derived.key_hash(secret.expose()),
            prefix: visible(secret.expose()),
            user: normal(&order.user),
            team: order.team,
            label: order.label,
            models: order.models,
            created_ms: now.as_millisecond(),
            expires_ms: lifetime.map(|lifetime| now.as_millisecond().saturating_add(lifetime)),
            state: KeyState::Active,
        })
    }
}

/// An address in the form in which it is kept: addresses of people do not differ by case.
pub(crate) fn normal(user: &str) -> String {
    let user = user.trim();
    if user.contains('@') { user.to_lowercase() } else { user.to_owned() }
}

/// A name for a key.
pub(crate) fn fresh_id() -> Result<String> {
    Ok(format!("key_{}", hex(&random::<6>()?)))
}

/// The part of a key that may be shown: at most twelve characters, and a third of it.
pub(crate) fn visible(key: &str) -> String {
    let characters = key.chars().count();
    key.chars().take((characters / 3).min(12)).collect()
}

fn listed(key: &Key, now: Timestamp) -> Listed {
    let until = key.expires_ms.map(time);
    let is_over = until.is_some_and(|until| until <= now);
    let active = key.state == KeyState::Active;
    Listed {
        id: key.id.clone(),
        prefix: key.prefix.clone(),
        user: key.user.clone(),
        team: key.team.clone(),
        label: key.label.clone(),
        state: if active && is_over { "expired" } else { key.state.as_str() },
        models: key.models.clone(),
        created: time(key.created_ms),
        expires: until,
    }
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
