//! The folders of a spool: one for each process that writes to it, below one folder for all.
//!
//! Two processes write to one spool while one takes over from the other. A writer holds the lock in
//! its folder as long as it lives; a folder whose lock nobody holds was left behind, and whoever
//! comes by brings it to an end. Sealed journals may be published by anybody, one at a time: a second
//! lock says who does.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::recover::recover;
use crate::carry::Carry;
use crate::segment::{Clock, FULL, GROWING, list, sync_folder};
use crate::{Error, make_private_folder};

/// The lock of a writer, in its folder.
const LOCK: &str = "lock";
/// The lock of whoever makes segments of its journals.
const PUBLISHING: &str = "publishing";

/// More writers at once, or folders left behind, than anybody has.
const MOST: usize = 10_000;

/// A spool as those see it who look after all its folders.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
    pub(crate) node: String,
    pub(crate) clock: Clock,
    /// Those left behind that have been brought to an end: nobody appends to them any more.
    pub(crate) ended: Arc<Mutex<HashSet<PathBuf>>>,
}

/// A folder of one's own.
pub(super) struct Own {
    pub(super) path: PathBuf,
    /// Its name, and the beginning of the names of its journals.
    pub(super) name: String,
    pub(super) lock: File,
}

/// Journals of all writers, as names without ending and paths; those of one writer oldest first.
#[cfg(test)]
pub(crate) fn list_all(root: &Path, endings: &[&str]) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut all = Vec::new();
    for folder in all_folders(root)? {
        all.extend(list(&folder, endings)?);
    }
    Ok(all)
}

/// Where a journal of this name lies.
pub(crate) fn place_of(root: &Path, journal: &str) -> PathBuf {
    root.join(journal.split('-').next().unwrap_or_default())
}

/// Each writer's folder.
pub(crate) fn all_folders(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    let doing = || format!("reading folder {}", root.display());
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(folders),
        Err(error) => return Err(Error::disk(doing())(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::disk(doing()))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The right to make segments of a folder's journals, and to change what is carried over; none while another has it.
pub(crate) fn publishing(folder: &Path) -> Result<Option<File>, Error> {
    lock(folder, PUBLISHING, Missing::Made)
}

impl Folders {
    /// Makes a folder for a new writer, and locks it.
    pub(super) fn own(&self) -> Result<Own, Error> {
        make_private_folder(&self.root)?;
        for number in 0..MOST {
            let name = format!("{}w{number}", self.node);
            let path = self.root.join(&name);
            match std::fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    return Err(Error::disk(format!("making folder {}", path.display()))(error));
                }
            }
            make_private(&path)?;
            sync_folder(&self.root)?;
            // Whoever looks after folders may have found it empty and taken it for one left behind.
            if let Some(lock) = lock(&path, LOCK, Missing::Made)? {
                return Ok(Own { path, name, lock });
            }
        }
        let full = std::io::Error::other("too many folders are there already");
        Err(Error::disk(format!("making a folder in {}", self.root.display()))(full))
    }

    /// Brings to an end what writers left that are gone.
    pub(crate) fn recover_left(&self) -> Result<(), Error> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in all_folders(&self.root)? {
            if ended.contains(&folder) || is_done(&folder)? {
                continue;
            }
            let Some(_lock) = lock(&folder, LOCK, Missing::NotLeft)? else { continue };
            let Some(_publishing) = publishing(&folder)? else { continue };
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            recover(&folder, &name, self.clock)?;
            ended.insert(folder);
        }
        Ok(())
    }

    /// Removes folders that were left behind and have nothing in them any more.
    pub(crate) fn remove_empty(&self) -> Result<(), Error> {
        for folder in all_folders(&self.root)? {
            let Some(_lock) = lock(&folder, LOCK, Missing::NotLeft)? else { continue };
            let Some(_publishing) = publishing(&folder)? else { continue };
            if is_done(&folder)? {
                Carry::forget(&folder);
                // What else is in there is not ours: then the folder stays.
                let _ = std::fs::remove_file(folder.join(PUBLISHING));
                let removed = std::fs::remove_file(folder.join(LOCK));
                let _ = removed.and_then(|()| std::fs::remove_dir(&folder));
            }
        }
        Ok(())
    }
}

/// Whether nothing in a folder is to be published, or to be brought to an end.
fn is_done(folder: &Path) -> Result<bool, Error> {
    let no_journals = list(folder, &[GROWING, FULL])?.is_empty();
    Ok(no_journals && Carry::load(folder)?.entries.is_empty())
}

/// What it means that a folder has no lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It gets one.
    Made,
    /// It is being made by its writer: it was not left behind.
    NotLeft,
}

/// Locks a folder; none: somebody holds it, or it is gone.
fn lock(folder: &Path, name: &str, missing: Missing) -> Result<Option<File>, Error> {
    let path = folder.join(name);
    let doing = || format!("locking {}", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create(missing == Missing::Made).truncate(false);
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::disk(doing())(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::disk(doing())(error)),
    }
    // It may have been removed between the opening and the locking: then it locks nothing.
    let number = |file: std::io::Result<std::fs::Metadata>| file.ok().map(|file| file.ino());
    let is_there = number(std::fs::metadata(&path)) == number(file.metadata());
    Ok(is_there.then_some(file))
}

fn make_private(folder: &Path) -> Result<(), Error> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let doing = format!("making {} private", folder.display());
    std::fs::set_permissions(folder, mode).map_err(Error::disk(doing))
}
