//! Files on their way out, a piece at a time.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::others_first;

/// By so much a file is made shorter at once that is removed.
const SHORTER: u64 = 1 << 20;

/// A file that may be large and has no name any more. To let go of all of it at once would keep whoever
/// serves waiting.
pub(super) struct Nameless(Option<File>);

impl Nameless {
    /// Takes a file's name away.
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        // One that cannot be opened goes all at once.
        let file = File::options().write(true).open(path).ok();
        std::fs::remove_file(path)?;
        Ok(Self(file))
    }

    /// Lets go of its bytes, with breaks. Only once its name is gone for good: a power failure must not
    /// leave a part of it under that. A reader that has it open finds it cut off; all that was in it
    /// has a manifest by then, and readers look into the archive after the spool.
    pub(super) fn free(self) {
        let Some(file) = self.0 else { return };
        // Somebody may have given it another name, as those do who make copies with hard links.
        let about = file.metadata().ok().filter(|about| about.nlink() == 0);
        let mut left = about.map_or(0, |about| about.len());
        while left > 0 {
            // To where a page begins: what is behind the end of a file in its last page reads as zeros.
            left = (left - 1) / SHORTER * SHORTER;
            // What is left goes when the file is closed.
            let _ = file.set_len(left);
            others_first();
        }
    }
}
