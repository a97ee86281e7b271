//! TLS towards clients.

use std::path::PathBuf;

use super::layer::{Layers, Problem};

/// TLS towards clients: all of them PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What clients are shown.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose certificates clients show, and whether they must.
    pub clients: Option<(PathBuf, ClientAuth)>,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Without one there is no connection.
    Required,
    /// One that is shown must be right.
    Optional,
}

/// What is missing where only some of TLS is set.
pub(super) fn half(layers: &Layers) -> Option<Problem> {
    let has = |name: &str| layers.optional_path(name).is_some();
    let missing = |given, missing| {
        let what = format!("{given} is set and {missing} is not: one is nothing without the other");
        Some(Problem { place: layers.place(given), what })
    };
    match (has("tls.certificate"), has("tls.key"), has("tls.client_ca")) {
        (true, false, _) => missing("tls.certificate", "tls.key"),
        (false, true, _) => missing("tls.key", "tls.certificate"),
        (false, false, true) => missing("tls.client_ca", "tls.certificate"),
        (true, true, _) | (false, false, false) => None,
    }
}

/// TLS as it is set.
pub(super) fn build(layers: &Layers) -> Option<Tls> {
    let demand = match layers.text("tls.client_auth").as_str() {
        "optional" => ClientAuth::Optional,
        _ => ClientAuth::Required,
    };
    Some(Tls {
        certificate: layers.optional_path("tls.certificate")?,
        key: layers.optional_path("tls.key")?,
        clients: layers.optional_path("tls.client_ca").map(|ca| (ca, demand)),
    })
}
