//! Who is asking, as proven by a key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use redact::own_key::{self, Shape};
use store::{Key, KeyState, Store};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::refusal::{Refusal, Word};
use crate::budget::Budgets;
use crate::secret::Derived;

/// The header for our key where `authorization` holds the caller's own credential.
pub const KEY_HEADER: HeaderName = HeaderName::from_static("x-codex-proxy-key");

/// Who is asking. Made only here.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key that was shown.
    pub key: Arc<Key>,
    /// What outlives one request of the key.
    pub live: Arc<Live>,
    /// What the upstream is shown.
    pub credential: Credential,
    _made_here: Proof,
}

#[derive(Debug, Clone, Copy)]
struct Proof;

/// What the upstream is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The organisation's key.
    Organisation,
    /// What the caller brought in `authorization`.
    Callers,
}

/// What the exchanges of one key share.
#[derive(Debug, Default)]
pub struct Live {
    /// Fires when the key must not be used any more.
    pub ended: CancellationToken,
    /// Exchanges under way.
    pub exchanges: AtomicUsize,
}

/// A refused credential, and the key it belonged to, if to any.
#[derive(Debug)]
pub struct Unproven {
    /// What to answer.
    pub refusal: Refusal,
    /// Which key it was.
    pub key_id: Option<String>,
}

/// Proves who is asking.
pub enum Auth {
    /// By a key.
    Keys(Box<Keys>),
    /// Only one can ask: whoever is on this machine.
    Local(Principal),
}

/// Checks keys against a snapshot of the store in memory.
pub struct Keys {
    store: Arc<dyn Store>,
    /// They change as keys do.
    budgets: Arc<Budgets>,
    lost: Lost,
    derived: Derived,
    snapshot: RwLock<Arc<Snapshot>>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Snapshot {
    version: u64,
    /// By keyed hash. A stranger cannot choose hashes, so that the time of a look-up tells nothing
    /// about stored ones; the found one is compared in constant time all the same.
    keys: HashMap<[u8; 32], Holder>,
}

#[derive(Clone)]
struct Holder {
    key: Arc<Key>,
    live: Arc<Live>,
}

impl Auth {
    /// Takes the first snapshot of a store.
    pub async fn new(
        store: Arc<dyn Store>,
        budgets: Arc<Budgets>,
        derived: Derived,
        patience: Duration,
    ) -> Result<Self, store::Error> {
        let keys = Keys {
            store,
            budgets,
            lost: Lost::new(patience),
            derived,
            snapshot: RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
        };
        keys.renew().await?;
        Ok(Self::Keys(Box::new(keys)))
    }

    /// Whether the store was lost for longer than what is known of it is good for.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.lost_for() > keys.lost.patience,
            Self::Local(_) => false,
        }
    }

    /// How long nothing was heard of the store.
    pub fn lost_for(&self) -> Duration {
        match self {
            Self::Keys(keys) => keys.lost_for(),
            Self::Local(_) => Duration::ZERO,
        }
    }

    /// For whoever is on this machine: nothing is shown, and nothing asked of the store.
    pub fn local() -> Self {
        let name = || "local".to_owned();
        let key = Key {
            id: name(),
            hash: [0; 32],
            prefix: String::new(),
            user: name(),
            team: None,
            label: None,
            models: Vec::new(),
            created_ms: 0,
            expires_ms: None,
            state: KeyState::Active,
        };
        let (key, live, credential) = (Arc::new(key), Arc::default(), Credential::Organisation);
        Self::Local(Principal { key, live, credential, _made_here: Proof })
    }

    /// Who shows these headers. A change of the store counts from the next call on.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Principal, Unproven> {
        match self {
            Self::Keys(keys) => keys.authenticate(headers, now).await,
            Self::Local(principal) => Ok(principal.clone()),
        }
    }

    /// Re-reads the keys if the store has changed; ends what must not go on. Tells operators when the
    /// store is lost, and when it is back.
    pub async fn watch(&self) {
        let Self::Keys(keys) = self else { return };
        let refreshed = keys.refresh().await;
        let is_lost = keys.lost_for() > LOST;
        if is_lost == keys.lost.told.swap(is_lost, Ordering::Relaxed) {
            return;
        }
        match (is_lost, refreshed) {
            (true, Err(error)) => tracing::error!(%error, "the store cannot be read"),
            (true, Ok(())) => tracing::error!("the store cannot be reached"),
            (false, _) => tracing::info!("the store is back"),
        }
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.snapshot().keys.len(),
            Self::Local(_) => 1,
        }
    }
}

impl Keys {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Principal, Unproven> {
        let Some((presented, credential)) = presented(headers) else {
            let message = "No key was shown. Send it as `Authorization: Bearer <key>`.";
            return Err(unproven(Word::KeyMissing, message, None));
        };
        // What failed is told by whoever refreshes in the background.
        let _ = self.refresh().await;
        if self.lost_for() > self.lost.patience {
            let refusal = Refusal::busy("Keys cannot be checked at the moment.");
            return Err(Unproven { refusal, key_id: None });
        }
        let hash = self.derived.key_hash(presented);
        let holder = self.snapshot().keys.get(&hash).cloned();
        let Some(Holder { key, live }) =
            holder.filter(|holder| holder.key.hash.ct_eq(&hash).into())
        else {
            return Err(unproven(Word::KeyUnknown, unknown(presented), None));
        };
        match usable(&key, now) {
            Ok(()) => Ok(Principal { key, live, credential, _made_here: Proof }),
            Err((word, message)) => Err(unproven(word, message, Some(key.id.clone()))),
        }
    }

    /// Reads the keys again if the store has changed. Where that failed a moment ago it is not tried
    /// again: whoever asks would wait for nothing.
    async fn refresh(&self) -> Result<(), store::Error> {
        if self.lost.failed_just_now() {
            return Ok(());
        }
        let renewed = self.renew().await;
        self.lost.note(&renewed);
        renewed
    }

    fn lost_for(&self) -> Duration {
        self.store.silent_for().max(self.lost.lasted())
    }

    async fn renew(&self) -> Result<(), store::Error> {
        if self.store.version()? == self.snapshot().version {
            return Ok(());
        }
        let _one_at_a_time = self.refreshing.lock().await;
        // Asked before the keys are read: a change in between is seen by the next refresh.
        let version = self.store.version()?;
        let old = self.snapshot();
        if version != old.version {
            let keys = self.store.keys().await?;
            // Before the keys are in force: a new one is never without its budget.
            self.budgets.refresh().await?;
            let fresh = Arc::new(old.replaced(version, keys));
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the store can be read.
struct Lost {
    /// For how long what is known is good enough.
    patience: Duration,
    /// It fails at the moment: asked before anything is locked, since every exchange asks.
    fails: AtomicBool,
    /// Since when it failed, and when last.
    failed: Mutex<Option<(Instant, Instant)>>,
    /// Operators know.
    told: AtomicBool,
}

/// A store that was not heard of for so long is lost.
const LOST: Duration = Duration::from_secs(1);
/// How long after a failure nobody tries again.
const PAUSE: Duration = Duration::from_millis(200);

impl Lost {
    fn new(patience: Duration) -> Self {
        let (fails, told) = (AtomicBool::default(), AtomicBool::default());
        Self { patience, fails, failed: Mutex::default(), told }
    }

    fn note(&self, renewed: &Result<(), store::Error>) {
        if renewed.is_ok() && !self.fails.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = match (renewed, *failed) {
            (Ok(()), _) => None,
            (Err(_), before) => Some((before.map_or(now, |(since, _)| since), now)),
        };
        self.fails.store(failed.is_some(), Ordering::Relaxed);
    }

    fn failed_just_now(&self) -> bool {
        self.failed().is_some_and(|(_, last)| last.elapsed() < PAUSE)
    }

    /// How long it has failed.
    fn lasted(&self) -> Duration {
        self.failed().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    fn failed(&self) -> Option<(Instant, Instant)> {
        let fails = self.fails.load(Ordering::Relaxed);
        if fails { *self.failed.lock().unwrap_or_else(PoisonError::into_inner) } else { None }
    }
}

impl Snapshot {
    /// The next snapshot; keys that are gone, changed or switched off end what they have open.
    fn replaced(&self, version: u64, keys: Vec<Key>) -> Self {
        let mut fresh = HashMap::with_capacity(keys.len());
        for key in keys {
            let live = self.keys.get(&key.hash).map(|holder| holder.live.clone());
            let live = live.filter(|live| !live.ended.is_cancelled()).unwrap_or_default();
            if key.state != KeyState::Active {
                live.ended.cancel();
            }
            fresh.insert(key.hash, Holder { key: Arc::new(key), live });
        }
        let gone = self.keys.iter().filter(|(hash, _)| !fresh.contains_key(*hash));
        gone.for_each(|(_, holder)| holder.live.ended.cancel());
        Self { version, keys: fresh }
    }
}

fn unproven(word: Word, message: &str, key_id: Option<String>) -> Unproven {
    Unproven { refusal: Refusal::new(word, message), key_id }
}

/// The key that a request shows, and what is left to show the upstream.
fn presented(headers: &HeaderMap) -> Option<(&str, Credential)> {
    let authorization = headers.get(header::AUTHORIZATION);
    let bearer = authorization.and_then(|value| bearer(value.to_str().ok()?));
    let Some(key) = headers.get(KEY_HEADER) else {
        return bearer.map(|key| (key, Credential::Organisation));
    };
    let key = key.to_str().ok()?.trim();
    // Our own key in both places is no credential for the upstream.
    let callers = authorization.is_some() && bearer != Some(key);
    Some((key, if callers { Credential::Callers } else { Credential::Organisation }))
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

fn usable(key: &Key, now: Timestamp) -> Result<(), (Word, &'static str)> {
    match key.state {
        KeyState::Active => {}
        KeyState::Disabled => return Err((Word::KeyDisabled, "This key is disabled.")),
        KeyState::Revoked => return Err((Word::KeyDisabled, "This key was revoked.")),
    }
    match key.expires_ms {
        Some(expires) if expires <= now.as_millisecond() => {
            Err((Word::KeyExpired, "This key has expired."))
        }
        _ => Ok(()),
    }
}

fn unknown(presented: &str) -> &'static str {
    match own_key::shape(presented) {
        Shape::Mistyped => "This key is mistyped: its checksum does not agree.",
        Shape::Ours | Shape::Foreign => "This key is not known here.",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Credential, presented};

    fn check(headers: &[(&'static str, &'static str)]) -> Option<(String, Credential)> {
        let pairs = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        let map: HeaderMap = pairs.collect();
        presented(&map).map(|(key, own)| (key.to_owned(), own))
    }

    #[test]
    fn the_key_is_found_where_clients_put_it() {
        let key = |credential| Some(("cpk_1".to_owned(), credential));
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[("authorization", "Basic cpk_1")]), None);
        assert_eq!(check(&[("authorization", "bearer  cpk_1 ")]), key(Credential::Organisation));
        assert_eq!(check(&[("x-codex-proxy-key", "cpk_1")]), key(Credential::Organisation));
        let own = [("x-codex-proxy-key", "cpk_1"), ("authorization", "Bearer sk-theirs")];
        assert_eq!(check(&own), key(Credential::Callers));
        let twice = [("x-codex-proxy-key", "cpk_1"), ("authorization", "Bearer cpk_1")];
        assert_eq!(check(&twice), key(Credential::Organisation));
    }
}
