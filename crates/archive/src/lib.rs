//! The audit archive: what passed, kept whole and findable.
//!
//! An exchange leaves entries in a *journal* of the spool on local disk: one when it opens, more
//! while large bodies pass, one when it closes. A journal that is full or old is published: each
//! exchange that has ended becomes a *frame* of a *segment* in the object store, with its record
//! beside it; what has not ended is carried over. What a conversation repeats is stored once, as an
//! *item*. Readers look at both places.

mod carry;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod erase;
pub mod frame;
mod gather;
pub mod hold;
mod items;
pub mod journal;
mod known;
mod manifest;
pub mod objects;
mod outage;
pub mod publish;
pub mod read;
pub mod record;
pub mod retain;
pub mod seal;
mod sealed;
pub mod search;
pub mod segment;
pub mod sign;
pub mod spool;
mod spooled;
pub mod survey;
pub mod verify;

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

use objects::Access;
use objects::retention::Retention;
use seal::store::Sealing;
use seal::{Closed, Keys};

/// What a caller of the archive can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names an object store that nobody knows.
    #[error(
        "unknown archive address {0}: allowed are file:PATH, s3://BUCKET/PREFIX, \
         gs://BUCKET/PREFIX and az://CONTAINER/PREFIX"
    )]
    UnknownEngine(String),
    /// The address names an object store that is not in this build.
    #[error(
        "{scheme}:// is not in this build: build it with \
         `cargo build --release --package codex-proxy --features {feature}`"
    )]
    NotBuilt {
        /// What the address begins with.
        scheme: &'static str,
        /// The feature of the program that brings it.
        feature: &'static str,
    },
    /// Nothing says in which region a key of KMS lies.
    #[error(
        "nothing says in which region the KMS key {0} lies: write its ARN, or set archive.region \
         or AWS_REGION"
    )]
    NoRegion(String),
    /// The address of an object store cannot be read.
    #[error("`{0}` names no bucket: write //BUCKET or //BUCKET/PREFIX")]
    BadAddress(String),
    /// The disk refused.
    #[error("{doing}")]
    Disk {
        /// What was being done to which file.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The object store refused.
    #[error("the archive failed")]
    Engine(#[source] object_store::Error),
    /// A sealed object cannot be opened.
    #[error(transparent)]
    Closed(Closed),
    /// Stored bytes are not what was written.
    #[error("{0} is damaged: {1}")]
    Damaged(String, String),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let object_store::Error::Generic { store, source } = error else {
            return Self::Engine(error);
        };
        match source.downcast() {
            Ok(closed) => Self::Closed(*closed),
            Err(source) => Self::Engine(object_store::Error::Generic { store, source }),
        }
    }
}

impl Error {
    pub(crate) fn disk(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Disk { doing, source }
    }
}

/// Where an archive's objects are.
pub type Objects = Arc<dyn ObjectStore>;

/// Opens the object store that an address names; a folder is made where it is new. In it nothing
/// is ever overwritten. What is put is sealed where there is a key for it; what is sealed is read
/// as if it were not, with the keys that there are.
pub fn open(url: &str, access: &Access, keys: Keys) -> Result<Objects, Error> {
    Ok(Arc::new(Sealing::new(open_stored(url, access)?, keys)))
}

/// The same as it is stored, sealed objects under names and with lengths of their own: for who
/// reads nothing.
pub fn open_stored(url: &str, access: &Access) -> Result<Objects, Error> {
    Ok(objects::open(url, access)?.objects)
}

/// Asks how long the object store itself keeps from being deleted what is put now.
pub async fn retention(url: &str, access: &Access) -> Result<Retention, Error> {
    objects::open(url, access)?.retention.ask().await
}

/// Makes a folder that only its owner may enter, and those above it, so that a power failure leaves
/// them there.
pub(crate) fn make_private_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_private_folder(above)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(Error::disk(format!("making folder {}", folder.display())))?;
    segment::sync_folder(above.unwrap_or(Path::new(".")))
}

/// An error with what it came from.
pub(crate) fn error_text(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Puts bytes in place of a file, at once and for good.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_by_parts(path, &[bytes])
}

/// The same of bytes in several parts.
pub(crate) fn replace_by_parts(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = BufWriter::new(File::create(&part)?);
        let mut written = 0;
        for piece in parts.iter().flat_map(|bytes| bytes.chunks(publish::BREATH)) {
            file.write_all(piece)?;
            written += piece.len();
            if written >= publish::BREATH {
                publish::others_first();
                written = 0;
            }
        }
        file.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(Error::disk(format!("writing {}", path.display())))?;
    path.parent().map_or(Ok(()), segment::sync_folder)
}

/// The same of few bytes, also on a full disk: then into the room that the file has already.
pub(crate) fn replace_few(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes).or_else(|full| {
        let file = OpenOptions::new().write(true).open(path).map_err(|_| full)?;
        let length = bytes.len() as u64;
        let written = (&file).write_all(bytes).and_then(|()| file.set_len(length));
        written
            .and_then(|()| file.sync_all())
            .map_err(Error::disk(format!("writing {}", path.display())))
    })
}
