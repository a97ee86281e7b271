//! Azure Blob Storage; the account stands in `AZURE_STORAGE_ACCOUNT_NAME`.

use std::sync::Arc;

use object_store::azure::MicrosoftAzureBuilder;

use super::retention::Retention;
use super::{Access, NotAsked, Opened, remote};
use crate::Error;

pub(super) fn open(rest: &str, _: &Access) -> Result<Opened, Error> {
    let (name, prefix) = remote::bucket(rest)?;
    // Credentials as the environment names them, else those of the machine.
    let objects = MicrosoftAzureBuilder::from_env()
        .with_container_name(name)
        .with_client_options(remote::client())
        .with_retry(remote::retries())
        .build()?;
    let why = "not asked for at Azure: see the container's immutability policy";
    let unknown = Retention::Unknown(why.to_owned());
    Ok(Opened { objects: remote::below(objects, prefix), retention: Arc::new(NotAsked(unknown)) })
}
