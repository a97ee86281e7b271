//! Object stores by their addresses.

#[cfg(feature = "az")]
mod az;
mod file;
#[cfg(feature = "gs")]
mod gs;
pub mod once;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub mod retention;
#[cfg(feature = "s3")]
mod s3;

use std::sync::Arc;

use object_store::ObjectStore;

use crate::Error;
use retention::Retention;

/// What an address does not say of how an object store is reached. Only `s3:` asks for it, and KMS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The region; with none, that of the environment.
    pub region: Option<String>,
    /// Where a store answers that is not Amazon's: `http://` or `https://`.
    pub endpoint: Option<String>,
    /// The KMS key with which objects are encrypted where they lie; with none, as the bucket says.
    pub kms_key: Option<String>,
    /// Where a key service answers that is not Amazon's, or not at its usual place.
    pub kms_endpoint: Option<String>,
    /// Where a request names the bucket.
    pub bucket_in: BucketIn,
}

/// Where a request names the bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BucketIn {
    /// In the host at Amazon, in the path elsewhere.
    #[default]
    Usual,
    /// In the host.
    Host,
    /// In the path.
    Path,
}

/// An object store, and what it tells of itself beyond objects.
pub(crate) struct Opened {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) retention: Arc<dyn AskRetention>,
}

/// Tells how long a store keeps objects from being deleted.
#[async_trait::async_trait]
pub(crate) trait AskRetention: Send + Sync {
    /// What holds for objects that are put now.
    async fn ask(&self) -> Result<Retention, Error>;
}

/// An object store that cannot tell.
pub(crate) struct NotAsked(pub(crate) Retention);

#[async_trait::async_trait]
impl AskRetention for NotAsked {
    async fn ask(&self) -> Result<Retention, Error> {
        Ok(self.0.clone())
    }
}

/// Opens the object store that stands behind a scheme.
type Open = fn(&str, &Access) -> Result<Opened, Error>;

/// What is in this build.
const BUILT: &[(&str, Open)] = &[
    ("file", file::open),
    #[cfg(feature = "s3")]
    ("s3", s3::open),
    #[cfg(feature = "gs")]
    ("gs", gs::open),
    #[cfg(feature = "az")]
    ("az", az::open),
];

/// The feature of the program that brings a scheme, whether it is in this build or not.
const FEATURES: [(&str, &str); 3] = [("s3", "aws"), ("gs", "gcp"), ("az", "azure")];

pub(crate) fn open(url: &str, access: &Access) -> Result<Opened, Error> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let engine = BUILT.iter().find(|(known, _)| *known == scheme);
    let Some((_, open)) = engine else { return Err(absent(scheme)) };
    open(rest, access)
}

/// Whether this build knows the scheme of an address; the error says what to do.
pub fn is_built(url: &str) -> Result<(), Error> {
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    let built = BUILT.iter().any(|(known, _)| *known == scheme);
    if built { Ok(()) } else { Err(absent(scheme)) }
}

fn absent(scheme: &str) -> Error {
    match FEATURES.iter().find(|(known, _)| *known == scheme) {
        Some((scheme, feature)) => Error::NotBuilt { scheme, feature },
        None => Error::UnknownEngine(format!("{scheme}:")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, open};

    #[test]
    fn a_scheme_that_is_not_there_says_what_to_do() {
        let said = |url: &str| open(url, &Access::default()).err().unwrap().to_string();
        assert_eq!(
            said("ftp://host/x"),
            "unknown archive address ftp:: allowed are file:PATH, s3://BUCKET/PREFIX, \
             gs://BUCKET/PREFIX and az://CONTAINER/PREFIX"
        );
    }
}
