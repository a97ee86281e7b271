//! A client for a few questions to servers of others.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Asks without a body.
pub(super) type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A client that trusts the system's authorities; for an address with this scheme.
pub(super) fn client(scheme: Option<&str>) -> Result<Https> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider);
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(
        scheme != Some("https") || !roots.is_empty(),
        "the system has no certificate authorities: install the package ca-certificates"
    );
    let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
    let connector = connector.https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
