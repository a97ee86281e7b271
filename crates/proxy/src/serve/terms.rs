//! What holds for new connections and new requests.

use std::sync::Arc;

use ipnet::IpNet;
use rustls::ServerConfig;

use super::connection::Protocols;
use crate::exchange::Proxy;

/// What one configuration came to. What began under it keeps it to its end.
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
}
