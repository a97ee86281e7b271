//! What runs beside the connections.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::kept::Writing;
use super::retain::Retain;
use super::rolling::Rolling;
use super::route::Site;
use super::scan::Scan;
use super::terms::Lasting;
use crate::budget::Budgets;
use crate::clock;

/// How often open exchanges learn of switched-off keys: well within the promised second.
const KEY_WATCH: Duration = Duration::from_millis(250);
/// How often the counts of refusals go to the store.
const FLUSH: Duration = Duration::from_millis(500);
/// How often it goes to the store what was spent of budgets.
const REPORT: Duration = Duration::from_millis(100);
/// How often counts are removed that are over.
const FORGET: Duration = Duration::from_hours(1);
/// How often kept connections to the upstream are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it is measured what waits in the spool.
const MEASURE: Duration = Duration::from_millis(500);

/// The tasks beside the connections.
pub(super) struct Background {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) writing: Option<Writing>,
}

impl Background {
    pub(super) fn start(
        &self,
        lasting: &Arc<Lasting>,
        site: &Arc<Site>,
        store: Option<&Arc<dyn Store>>,
    ) {
        let (watched, stop) = (lasting.clone(), self.stop.clone());
        self.tasks.spawn(every(KEY_WATCH, stop, async move || watched.auth.watch().await));
        let (swept, stop) = (site.clone(), self.stop.clone());
        let sweep = async move || swept.terms().proxy.upstream.sweep();
        self.tasks.spawn(every(SWEEP, stop, sweep));
        if let Some(store) = store {
            let (flushed, store, stop) = (lasting.clone(), store.clone(), self.stop.clone());
            self.tasks.spawn(every(FLUSH, stop, async move || {
                if let Err(error) = flushed.ledger.flush(&*store).await {
                    tracing::warn!(%error, "counts of refusals cannot be written, they are kept");
                }
            }));
        }
        if let Some(budgets) = &lasting.budgets {
            self.keep(budgets, site);
        }
        let (measured, stop) = (lasting.clone(), self.stop.clone());
        let measure = async move || measured.ledger.measure().await;
        self.tasks.spawn(every(MEASURE, stop, measure));
    }

    /// Reports to the store what was spent of budgets.
    fn keep(&self, budgets: &Arc<Budgets>, site: &Arc<Site>) {
        let (kept, site, stop) = (budgets.clone(), site.clone(), self.stop.clone());
        self.tasks.spawn(every(REPORT, stop, async move || {
            if let Err(error) = kept.report(clock::now(), &site.metrics).await {
                tracing::warn!(%error, "what was spent of budgets cannot be written, it is kept");
            }
        }));
        let (kept, stop) = (budgets.clone(), self.stop.clone());
        self.tasks.spawn(every(FORGET, stop, async move || {
            if let Err(error) = kept.forget(clock::now()).await {
                tracing::warn!(%error, "old counts of budgets cannot be removed");
            }
        }));
    }

    pub(super) fn retain(&self, retain: Retain) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(retain.run()).await;
        });
    }

    pub(super) fn roll(&self, rolling: Rolling) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(rolling.run()).await;
        });
    }

    pub(super) fn scan(&self, scan: Scan) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(scan.run()).await;
        });
    }
}

async fn every(pause: Duration, stop: CancellationToken, work: impl AsyncFn()) {
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        work().await;
    }
}
