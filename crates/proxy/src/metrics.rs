//! Counters for operators, as Prometheus reads them.

pub mod totals;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use archive::record::{Finding, Outcome, Record};
use archive::spool::backlog::Backlog;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use totals::Totals;

/// All counters of one process.
pub struct Metrics {
    registry: Registry,
    exchanges: Family<OutcomeLabel, Counter>,
    refusals: Family<WordLabel, Counter>,
    tokens: Family<KindLabel, Counter>,
    cost: Counter<f64, AtomicU64>,
    unpriced: Counter,
    unrecorded: Counter,
    open: Gauge,
    connections: Gauge,
    sockets: Gauge,
    buffered: Gauge,
    bad_connections: Counter,
    unread: Counter,
    findings: Family<FindingLabel, Counter>,
    stored_findings: Family<RuleLabel, Counter>,
    served: Family<UpstreamLabel, Counter>,
    reloads: Family<ReloadLabel, Counter>,
    budgets: Family<ThresholdLabel, Counter>,
    over_bound: Counter,
    store_lost: Gauge,
    spool: Spool,
    /// Of `exchanges` and `tokens` those that each exchange counts, looked up once.
    ended: [OnceLock<Counter>; 4],
    counted: [OnceLock<Counter>; 4],
    /// What processes before this one have counted.
    inherited: Mutex<Totals>,
}

/// What waits for the archive.
#[derive(Default)]
struct Spool {
    bytes: Gauge,
    oldest: Gauge,
    failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabel {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ThresholdLabel {
    percent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WordLabel {
    word: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabel {
    upstream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabel {
    rule: String,
    tier: String,
    action: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: String,
    tier: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("codex_proxy"),
            exchanges: Family::default(),
            refusals: Family::default(),
            tokens: Family::default(),
            cost: Counter::default(),
            unpriced: Counter::default(),
            unrecorded: Counter::default(),
            open: Gauge::default(),
            connections: Gauge::default(),
            sockets: Gauge::default(),
            buffered: Gauge::default(),
            bad_connections: Counter::default(),
            unread: Counter::default(),
            findings: Family::default(),
            stored_findings: Family::default(),
            served: Family::default(),
            reloads: Family::default(),
            budgets: Family::default(),
            over_bound: Counter::default(),
            store_lost: Gauge::default(),
            spool: Spool::default(),
            ended: Default::default(),
            counted: Default::default(),
            inherited: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("exchanges", "Exchanges ended, by outcome", self.exchanges.clone());
        to.register("refusals", "Refusals, by word", self.refusals.clone());
        to.register("tokens", "Tokens, by kind", self.tokens.clone());
        to.register("cost_usd", "Cost of priced exchanges in US dollars", self.cost.clone());
        to.register("unpriced", "Exchanges of unknown cost", self.unpriced.clone());
        let unrecorded = self.unrecorded.clone();
        to.register("unrecorded", "Exchanges that went on without a record", unrecorded);
        to.register("exchanges_open", "Exchanges under way", self.open.clone());
        to.register("connections_open", "Connections from clients", self.connections.clone());
        to.register(
            "sockets_open",
            "WebSockets between clients and upstream",
            self.sockets.clone(),
        );
        to.register("buffered_bytes", "Memory that request bodies hold", self.buffered.clone());
        let bad = self.bad_connections.clone();
        to.register("connections_bad", "Connections ended for what they sent", bad);
        let unread = self.unread.clone();
        let served = self.served.clone();
        to.register("upstream_exchanges", "Exchanges answered, by upstream and key", served);
        to.register("requests_unread", "Request bodies that could not be decoded", unread);
        let findings = self.findings.clone();
        to.register("findings", "Secrets found in requests, by rule, tier and action", findings);
        let stored = self.stored_findings.clone();
        to.register("stored_findings", "Secrets found in what is stored, by rule and tier", stored);
        let reloads = self.reloads.clone();
        to.register("reloads", "What was read again under way, and whether it was taken", reloads);
        let passed = self.budgets.clone();
        to.register("budgets_passed", "Budgets that were spent to a share, in percent", passed);
        let over = self.over_bound.clone();
        to.register("budgets_over_bound", "Exchanges that used more than was reserved", over);
        let lost = self.store_lost.clone();
        to.register("store_lost_seconds", "How long nothing was heard of the store", lost);
        let Spool { bytes, oldest, failures } = &self.spool;
        to.register("spool_bytes", "Bytes that are not in the archive yet", bytes.clone());
        let help = "How long the oldest sealed journal waits for the archive";
        to.register("spool_oldest_seconds", help, oldest.clone());
        let help = "Rounds in which the archive did not take what waits";
        to.register("publish_failures", help, failures.clone());
    }

    /// Notes that an exchange used more than was reserved of budgets for it.
    pub(crate) fn over_bound(&self) {
        self.over_bound.inc();
    }

    /// Notes how long nothing was heard of the store.
    pub fn store_lost_for(&self, lost: Duration) {
        self.store_lost.set(i64::try_from(lost.as_secs()).unwrap_or(i64::MAX));
    }

    /// Notes that so much of a budget is spent, in percent.
    pub fn budget_passed(&self, percent: u64) {
        self.budgets.get_or_create(&ThresholdLabel { percent }).inc();
    }

    /// The text that Prometheus reads; so much memory is held by request bodies now.
    pub fn text(&self, buffered: usize) -> String {
        self.buffered.set(i64::try_from(buffered).unwrap_or(i64::MAX));
        totals::add(&self.own(), &self.inherited())
    }

    /// Every counter, with what was inherited.
    pub fn totals(&self) -> Totals {
        totals::read(&totals::add(&self.own(), &self.inherited()))
    }

    /// Goes on from what another process has counted.
    pub fn inherit(&self, totals: Totals) {
        let mut inherited = self.inherited();
        for (series, value) in totals {
            *inherited.entry(series).or_default() += value;
        }
    }

    fn own(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn inherited(&self) -> MutexGuard<'_, Totals> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    pub(crate) fn closed(&self, record: &Record) {
        self.open.dec();
        let place = match record.outcome {
            Outcome::Complete => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
            Outcome::Cancelled => 3,
        };
        if let Some(ended) = self.ended.get(place) {
            let label = OutcomeLabel { outcome: record.outcome.as_str() };
            ended.get_or_init(|| self.exchanges.get_or_create_owned(&label)).inc();
        }
        let kinds = [
            ("input", record.input_tokens),
            ("cached_input", record.cached_input_tokens),
            ("output", record.output_tokens),
            ("reasoning", record.reasoning_tokens),
        ];
        for ((kind, count), counted) in kinds.into_iter().zip(&self.counted) {
            counted
                .get_or_init(|| self.tokens.get_or_create_owned(&KindLabel { kind }))
                .inc_by(count);
        }
        match record.cost_usd.as_ref().and_then(|cost| cost.parse().ok()) {
            Some(cost) => drop(self.cost.inc_by(cost)),
            None => drop(self.unpriced.inc()),
        }
    }

    pub(crate) fn unrecorded(&self) {
        self.open.dec();
        self.unrecorded.inc();
    }

    pub(crate) fn forgotten(&self) {
        self.open.dec();
    }

    pub(crate) fn refused(&self, word: &'static str) {
        self.refusals.get_or_create(&WordLabel { word }).inc();
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn served(&self, upstream: &str) {
        let label = UpstreamLabel { upstream: upstream.to_owned() };
        self.served.get_or_create(&label).inc();
    }

    pub(crate) fn found(&self, found: &Finding) {
        let Finding { rule, tier, action, count } = found.clone();
        self.findings.get_or_create(&FindingLabel { rule, tier, action }).inc_by(count);
    }

    /// So many places with a secret were found in what is stored.
    pub(crate) fn found_stored(&self, rule: &str, tier: &str, count: u64) {
        let label = RuleLabel { rule: rule.to_owned(), tier: tier.to_owned() };
        self.stored_findings.get_or_create(&label).inc_by(count);
    }

    pub(crate) fn unread(&self) {
        self.unread.inc();
    }

    pub(crate) fn reloaded(&self, what: &'static str, outcome: &'static str) {
        self.reloads.get_or_create(&ReloadLabel { what, outcome }).inc();
    }

    /// What waits in the spool, and how many rounds of publishing have failed.
    pub(crate) fn spooled(&self, backlog: Backlog, failures: u64) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.spool.bytes.set(whole(backlog.bytes));
        self.spool.oldest.set(whole(backlog.oldest.as_secs()));
        self.spool.failures.inner().store(failures, Ordering::Relaxed);
    }

    pub(crate) fn socket_opened(&self) {
        self.sockets.inc();
    }

    pub(crate) fn socket_closed(&self) {
        self.sockets.dec();
    }

    pub(crate) fn bad_connection(&self) {
        self.bad_connections.inc();
    }
}
