//! Budgets: what an exchange may cost at most is reserved before it goes upstream, and what it did
//! cost is counted at its end. What is spent and what is reserved never exceed a budget together.
//!
//! A process leases parts of a budget from the store and reserves from them in memory; it reports ten
//! times a second what was spent.

mod account;
mod keeper;
pub mod recent;
pub mod rule;
mod ruled;
pub mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use store::Store;
use store::budget::{Budget, Holder, LEASE, Slice, Unit, Want};
use tokio::sync::Notify;

use account::Account;
use recent::Recent;
use ruled::{Ruled, rule};
pub use ruled::{Who, limit};

/// How long an exchange waits for others to end that have reserved what is left.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How often whoever waits looks again, besides whenever an exchange has ended here.
const LOOK: Duration = Duration::from_millis(100);
/// A store that takes longer for a lease is lost.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// While a budget has much left, a part of it is leased at once, so that one question to the store
/// is enough for many exchanges.
const PARTS: u64 = 64;
/// From here on, in percent, answers tell how much is spent.
const NEAR: u64 = 85;
/// Leases are renewed long before they lapse; older ones count as lapsed here before the store
/// gives them to others.
const LAPSED: Duration = LEASE.saturating_sub(Duration::from_secs(5));

/// The budgets of an installation, as one process keeps them.
pub struct Budgets {
    store: Arc<dyn Store>,
    holder: Holder,
    state: Mutex<State>,
    /// Calls of this holder to the store come one after the other.
    asking: tokio::sync::Mutex<keeper::Reports>,
    /// Something that was reserved is free again.
    freed: Notify,
    totals: Mutex<Recent>,
}

/// What is in force, and how it stands.
struct State {
    rules: Arc<[Arc<Ruled>]>,
    accounts: HashMap<Key, Account>,
    /// When the store took or gave something last: until then leases were renewed.
    renewed: Instant,
    /// Slices of which the store had too little left, and until when it is not asked again.
    dry: HashMap<Key, Instant>,
}

/// A budget in one of its windows, by its id and when that began in milliseconds since 1970.
type Key = (Arc<str>, i64);

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

/// Why nothing can be reserved.
#[derive(Debug)]
pub enum Denied {
    /// What is spent and what this exchange may need are more than the budget.
    Exceeded(Box<Standing>),
    /// What is left is reserved by exchanges under way.
    Reserved(Box<Standing>),
    /// The store does not answer.
    Lost,
}

/// How a budget stood when something was asked of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which budget.
    pub budget: Budget,
    /// Its limit at that moment, with a raise.
    pub limit: u64,
    /// What was spent of it.
    pub spent: u64,
    /// What the exchange may need.
    pub needs: u64,
    /// When it begins anew.
    pub ends: Option<Timestamp>,
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

/// A part of a reservation: some of one budget.
#[derive(Clone)]
struct Line {
    rule: Arc<Ruled>,
    key: Key,
    limit: u64,
    amount: u64,
    ends: Option<Timestamp>,
}

/// How an attempt to reserve has come out.
enum Attempt {
    Done,
    /// The store must be asked for this.
    Lacking(Vec<Want>),
    /// Too little is left, of the line with this number.
    Dry(usize),
}

impl Budgets {
    /// The budgets of a store, kept by this process of a node.
    pub async fn new(store: Arc<dyn Store>, holder: Holder) -> Result<Arc<Self>, store::Error> {
        let state = State {
            rules: Arc::default(),
            accounts: HashMap::new(),
            renewed: Instant::now(),
            dry: HashMap::new(),
        };
        let budgets = Self {
            store,
            holder,
            state: Mutex::new(state),
            asking: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            totals: Mutex::default(),
        };
        budgets.refresh().await?;
        Ok(Arc::new(budgets))
    }

    /// Reads the budgets again, after they may have changed.
    pub async fn refresh(&self) -> Result<(), store::Error> {
        let rules: Arc<[_]> = self.store.budgets().await?.into_iter().map(rule).collect();
        let mut state = self.state();
        let known = |key: &Key| rules.iter().any(|rule| *rule.id == *key.0);
        state.accounts.retain(|key, _| known(key));
        // A limit may be lower now than what was leased.
        state.accounts.values_mut().for_each(Account::give_back);
        state.dry.clear();
        state.rules = rules;
        drop(state);
        self.freed.notify_waiters();
        Ok(())
    }

    /// In which units budgets apply to what somebody asks; no model means that none can be told.
    pub fn units(&self, who: &Who<'_>, model: Option<&str>) -> Vec<Unit> {
        let rules = self.rules();
        let applying = rules.iter().filter(|rule| rule.applies(who, model));
        applying.map(|rule| rule.budget.unit).collect()
    }

    /// Reserves what an exchange may need, of all budgets that apply or of none. Waits a while for
    /// what others have reserved.
    pub async fn reserve(
        self: &Arc<Self>,
        who: &Who<'_>,
        model: Option<&str>,
        demand: Demand,
        now: impl Fn() -> Timestamp,
    ) -> Result<Reservation, Denied> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on it hears of what is freed, so that nothing is missed in between.
            freed.as_mut().enable();
            let lines = self.lines(who, model, &demand, now());
            let dry = match self.attempt(&lines).await? {
                None => return Ok(self.reservation(lines, demand.flat_nanos)),
                Some(dry) => dry,
            };
            let standing = self.standing(&lines, dry);
            let is_exceeded = standing.spent.saturating_add(standing.needs) > standing.limit;
            if is_exceeded {
                return Err(Denied::Exceeded(Box::new(standing)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Denied::Reserved(Box::new(standing)));
            }
            let _ = tokio::time::timeout(left.min(LOOK), freed).await;
        }
    }

    /// Reserves with what is leased, leases what is lacking. Tells which line has too little left.
    async fn attempt(&self, lines: &[Line]) -> Result<Option<usize>, Denied> {
        match self.try_reserve(lines) {
            Attempt::Done => return Ok(None),
            Attempt::Dry(line) => return Ok(Some(line)),
            Attempt::Lacking(_) => {}
        }
        let _one_at_a_time = self.asking.lock().await;
        // Whoever was before may have leased enough, or found that there is nothing.
        let wants = match self.try_reserve(lines) {
            Attempt::Done => return Ok(None),
            Attempt::Dry(line) => return Ok(Some(line)),
            Attempt::Lacking(wants) => wants,
        };
        let asked = Instant::now();
        let lease = self.store.lease(self.holder.clone(), wants);
        let grants = match tokio::time::timeout(STORE_TIMEOUT, lease).await {
            Ok(Ok(grants)) => grants,
            Ok(Err(error)) => {
                tracing::error!(%error, "nothing can be leased of a budget");
                return Err(Denied::Lost);
            }
            Err(_) => {
                tracing::error!("the store takes too long to lease something of a budget");
                return Err(Denied::Lost);
            }
        };
        let mut state = self.state();
        state.renewed = asked;
        for grant in grants {
            let key = (Arc::from(grant.level.slice.budget), grant.level.slice.begins_ms);
            if grant.amount == 0 {
                state.dry.insert(key.clone(), asked + LOOK);
            }
            let account = state.accounts.entry(key).or_default();
            account.granted(grant.amount, grant.level.spent, grant.level.leased);
        }
        Ok(match state.try_reserve(lines) {
            Attempt::Done => None,
            Attempt::Dry(line) => Some(line),
            // It was leased, and a budget has changed since: the next look finds it.
            Attempt::Lacking(_) => Some(0),
        })
    }

    fn try_reserve(&self, lines: &[Line]) -> Attempt {
        self.state().try_reserve(lines)
    }

    /// What of which budgets is to be reserved.
    fn lines(
        &self,
        who: &Who<'_>,
        model: Option<&str>,
        demand: &Demand,
        now: Timestamp,
    ) -> Vec<Line> {
        let rules = self.rules();
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

    fn standing(&self, lines: &[Line], dry: usize) -> Standing {
        let state = self.state();
        let line = lines.get(dry).or(lines.first()).expect("something was asked of a budget");
        Standing {
            budget: line.rule.budget.clone(),
            limit: line.limit,
            spent: state.accounts.get(&line.key).map_or(0, Account::spent),
            needs: line.amount,
            ends: line.ends,
        }
    }

    fn reservation(self: &Arc<Self>, lines: Vec<Line>, flat_nanos: Option<u64>) -> Reservation {
        let note = self.note(&lines);
        Reservation { budgets: self.clone(), lines, flat_nanos, note }
    }

    /// What is told of the budget that is spent most, if it nearly is.
    fn note(&self, lines: &[Line]) -> Option<String> {
        let state = self.state();
        let counted = lines.iter().filter(|line| line.rule.budget.unit != Unit::AtOnce);
        let spent = counted.map(|line| {
            let spent = state.accounts.get(&line.key).map_or(0, Account::spent);
            (percent(spent, line.limit), spent, line)
        });
        let (percent, spent, line) = spent.max_by_key(|(percent, ..)| *percent)?;
        (percent >= NEAR).then(|| line.note(percent, spent))
    }

    fn settle(&self, lines: &[Line], spent: &Spent) {
        let mut state = self.state();
        for line in lines {
            let amount = spent.of(line.rule.budget.unit).unwrap_or(line.amount);
            if let Some(account) = state.accounts.get_mut(&line.key) {
                account.settle(line.amount, amount);
            }
            if amount > line.amount {
                line.tell_overrun(amount);
            }
        }
        drop(state);
        self.freed.notify_waiters();
    }

    /// How many tokens a response had in all, if it is known here.
    pub fn total_of(&self, response_id: &str) -> Option<u64> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).get(response_id)
    }

    fn rules(&self) -> Arc<[Arc<Ruled>]> {
        self.state().rules.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves sums that are whole: each is changed in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reserves on all lines, where nothing is lacking on any.
    fn try_reserve(&mut self, lines: &[Line]) -> Attempt {
        if self.renewed.elapsed() > LAPSED {
            self.accounts.values_mut().for_each(Account::lapse);
        }
        let mut wants = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let account = self.accounts.entry(line.key.clone()).or_default();
            let lacking = account.lacks(line.amount, line.limit);
            if lacking == 0 {
                continue;
            }
            if self.dry.get(&line.key).is_some_and(|until| *until > Instant::now()) {
                return Attempt::Dry(number);
            }
            wants.push(line.want(account, lacking));
        }
        if !wants.is_empty() {
            return Attempt::Lacking(wants);
        }
        for line in lines {
            self.accounts.entry(line.key.clone()).or_default().reserve(line.amount);
        }
        Attempt::Done
    }
}

impl Line {
    /// What is to be leased: more than is lacking, where there is plenty.
    fn want(&self, account: &Account, lacking: u64) -> Want {
        let part = self.limit / PARTS;
        let plenty = account.left(self.limit) / 8 > part.max(lacking);
        let most = if plenty { part.max(lacking) } else { lacking };
        let slice = Slice { budget: self.key.0.to_string(), begins_ms: self.key.1 };
        Want { slice, limit: self.limit, least: lacking, most }
    }

    /// For the header `x-codex-proxy-budget`.
    fn note(&self, percent: u64, spent: u64) -> String {
        let budget = &self.rule.budget;
        let unit = budget.unit;
        let resets = self.ends.map(|ends| format!("; resets={ends}")).unwrap_or_default();
        format!(
            "{}; spent={}; limit={}; unit={}; percent={percent}{resets}",
            budget.id,
            rule::plain(spent, unit),
            rule::plain(self.limit, unit),
            unit.as_str(),
        )
    }

    /// The upstream counted more than could be foreseen.
    fn tell_overrun(&self, amount: u64) {
        let unit = self.rule.budget.unit;
        tracing::warn!(
            budget = %self.rule.id,
            reserved = rule::plain(self.amount, unit),
            spent = rule::plain(amount, unit),
            "an exchange used more than its bound"
        );
    }
}

impl Reservation {
    /// Ends it with what was spent; `total` is what the response of this id had in all.
    pub fn settle(mut self, spent: &Spent, response: Option<(&str, u64)>) {
        let lines = std::mem::take(&mut self.lines);
        let flat = || Some(spent.tokens?.saturating_mul(self.flat_nanos?));
        let spent = Spent { nanos: spent.nanos.or_else(flat), ..*spent };
        if let Some((id, total)) = response {
            let totals = &self.budgets.totals;
            totals.lock().unwrap_or_else(PoisonError::into_inner).put(id, total);
        }
        self.budgets.settle(&lines, &spent);
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
    fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Usd => self.nanos,
            Unit::Tokens => self.tokens,
            Unit::Requests => self.requests,
            Unit::AtOnce => 1,
        }
    }
}

impl Spent {
    fn of(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Usd => self.nanos,
            Unit::Tokens => self.tokens,
            Unit::Requests => self.requests,
            Unit::AtOnce => Some(0),
        }
    }
}

/// How much of a limit is spent; of none everything.
fn percent(spent: u64, limit: u64) -> u64 {
    let percent = (u128::from(spent) * 100).checked_div(u128::from(limit)).unwrap_or(100);
    u64::try_from(percent).unwrap_or(u64::MAX)
}
