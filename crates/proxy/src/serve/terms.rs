//! What holds for new connections and new requests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use redact::secret::Secret;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::price::PriceTable;

use super::connection::Protocols;
use super::{prices, tls};
use crate::config::reference::SecretRef;
use crate::config::{self, Config};
use crate::exchange::Proxy;
use crate::exchange::auth::Auth;
use crate::exchange::endpoint::Endpoints;
use crate::exchange::limit::Limits;
use crate::exchange::manner::Manner;
use crate::exchange::screen::Screen;
use crate::exchange::upstream::Upstream;
use crate::ledger::Ledger;

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
    way: Way,
}

/// The way to the upstream, as it was configured: one that stays the same keeps its connections.
#[derive(Clone)]
struct Way {
    settings: config::Upstream,
    key: Secret<String>,
    upstream: Arc<Upstream>,
}

/// What outlives every configuration: counts, places, and what others hold on to.
pub struct Lasting {
    /// Who may ask, and what they have open.
    pub auth: Arc<Auth>,
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
    way: Way,
}

impl Read {
    /// Reads all that a configuration names; after other terms, keeps of them what is the same.
    pub fn new(config: &Config, before: Option<&Terms>) -> Result<Self> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::read).transpose()?,
            prices: prices(config.prices.as_deref())?,
            way: way(&config.upstream, before.map(|terms| &terms.way))?,
        })
    }
}

impl Terms {
    /// Makes terms of a configuration and what was read of it.
    pub fn new(config: &Config, read: Read, lasting: &Lasting) -> Self {
        let Read { tls, prices, way } = read;
        let proxy = Proxy {
            endpoints: Endpoints::new(&config.endpoints),
            auth: lasting.auth.clone(),
            limits: Limits::new(config.limits.exchanges_per_key),
            screen: lasting.screen.with(config.max_body, config.client.body_timeout),
            upstream: way.upstream.clone(),
            ledger: lasting.ledger.with(prices, config.archive.bodies, config.archive.when_full),
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
            way,
        }
    }

    /// The same with another certificate.
    #[must_use]
    pub fn with_tls(&self, tls: Arc<ServerConfig>) -> Self {
        Self { tls: Some(tls), ..self.clone() }
    }
}

/// The way to the upstream; the one before, where nothing about it has changed.
fn way(settings: &config::Upstream, before: Option<&Way>) -> Result<Way> {
    let key = match (&settings.key, before) {
        // What was read from stdin can be read only once.
        (SecretRef::Stdin, Some(before)) if before.settings.key == SecretRef::Stdin => {
            before.key.clone()
        }
        (SecretRef::Stdin, Some(_)) => bail!("upstream.key: stdin is read only at the start"),
        (reference, _) => reference.resolve().context("the setting upstream.key")?,
    };
    if let Some(before) = before
        && (&before.settings, before.key.expose()) == (settings, key.expose())
    {
        return Ok(before.clone());
    }
    let upstream = Arc::new(Upstream::new(settings, &key)?);
    Ok(Way { settings: settings.clone(), key, upstream })
}
