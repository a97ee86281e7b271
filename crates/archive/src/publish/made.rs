//! What was made of a journal, kept beside it until all of it is put: whoever tries again, after a
//! crash or an outage, puts the same bytes. Made anew they would be others, since what is known of
//! items has changed, and nothing in the archive is overwritten.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::nameless::Nameless;
use crate::Error;
use crate::manifest::Filed;

/// Files in the order in which they are put.
pub(super) type Files = Vec<(Filed, Vec<u8>)>;

/// Keeps what was made of a journal.
pub(super) fn keep(journal: &Path, files: &Files) -> Result<(), Error> {
    let failed = |error: serde_json::Error| Error::disk("writing what was made")(error.into());
    let heads: Vec<&Filed> = files.iter().map(|(file, _)| file).collect();
    let mut first = serde_json::to_vec(&heads).map_err(failed)?;
    first.push(b'\n');
    let parts = files.iter().map(|(_, bytes)| bytes.as_slice());
    let parts: Vec<&[u8]> = std::iter::once(first.as_slice()).chain(parts).collect();
    crate::replace_by_parts(&place(journal), &parts)
}

/// What an earlier try has made of a journal.
pub(super) fn load(journal: &Path) -> Result<Option<Files>, Error> {
    let path = place(journal);
    let kept = match std::fs::read(&path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::disk(format!("reading {}", path.display()))(error)),
    };
    let damaged = || Error::Damaged(path.display().to_string(), "its lengths are wrong".into());
    let end = memchr::memchr(b'\n', &kept).ok_or_else(damaged)?;
    let (heads, mut rest) = kept.split_at(end + 1);
    let heads: Vec<Filed> = serde_json::from_slice(heads).map_err(|_| damaged())?;
    let mut files = Files::new();
    for file in heads {
        let length = usize::try_from(file.bytes).map_err(|_| damaged())?;
        let (bytes, behind) = rest.split_at_checked(length).ok_or_else(damaged)?;
        files.push((file, bytes.to_vec()));
        rest = behind;
    }
    Ok(Some(files))
}

/// Takes its name away: all is put.
pub(super) fn forget(journal: &Path) -> Vec<Nameless> {
    let (whole, part) = (place(journal), place(journal).with_extension("part"));
    // Left behind, it keeps an empty folder, which harms nobody.
    [whole, part].iter().filter_map(|path| Nameless::of(path).ok()).collect()
}

fn place(journal: &Path) -> PathBuf {
    journal.with_extension("made")
}

#[cfg(test)]
mod tests {
    use super::{forget, keep, load};
    use crate::manifest::Filed;

    #[test]
    fn what_was_made_is_kept_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("aw0-20261122T000000000-000000.full");
        assert_eq!(load(&journal).unwrap(), None);

        let file = |path: &str, bytes: &[u8]| (Filed::of(&path.into(), bytes, 1), bytes.to_vec());
        let files = vec![file("bodies/a", b"one\n\0two"), file("records/a", b""), file("m", b"3")];
        keep(&journal, &files).unwrap();
        assert_eq!(load(&journal).unwrap(), Some(files));
        assert_eq!(forget(&journal).len(), 1);
        assert_eq!(load(&journal).unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
