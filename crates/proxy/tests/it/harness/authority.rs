//! A certificate authority of the test, and clients that trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Whoever speaks TLS for another.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// How a client speaks TLS.
#[derive(Default)]
pub(crate) struct Manners<'a> {
    /// What it shows of itself.
    pub(crate) shows: Option<&'a Pair>,
    /// Which protocols it offers, the best first.
    pub(crate) offers: &'a [&'a str],
    /// The only version it speaks, where it is an old one.
    pub(crate) version: Option<&'static SupportedProtocolVersion>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// A certificate for this machine's loopback address, with a name to tell it by.
    pub(crate) fn sign(&self, name: &str) -> Pair {
        self.sign_for(&["127.0.0.1"], name)
    }

    /// The same for other hosts.
    pub(crate) fn sign_for(&self, hosts: &[&str], name: &str) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Connects as a client that trusts this authority.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        manners: Manners<'_>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        self.secure(stream, manners).await
    }

    /// Speaks TLS on a connection that stands.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        manners: Manners<'_>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let versions = manners.version.map_or(rustls::ALL_VERSIONS.to_vec(), |one| vec![one]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match manners.shows {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private()).unwrap(),
        };
        config.alpn_protocols = manners.offers.iter().map(|name| name.as_bytes().into()).collect();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Takes TLS off a connection, and joins it to one towards this address.
async fn join(stream: TcpStream, acceptor: tokio_rustls::TlsAcceptor, to: SocketAddr) {
    let Ok(mut near) = acceptor.accept(stream).await else { return };
    let mut far = TcpStream::connect(to).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

impl Pair {
    /// Speaks TLS as this host, at a free port or this one, and passes everything on to an address
    /// where nobody does.
    pub(crate) async fn stand_before(&self, to: SocketAddr, at: SocketAddr) -> Front {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(self.chain(), self.private());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(join(stream, acceptor.clone(), to));
            }
        });
        Front { address, _tasks: tasks }
    }

    /// Puts both into a folder.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.pem"), &self.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &self.key).unwrap();
    }

    /// The certificate as it is shown in a handshake.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        all.map(Result::unwrap).collect()
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}
