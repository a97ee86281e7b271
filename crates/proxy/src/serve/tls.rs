//! TLS towards clients: certificates from files, and the handshake.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::socket::Stream;
use crate::config::Wrong;
use crate::config::tls::{ClientAuth, Tls};

/// How long a client may take for its handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// RFC 8446 §5.1: how the first record of a handshake begins.
const HANDSHAKE_RECORD: u8 = 22;

/// What a client hears that does not speak TLS where TLS is spoken.
const NO_TLS: &str = "{\"error\":{\"message\":\"TLS is spoken here: use https://.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"bad_request\"}}";

/// Reads the certificate and what belongs to it, and proves that they fit together.
pub fn read(settings: &Tls) -> Result<Arc<ServerConfig>, Wrong> {
    build(settings).map(Arc::new).map_err(|error| Wrong(format!("{error:#}")))
}

fn build(settings: &Tls) -> Result<ServerConfig> {
    let chain = certificates(&settings.certificate, "tls.certificate")?;
    let key = PrivateKeyDer::from_pem_file(&settings.key);
    let doing = || format!("tls.key: reading a private key from {}", settings.key.display());
    let key = key.map_err(told).with_context(doing)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some((ca, demand)) => builder.with_client_cert_verifier(verifier(ca, *demand)?),
    };
    let files = (settings.certificate.display(), settings.key.display());
    let mut config = builder.with_single_cert(chain, key).with_context(|| {
        format!("the certificate in {} and the key in {} do not go together", files.0, files.1)
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(ca: &Path, demand: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for root in certificates(ca, "tls.client_ca")? {
        let doing = || format!("tls.client_ca: taking a certificate of {}", ca.display());
        roots.add(root).with_context(doing)?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let builder = match demand {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().with_context(|| format!("tls.client_ca: using {}", ca.display()))
}

fn certificates(file: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>> {
    let doing = || format!("{setting}: reading certificates from {}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(told).with_context(doing)?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(told).with_context(doing)?;
    ensure!(!all.is_empty(), "{setting}: no certificate is in {}: it must be PEM", file.display());
    Ok(all)
}

/// What the reader of PEM says, in words: its own are those of a debugger.
fn told(error: rustls::pki_types::pem::Error) -> Error {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error,
        rustls::pki_types::pem::Error::NoItemsFound => Error::other("none is in it, as PEM"),
        other => Error::new(ErrorKind::InvalidData, format!("this is no PEM: {other:?}")),
    }
}

/// Shakes hands; bounded in time.
pub async fn secure(mut stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<Stream> {
    let handshake = async {
        let mut first = [0];
        let seen = stream.peek(&mut first).await?;
        if seen > 0 && first != [HANDSHAKE_RECORD] {
            return Err(refuse(&mut stream).await);
        }
        let secured = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Stream::Tls(Box::new(secured)))
    };
    tokio::time::timeout(HANDSHAKE, handshake).await.unwrap_or(Err(ErrorKind::TimedOut.into()))
}

/// Whether a handshake ended because of what the client showed, or did not show.
pub fn is_refusal(error: &Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}

/// Tells a client that speaks something else what is spoken here.
async fn refuse(stream: &mut TcpStream) -> Error {
    let length = NO_TLS.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{NO_TLS}"
    );
    // It may have gone already, and deserves no more.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    Error::new(ErrorKind::InvalidData, "the client does not speak TLS")
}
