//! Looks at the head of the write-ahead log's index, which every commit changes.
//!
//! The file `-shm` begins with that head, twice (<https://sqlite.org/walformat.html>, section 2.1: a
//! counter of changes, the last frame, checksums). Reading it is one system call; asking `SQLite`
//! takes two locks besides.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of the head, both copies.
const HEAD: usize = 96;

/// The index beside a store, and what its head was.
pub(super) struct Index {
    /// Never closed: closing any descriptor of a file gives up the process's locks on it (POSIX,
    /// `fcntl`), also those that `SQLite` holds. There is one for each store that is opened.
    file: Option<ManuallyDrop<File>>,
    seen: [u8; HEAD],
    now: [u8; HEAD],
    known: Known,
}

/// Whether what was seen belongs to what was read from the store.
#[derive(PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

/// What a look has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing was committed since.
    Same,
    /// Something may have been.
    Changed,
}

impl Index {
    /// The index of the store at this path; where it has none, every look says changed.
    pub(super) fn beside(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push("-shm");
        let file = File::open(name).ok().map(ManuallyDrop::new);
        Self { file, seen: [0; HEAD], now: [0; HEAD], known: Known::No }
    }

    /// Looks whether the head is what it was.
    pub(super) fn look(&mut self) -> Look {
        let Some(file) = &self.file else { return Look::Changed };
        if file.read_exact_at(&mut self.now, 0).is_err() {
            self.known = Known::No;
            return Look::Changed;
        }
        let same = self.known == Known::Yes && self.now == self.seen;
        if same { Look::Same } else { Look::Changed }
    }

    /// What was seen holds no longer, whatever comes of asking.
    pub(super) fn forget(&mut self) {
        self.known = Known::No;
    }

    /// What the last look saw belongs to what has been read after it. A look in the middle of a
    /// commit sees two copies that differ: that is not remembered.
    pub(super) fn remember(&mut self) {
        let (one, other) = self.now.split_at(HEAD / 2);
        if one == other {
            self.seen = self.now;
            self.known = Known::Yes;
        }
    }
}
