//! Exchanges whose opening has been published, and whose end has not.
//!
//! A small file of a writer's folder says which, and up to which journal that is true: what later journals
//! say is laid over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::frame::{Opening, Place};
use crate::segment::sync_folder;

const NAME: &str = "underway.json";
const PART: &str = "underway.part";

/// What is under way behind the journals that have been published.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Underway {
    /// The last journal that was published; empty: none, as far as anybody remembers.
    pub(crate) after: String,
    /// By id.
    pub(crate) exchanges: BTreeMap<String, Begun>,
}

/// An exchange that has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// How.
    pub(crate) opening: Opening,
    /// Its frames so far.
    pub(crate) frames: Vec<Place>,
}

impl Underway {
    /// Reads what a spool says; where it says nothing, nothing is under way.
    pub(crate) fn load(spool: &Path) -> Result<Self, Error> {
        let path = spool.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::disk(format!("reading {}", path.display()))(error)),
        };
        let damaged = |error: serde_json::Error| {
            Error::Damaged(path.display().to_string(), error.to_string())
        };
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Puts this in place of what the spool says, at once and for good.
    pub(crate) fn save(&self, spool: &Path) -> Result<(), Error> {
        let path = spool.join(NAME);
        // So a full disk does not keep the spool from becoming empty.
        if self.exchanges.is_empty() && !path.exists() {
            return Ok(());
        }
        let part = spool.join(PART);
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        write().map_err(Error::disk(format!("writing {}", path.display())))?;
        sync_folder(spool)
    }

    /// Removes what a spool says, where nothing is under way.
    pub(crate) fn forget(spool: &Path) {
        // Left behind, it keeps an empty folder, which harms nobody.
        let _ = std::fs::remove_file(spool.join(NAME));
        let _ = std::fs::remove_file(spool.join(PART));
    }
}
