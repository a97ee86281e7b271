//! The journal that grows: a file to which entries are appended whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::segment::{Clock, FULL, GROWING, day_of, sync_folder};

/// How much room tells that there is some.
const PROBE: usize = 64 << 10;

/// A journal that is appended to.
pub(super) struct Growing {
    file: Arc<File>,
    path: PathBuf,
    /// Bytes in it.
    pub(super) length: u64,
    named: Timestamp,
    /// When something was first appended.
    began: Option<Timestamp>,
    /// A half write could not be undone yet: nothing may be appended behind it.
    torn: bool,
}

impl Growing {
    /// Begins a new file in the spool.
    pub(super) fn begin(
        spool: &Path,
        node: &str,
        number: u64,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let start = now.strftime("%Y%m%dT%H%M%S%3f");
        // So that no two ever have one name, whatever the clock says.
        let chance = Uuid::now_v7().as_u128() & 0xFFFF_FFFF;
        let path = spool.join(format!("{node}-{start}{chance:08x}-{number:06}{GROWING}"));
        let doing = format!("making {}", path.display());
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = Arc::new(file.map_err(Error::disk(doing))?);
        sync_folder(spool)?;
        Ok(Self { file, path, length: 0, named: now, began: None, torn: false })
    }

    /// Appends bytes, so many; on failure nothing of them is left behind.
    pub(super) fn append(
        &mut self,
        slices: &mut [IoSlice<'_>],
        length: u64,
        clock: Clock,
    ) -> Result<(), Error> {
        self.write(slices)?;
        self.length += length;
        self.began.get_or_insert_with(clock);
        Ok(())
    }

    /// Tries whether there is room again, leaving nothing behind.
    pub(super) fn probe(&mut self) -> Result<(), Error> {
        let tried = self.write(&mut [IoSlice::new(&vec![0; PROBE])]);
        self.torn = true;
        tried.and(self.undo_if_torn())
    }

    fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Error> {
        self.undo_if_torn()?;
        while !slices.is_empty() {
            let written = match (&*self.file).write_vectored(slices) {
                Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                written => written,
            };
            match written {
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(source) => {
                    self.torn = true;
                    self.undo_if_torn()?;
                    let doing = format!("writing {}", self.path.display());
                    return Err(Error::Disk { doing, source });
                }
            }
        }
        Ok(())
    }

    /// Cuts a half write off; until that succeeds the journal takes nothing.
    fn undo_if_torn(&mut self) -> Result<(), Error> {
        if self.torn {
            let doing = format!("undoing a half write to {}", self.path.display());
            let undone = self.file.set_len(self.length);
            let rewound = undone.and_then(|()| (&*self.file).seek(SeekFrom::Start(self.length)));
            rewound.map_err(Error::disk(doing))?;
            self.torn = false;
        }
        Ok(())
    }

    /// The file itself, to be synced while others append.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Whether it is old; an empty one is when its name tells of another day.
    pub(super) fn is_old(&self, now: Timestamp, most: std::time::Duration) -> bool {
        let Some(began) = self.began else { return day_of(self.named) != day_of(now) };
        let age = now.duration_since(began).unsigned_abs();
        age >= most || day_of(began) != day_of(now)
    }

    /// Completes it: from now on it may be published. An empty one goes.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        if self.length == 0 {
            // Left behind, it is an empty journal, which harms nobody.
            let _ = std::fs::remove_file(&self.path);
            return Ok(());
        }
        self.undo_if_torn()?;
        self.file.sync_data().map_err(Error::disk(format!("syncing {}", self.path.display())))?;
        seal(&self.path)
    }
}

/// Renames a journal that is complete.
pub(super) fn seal(growing: &Path) -> Result<(), Error> {
    let text = growing.to_string_lossy();
    let full = format!("{}{FULL}", text.strip_suffix(GROWING).unwrap_or(&text));
    std::fs::rename(growing, full).map_err(Error::disk(format!("sealing {text}")))?;
    growing.parent().map_or(Ok(()), sync_folder)
}
