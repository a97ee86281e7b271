//! Exchanges that outlive the journal they began in: what they have appended so far is carried over.
//!
//! A file of a writer's folder has their entries as they stood in journals that are published, and
//! says which of these was the last. What later journals say is laid over it.

use std::io::ErrorKind;
use std::path::Path;

use crate::Error;

const NAME: &str = "carry";
const PART: &str = "carry.part";

/// What is carried over behind the journals that have been published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carry {
    /// The last journal that was published; empty: none, as far as anybody remembers.
    pub(crate) after: String,
    /// Entries of exchanges that have no end yet.
    pub(crate) entries: Vec<u8>,
}

impl Carry {
    /// Reads what a folder carries; where it says nothing, nothing is.
    pub(crate) fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let mut bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::disk(format!("reading {}", path.display()))(error)),
        };
        let damaged = || Error::Damaged(path.display().to_string(), "it has no first line".into());
        let end = memchr::memchr(b'\n', &bytes).ok_or_else(damaged)?;
        let after = bytes.get(..end).unwrap_or_default().to_vec();
        let after = String::from_utf8(after).map_err(|_| damaged())?;
        // In place: there may be much of it.
        bytes.drain(..=end);
        Ok(Self { after, entries: bytes })
    }

    /// Puts these entries, behind this journal, in place of what the folder says, at once and for
    /// good. They are not brought together in memory: there may be much of them.
    pub(crate) fn save(folder: &Path, after: &str, entries: &[&[u8]]) -> Result<(), Error> {
        let path = folder.join(NAME);
        // So a full disk does not keep the spool from becoming empty.
        if entries.is_empty() && !path.exists() {
            return Ok(());
        }
        let head = format!("{after}\n");
        if entries.is_empty() {
            return crate::replace_few(&path, head.as_bytes());
        }
        crate::replace_by_parts(&path, &[&[head.as_bytes()], entries].concat())
    }

    /// Removes what a folder says, where nothing is carried.
    pub(crate) fn forget(folder: &Path) {
        // Left behind, it keeps an empty folder, which harms nobody.
        let _ = std::fs::remove_file(folder.join(NAME));
        let _ = std::fs::remove_file(folder.join(PART));
    }
}
