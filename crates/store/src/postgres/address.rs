//! The address of a database, as libpq writes it, and TLS to it.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

/// TLS as connections speak it, where the address asks for it.
pub(super) type Tls = MakeRustlsConnect;

/// Reads an address. `sslmode` is `disable`, `prefer`, `require` or `verify-full`: where TLS is
/// spoken the certificate is always checked, by the system's authorities or those in `sslrootcert`.
pub(super) fn read(url: &str, password: Option<&str>) -> Result<(Config, Tls), Error> {
    let wrong = |what: String| Error::Address(format!("the store's address: {what}"));
    let (plain, roots) = without_roots(url);
    let mut config = Config::from_str(&plain).map_err(|error| wrong(told(&error)))?;
    if let Some(password) = password {
        config.password(password);
    }
    config.application_name("codex-proxy");
    config.connect_timeout(Duration::from_secs(5));
    let tls = client(roots).map_err(wrong)?;
    Ok((config, MakeRustlsConnect::new(tls)))
}

/// What of the address the library does not know is ours to read.
fn without_roots(url: &str) -> (String, Option<PathBuf>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut roots = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => roots = Some(PathBuf::from(path)),
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            _ => kept.push(pair),
        }
    }
    (format!("{address}?{}", kept.join("&")), roots)
}

fn client(roots: Option<PathBuf>) -> Result<ClientConfig, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            let reading =
                |error: &dyn std::fmt::Display| format!("reading {}: {error}", path.display());
            let certificates =
                CertificateDer::pem_file_iter(&path).map_err(|error| reading(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| reading(&error))?;
                store.add(certificate).map_err(|error| reading(&error))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

/// What is wrong, without the address, which may hold a password.
fn told(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.to_string())
}
