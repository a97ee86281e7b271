//! The books: a [`Recorder`](recorder::Recorder) an exchange, the spool behind them, and the
//! refusals that leave no record.

pub mod account;
pub mod dump;
mod head;
mod keeping;
pub mod recorder;
pub mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use archive::record::Finding;
use archive::segment::Clock;
use archive::spool::Spool;
use http::Request;
use redact::rule::Rules;
use store::{Refusals, Store};
use tokio::sync::Semaphore;
use uuid::Uuid;
use wire::price::PriceTable;

use crate::config::attribution::Attribution;
use crate::config::{Bodies, WhenFull};
use crate::exchange::auth::Principal;
use crate::exchange::endpoint::Endpoint;
use crate::exchange::refusal::{Refusal, Word};
use crate::exchange::screen::Fresh;
use crate::metrics::Metrics;
use account::{Account, Arrival};
use dump::Dumps;
use keeping::Keeping;
use recorder::Recorder;
use room::Room;

/// Opens records and keeps them.
pub struct Ledger {
    books: Arc<Books>,
    places: Arc<Semaphore>,
}

/// How the books are kept.
pub struct Options {
    /// Which node writes.
    pub node: String,
    /// What things cost.
    pub prices: PriceTable,
    /// Whether bodies are kept.
    pub bodies: Bodies,
    /// What happens when no record can be written.
    pub when_full: WhenFull,
    /// How many exchanges may be open.
    pub exchanges: usize,
    /// The most that may wait in the spool, bytes.
    pub spool_quota: u64,
    /// What is a secret.
    pub rules: Arc<Rules>,
    /// What records say about whom an exchange was for.
    pub attribution: Arc<Attribution>,
    /// Where the clock is asked.
    pub clock: Clock,
    /// Where exchanges are written down for people.
    pub dumps: Option<Arc<Dumps>>,
}

/// What of them a configuration may change under way.
pub struct Ways {
    /// What things cost.
    pub prices: PriceTable,
    /// Whether bodies are kept.
    pub bodies: Bodies,
    /// What happens when no record can be written.
    pub when_full: WhenFull,
    /// What is a secret.
    pub rules: Arc<Rules>,
    /// What records say about whom an exchange was for.
    pub attribution: Arc<Attribution>,
}

/// What every recorder needs.
pub(crate) struct Books {
    pub(crate) keeping: Keeping,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) room: Arc<Room>,
    /// Nothing new is opened.
    stopping: Arc<AtomicBool>,
    /// Who breaks off now is cut off by us.
    cutting: Arc<AtomicBool>,
    refused: Arc<Mutex<Refused>>,
}

/// In what a secret was found.
pub(crate) struct FoundIn<'f> {
    /// The exchange's id; empty where it is none.
    exchange: &'f str,
    user: &'f str,
    /// The key's id.
    key: &'f str,
}

/// By key and word: how often, and when last in milliseconds since 1970.
type Refused = HashMap<(String, Word), (u64, i64)>;

impl Ledger {
    /// Keeps books on this spool; with none, nothing is left of an exchange.
    pub fn new(spool: Option<&Spool>, options: Options, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(options.exchanges));
        let keeping = Keeping::new(spool);
        let (stopping, cutting, refused) = (Arc::default(), Arc::default(), Arc::default());
        let room = Arc::new(Room::new(options.spool_quota));
        let books = Arc::new(Books { keeping, options, metrics, room, stopping, cutting, refused });
        Self { books, places }
    }

    /// The same books, kept in another way from now on.
    #[must_use]
    pub fn with(&self, ways: Ways) -> Self {
        let before = &self.books;
        let Ways { prices, bodies, when_full, rules, attribution } = ways;
        let options = Options {
            prices,
            bodies,
            when_full,
            rules,
            attribution,
            node: before.options.node.clone(),
            dumps: before.options.dumps.clone(),
            ..before.options
        };
        let books = Arc::new(Books {
            keeping: before.keeping.clone(),
            options,
            metrics: before.metrics.clone(),
            room: before.room.clone(),
            stopping: before.stopping.clone(),
            cutting: before.cutting.clone(),
            refused: before.refused.clone(),
        });
        Self { books, places: self.places.clone() }
    }

    /// Opens the record of an exchange, which takes its place among all. From here on a record is
    /// certain.
    pub fn open<B>(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        request: &Request<B>,
        arrival: Arrival,
    ) -> Result<Recorder, Refusal> {
        let refuse = |message: &str| {
            self.refused(Some(principal.key.id.clone()), Word::Busy);
            Refusal::busy(message)
        };
        if self.books.stopping.load(Ordering::Relaxed) {
            return Err(refuse("This proxy is stopping."));
        }
        let full = || refuse("Too many exchanges are under way on this proxy.");
        let place = self.places.clone().try_acquire_owned().map_err(|_| full())?;
        let account = Account::new(principal, endpoint, request, arrival, &self.books.options);
        let dumps = self.books.options.dumps.as_ref();
        let dump = dumps.map(|dumps| dumps.open(request, arrival.time));
        Ok(Recorder::new(self.books.clone(), place, account, dump))
    }

    /// The name and time of an exchange that begins now.
    pub fn arrival(&self) -> Arrival {
        Arrival { id: Uuid::now_v7(), time: (self.books.options.clock)(), at: Instant::now() }
    }

    /// Counts a refusal that leaves no record, and for which key it was.
    pub fn refused(&self, key_id: Option<String>, word: Word) {
        self.books.count_refused(key_id, word);
    }

    /// Tells operators of secrets in what is no exchange.
    pub fn found(&self, principal: &Principal, findings: &[Fresh]) {
        let key = &principal.key;
        self.books
            .tell_findings(&FoundIn { exchange: "", user: &key.user, key: &key.id }, findings);
    }

    /// Writes the counts of refusals to the store.
    pub async fn flush(&self, store: &dyn Store) -> Result<(), store::Error> {
        let counts = std::mem::take(&mut *self.books.refused());
        if counts.is_empty() {
            return Ok(());
        }
        let rows = counts.iter().map(|((key_id, word), (count, last_ms))| Refusals {
            key_id: key_id.clone(),
            word: word.as_str().to_owned(),
            count: *count,
            last_ms: *last_ms,
        });
        let result = store.count_refusals(rows.collect()).await;
        if result.is_err() {
            let mut refused = self.books.refused();
            for (what, (count, last)) in counts {
                let (sum, latest) = refused.entry(what).or_default();
                (*sum, *latest) = (*sum + count, last.max(*latest));
            }
        }
        result
    }

    /// Whether records can be written.
    pub fn is_writable(&self) -> bool {
        self.books.keeping.is_writable() && self.books.room.is_left()
    }

    /// Measures what waits in the spool: for operators, and for its quota. What is appended between
    /// two measurements may go beyond that.
    pub async fn measure(&self) {
        let Some(spool) = self.books.keeping.spool().cloned() else { return };
        let failures = spool.publish_failures();
        // It asks the disk about each journal.
        let measured = tokio::task::spawn_blocking(move || spool.backlog()).await;
        match measured {
            Ok(Ok(backlog)) => {
                self.books.metrics.spooled(backlog, failures);
                self.books.room.note(backlog.bytes);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the spool cannot be measured"),
            // Its panic has been printed.
            Err(_) => {}
        }
    }

    /// From now on nothing new is opened.
    pub fn take_no_more(&self) {
        self.books.stopping.store(true, Ordering::Relaxed);
    }

    /// From now on what breaks off is our doing.
    pub fn cut(&self) {
        self.books.cutting.store(true, Ordering::Relaxed);
    }

    /// Whether no exchange is open.
    pub fn is_idle(&self) -> bool {
        self.places.available_permits() == self.books.options.exchanges
    }
}

impl Books {
    pub(crate) fn is_cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    /// Tells operators of secrets: which rules found them, never what.
    pub(crate) fn tell_findings(&self, in_what: &FoundIn<'_>, findings: &[Fresh]) {
        let FoundIn { exchange, user, key } = in_what;
        for Fresh { finding, fingerprints } in findings {
            self.metrics.found(finding);
            let Finding { rule, tier, action, count } = finding;
            tracing::warn!(
                exchange,
                user,
                key,
                rule,
                tier,
                action,
                count,
                fingerprints = fingerprints.join(" "),
                "a secret was found in a request"
            );
        }
    }

    pub(crate) fn count_refused(&self, key_id: Option<String>, word: Word) {
        self.metrics.refused(word.as_str());
        let Some(key_id) = key_id else { return };
        let now = (self.options.clock)().as_millisecond();
        let mut refused = self.refused();
        let (count, last) = refused.entry((key_id, word)).or_default();
        (*count, *last) = (*count + 1, now);
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
