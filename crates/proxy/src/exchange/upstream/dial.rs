//! New connections to an upstream: TCP, and TLS where its address says `https`.

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::BoxError;

/// A connection to an upstream; reads and writes as tokio's do.
pub type Line = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// Makes connections, each within a time limit. Addresses of both families are tried side by side
/// (RFC 8305).
#[derive(Clone)]
pub struct Dialer {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Dialer {
    /// Connects to addresses of this scheme or plain ones; TLS must come about within the limit too.
    pub fn new(limit: Duration, scheme: &Scheme) -> Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(scheme)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { connector, limit })
    }

    /// Connects to the host and port of an address.
    pub async fn dial(&self, to: &Uri) -> Result<Line, BoxError> {
        let mut connector = self.connector.clone();
        let connecting = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(to.clone()).await
        };
        let late = |_| BoxError::from(Error::from(ErrorKind::TimedOut));
        let stream = tokio::time::timeout(self.limit, connecting).await.map_err(late)??;
        Ok(TokioIo::new(stream))
    }
}

/// The system's certificate authorities; a small machine with plain upstreams may have none.
fn tls(scheme: &Scheme) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(
        *scheme != Scheme::HTTPS || !roots.is_empty(),
        "the system has no certificate authorities: install the package ca-certificates"
    );
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::uri::Scheme;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::Dialer;

    #[tokio::test]
    async fn a_line_carries_bytes_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/v1?x=1", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = Dialer::new(Duration::from_secs(5), &Scheme::HTTP).unwrap();
        let (line, accepted) = tokio::join!(dialer.dial(&to), listener.accept());
        let (mut line, (mut other, _)) = (line.unwrap(), accepted.unwrap());
        line.write_all(b"ping").await.unwrap();
        other.write_all(b"pong").await.unwrap();
        let (mut sent, mut got) = ([0; 4], [0; 4]);
        other.read_exact(&mut sent).await.unwrap();
        line.read_exact(&mut got).await.unwrap();
        assert_eq!((&sent, &got), (b"ping", b"pong"));
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_come_about_ends_in_time() {
        // Accepts by the kernel alone: nobody answers the handshake.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = Dialer::new(Duration::from_millis(50), &Scheme::HTTP).unwrap();
        let error = dialer.dial(&to).await.err().unwrap();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
