//! Budgets: what an exchange may cost at most is reserved before it goes upstream, and what it did
//! cost is counted at its end. What is spent and what is reserved never exceed a budget together.
//!
//! A process leases parts of a budget from the store and reserves from them in memory; it reports ten
//! times a second what was spent.

mod account;
mod keeper;
mod line;
pub mod reservation;
pub mod rule;
mod ruled;
pub mod seen;
pub mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use store::Store;
use store::budget::{Budget, Holder, LEASE, Unit, Want};
use tokio::sync::Notify;

use account::Account;
use line::{Key, Line, lines};
use reservation::{Demand, Reservation, Spent, Within};
use ruled::{Ruled, rule};
pub use ruled::{Who, limit};
use seen::Experience;

/// How long an exchange waits for others to end that have reserved what is left.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How often whoever waits looks again, besides whenever an exchange has ended here.
const LOOK: Duration = Duration::from_millis(100);
/// A store that takes longer for a lease is lost.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// A store that was not heard of for so long is not asked: nobody shall wait for nothing.
const SILENT: Duration = Duration::from_secs(1);
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
    /// For how long what is known is good enough while the store is lost.
    patience: Duration,
    /// Something that was reserved is free again.
    freed: Notify,
    /// What is known of responses.
    seen: Mutex<Experience>,
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
    pub async fn new(
        store: Arc<dyn Store>,
        holder: Holder,
        patience: Duration,
    ) -> Result<Arc<Self>, store::Error> {
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
            patience,
            freed: Notify::new(),
            seen: Mutex::default(),
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
            let lines = lines(&self.rules(), who, model, (&demand, now()));
            let Some(dry) = self.attempt(&lines).await? else {
                let note = self.note(&lines);
                return Ok(Reservation::new(self.clone(), lines, demand.flat_nanos, note));
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
        if self.store.silent_for() > SILENT {
            return self.without_store(lines);
        }
        let _one_at_a_time = self.asking.lock().await;
        // Whoever was before may have leased enough, or found that there is nothing.
        let wants = match self.try_reserve(lines) {
            Attempt::Done => return Ok(None),
            Attempt::Dry(line) => return Ok(Some(line)),
            Attempt::Lacking(wants) => wants,
        };
        let asked = Instant::now();
        let mosts: Vec<u64> = wants.iter().map(|want| want.most).collect();
        self.state().asks(&wants);
        let lease = self.store.lease(self.holder.clone(), wants);
        let grants = match tokio::time::timeout(STORE_TIMEOUT, lease).await {
            Ok(Ok(grants)) => grants,
            Ok(Err(error)) => {
                tracing::error!(%error, "nothing can be leased of a budget");
                return self.without_store(lines);
            }
            Err(_) => {
                tracing::error!("the store takes too long to lease something of a budget");
                return self.without_store(lines);
            }
        };
        let mut state = self.state();
        state.renewed = asked;
        for (grant, most) in grants.into_iter().zip(mosts) {
            let key = (Arc::from(grant.level.slice.budget), grant.level.slice.begins_ms);
            if grant.amount == 0 {
                state.dry.insert(key.clone(), asked + LOOK);
            }
            let account = state.accounts.entry(key).or_default();
            account.granted((grant.amount, most), grant.level.spent, grant.level.leased);
        }
        Ok(match state.try_reserve(lines) {
            Attempt::Done => None,
            Attempt::Dry(line) => Some(line),
            // It was leased, and a budget has changed since: the next look finds it.
            Attempt::Lacking(_) => Some(0),
        })
    }

    /// Reserves of what is left as far as it is known, while the store is lost: others may do the
    /// same.
    fn without_store(&self, lines: &[Line]) -> Result<Option<usize>, Denied> {
        if self.patience <= SILENT || self.store.silent_for() > self.patience {
            return Err(Denied::Lost);
        }
        let mut state = self.state();
        for (number, line) in lines.iter().enumerate() {
            let account = state.accounts.entry(line.key.clone()).or_default();
            if account.would_exceed(line.amount, line.limit) {
                return Ok(Some(number));
            }
        }
        state.reserve(lines);
        Ok(None)
    }

    fn try_reserve(&self, lines: &[Line]) -> Attempt {
        self.state().try_reserve(lines)
    }

    fn standing(&self, lines: &[Line], dry: usize) -> Standing {
        let state = self.state();
        let line = lines.get(dry).or(lines.first()).expect("something was asked of a budget");
        Standing {
            budget: line.rule.budget.clone(),
            limit: line.limit,
            spent: state.accounts.get(&line.key).map_or(0, Account::surely_spent),
            needs: line.amount,
            ends: line.ends,
        }
    }

    /// What is told to somebody of the budget that is spent most, if it nearly is, whatever model is
    /// asked.
    pub fn note_for(&self, who: &Who<'_>, now: impl Fn() -> Timestamp) -> Option<String> {
        let rules = self.rules();
        if rules.is_empty() {
            return None;
        }
        let some = Demand { nanos: 1, tokens: 1, requests: 1, flat_nanos: None };
        self.note(&lines(&rules, who, None, (&some, now())))
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

    fn settle(&self, lines: &[Line], spent: &Spent) -> Within {
        let mut within = Within::Bound;
        let mut state = self.state();
        for line in lines {
            let amount = spent.of(line.rule.budget.unit).unwrap_or(line.amount);
            if let Some(account) = state.accounts.get_mut(&line.key) {
                account.settle(line.amount, amount);
            }
            if amount > line.amount {
                line.tell_overrun(amount);
                within = Within::Over;
            }
        }
        drop(state);
        self.freed.notify_waiters();
        within
    }

    /// How many tokens a response had in all, if it is known here.
    pub fn total_of(&self, response_id: &str) -> Option<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).total(response_id)
    }

    /// How many output tokens hardly any exchange of a model had more of; nothing before enough of
    /// them were seen.
    pub fn hardly_exceeded(&self, model: &str) -> Option<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).hardly_exceeded(model)
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
        self.reserve(lines);
        Attempt::Done
    }

    /// Whoever asks may go away before he hears the answer: what the store has leased by then is known
    /// beforehand, and given back.
    fn asks(&mut self, wants: &[Want]) {
        for want in wants {
            let key = (Arc::from(want.slice.budget.as_str()), want.slice.begins_ms);
            self.accounts.entry(key).or_default().asks(want.most);
        }
    }

    fn reserve(&mut self, lines: &[Line]) {
        for line in lines {
            self.accounts.entry(line.key.clone()).or_default().reserve(line.amount);
        }
    }
}

/// How much of a limit is spent; of none everything.
fn percent(spent: u64, limit: u64) -> u64 {
    let percent = (u128::from(spent) * 100).checked_div(u128::from(limit)).unwrap_or(100);
    u64::try_from(percent).unwrap_or(u64::MAX)
}
