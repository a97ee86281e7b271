//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::retention::Retention;
use super::{Access, NotAsked, Opened, remote};
use crate::Error;

pub(super) fn open(rest: &str, _: &Access) -> Result<Opened, Error> {
    let (name, prefix) = remote::bucket(rest)?;
    // Credentials as the environment names them, else those of the machine.
    let objects = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(name)
        .with_client_options(remote::client())
        .with_retry(remote::retries())
        .build()?;
    let unknown = Retention::Unknown("not asked for at Google: see the bucket's policy".to_owned());
    Ok(Opened { objects: remote::below(objects, prefix), retention: Arc::new(NotAsked(unknown)) })
}
