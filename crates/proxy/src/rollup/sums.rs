//! What is added up, and by what.

use archive::record::{Outcome, Record, UsageKind};
use wire::attribution::RequestKind;
use wire::price::nanos;

/// What records have in common whose sums are one. Empty texts: they have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// The hour they began in, in hours since 1970, UTC.
    pub hour: i64,
    /// Whose key it was.
    pub user: String,
    /// The team.
    pub team: String,
    /// The model that answered, else the one asked.
    pub model: String,
    /// The key's id.
    pub key: String,
    /// The repository.
    pub repo: String,
    /// The session.
    pub session: String,
    /// The program that asked.
    pub client: String,
}

impl Group {
    /// The group that a record is in.
    pub fn of(record: &Record) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let model = record.upstream_model.as_ref().or(record.model.as_ref());
        Self {
            hour: record.time.as_second().div_euclid(3600),
            user: record.user.clone(),
            team: text(&record.team),
            model: model.cloned().unwrap_or_default(),
            key: record.key_id.clone(),
            repo: text(&record.repo),
            session: text(&record.session_id),
            client: text(&record.client),
        }
    }
}

/// The sums of some records. All are counts, but for the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Records.
    pub records: u64,
    /// Of them, those that asked for something: but for prewarms.
    pub requests: u64,
    /// Of the requests, those that did not end complete.
    pub errors: u64,
    /// Records of unknown cost.
    pub unpriced: u64,
    /// Records whose tokens are estimated.
    pub estimated: u64,
    /// Input tokens, with cached and written ones.
    pub input_tokens: u64,
    /// Input tokens from the cache.
    pub cached_input_tokens: u64,
    /// Input tokens to the cache.
    pub cache_write_tokens: u64,
    /// Output tokens, with reasoning.
    pub output_tokens: u64,
    /// Reasoning.
    pub reasoning_tokens: u64,
    /// Nano-dollars of what is priced.
    pub cost_nanos: u64,
}

impl Sums {
    /// What one record adds.
    pub fn of(record: &Record) -> Self {
        let asks = record.request_kind != RequestKind::Prewarm.as_str();
        Self {
            records: 1,
            requests: u64::from(asks),
            errors: u64::from(asks && record.outcome != Outcome::Complete),
            unpriced: u64::from(!record.priced),
            estimated: u64::from(record.usage == UsageKind::Estimated),
            input_tokens: record.input_tokens,
            cached_input_tokens: record.cached_input_tokens,
            cache_write_tokens: record.cache_write_tokens,
            output_tokens: record.output_tokens,
            reasoning_tokens: record.reasoning_tokens,
            cost_nanos: record.cost_usd.as_deref().map_or(0, nanos),
        }
    }

    /// Adds others to these.
    pub fn add(&mut self, other: &Self) {
        let mine = self.all_mut();
        for (mine, other) in mine.into_iter().zip(other.all()) {
            *mine = mine.saturating_add(other);
        }
    }

    /// Input and output tokens.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// All of them, in their order.
    pub(super) fn all(&self) -> [u64; 11] {
        [
            self.records,
            self.requests,
            self.errors,
            self.unpriced,
            self.estimated,
            self.input_tokens,
            self.cached_input_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.cost_nanos,
        ]
    }

    fn all_mut(&mut self) -> [&mut u64; 11] {
        [
            &mut self.records,
            &mut self.requests,
            &mut self.errors,
            &mut self.unpriced,
            &mut self.estimated,
            &mut self.input_tokens,
            &mut self.cached_input_tokens,
            &mut self.cache_write_tokens,
            &mut self.output_tokens,
            &mut self.reasoning_tokens,
            &mut self.cost_nanos,
        ]
    }

    /// Sums with these values, in their order.
    pub(super) fn from_all(all: [u64; 11]) -> Self {
        let mut sums = Self::default();
        for (mine, value) in sums.all_mut().into_iter().zip(all) {
            *mine = value;
        }
        sums
    }
}
