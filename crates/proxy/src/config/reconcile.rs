//! Where the provider's own counts are asked.

use http::Uri;

use super::layer::Layers;
use super::reference::SecretRef;

/// The provider's Usage and Costs APIs.
#[derive(Debug, Clone)]
pub struct Reconcile {
    /// Below which address `/organization/…` is.
    pub url: Uri,
    /// An administrator's key of the organisation.
    pub admin_key: Option<SecretRef>,
    /// Ids of the provider's keys that this gateway uses; empty: all of the organisation's.
    pub keys: Vec<String>,
    /// Projects of the provider that are looked at; empty: all.
    pub projects: Vec<String>,
}

impl Reconcile {
    pub(super) fn build(layers: &Layers) -> Self {
        let own = layers.url("reconcile.url");
        Self {
            url: if own.host().is_some() { own } else { layers.url("upstream.url") },
            admin_key: layers.reference("reconcile.admin_key"),
            keys: layers.texts("reconcile.keys"),
            projects: layers.texts("reconcile.projects"),
        }
    }

    /// The secrets it needs, with where that is told.
    pub fn references(&self) -> impl Iterator<Item = (String, &SecretRef)> {
        self.admin_key.iter().map(|reference| ("reconcile.admin_key".to_owned(), reference))
    }
}
