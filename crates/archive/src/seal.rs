//! Objects that are encrypted before they leave this machine: whoever holds the object store reads
//! nothing of what was said.
//!
//! Each object below `bodies/` and `records/` has a data key of its own, by chance, which stands in
//! its header, encrypted with the key of the operator. So that key can change without a body being
//! encrypted again. Manifests stay readable: they are verified by whoever has the public key.

mod format;
#[cfg(feature = "s3")]
mod kms;
mod opening;
pub mod reseal;
mod ring;
pub mod service;
pub(crate) mod store;

use std::fmt;
use std::sync::Arc;

use ::ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ::ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::Error;
use crate::objects::Access;
use crate::sign::{hex, unhex};
use service::KeyService;

/// Ends the name of a sealed object, behind the name that it would have otherwise.
pub const ENDING: &str = ".sealed";

/// Tells keys apart without telling them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key of the operator, with which data keys are encrypted.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    cipher: LessSafeKey,
    /// The key of a service with which this one is encrypted where it lies.
    kms: Option<Arc<str>>,
}

impl Key {
    /// Reads a key as it is written: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(unhex(text.trim())?);
        (bytes.len() == 32).then(|| Self::new(&bytes, None))
    }

    /// One that is kept, encrypted with this key of a service.
    fn kept(bytes: &[u8], kms: &str) -> Option<Self> {
        (bytes.len() == 32).then(|| Self::new(bytes, Some(kms.into())))
    }

    fn new(bytes: &[u8], kms: Option<Arc<str>>) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(b"codex-proxy/1/archive-key-id");
        digest.update(bytes);
        let digest = digest.finish();
        let (id, _) = digest.as_ref().split_first_chunk().expect("a digest has 32 bytes");
        Self { id: KeyId(*id), cipher: cipher(bytes), kms }
    }

    /// What it is called in headers and messages.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// A cipher with these 32 bytes.
fn cipher(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key has 32 bytes"))
}

/// The keys at hand. With none, objects are put as they are.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// What new objects are sealed with.
    pub current: Option<Key>,
    /// What older ones were sealed with.
    pub old: Vec<Key>,
    /// In place of a current key: what makes one now and then.
    pub service: Option<Arc<dyn KeyService>>,
    /// What made the keys of older objects.
    pub old_services: Vec<Arc<dyn KeyService>>,
}

impl Keys {
    fn find(&self, id: KeyId) -> Option<&Key> {
        self.current.iter().chain(&self.old).find(|key| key.id == id)
    }

    /// Whether new objects are sealed.
    pub fn seals(&self) -> bool {
        self.current.is_some() || self.service.is_some()
    }

    fn services(&self) -> impl Iterator<Item = &Arc<dyn KeyService>> {
        self.service.iter().chain(&self.old_services)
    }
}

/// Opens a key service.
type OpenService = fn(&str, &Access) -> Result<Arc<dyn KeyService>, Error>;

/// What is in this build.
const SERVICES: &[(&str, OpenService)] = &[
    #[cfg(feature = "s3")]
    ("kms", kms::open),
];

/// The service that keeps a key of Amazon's KMS: its id, `alias/NAME`, or the ARN of either. Nothing
/// is asked yet.
pub fn kms(key: &str, access: &Access) -> Result<Arc<dyn KeyService>, Error> {
    let Some((_, open)) = SERVICES.first() else {
        return Err(Error::NotBuilt { scheme: "kms", feature: "aws" });
    };
    open(key, access)
}

/// Why an object cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Its key is not among those at hand.
    #[error(
        "{path} is sealed with the key {key}, which is not at hand, so that it can neither be read \
         nor checked: name that key in archive.encryption_key or archive.encryption_keys_old"
    )]
    KeyWanted {
        /// Its path in the archive.
        path: String,
        /// The key.
        key: KeyId,
    },
    /// Its key is kept by a service that is not at hand.
    #[error(
        "{path} is sealed with the key {key}, which KMS keeps encrypted with {kms}, so that it can \
         neither be read nor checked: write kms:{kms} in archive.encryption_key or \
         archive.encryption_keys_old"
    )]
    ServiceWanted {
        /// Its path in the archive.
        path: String,
        /// The key.
        key: KeyId,
        /// The key of the service.
        kms: String,
    },
    /// The service gives no key.
    #[error("{0}")]
    Service(String),
    /// It is not what was sealed.
    #[error("{path} is sealed, and {what}")]
    Broken {
        /// Its path in the archive.
        path: String,
        /// What does not hold.
        what: String,
    },
}

impl Closed {
    fn broken(path: &object_store::path::Path, what: impl Into<String>) -> Self {
        Self::Broken { path: path.to_string(), what: what.into() }
    }
}

impl From<Closed> for object_store::Error {
    fn from(closed: Closed) -> Self {
        Self::Generic { store: "sealed", source: Box::new(closed) }
    }
}

#[cfg(test)]
mod tests;
