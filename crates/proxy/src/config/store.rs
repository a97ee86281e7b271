//! Where keys and budgets live, and what is done while that cannot be reached.

use std::path::Path;
use std::time::Duration;

use super::layer::Layers;
use super::reference::SecretRef;

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its address.
    pub url: String,
    /// The password of a database, where it does not stand in the address.
    pub password: Option<SecretRef>,
    /// For how long what is known is good enough while the store cannot be reached.
    pub patience: Duration,
}

/// A store that was heard of a moment ago is not lost: as long as a switched-off key may go on.
const MOMENT: Duration = Duration::from_secs(1);

impl Store {
    pub(super) fn build(layers: &Layers, data: &Path) -> Self {
        let patience = match layers.text("when_store_lost").as_str() {
            "refuse" => MOMENT,
            _ => layers.duration("store.staleness").max(MOMENT),
        };
        Self {
            url: layers
                .optional_text("store.url")
                .unwrap_or_else(|| format!("sqlite:{}", data.join("store.db").display())),
            password: layers.reference("store.password"),
            patience,
        }
    }

    /// The secrets it needs, with where that is told.
    pub fn references(&self) -> impl Iterator<Item = (String, &SecretRef)> {
        self.password.iter().map(|reference| ("store.password".to_owned(), reference))
    }
}
