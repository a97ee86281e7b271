//! Small state: keys, teams and counters, behind one trait; an engine a file.
//!
//! The store holds no prompt text and no key, only a key's keyed hash.

pub mod budget;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod postgres;
pub mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use budget::{Budget, Grant, Holder, Level, Report, Want};

/// What a caller of the store can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key with this hash is already there; the text names whose it is.
    #[error("this key exists already: {0}")]
    Exists(String),
    /// The store was made with another `secret`, so that no key hash would agree.
    #[error("the store belongs to another secret: set `secret` to the one it was made with")]
    OtherSecret,
    /// The address names an engine that is not in this build.
    #[error("unknown store address {0}: allowed are sqlite:PATH and postgres://…")]
    UnknownEngine(String),
    /// The address is wrong.
    #[error("{0}")]
    Address(String),
    /// A newer program has changed the tables.
    #[error("the store is at version {found}, this program knows {known}: use a newer program")]
    TooNew {
        /// The version found.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The engine failed.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It may.
    Active,
    /// Switched off; can be switched on again.
    Disabled,
    /// Switched off for good.
    Revoked,
}

impl KeyState {
    /// The state of this word; an unknown word of a newer program is read as the safe side.
    fn of(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "revoked" => Self::Revoked,
            _ => Self::Disabled,
        }
    }

    /// The word used in the store and in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// A developer's credential for this proxy, without the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Stable name of the key; survives a rotation.
    pub id: String,
    /// HMAC-SHA-256 of the key under a key derived from `secret`.
    pub hash: [u8; 32],
    /// The first characters of the key, for people.
    pub prefix: String,
    /// Whose it is, as an e-mail address or other name.
    pub user: String,
    /// The team it is counted for.
    pub team: Option<String>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Globs of the models it may ask; empty: all.
    pub models: Vec<String>,
    /// Milliseconds since 1970, UTC.
    pub created_ms: i64,
    /// Milliseconds since 1970, UTC; `None`: never.
    pub expires_ms: Option<i64>,
    /// Whether it may be used.
    pub state: KeyState,
}

/// How often a key was refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The key's id.
    pub key_id: String,
    /// The refusal's word, as `key_disabled`.
    pub word: String,
    /// How often.
    pub count: u64,
    /// When last, in milliseconds since 1970, UTC.
    pub last_ms: i64,
}

/// Where small state lives. Object-safe; each engine passes the same contract suite.
#[async_trait]
pub trait Store: Send + Sync {
    /// A number that grows with every change to keys and budgets, also by another process.
    ///
    /// Cheap enough to be asked on each request (a few microseconds); never waits for the network.
    fn version(&self) -> Result<u64, Error>;

    /// How long nothing was heard of the store: what is known may be as old.
    fn silent_for(&self) -> Duration {
        Duration::ZERO
    }

    /// Binds the store to a secret by its fingerprint, on first use; refuses another one later.
    async fn claim(&self, fingerprint: [u8; 32]) -> Result<(), Error>;

    /// All keys, oldest first.
    async fn keys(&self) -> Result<Vec<Key>, Error>;

    /// Adds keys, all or none; their teams are made if new.
    async fn add_keys(&self, keys: Vec<Key>) -> Result<(), Error>;

    /// Sets the state of keys by id and tells how many there were. A revoked key stays revoked.
    async fn set_state(&self, ids: Vec<String>, state: KeyState) -> Result<usize, Error>;

    /// Gives a key a new hash and prefix; the old one is unknown at once.
    async fn rehash(&self, id: String, hash: [u8; 32], prefix: String) -> Result<(), Error>;

    /// Adds to the counts of refusals.
    async fn count_refusals(&self, refusals: Vec<Refusals>) -> Result<(), Error>;

    /// The refusals of a key, newest first.
    async fn refusals(&self, key_id: String) -> Result<Vec<Refusals>, Error>;

    /// All budgets, oldest first.
    async fn budgets(&self) -> Result<Vec<Budget>, Error>;

    /// Makes budgets, all or none, or puts others in the place of those of these ids.
    async fn put_budgets(&self, budgets: Vec<Budget>) -> Result<(), Error>;

    /// Removes a budget with all that was counted, and tells whether there was one.
    async fn remove_budget(&self, id: String) -> Result<bool, Error>;

    /// Leases of several budgets at once what there is, each for itself; renews all leases of the
    /// holder. What is spent and leased of a budget is never more than the limit that is told, but
    /// where more was spent than was leased.
    async fn lease(&self, holder: Holder, wants: Vec<Want>) -> Result<Vec<Grant>, Error>;

    /// Takes a report of what was spent and what is still held, and tells how it stands after each
    /// line; renews all leases of the holder, also without a line. A holder makes one call at a time,
    /// of this and [`Self::lease`].
    async fn settle(&self, holder: Holder, report: Report) -> Result<Vec<Level>, Error>;

    /// Up to when processes of a node have told what was spent, of those that have not said that they
    /// ended: the latest such moment, in milliseconds since 1970. Nothing, where all have said so.
    ///
    /// Of several the latest: what one has told is not counted again for the sake of another that
    /// was killed long before.
    async fn told_through(&self, node: String) -> Result<Option<i64>, Error>;

    /// Forgets the leases of a node that has begun anew, or of one process that has ended.
    async fn lapse(&self, node: String, process: Option<String>) -> Result<(), Error>;

    /// How all budgets stand in the windows that are counted.
    async fn levels(&self) -> Result<Vec<Level>, Error>;

    /// Forgets what was counted in windows that began before this time, in milliseconds since 1970,
    /// and leases that have lapsed.
    async fn forget(&self, before_ms: i64) -> Result<(), Error>;
}

/// Opens the store that an address names, making it where it is new.
///
/// A relative path of a `sqlite:` address is taken from the current folder. A password that is given
/// here goes before one in the address.
pub async fn open(url: &str, password: Option<&str>) -> Result<Arc<dyn Store>, Error> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Ok(Arc::new(sqlite::Sqlite::open(Path::new(path))?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(postgres::Postgres::open(url, password).await?));
    }
    Err(Error::UnknownEngine(without_secrets(url)))
}

/// An address without the password that may stand in it.
pub fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split_once(':').map_or(who, |(user, _)| user);
            let hidden = if who.contains(':') { ":***" } else { "" };
            format!("{scheme}://{user}{hidden}@{host}{path}")
        }
        None => url.to_owned(),
    }
}
