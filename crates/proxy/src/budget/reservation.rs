//! What an exchange may need, what it has reserved, and what it came to.

use std::sync::{Arc, PoisonError};

use store::budget::Unit;

use super::Budgets;
use super::line::Line;
use super::seen::Seen;

/// What an exchange may need at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Money, nano-dollars.
    pub nanos: u64,
    /// Input and output tokens.
    pub tokens: u64,
    /// One, or none for what counts as no request.
    pub requests: u64,
    /// What a token counts where its model has no price, nano-dollars.
    pub flat_nanos: Option<u64>,
}

/// What it came to. What is not known counts as much as was reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Money, nano-dollars.
    pub nanos: Option<u64>,
    /// Input and output tokens.
    pub tokens: Option<u64>,
    /// One, or none.
    pub requests: Option<u64>,
}

/// Whether an exchange used no more than was reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// It did not.
    Bound,
    /// It used more of some budget: the upstream counted what could not be foreseen.
    Over,
}

/// What an exchange has reserved. It is settled once, with what was spent; dropped before, with
/// nothing.
pub struct Reservation {
    budgets: Arc<Budgets>,
    lines: Vec<Line>,
    flat_nanos: Option<u64>,
    /// What the client is told about a budget that is nearly spent.
    pub note: Option<String>,
}

impl Reservation {
    pub(super) fn new(
        budgets: Arc<Budgets>,
        lines: Vec<Line>,
        flat_nanos: Option<u64>,
        note: Option<String>,
    ) -> Self {
        Self { budgets, lines, flat_nanos, note }
    }

    /// Ends it with what was spent, and what was seen of the response; tells whether that is within
    /// what was reserved.
    pub fn settle(mut self, spent: &Spent, seen: Option<&Seen<'_>>) -> Within {
        let lines = std::mem::take(&mut self.lines);
        let flat = || Some(spent.tokens?.saturating_mul(self.flat_nanos?));
        let spent = Spent { nanos: spent.nanos.or_else(flat), ..*spent };
        if let Some(seen) = seen {
            self.budgets.seen.lock().unwrap_or_else(PoisonError::into_inner).take(seen);
        }
        self.budgets.settle(&lines, &spent)
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.lines.is_empty() {
            let nothing = Spent { nanos: Some(0), tokens: Some(0), requests: Some(0) };
            self.budgets.settle(&self.lines, &nothing);
        }
    }
}

impl Demand {
    pub(super) fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Usd => self.nanos,
            Unit::Tokens => self.tokens,
            Unit::Requests => self.requests,
            Unit::AtOnce => 1,
        }
    }
}

impl Spent {
    pub(super) fn of(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Usd => self.nanos,
            Unit::Tokens => self.tokens,
            Unit::Requests => self.requests,
            Unit::AtOnce => Some(0),
        }
    }
}
