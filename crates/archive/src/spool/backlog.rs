//! What waits in the spool for the archive.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::folders::all_folders;
use crate::Error;
use crate::segment::{FULL, GROWING, list};

/// Journals of all writers that are not in the archive yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes in all of them.
    pub bytes: u64,
    /// How long the oldest sealed one has been waiting.
    pub oldest: Duration,
}

impl Backlog {
    /// Measures a spool; one that is not there is empty.
    pub fn measure(spool: &Path, now: Timestamp) -> Result<Self, Error> {
        let mut backlog = Self::default();
        for folder in all_folders(spool)? {
            for (_, path) in list(&folder, &[GROWING, FULL])? {
                let about = match path.metadata() {
                    Ok(about) => about,
                    // Published meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => {
                        return Err(Error::disk(format!("measuring {}", path.display()))(error));
                    }
                };
                backlog.bytes += about.len();
                let is_sealed = path.to_string_lossy().ends_with(FULL);
                let sealed = about.modified().ok().filter(|_| is_sealed);
                let age = sealed.map(|sealed| age(sealed, now)).unwrap_or_default();
                backlog.oldest = backlog.oldest.max(age);
            }
        }
        Ok(backlog)
    }
}

fn age(sealed: SystemTime, now: Timestamp) -> Duration {
    let sealed = Timestamp::try_from(sealed).unwrap_or(now);
    Duration::try_from(now.duration_since(sealed)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{Timestamp, ToSpan};

    use super::Backlog;

    #[test]
    fn what_waits_is_measured_over_all_writers() {
        let spool = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let nothing = Backlog::measure(&spool.path().join("absent"), now).unwrap();
        assert_eq!(nothing, Backlog::default());

        let files = [("aw0", "aw0-1-000000.full", 5), ("bw0", "bw0-1-000000.journal", 7)];
        for (writer, name, length) in files {
            let folder = spool.path().join(writer);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(name), vec![0; length]).unwrap();
            std::fs::write(folder.join("lock"), "no journal").unwrap();
        }
        let later = Backlog::measure(spool.path(), now + 1.hour()).unwrap();
        assert_eq!(later.bytes, 12);
        assert!((3595..=3601).contains(&later.oldest.as_secs()), "{:?}", later.oldest);
        // A clock that was set back makes nothing younger than it can be.
        let earlier = Backlog::measure(spool.path(), now - 1.hour()).unwrap();
        assert_eq!(earlier, Backlog { bytes: 12, oldest: Duration::ZERO });
    }
}
