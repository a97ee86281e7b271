//! What goes to the store now and then: what was spent, and what is given back.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use store::budget::{LEASE, Level, Report, Settled, Slice};

use super::account::Account;
use super::line::{Key, lines};
use super::reservation::{Demand, Spent};
use super::rule::plain;
use super::ruled::Who;
use super::{Budgets, STORE_TIMEOUT, percent};
use crate::metrics::Metrics;

/// Shares of a budget, in percent, that are told when they are passed.
const THRESHOLDS: [u64; 3] = [50, 85, 100];
/// What began so long ago is over in every window.
const FORGET_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// What was reported.
#[derive(Default)]
pub(super) struct Reports {
    /// Of the last one.
    number: u64,
    /// One that was not answered: it is sent again as it is, so that it counts once.
    unanswered: Option<Report>,
}

impl Budgets {
    /// Reports what was spent since the last time; tells of budgets that are nearly spent. What is
    /// not taken is told again. Whatever ended up to `now` is told then.
    pub async fn report(&self, now: Timestamp, metrics: &Metrics) -> Result<(), store::Error> {
        let mut reports = self.asking.lock().await;
        let asked = Instant::now();
        if reports.unanswered.is_none() {
            let lines = self.due();
            if lines.is_empty() && !self.must_renew() {
                return Ok(());
            }
            reports.number += 1;
            let (number, through_ms) = (reports.number, now.as_millisecond());
            // Kept until it is answered, also where this future is dropped before.
            reports.unanswered = Some(Report { number, through_ms, lines });
        }
        let Some(report) = reports.unanswered.clone() else { return Ok(()) };
        let lines = report.lines.clone();
        let settle = self.store.settle(self.holder.clone(), report);
        let lost = || store::Error::Engine("the store takes too long".into());
        let levels = tokio::time::timeout(STORE_TIMEOUT, settle).await.map_err(|_| lost())??;
        reports.unanswered = None;
        self.take(&levels, &lines, asked);
        for (level, line) in levels.iter().zip(&lines) {
            self.tell_passed(level, line, (now, metrics));
        }
        Ok(())
    }

    /// At the end: what is held is given back, after all was reported.
    pub async fn close(&self, now: Timestamp, metrics: &Metrics) -> Result<(), store::Error> {
        while self.has_untold() {
            self.report(now, metrics).await?;
        }
        self.store.lapse(self.holder.node.clone(), Some(self.holder.process.clone())).await
    }

    /// Forgets in the store what is long over.
    pub async fn forget(&self, now: Timestamp) -> Result<(), store::Error> {
        self.store.forget(now.as_millisecond().saturating_sub(FORGET_MS)).await
    }

    /// Counts what a process before this one has not told, by who asked and when.
    pub fn recount(&self, who: &Who<'_>, model: Option<&str>, at: Timestamp, spent: &Spent) {
        let demand = Demand { nanos: 1, tokens: 1, requests: 1, flat_nanos: None };
        let mut state = self.state();
        for line in lines(&state.rules, who, model, (&demand, at)) {
            let amount = spent.of(line.rule.budget.unit).unwrap_or(0);
            state.accounts.entry(line.key).or_default().settle(0, amount);
        }
    }

    fn due(&self) -> Vec<Settled> {
        let mut state = self.state();
        state.accounts.retain(|_, account| !account.is_done());
        let reports = state.accounts.iter_mut().filter_map(|(key, account)| {
            let (spent, held) = account.report()?;
            Some(Settled { slice: slice(key), spent, held })
        });
        reports.collect()
    }

    /// Leases are renewed several times before they lapse.
    fn must_renew(&self) -> bool {
        let state = self.state();
        !state.accounts.is_empty() && state.renewed.elapsed() > LEASE / 6
    }

    fn has_untold(&self) -> bool {
        self.state().accounts.values().any(Account::has_untold)
    }

    fn take(&self, levels: &[Level], lines: &[Settled], asked: Instant) {
        let mut state = self.state();
        state.renewed = asked;
        for (level, line) in levels.iter().zip(lines) {
            let key: Key = (Arc::from(level.slice.budget.as_str()), level.slice.begins_ms);
            if let Some(account) = state.accounts.get_mut(&key) {
                account.reported(line.held, level.spent, level.leased);
            }
        }
        drop(state);
        // Others may wait for what was given back.
        self.freed.notify_waiters();
    }

    /// Tells operators once when a share of a budget is passed: by this report, whoever makes it.
    fn tell_passed(&self, level: &Level, line: &Settled, (now, metrics): (Timestamp, &Metrics)) {
        let rules = self.rules();
        let Some(rule) = rules.iter().find(|rule| *rule.id == *level.slice.budget) else { return };
        let limit = rule.limit(now);
        let before = percent(level.spent.saturating_sub(line.spent), limit);
        let after = percent(level.spent, limit);
        let passed = THRESHOLDS.into_iter().filter(|at| before < *at && after >= *at);
        // Of several at once the highest says it all.
        let Some(threshold) = passed.max() else { return };
        metrics.budget_passed(threshold);
        tracing::warn!(
            budget = %rule.id,
            threshold,
            spent = plain(level.spent, rule.budget.unit),
            limit = plain(limit, rule.budget.unit),
            "a budget is spent to {threshold} percent"
        );
    }
}

fn slice(key: &Key) -> Slice {
    Slice { budget: key.0.to_string(), begins_ms: key.1 }
}
