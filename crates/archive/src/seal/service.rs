//! A service that keeps a key to itself, and encrypts other keys with it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Makes keys, and opens those that it has made. Errors are sentences that say what to do.
#[async_trait::async_trait]
pub trait KeyService: fmt::Debug + Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// A key by chance, and what may lie in the archive of it.
    async fn make(&self) -> Result<Made, String>;

    /// The key that lies in the archive like this.
    async fn open(&self, kept: &Kept) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// A key that was made.
pub struct Made {
    /// Itself.
    pub key: Zeroizing<Vec<u8>>,
    /// The service's own key.
    pub kms: String,
    /// The key as the service has encrypted it, in base64.
    pub encrypted: String,
}

/// A key as it lies in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "key")]
pub struct Kept {
    /// What it is called in headers.
    pub id: String,
    /// The service's own key.
    pub kms: String,
    /// The key as the service has encrypted it, in base64.
    pub encrypted: String,
}
