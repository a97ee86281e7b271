//! A segment: a file of frames. On local disk while it grows, then an object of the same bytes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::Error;

/// Ends the name of a segment that is complete.
pub const SEALED: &str = ".jsonl.zst";
/// Ends the name of one that is still written to.
pub const GROWING: &str = ".growing";

/// How much room tells that there is some.
const PROBE: usize = 64 << 10;

/// Where the clock is asked.
pub type Clock = fn() -> Timestamp;

/// A segment that is written to.
pub(crate) struct Segment {
    file: File,
    path: PathBuf,
    /// Its name without the ending: `<node>-<start>-<number>`.
    pub(crate) name: String,
    /// Bytes in it.
    pub(crate) length: u64,
    /// Bytes since the last sync.
    pub(crate) unsynced: u64,
    /// When it was begun.
    pub(crate) began: Timestamp,
    /// A half write could not be undone yet: nothing may be appended behind it.
    torn: bool,
}

impl Segment {
    /// Begins a new file in the spool.
    pub(crate) fn begin(
        spool: &Path,
        node: &str,
        number: u64,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let start = now.strftime("%Y%m%dT%H%M%S%3f");
        let name = format!("{node}-{start}-{number:06}");
        let path = spool.join(format!("{name}{GROWING}"));
        let doing = format!("making {}", path.display());
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::disk(doing))?;
        sync_folder(spool)?;
        Ok(Self { file, path, name, length: 0, unsynced: 0, began: now, torn: false })
    }

    /// Appends whole frames; on failure nothing of them is left behind.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.undo_if_torn()?;
        let written = self.file.write_all(frames);
        if let Err(source) = written {
            self.torn = true;
            self.undo_if_torn()?;
            return Err(Error::Disk { doing: format!("writing {}", self.path.display()), source });
        }
        self.length += frames.len() as u64;
        self.unsynced += frames.len() as u64;
        Ok(())
    }

    /// Tries whether there is room again, leaving nothing behind.
    pub(crate) fn probe(&mut self) -> Result<(), Error> {
        let tried = self.append(&vec![0; PROBE]);
        self.length -= if tried.is_ok() { PROBE as u64 } else { 0 };
        self.torn = true;
        tried.and(self.undo_if_torn())
    }

    /// Cuts a half write off; until that succeeds the segment takes nothing.
    fn undo_if_torn(&mut self) -> Result<(), Error> {
        if self.torn {
            let doing = format!("undoing a half write to {}", self.path.display());
            let undone = self.file.set_len(self.length);
            let rewound = undone.and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            rewound.map_err(Error::disk(doing))?;
            self.torn = false;
        }
        Ok(())
    }

    /// Removes a segment that nothing could be written to.
    pub(crate) fn discard(self) {
        // Left behind, it is an empty segment, which harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Brings what was appended to the disk itself.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if self.unsynced == 0 {
            return Ok(());
        }
        self.file.sync_data().map_err(Error::disk(format!("syncing {}", self.path.display())))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Completes it: from now on it may be published.
    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        self.undo_if_torn()?;
        self.sync()?;
        seal(&self.path)
    }
}

/// Renames a growing segment to a sealed one.
pub(crate) fn seal(growing: &Path) -> Result<(), Error> {
    let text = growing.to_string_lossy();
    let sealed = format!("{}{SEALED}", text.strip_suffix(GROWING).unwrap_or(&text));
    std::fs::rename(growing, sealed).map_err(Error::disk(format!("sealing {text}")))?;
    growing.parent().map_or(Ok(()), sync_folder)
}

/// Makes a change of a folder's entries last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let doing = || format!("syncing folder {}", folder.display());
    File::open(folder).and_then(|open| open.sync_all()).map_err(Error::disk(doing()))
}

/// The segments in a spool, oldest first, as names without ending and paths.
pub(crate) fn list(spool: &Path, endings: &[&str]) -> Result<Vec<(String, PathBuf)>, Error> {
    let doing = || format!("reading folder {}", spool.display());
    let entries = match std::fs::read_dir(spool) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::disk(doing())(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::disk(doing()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(stem) = endings.iter().find_map(|ending| name.strip_suffix(ending)) {
            segments.push((stem.to_owned(), path));
        }
    }
    // By number, not by time: a clock may be set back.
    segments.sort_by_key(|(name, _)| (number(name), name.clone()));
    Ok(segments)
}

/// The number at the end of a segment's name.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.rsplit('-').next()?.parse().ok()
}

/// The object that a segment becomes, from its name alone.
pub fn object_path(name: &str) -> object_store::path::Path {
    let start = name.rsplit('-').nth(1).unwrap_or_default();
    let day = Date::strptime("%Y%m%d", start.get(..8).unwrap_or_default()).unwrap_or_default();
    in_day("bodies", day, name)
}

/// The path `<kind>/year=YYYY/month=MM/day=DD/<name>.jsonl.zst`.
pub(crate) fn in_day(kind: &str, day: Date, name: &str) -> object_store::path::Path {
    let folder = day_folder(kind, day);
    format!("{folder}/{name}{SEALED}").into()
}

/// The folder `<kind>/year=YYYY/month=MM/day=DD`.
pub(crate) fn day_folder(kind: &str, day: Date) -> object_store::path::Path {
    let (year, month, day) = (day.year(), day.month(), day.day());
    format!("{kind}/year={year:04}/month={month:02}/day={day:02}").into()
}

/// The UTC day of a moment.
pub fn day_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::object_path;

    #[test]
    fn a_segments_name_says_where_it_lies() {
        let path = object_path("a1b2c3d4-20261122T043459-000007");
        let expected = "bodies/year=2026/month=11/day=22/a1b2c3d4-20261122T043459-000007.jsonl.zst";
        assert_eq!(path.as_ref(), expected);
    }
}
