//! Budgets, and the counts they are kept by.
//!
//! What a budget has left is not asked for each exchange: a process takes out a **lease** on some of
//! it, reserves from that in memory, and now and then reports what was spent. What is spent and what
//! is leased never exceed the limit together, whoever asks. A process that is gone stops renewing
//! its leases, and they lapse.

use std::time::Duration;

/// How long leases hold unless they are renewed.
pub const LEASE: Duration = Duration::from_secs(30);

/// Whose exchanges count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All of them.
    Organisation,
    /// A team's.
    Team(String),
    /// A person's, over all keys.
    User(String),
    /// A key's, by its id.
    Key(String),
}

impl Scope {
    /// What kind it is, and the name of whom it is for; the organisation has none.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Organisation => ("organisation", ""),
            Self::Team(name) => ("team", name),
            Self::User(name) => ("user", name),
            Self::Key(id) => ("key", id),
        }
    }

    /// The scope with these parts.
    pub fn of(kind: &str, name: String) -> Option<Self> {
        match kind {
            "organisation" => Some(Self::Organisation),
            "team" => Some(Self::Team(name)),
            "user" => Some(Self::User(name)),
            "key" => Some(Self::Key(name)),
            _ => None,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Money, in nano-dollars.
    Usd,
    /// Input and output tokens together.
    Tokens,
    /// Exchanges, but for prewarms.
    Requests,
    /// Exchanges under way at once.
    AtOnce,
}

impl Unit {
    /// The word in budgets and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::AtOnce => "at-once",
        }
    }

    /// The unit of this word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Usd, Self::Tokens, Self::Requests, Self::AtOnce]
            .into_iter()
            .find(|unit| unit.as_str() == word)
    }
}

/// After how long counting begins anew, by the calendar of the budget's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// With each minute.
    Minute,
    /// With each hour.
    Hour,
    /// At midnight.
    Day,
    /// On Monday at midnight.
    Week,
    /// On the first of each month at midnight.
    Month,
    /// Never: what is counted at once, and what is given once.
    Ever,
}

impl Window {
    /// The word in budgets and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Ever => "ever",
        }
    }

    /// The window of this word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Ever]
            .into_iter()
            .find(|window| window.as_str() == word)
    }
}

/// A temporary raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raise {
    /// By how much, in the budget's unit.
    pub by: u64,
    /// Milliseconds since 1970, UTC.
    pub until_ms: i64,
}

/// How much may be used by whom in which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name in listings and refusals.
    pub id: String,
    /// Whose exchanges count.
    pub scope: Scope,
    /// Globs of the models that count; empty: all.
    pub models: Vec<String>,
    /// How much: nano-dollars, tokens, requests or exchanges at once.
    pub amount: u64,
    /// Of what.
    pub unit: Unit,
    /// In which time.
    pub window: Window,
    /// The time zone that windows begin in, as the IANA names it.
    pub zone: String,
    /// More for a while, once.
    pub raise: Option<Raise>,
    /// Milliseconds since 1970, UTC.
    pub created_ms: i64,
}

/// A budget in one of its windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slice {
    /// The budget's id.
    pub budget: String,
    /// When the window began, in milliseconds since 1970, UTC; 0 where it never ends.
    pub begins_ms: i64,
}

/// Who takes out leases.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The node, which stays the same over restarts.
    pub node: String,
    /// The process on it.
    pub process: String,
}

/// What is to be leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Of what.
    pub slice: Slice,
    /// What may be spent and leased in all.
    pub limit: u64,
    /// Less than this is of no use, and not granted.
    pub least: u64,
    /// More than this is not wanted.
    pub most: u64,
}

/// What was leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Between the least that was wanted and the most, or nothing.
    pub amount: u64,
    /// How it stands after that.
    pub level: Level,
}

/// How a budget stands in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Of what.
    pub slice: Slice,
    /// What was reported as spent.
    pub spent: u64,
    /// What is leased besides, by all together.
    pub leased: u64,
}

/// What a process reports: all that was spent since its last report.
///
/// Reports of a process are numbered from 1 on. One whose number is not above the last one's was
/// taken before, by a call whose answer was lost: nothing is counted twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub number: u64,
    /// Up to this moment, in milliseconds since 1970 by the node's clock, all is told.
    pub through_ms: i64,
    /// By slice.
    pub lines: Vec<Settled>,
}

/// What of a slice was spent, and what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Of what.
    pub slice: Slice,
    /// What was spent since the last report.
    pub spent: u64,
    /// What it still holds of its lease: the rest is free for others.
    pub held: u64,
}
