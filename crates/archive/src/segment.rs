//! Names: of journals in the spool, and of the segments that are made of them.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::Error;

/// Ends the name of a segment, and of the records beside it.
pub const SEGMENT: &str = ".jsonl.zst";
/// Ends the name of a journal that is appended to.
pub(crate) const GROWING: &str = ".journal";
/// Ends the name of one that nothing is appended to any more.
pub(crate) const FULL: &str = ".full";

/// Where the clock is asked.
pub type Clock = fn() -> Timestamp;

/// Makes a change of a folder's entries last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let doing = || format!("syncing folder {}", folder.display());
    File::open(folder).and_then(|open| open.sync_all()).map_err(Error::disk(doing()))
}

/// The journals in a spool, oldest first, as names without ending and paths.
pub(crate) fn list(spool: &Path, endings: &[&str]) -> Result<Vec<(String, PathBuf)>, Error> {
    let doing = || format!("reading folder {}", spool.display());
    let entries = match std::fs::read_dir(spool) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::disk(doing())(error)),
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::disk(doing()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(stem) = endings.iter().find_map(|ending| name.strip_suffix(ending)) {
            journals.push((stem.to_owned(), path));
        }
    }
    // By number, not by time: a clock may be set back.
    journals.sort_by_key(|(name, _)| (number(name), name.clone()));
    Ok(journals)
}

/// The number at the end of a journal's name.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.rsplit('-').next()?.parse().ok()
}

/// The object that a journal becomes, from its name alone.
pub fn object_path(name: &str) -> object_store::path::Path {
    in_day("bodies", day_of_name(name), name)
}

/// The day on which a journal was begun, from its name.
pub(crate) fn day_of_name(name: &str) -> Date {
    let start = name.rsplit('-').nth(1).unwrap_or_default();
    Date::strptime("%Y%m%d", start.get(..8).unwrap_or_default()).unwrap_or_default()
}

/// The name of the segment at a path, or of the one that the records there belong to.
pub(crate) fn name_of(path: &object_store::path::Path) -> Option<&str> {
    path.filename()?.strip_suffix(SEGMENT)
}

/// The path `<kind>/year=YYYY/month=MM/day=DD/<name>.jsonl.zst`.
pub(crate) fn in_day(kind: &str, day: Date, name: &str) -> object_store::path::Path {
    let folder = day_folder(kind, day);
    format!("{folder}/{name}{SEGMENT}").into()
}

/// The folder `<kind>/year=YYYY/month=MM/day=DD`.
pub(crate) fn day_folder(kind: &str, day: Date) -> object_store::path::Path {
    let (year, month, day) = (day.year(), day.month(), day.day());
    format!("{kind}/year={year:04}/month={month:02}/day={day:02}").into()
}

/// The day of a folder `<kind>/year=YYYY/month=MM/day=DD`.
pub(crate) fn day_of_folder(kind: &str, folder: &object_store::path::Path) -> Option<Date> {
    Date::strptime(format!("{kind}/year=%Y/month=%m/day=%d"), folder.as_ref()).ok()
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
