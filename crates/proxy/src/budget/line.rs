//! Some of one budget, for one exchange.

use std::sync::Arc;

use jiff::Timestamp;
use store::budget::{Slice, Want};

use super::account::Account;
use super::reservation::Demand;
use super::rule::plain;
use super::ruled::{Ruled, Who};

/// While a budget has much left, a part of it is leased at once, so that one question to the store
/// is enough for many exchanges.
const PARTS: u64 = 64;

/// A budget in one of its windows, by its id and when that began in milliseconds since 1970.
pub(super) type Key = (Arc<str>, i64);

/// A part of a reservation: some of one budget.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) rule: Arc<Ruled>,
    pub(super) key: Key,
    pub(super) limit: u64,
    pub(super) amount: u64,
    pub(super) ends: Option<Timestamp>,
}

/// What of which budgets is to be reserved.
pub(super) fn lines(
    rules: &[Arc<Ruled>],
    who: &Who<'_>,
    model: Option<&str>,
    (demand, now): (&Demand, Timestamp),
) -> Vec<Line> {
    let applying = rules.iter().filter(|rule| rule.applies(who, model));
    let lines = applying.map(|rule| {
        let period = rule.period(now);
        Line {
            key: (rule.id.clone(), period.begins.as_millisecond()),
            limit: rule.limit(now),
            amount: demand.of(rule.budget.unit),
            ends: period.ends,
            rule: rule.clone(),
        }
    });
    lines.filter(|line| line.amount > 0).collect()
}

impl Line {
    /// What is to be leased: more than is lacking, where there is plenty.
    pub(super) fn want(&self, account: &Account, lacking: u64) -> Want {
        let part = self.limit / PARTS;
        let plenty = account.left(self.limit) / 8 > part.max(lacking);
        let most = if plenty { part.max(lacking) } else { lacking };
        let slice = Slice { budget: self.key.0.to_string(), begins_ms: self.key.1 };
        Want { slice, limit: self.limit, least: lacking, most }
    }

    /// For the header `x-codex-proxy-budget`.
    pub(super) fn note(&self, percent: u64, spent: u64) -> String {
        let budget = &self.rule.budget;
        let unit = budget.unit;
        let resets = self.ends.map(|ends| format!("; resets={ends}")).unwrap_or_default();
        format!(
            "{}; spent={}; limit={}; unit={}; percent={percent}{resets}",
            budget.id,
            plain(spent, unit),
            plain(self.limit, unit),
            unit.as_str(),
        )
    }

    /// The upstream counted more than could be foreseen.
    pub(super) fn tell_overrun(&self, amount: u64) {
        let unit = self.rule.budget.unit;
        tracing::warn!(
            budget = %self.rule.id,
            reserved = plain(self.amount, unit),
            spent = plain(amount, unit),
            "an exchange used more than its bound"
        );
    }
}
