//! Budgets: set, raised, listed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use store::Store;
use store::budget::{Budget, Raise, Scope, Unit, Window};

use crate::budget::rule::{self, Rule, plain};
use crate::budget::{limit, window::Period};
use crate::config::Wrong;

/// What is to be a budget.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose exchanges count.
    pub scope: Scope,
    /// How much of what in which time.
    pub rule: Rule,
    /// Globs of the models that count; empty: all.
    pub models: Vec<String>,
    /// The time zone that windows begin in.
    pub zone: String,
}

/// A budget as listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// `organisation`, `team`, `user` or `key`.
    pub scope: &'static str,
    /// Whose; empty: the organisation's.
    pub name: String,
    /// As it is written: `50usd/month`.
    pub budget: String,
    /// Globs of the models that count; empty: all.
    pub models: Vec<String>,
    /// The time zone that windows begin in.
    pub zone: String,
    /// What may be spent in this window, with a raise: dollars, tokens, requests, at once.
    pub limit: String,
    /// What was spent in it.
    pub spent: String,
    /// What is reserved or leased by processes besides.
    pub reserved: String,
    /// When it begins anew.
    pub resets: Option<Timestamp>,
    /// By how much it is raised.
    pub raised: Option<String>,
    /// Until when.
    pub raised_until: Option<Timestamp>,
}

/// The budgets of a store.
pub struct Budgets {
    /// Where they live.
    pub store: Arc<dyn Store>,
}

impl Budgets {
    /// Makes a budget, or changes the amount of the one that is like it but for that. What was spent
    /// stays spent.
    pub async fn set(&self, wanted: Wanted, now: Timestamp) -> Result<Listed> {
        let budget = budget(wanted, now)?;
        let known = self.store.budgets().await?;
        let known = known.into_iter().find(|known| known.id == budget.id);
        let budget = match known {
            Some(known) => Budget { amount: budget.amount, zone: budget.zone, ..known },
            None => budget,
        };
        self.store.put_budgets(vec![budget.clone()]).await?;
        self.listed(budget, now).await
    }

    /// Raises a budget by some amount of its unit, until some time; another raise is replaced.
    pub async fn raise(
        &self,
        id: &str,
        by: &str,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<Listed> {
        let budget = self.find(id).await?;
        let unit = budget.unit;
        let by = match rule::quantity(by) {
            Some((amount, of)) if of == unit => amount,
            _ => {
                let what = format!("{by} is no amount in {0}, as 20{0}", unit.as_str());
                return Err(Wrong(what).into());
            }
        };
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let until_ms = now.as_millisecond().saturating_add(lasts);
        let budget = Budget { raise: Some(Raise { by, until_ms }), ..budget };
        self.store.put_budgets(vec![budget.clone()]).await?;
        self.listed(budget, now).await
    }

    /// Removes a budget, with what was counted.
    pub async fn remove(&self, id: &str) -> Result<()> {
        if self.store.remove_budget(id.to_owned()).await? {
            return Ok(());
        }
        bail!(unknown(id))
    }

    /// All budgets, oldest first.
    pub async fn list(&self, now: Timestamp) -> Result<Vec<Listed>> {
        let levels = self.store.levels().await?;
        let budgets = self.store.budgets().await?.into_iter();
        Ok(budgets.map(|budget| listed(budget, &levels, now)).collect())
    }

    async fn find(&self, id: &str) -> Result<Budget> {
        let found = self.store.budgets().await?.into_iter().find(|budget| budget.id == id);
        found.ok_or_else(|| anyhow::anyhow!(unknown(id)))
    }

    async fn listed(&self, budget: Budget, now: Timestamp) -> Result<Listed> {
        Ok(listed(budget, &self.store.levels().await?, now))
    }
}

fn unknown(id: &str) -> String {
    format!("there is no budget {id}: `codex-proxy budget list` names all")
}

/// What is wanted, with its name.
pub fn budget(wanted: Wanted, now: Timestamp) -> Result<Budget, Wrong> {
    let Wanted { scope, rule, models, zone } = wanted;
    if let Err(error) = TimeZone::get(&zone) {
        return Err(Wrong(format!("the time zone {zone}: {error}; write one as Europe/Berlin")));
    }
    let (kind, name) = scope.parts();
    let is_plain = |text: &str| !text.contains([',', ' ']) && !text.contains(char::is_control);
    if name.contains(char::is_control) || !models.iter().all(|glob| is_plain(glob)) {
        return Err(Wrong("names and globs hold no control characters".to_owned()));
    }
    let mut parts = vec![kind];
    parts.extend([name].into_iter().filter(|name| !name.is_empty()));
    parts.extend([rule.unit.as_str()]);
    parts.extend(Some(rule.window.as_str()).filter(|_| rule.window != Window::Ever));
    let models_text = models.join(",");
    parts.extend(Some(models_text.as_str()).filter(|globs| !globs.is_empty()));
    Ok(Budget {
        id: parts.join(":"),
        scope,
        models,
        amount: rule.amount,
        unit: rule.unit,
        window: rule.window,
        zone,
        raise: None,
        created_ms: now.as_millisecond(),
    })
}

fn listed(budget: Budget, levels: &[store::budget::Level], now: Timestamp) -> Listed {
    let zone = TimeZone::get(&budget.zone).unwrap_or(TimeZone::UTC);
    let period = Period::of(budget.window, &zone, now);
    let begins_ms = period.begins.as_millisecond();
    let is_it = |level: &&store::budget::Level| {
        level.slice.budget == budget.id && level.slice.begins_ms == begins_ms
    };
    let (spent, leased) = match levels.iter().find(is_it) {
        Some(level) => (level.spent, level.leased),
        None => (0, 0),
    };
    let raise = budget.raise.filter(|raise| now.as_millisecond() < raise.until_ms);
    let (scope, name) = budget.scope.parts();
    let unit: Unit = budget.unit;
    Listed {
        scope,
        name: name.to_owned(),
        budget: rule::written(&budget),
        limit: plain(limit(&budget, now), unit),
        spent: plain(spent, unit),
        reserved: plain(leased, unit),
        resets: period.ends,
        raised: raise.map(|raise| plain(raise.by, unit)),
        raised_until: raise.and_then(|raise| Timestamp::from_millisecond(raise.until_ms).ok()),
        id: budget.id,
        models: budget.models,
        zone: budget.zone,
    }
}
