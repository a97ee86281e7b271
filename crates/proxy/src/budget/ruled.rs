//! A budget as it is applied.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::budget::{Budget, Scope};
use wildmatch::WildMatch;

use super::window::Period;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Who<'w> {
    /// The key's id.
    pub key: &'w str,
    /// Whose it is.
    pub user: &'w str,
    /// The team it is counted for.
    pub team: Option<&'w str>,
}

/// A budget, ready to be applied.
pub(super) struct Ruled {
    pub(super) id: Arc<str>,
    pub(super) budget: Budget,
    models: Vec<WildMatch>,
    zone: TimeZone,
}

/// Makes a budget ready. A zone that is unknown here, which a newer program may have taken, is UTC.
pub(super) fn rule(budget: Budget) -> Arc<Ruled> {
    let zone = TimeZone::get(&budget.zone).unwrap_or_else(|error| {
        tracing::warn!(budget = budget.id, %error, "a budget's time zone is unknown: it is UTC");
        TimeZone::UTC
    });
    let models = budget.models.iter().map(|glob| WildMatch::new(glob)).collect();
    Arc::new(Ruled { id: Arc::from(budget.id.as_str()), models, zone, budget })
}

impl Ruled {
    /// Whether it counts what somebody asks of a model. What asks no model that can be read might
    /// ask any.
    pub(super) fn applies(&self, who: &Who<'_>, model: Option<&str>) -> bool {
        let whose = match &self.budget.scope {
            Scope::Organisation => true,
            Scope::Team(team) => who.team == Some(team),
            Scope::User(user) => who.user == user,
            Scope::Key(key) => who.key == key,
        };
        let fits = |model| self.models.iter().any(|glob| glob.matches(model));
        whose && (self.models.is_empty() || model.is_none_or(fits))
    }

    /// The window that a moment is in.
    pub(super) fn period(&self, now: Timestamp) -> Period {
        Period::of(self.budget.window, &self.zone, now)
    }

    /// How much may be spent at a moment: more while it is raised.
    pub(super) fn limit(&self, now: Timestamp) -> u64 {
        limit(&self.budget, now)
    }
}

/// A budget's limit at a moment, with a raise.
pub fn limit(budget: &Budget, now: Timestamp) -> u64 {
    let raise = budget.raise.filter(|raise| now.as_millisecond() < raise.until_ms);
    budget.amount.saturating_add(raise.map_or(0, |raise| raise.by))
}
