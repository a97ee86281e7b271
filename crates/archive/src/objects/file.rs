//! A folder of this machine, or one that is mounted.

use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;

use super::once::Once;
use super::retention::Retention;
use super::{Access, NotAsked, Opened};
use crate::{Error, make_private_folder};

pub(super) fn open(folder: &str, _: &Access) -> Result<Opened, Error> {
    make_private_folder(Path::new(folder))?;
    // Synced: the spool lets go of a segment once it is here.
    let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    let objects = objects.with_automatic_cleanup(true);
    let retention = Arc::new(NotAsked(Retention::Off));
    Ok(Opened { objects: Arc::new(Once::whole(objects)), retention })
}
