//! How much at once, and which models: what a principal may do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use archive::segment::day_of;
use http::HeaderValue;
use jiff::Timestamp;
use store::budget::{Scope, Unit, Window};
use wildmatch::WildMatch;
use wire::ask::Ask;
use wire::bound::{Before, Given};
use wire::price::PriceTable;

use super::auth::Principal;
use super::endpoint::Operation;
use super::refusal::{Refusal, Word};
use crate::budget::reservation::{Demand, Reservation};
use crate::budget::rule::{amount, spoken};
use crate::budget::{Budgets, Denied, Standing, Who};
use crate::clock;
use crate::config::budgets::Bound;
use crate::config::{self, Config};

/// Decides what is admitted.
pub struct Limits {
    per_key: usize,
    /// Nothing where none are kept.
    budgets: Option<Arc<Budgets>>,
    prices: PriceTable,
    settings: config::budgets::Budgets,
}

/// What a request asks, as far as budgets and models go.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which operation.
    pub operation: Operation,
    /// What its body asks, where it can be read.
    pub ask: Option<&'a Ask>,
    /// Its body without its content coding; nothing where it streams by.
    pub text: Option<&'a [u8]>,
}

/// A place among the exchanges of a key, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    principal: Principal,
}

/// The proof that an exchange was admitted; held by its answer until the end. Made only here.
#[derive(Debug)]
pub struct Permit {
    slot: Slot,
    reservation: Option<Reservation>,
}

impl Permit {
    /// Who was admitted.
    pub fn principal(&self) -> &Principal {
        &self.slot.principal
    }

    /// What was reserved: the exchange's recorder settles it.
    pub fn take_reservation(&mut self) -> Option<Reservation> {
        self.reservation.take()
    }
}

impl Limits {
    /// What the configuration allows, and what budgets do.
    pub fn new(config: &Config, budgets: Option<Arc<Budgets>>, prices: PriceTable) -> Self {
        let per_key = config.limits.exchanges_per_key;
        Self { per_key, budgets, prices, settings: config.budgets }
    }

    /// Takes a place, before the body is read: a client that stalls still holds one.
    pub fn enter(&self, principal: &Principal) -> Result<Slot, Refusal> {
        let exchanges = &principal.live.exchanges;
        let room = |now: usize| (now < self.per_key).then_some(now + 1);
        if exchanges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            let limit = self.per_key;
            let message = format!("This key has {limit} exchanges under way, which is its limit.");
            return Err(Refusal::new(Word::TooManyRequests, message).retry_after(1));
        }
        Ok(Slot { principal: principal.clone() })
    }

    /// Decides on what is asked: whether the key may ask this model, and whether all budgets that
    /// apply have enough left. What it may need is reserved by then.
    pub async fn admit(&self, slot: Slot, asked: &Asked<'_>) -> Result<Permit, Refusal> {
        allowed(&slot.principal.key.models, asked)?;
        let reservation = self.reserve(&slot.principal, asked).await?;
        Ok(Permit { slot, reservation })
    }

    /// What somebody is told of a budget that is nearly spent, where nothing was reserved.
    pub fn note(&self, principal: &Principal) -> Option<HeaderValue> {
        let note = self.budgets.as_ref()?.note_for(&who(principal), clock::now)?;
        HeaderValue::try_from(note).ok()
    }

    async fn reserve(
        &self,
        principal: &Principal,
        asked: &Asked<'_>,
    ) -> Result<Option<Reservation>, Refusal> {
        let Some(budgets) = &self.budgets else { return Ok(None) };
        if asked.operation == Operation::Other {
            return Ok(None);
        }
        let who = who(principal);
        let model = asked.model();
        let units = budgets.units(&who, model);
        if units.is_empty() {
            return Ok(None);
        }
        let demand = self.demand(budgets, asked, &units)?;
        let reserved = budgets.reserve(&who, model, demand, clock::now).await;
        reserved.map(Some).map_err(|denied| denied_as(denied, clock::now()))
    }

    /// What it may need at most.
    fn demand(
        &self,
        budgets: &Budgets,
        asked: &Asked<'_>,
        units: &[Unit],
    ) -> Result<Demand, Refusal> {
        let requests = u64::from(asked.ask.is_none_or(|ask| ask.generate));
        let unbounded = || Demand { requests, ..Demand::default() };
        if !asked.is_model_call() {
            return Ok(unbounded());
        }
        let Some(ask) = asked.ask else {
            let counts = |unit: &Unit| matches!(unit, Unit::Usd | Unit::Tokens);
            return if units.iter().any(counts) { Err(unreadable()) } else { Ok(unbounded()) };
        };
        let before = match ask.previous_response_id.as_deref() {
            None => Before::Nothing,
            Some(id) => budgets.total_of(id).map_or(Before::Unknown, Before::Tokens),
        };
        let writes = match (self.settings.bound, asked.model()) {
            (Bound::Observed, Some(model)) => budgets.hardly_exceeded(model),
            _ => None,
        };
        let given = Given { body: asked.text, before, writes };
        let bound = self.prices.bound(ask, &given, day_of(clock::now()));
        let tokens = bound.input_tokens.saturating_add(bound.output_tokens);
        let flat_nanos = self.settings.unpriced_rate.map(|rate| rate.saturating_mul(1000));
        let nanos = match (bound.nanos, flat_nanos) {
            (Some(nanos), _) => nanos,
            (None, Some(flat)) => tokens.saturating_mul(flat),
            (None, None) if units.contains(&Unit::Usd) => return Err(unpriced(asked.model())),
            (None, None) => 0,
        };
        Ok(Demand { nanos, tokens, requests, flat_nanos })
    }
}

impl Asked<'_> {
    fn model(&self) -> Option<&str> {
        self.ask.and_then(|ask| ask.model.as_deref())
    }

    /// Whether a model is asked: of what names none some never is, such as an upload.
    fn is_model_call(&self) -> bool {
        match self.operation {
            Operation::Responses | Operation::ChatCompletions => true,
            Operation::Work => self.model().is_some(),
            Operation::Other => false,
        }
    }
}

fn who(principal: &Principal) -> Who<'_> {
    let key = &principal.key;
    Who { key: &key.id, user: &key.user, team: key.team.as_deref() }
}

/// A key that may ask only some models may ask nothing whose model cannot be read.
fn allowed(globs: &[String], asked: &Asked<'_>) -> Result<(), Refusal> {
    if globs.is_empty() || asked.operation == Operation::Other {
        return Ok(());
    }
    let models = globs.join(", ");
    match asked.model() {
        Some(model) if globs.iter().any(|glob| WildMatch::new(glob).matches(model)) => Ok(()),
        Some(model) => {
            let message = format!("This key may not ask the model {model}, only {models}.");
            Err(Refusal::new(Word::ModelNotAllowed, message))
        }
        None => {
            let message = format!(
                "This key may ask only {models}, and which model this request asks cannot be read."
            );
            Err(Refusal::new(Word::UnreadableBody, message))
        }
    }
}

fn unpriced(model: Option<&str>) -> Refusal {
    let model = model.map_or_else(|| "that is asked".to_owned(), |model| format!("model {model}"));
    let message = format!(
        "No price is known for the {model}, and a budget applies: what it costs could not be counted."
    );
    Refusal::new(Word::ModelNotAllowed, message)
}

fn unreadable() -> Refusal {
    let message = "A budget applies, and what this request asks cannot be read: what it may use could not be reserved.";
    Refusal::new(Word::UnreadableBody, message)
}

fn denied_as(denied: Denied, now: Timestamp) -> Refusal {
    match denied {
        Denied::Lost => Refusal::busy("Budgets cannot be checked at the moment."),
        Denied::Reserved(standing) => {
            let message = format!(
                "What is left of the budget of {}, {}, is reserved by exchanges under way.",
                whose(&standing),
                amount(standing.limit, standing.budget.unit)
            );
            Refusal::new(Word::TooManyRequests, message).retry_after(1)
        }
        Denied::Exceeded(standing) => exceeded(&standing, now),
    }
}

/// Too much in a minute or an hour is a rate, and comes again soon; the rest is a budget, and spent.
fn exceeded(standing: &Standing, now: Timestamp) -> Refusal {
    let Standing { budget, limit, spent, needs, ends } = standing;
    let left = limit.saturating_sub(*spent);
    let again = ends.map(|ends| format!(" It begins anew at {ends}.")).unwrap_or_default();
    let message = format!(
        "The budget of {}, {}, has {} left, and this request may use up to {}.{again}",
        whose(standing),
        spoken(budget),
        amount(left, budget.unit),
        amount(*needs, budget.unit),
    );
    let is_rate = budget.unit != Unit::Usd && budget.window <= Window::Hour && needs <= limit;
    if !is_rate {
        return Refusal::new(Word::BudgetExceeded, message);
    }
    let seconds = ends.map_or(1, |ends| ends.as_second() - now.as_second());
    let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
    Refusal::new(Word::TooManyRequests, message).retry_after(seconds)
}

fn whose(standing: &Standing) -> String {
    match &standing.budget.scope {
        Scope::Organisation => "the organisation".to_owned(),
        Scope::Team(team) => format!("the team {team}"),
        Scope::User(user) => user.clone(),
        Scope::Key(_) => "this key".to_owned(),
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.principal.live.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}
