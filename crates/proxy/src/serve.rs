//! The team gateway: builds all parts, listens, and brings everything to a good end.

pub mod activation;
mod background;
pub mod connection;
pub mod doors;
pub mod identity;
pub mod kept;
pub mod peer;
pub mod recount;
pub mod reload;
pub mod retain;
pub mod rolling;
pub mod route;
pub mod scan;
pub mod socket;
pub mod stream;
pub mod takeover;
pub mod terms;
pub mod tls;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use archive::publish::Publisher;
use archive::spool::{self, Spool};
use store::{Store, without_secrets};
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::price::PriceTable;

use crate::clock;
use crate::config::listen::Listen;
use crate::config::preset::Keeps;
use crate::config::reference::SecretRef;
use crate::config::screen;
use crate::config::{Config, Wrong};
use crate::exchange::screen::Screen;
use crate::exchange::screen::guard::Guard;
use crate::exchange::screen::intake::Intake;
use crate::metrics::Metrics;
use crate::secret::{Derived, hex, random};
use background::Background;
use doors::{Doors, Inherited, Listening};
use identity::Renewal;
use kept::{Before, Callings};
use reload::{Reader, Watch};
use retain::Retain;
use rolling::Rolling;
use route::Site;
use scan::Scan;
use takeover::{Local, Predecessor, Successor};
use terms::{Lasting, Read, Terms};

/// How often it is looked whether open exchanges have ended.
const LOOK: Duration = Duration::from_millis(20);
/// For clients to hear that their exchange was cut off.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// For a predecessor to end after a process that is itself about to end.
const PREDECESSOR: Duration = Duration::from_mins(1);
/// How long a start waits for the recovery of what an earlier process left.
const RECOVERY: Duration = Duration::from_millis(500);
/// A journal of the spool is sealed at this size.
const SEAL_BYTES: u64 = 16 << 20;

/// A running gateway.
pub struct Gateway {
    site: Arc<Site>,
    lasting: Arc<Lasting>,
    listening: Listening,
    store: Option<Arc<dyn Store>>,
    background: Background,
    lock: Option<File>,
    local: Option<Local>,
}

/// What a process is given at its start.
#[derive(Default)]
pub struct Given {
    /// Listening sockets.
    pub sockets: Vec<Inherited>,
    /// The lock of the data folder, held.
    pub lock: Option<File>,
    /// What the configuration names, read and proven.
    pub read: Option<Read>,
}

impl Gateway {
    /// Builds everything and listens, with what was given as far as it is wanted.
    pub async fn start(config: &Config, given: Given) -> Result<Self> {
        // What can be wrong without touching anything comes first.
        let read = given.read.map_or_else(|| Read::new(config, None), Ok)?;
        let before = if given.lock.is_some() { Before::Serves } else { Before::Ended };
        let lock = kept::folder(config, given.lock)?;
        let derived = kept::derived(config)?;
        let retain = Retain::new(config.archive.clone(), derived.signer().public_key());
        let screen_key = derived.screen_key();
        let guard = Guard::new(&config.screen, &screen_key);
        let metrics = Arc::new(Metrics::default());
        let Callings { auth, stored } = kept::callers(config, derived, before, &metrics).await?;
        let auth = Arc::new(auth);
        let (store, budgets) = stored.unzip();
        let doors = Doors::bind(config, given.sockets).await?;
        let (ledger, writing) = kept::ledger(config, &read.prices, metrics.clone()).await?;
        let intake = Intake::new(config.max_body, config.max_buffered, config.client.body_timeout);
        let screen = Screen::new(intake, guard, config.chat_usage);
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let lasting = Lasting { auth, budgets, ledger, screen, connections, draining, closing };
        let terms = Terms::new(config, read, &lasting);
        let site = Arc::new(Site::new(terms, config.opens, metrics, lasting.connections.clone()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let background = Background { tasks, stop, writing };
        let lasting = Arc::new(lasting);
        background.start(&lasting, &site, store.as_ref());
        let keeps = config.keeps == Keeps::Records;
        if keeps {
            background.retain(retain);
            background.roll(Rolling::new(config));
            if config.screen.scan == screen::Scan::Daily {
                background.scan(Scan::new(config, &screen_key, site.clone()));
            }
        }
        let listening = doors.open(&site, config)?;
        let local = None;
        Ok(Self { site, lasting, listening, store, background, lock, local })
    }

    /// Takes the place of a predecessor: from now on it lets nobody in.
    pub async fn succeed(&self, mut predecessor: Predecessor) -> Result<()> {
        let metrics = self.site.metrics.clone();
        metrics.inherit(predecessor.ready().await?);
        let stop = self.background.stop.clone();
        self.background.tasks.spawn(async move {
            let mut ended = std::pin::pin!(predecessor.ended());
            let counts = match stop.run_until_cancelled(ended.as_mut()).await {
                Some(counts) => counts,
                // This one ends too: whoever comes after it wants to know all the same.
                None => {
                    tokio::time::timeout(PREDECESSOR, ended).await.unwrap_or_else(|e| Err(e.into()))
                }
            };
            match counts {
                Ok(counts) => metrics.inherit(counts),
                Err(error) => {
                    tracing::warn!(
                        "what the process before this one counted last is lost: {error:#}"
                    );
                }
            }
        });
        Ok(())
    }

    /// From now on another process may take over.
    pub fn open_local(&mut self, data: &Path) {
        match Local::open(data) {
            Ok(local) => self.local = Some(local),
            Err(error) => tracing::warn!(%error, "no other process can take over from this one"),
        }
    }

    /// Waits until another process has taken over.
    pub async fn taken_over(&self) -> Successor {
        match (&self.local, &self.lock) {
            (Some(local), Some(lock)) => {
                let let_go = async || {
                    self.listening.let_nobody_in().await;
                    self.site.leave();
                    self.site.metrics.totals()
                };
                local.taken(&self.listening.sockets, lock, let_go).await
            }
            _ => std::future::pending().await,
        }
    }

    /// Leaves new connections to a successor, serves those that are open to their end, within
    /// `drain`, then stops.
    pub async fn leave(mut self, successor: Successor, drain: Duration) -> Result<()> {
        // Its file is the successor's by now.
        self.local = None;
        self.listening.give_away();
        self.listening.wait(drain).await;
        let site = self.site.clone();
        let stopped = self.stop(Duration::ZERO).await;
        successor.tell(&site.metrics.totals()).await.context("telling the last counts")?;
        stopped
    }

    /// Reads its configuration again whenever it has changed, or somebody asks for it.
    pub fn watch(&self, watch: Watch, asked: Signal) {
        let Background { tasks, stop, .. } = &self.background;
        let reader = Reader::new(watch, self.site.clone(), self.lasting.clone());
        tasks.spawn(reader.run(asked, stop.clone()));
    }

    /// Where it listens for clients.
    pub fn addresses(&self) -> &[Listen] {
        &self.listening.clients
    }

    /// Where it listens for operators, if elsewhere.
    pub fn operators_addresses(&self) -> &[Listen] {
        &self.listening.operators
    }

    /// From now on its credential is renewed before it ends.
    pub fn renew(&self, renewal: Renewal) {
        let stop = self.background.stop.clone();
        self.background.tasks.spawn(async move {
            stop.run_until_cancelled(renewal.run()).await;
        });
    }

    /// Waits until somebody asks over HTTP to stop.
    pub async fn shutdown_asked(&self) {
        self.site.shutdown.cancelled().await;
    }

    /// Whether there is no key yet.
    pub fn has_no_key(&self) -> bool {
        self.lasting.auth.key_count() == 0
    }

    /// How long open exchanges may go on after the order to stop, as it is configured by now.
    pub fn drain_timeout(&self) -> Duration {
        self.site.terms().drain_timeout
    }

    /// Takes nothing new, lets open exchanges end within `drain`, writes and seals everything.
    ///
    /// While they end the sockets stay open, so that whoever asks hears that this one is stopping;
    /// but for those that systemd keeps for the next.
    pub async fn stop(self, drain: Duration) -> Result<()> {
        let Self { site, lasting, listening, store, background, lock, local } = self;
        if let Some(local) = local {
            local.close();
        }
        listening.stop_accepting();
        site.drain();
        let all_ended = async {
            while !lasting.ledger.is_idle() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(drain, all_ended).await.is_err() {
            tracing::warn!("exchanges are cut off: they did not end within the drain timeout");
        }
        lasting.closing.cancel();
        listening.close(LAST_WORDS, || lasting.ledger.cut()).await;
        background.stop.cancel();
        background.tasks.close();
        background.tasks.wait().await;
        let flushed = match &store {
            Some(store) => lasting.ledger.flush(&**store).await,
            None => Ok(()),
        };
        if let Some(budgets) = &lasting.budgets
            && let Err(error) = budgets.close(clock::now(), &site.metrics).await
        {
            tracing::error!(%error, "what was spent last is not counted in budgets");
        }
        // Whatever became of the counts, the records are written.
        let write_all = move || {
            if let Some((spool, publisher)) = background.writing {
                spool.close();
                publisher.finish();
            }
        };
        tokio::task::spawn_blocking(write_all).await.context("writing what is left")?;
        // Held until all is written.
        drop(lock);
        flushed.context("writing counts to the store")
    }
}

/// Opens the store and binds it to the secret.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    make_data_folder(&config.data)?;
    let password = config.store.password.as_ref().map(SecretRef::resolve).transpose()?;
    let password = password.as_ref().map(|password| password.expose().as_str());
    let store = store::open(&config.store.url, password)
        .await
        .with_context(|| format!("opening the store {}", without_secrets(&config.store.url)))?;
    let derived = Derived::from(&config.secret)?;
    store.claim(derived.fingerprint()).await?;
    Ok(store)
}

/// A writer of its own in the spool, with the node's name and what publishes.
pub async fn spool(config: &Config) -> Result<(String, Spool, Publisher)> {
    let folder = config.archive.spool.clone();
    let fresh = hex(&random::<4>()?);
    let node = spool::node_name(&folder, || fresh)?;
    let options = spool::Options {
        folder: folder.clone(),
        node: node.clone(),
        sync: config.archive.sync,
        seal_after: config.archive.seal_after,
        seal_bytes: SEAL_BYTES,
        clock: clock::now,
    };
    let objects = config.archive.open()?;
    let spool = Spool::open(options)?;
    let signer = Derived::from(&config.secret)?.signer();
    let publisher = Publisher::start(folder, objects, signer, spool.state().clone())?;
    // What an earlier process left open mostly has its end before anybody can ask for it; where it is
    // much, that goes on beside.
    let _ = tokio::time::timeout(RECOVERY, spool.state().recovered()).await;
    Ok((node, spool, publisher))
}

/// The price table of a file, or the built-in one.
pub fn prices(file: Option<&Path>) -> Result<PriceTable, Wrong> {
    let Some(path) = file else { return Ok(PriceTable::builtin()) };
    let wrong = |what: String| Wrong(format!("the price table {}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    PriceTable::parse(&text).map_err(|error| wrong(error.to_string()))
}

fn make_data_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("making the data folder {}", folder.display()))
}
