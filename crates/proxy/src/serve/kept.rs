//! What a gateway keeps on this machine: everything, or nothing.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use archive::publish::Publisher;
use archive::spool::{Spool, node_name};
use store::Store;
use store::budget::Holder;
use wire::price::PriceTable;

use super::recount::recount;
use super::{make_data_folder, spool, store};
use crate::budget::Budgets;
use crate::clock;
use crate::config::Config;
use crate::config::preset::{Callers, Keeps};
use crate::exchange::auth::Auth;
use crate::ledger::dump::Dumps;
use crate::ledger::{Ledger, Options};
use crate::metrics::Metrics;
use crate::secret::{Derived, hex, random};

/// Makes the data folder and locks it, unless the lock is held already. None: there is none.
pub fn folder(config: &Config, held: Option<File>) -> Result<Option<File>> {
    if config.keeps == Keeps::Nothing {
        return Ok(None);
    }
    make_data_folder(&config.data)?;
    held.map_or_else(|| lock(&config.data), Ok).map(Some)
}

/// The keys that derive from the installation's secret; without a folder from one that ends with
/// this process.
pub fn derived(config: &Config) -> Result<Derived> {
    match config.keeps {
        Keeps::Records => Derived::from(&config.secret),
        Keeps::Nothing => Derived::fleeting(),
    }
}

/// Who may ask, and what may be spent.
pub struct Callings {
    /// Who may ask.
    pub auth: Auth,
    /// The store that knows them, and what may be spent of it.
    pub stored: Option<(Arc<dyn Store>, Arc<Budgets>)>,
}

/// Whether another process of this node may have leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// One serves still, whose place is taken.
    Serves,
    /// Whatever was before has ended.
    Ended,
}

/// Who may ask, and what may be spent.
pub async fn callers(
    config: &Config,
    derived: Derived,
    before: Before,
    metrics: &Metrics,
) -> Result<Callings> {
    match config.callers {
        Callers::Local => Ok(Callings { auth: Auth::local(), stored: None }),
        Callers::Keys => {
            let store = store(config).await?;
            let fresh = hex(&random::<4>()?);
            let node = node_name(&config.archive.spool, || fresh)?;
            let holder = Holder { node: node.clone(), process: hex(&random::<8>()?) };
            let patience = config.store.patience;
            let budgets = Budgets::new(store.clone(), holder, patience).await?;
            if before == Before::Ended {
                let untold = store.told_through(node.clone()).await?;
                if let Some(through_ms) = untold {
                    match recount(config, &budgets, &node, through_ms).await {
                        Ok(exchanges) => {
                            tracing::info!(
                                exchanges,
                                "what was spent before a sudden end is counted"
                            );
                        }
                        // Serving does not wait for an archive that is away.
                        Err(error) => {
                            tracing::error!(
                                "what was spent in the last moment before a sudden end is not counted: {error:#}"
                            );
                        }
                    }
                    budgets.report(clock::now(), metrics).await?;
                }
                // Nobody is left to spend them. Last: whoever is cut off before it counts again.
                store.lapse(node, None).await.context("taking back old leases")?;
            }
            let auth = Auth::new(store.clone(), budgets.clone(), derived, patience).await?;
            Ok(Callings { auth, stored: Some((store, budgets)) })
        }
    }
}

/// What writes to the spool, and what publishes from it.
pub type Writing = (Spool, Publisher);

/// The books, and what stands behind them.
pub async fn ledger(
    config: &Config,
    prices: &PriceTable,
    metrics: Arc<Metrics>,
) -> Result<(Ledger, Option<Writing>)> {
    let (node, writing) = match config.keeps {
        Keeps::Nothing => ("local".to_owned(), None),
        Keeps::Records => {
            let (node, spool, publisher) = spool(config).await?;
            (node, Some((spool, publisher)))
        }
    };
    let rules = config.screen.rules.clone();
    let dumps = config.dumps.clone().map(|folder| Dumps::new(folder, rules));
    let options = Options {
        node,
        prices: prices.clone(),
        bodies: config.archive.bodies,
        when_full: config.archive.when_full,
        exchanges: config.limits.exchanges,
        spool_quota: config.archive.spool_quota,
        rules: config.screen.rules.clone(),
        attribution: config.attribution.clone(),
        clock: clock::now,
        dumps: dumps.map(Arc::new),
    };
    let spool = writing.as_ref().map(|(spool, _)| spool);
    Ok((Ledger::new(spool, options, metrics), writing))
}

/// One `serve` a data folder.
fn lock(folder: &Path) -> Result<File> {
    let path: PathBuf = folder.join("serve.lock");
    let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `codex-proxy serve` uses the data folder {}: stop it, or give this one its own with --data",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}
