//! What holds for new connections and new requests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::price::PriceTable;

use super::connection::Protocols;
use super::{prices, tls};
use crate::budget::Budgets;
use crate::config::reference::SecretRef;
use crate::config::secrets::Secrets;
use crate::config::target::Target;
use crate::config::{self, Config, Wrong};
use crate::exchange::Proxy;
use crate::exchange::auth::Auth;
use crate::exchange::endpoint::Endpoints;
use crate::exchange::limit::Limits;
use crate::exchange::manner::Manner;
use crate::exchange::screen::Screen;
use crate::exchange::upstream::Upstream;
use crate::exchange::upstream::splice::Splice;
use crate::harden::key::Key;
use crate::ledger::{Ledger, Ways};
use crate::secret::{hex, random};

/// What one configuration came to. What began under it keeps it to its end.
#[derive(Clone)]
pub struct Terms {
    /// The gateway itself.
    pub proxy: Arc<Proxy>,
    /// Origins that browsers may ask from.
    pub origins: Vec<String>,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Whose `x-forwarded-for` names the client.
    pub trusted_proxies: Vec<IpNet>,
    /// TLS towards clients, where it is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// HTTP as it is spoken with clients.
    pub protocols: Protocols,
    /// How long open exchanges may go on after the order to stop.
    pub drain_timeout: Duration,
    reach: Reach,
}

/// The upstreams, as they were configured: those that stay the same keep their connections, and
/// what is known of how they do.
#[derive(Clone)]
struct Reach {
    settings: (config::Upstream, Vec<Target>),
    secrets: Secrets,
    upstream: Arc<Upstream>,
}

/// What outlives every configuration: counts, places, and what others hold on to.
pub struct Lasting {
    /// Who may ask, and what they have open.
    pub auth: Arc<Auth>,
    /// What may be spent; nothing where it is not counted.
    pub budgets: Option<Arc<Budgets>>,
    /// The books.
    pub ledger: Ledger,
    /// The memory of request bodies.
    pub screen: Screen,
    /// All connections, and what runs for them.
    pub connections: TaskTracker,
    /// Fires when nothing new is taken any more.
    pub draining: CancellationToken,
    /// Fires when the gateway ends and cuts what is still open.
    pub closing: CancellationToken,
}

/// What a configuration names and what may be wrong with it: files and secrets, read and proven.
pub struct Read {
    tls: Option<Arc<ServerConfig>>,
    /// What things cost.
    pub prices: PriceTable,
    reach: Reach,
}

impl Read {
    /// Reads all that a configuration names; after other terms, keeps of them what is the same.
    pub fn new(config: &Config, before: Option<&Terms>) -> Result<Self> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::read).transpose()?,
            prices: prices(config.prices.as_deref())?,
            reach: reach(config, before.map(|terms| &terms.reach))?,
        })
    }

    /// The same where the only secret is a key that is spliced into requests.
    pub fn spliced(config: &Config, key: Key) -> Result<(Self, Arc<Splice>)> {
        let splice = Arc::new(Splice::new(hex(&random::<32>()?), key));
        let secrets = Secrets::standing_in(SecretRef::Stdin, splice.stand_in());
        let settings = (config.upstream.clone(), config.upstreams.clone());
        let upstream = Arc::new(Upstream::new(config, &secrets, Some(splice.clone()))?);
        let read = Self {
            tls: None,
            prices: prices(config.prices.as_deref())?,
            reach: Reach { settings, secrets, upstream },
        };
        Ok((read, splice))
    }
}

impl Terms {
    /// Makes terms of a configuration and what was read of it.
    pub fn new(config: &Config, read: Read, lasting: &Lasting) -> Self {
        let Read { tls, prices, reach } = read;
        let proxy = Proxy {
            endpoints: Endpoints::new(&config.endpoints, config.opens),
            auth: lasting.auth.clone(),
            limits: Limits::new(config, lasting.budgets.clone(), prices.clone()),
            screen: lasting.screen.with(
                |intake| intake.with(config.max_body, config.client.body_timeout),
                lasting.screen.guard().with(&config.screen),
                config.chat_usage,
            ),
            upstream: reach.upstream.clone(),
            ledger: lasting.ledger.with(Ways {
                prices,
                bodies: config.archive.bodies,
                when_full: config.archive.when_full,
                rules: config.screen.rules.clone(),
                attribution: config.attribution.clone(),
            }),
            manner: Arc::new(Manner {
                idle_timeout: config.upstream.idle_timeout,
                contact: config.contact.clone(),
                draining: lasting.draining.clone(),
                closing: lasting.closing.clone(),
            }),
            websocket: config.websocket,
        };
        Self {
            proxy: Arc::new(proxy),
            origins: config.cors_origins.clone(),
            proxy_protocol: config.proxy_protocol.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            tls,
            protocols: Protocols::new(config, &lasting.connections),
            drain_timeout: config.drain_timeout,
            reach,
        }
    }

    /// The same with another certificate.
    #[must_use]
    pub fn with_tls(&self, tls: Arc<ServerConfig>) -> Self {
        Self { tls: Some(tls), ..self.clone() }
    }

    /// Whether a service keeps another secret now than the one in use; asks it, and waits.
    pub fn secrets_have_changed(&self) -> Result<bool, Wrong> {
        self.reach.secrets.have_changed()
    }
}

/// The upstreams; those before, where nothing about them has changed.
fn reach(config: &Config, before: Option<&Reach>) -> Result<Reach> {
    let secrets = Secrets::fetch(config, before.map(|before| &before.secrets))?;
    let settings = (config.upstream.clone(), config.upstreams.clone());
    if let Some(before) = before
        && before.settings == settings
        && before.secrets == secrets
    {
        return Ok(before.clone());
    }
    let upstream = Arc::new(Upstream::new(config, &secrets, None)?);
    Ok(Reach { settings, secrets, upstream })
}
