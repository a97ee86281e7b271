//! What was put into the archive, signed: so that whoever changes it later is found out.
//!
//! Each segment has a manifest that names its files with their digests, and the manifest before it
//! of the same node. It is two lines of JSON: the manifest, and the signature of that line.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::sealed::{seal, unseal};
use crate::segment::{day_folder, day_of_name};
use crate::sign::{PublicKey, Signer, sha256};

/// Ends the name of a manifest.
pub(crate) const ENDING: &str = ".json";
/// The file of the spool's folder in which a chain is remembered.
const CHAIN: &str = "chain";
/// The lock of whoever adds to it.
const LOCK: &str = "chain.lock";

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "manifest")]
pub(crate) struct Manifest {
    /// The name of the segment.
    pub(crate) name: String,
    /// The node that wrote it.
    pub(crate) node: String,
    /// Which of the node's manifests this is, from 0.
    pub(crate) number: u64,
    /// The SHA-256 of the node's manifest before this one, hexadecimal; none for the first.
    pub(crate) previous: Option<String>,
    /// The segment, and the records beside it.
    pub(crate) files: Vec<Filed>,
}

/// A file as it was put into the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filed {
    /// Its path in the archive.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub(crate) sha256: String,
    /// How many exchanges or records it has.
    pub(crate) lines: u64,
    /// BLAKE3 of the last exchange's line, which links all of them; only of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
}

/// How far the manifests of a node have come, as its spool remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// The segment of the last one.
    pub(crate) name: String,
    /// Its number.
    pub(crate) number: u64,
    /// Itself. Noted before it is put into the archive: whoever goes on from it sees to it first
    /// that it is there.
    pub(crate) manifest: String,
}

/// Where the manifest of a segment lies.
pub(crate) fn path(name: &str) -> object_store::path::Path {
    format!("{}/{name}{ENDING}", day_folder("manifests", day_of_name(name))).into()
}

/// The node whose processes wrote a segment, from its name: what stands before `w` and the process.
fn node_of(name: &str) -> &str {
    let writer = name.split('-').next().unwrap_or_default();
    writer.rsplit_once('w').map_or(writer, |(node, _)| node)
}

impl Filed {
    /// Describes a file.
    pub(crate) fn of(path: &object_store::path::Path, bytes: &[u8], lines: u64) -> Self {
        let (path, sha256) = (path.to_string(), sha256(bytes));
        Self { path, bytes: bytes.len() as u64, sha256, lines, link: None }
    }
}

impl Manifest {
    /// Its two lines.
    pub(crate) fn seal(&self, signer: &Signer) -> Result<String, Error> {
        seal(self, signer)
    }

    /// Reads one that one of these keys has signed; else says why it is none.
    pub(crate) fn read(text: &[u8], keys: &[PublicKey]) -> Result<Self, String> {
        unseal("manifest", text, keys)
    }
}

impl Chain {
    /// What the spool remembers; none where nothing has been put yet.
    pub(crate) fn load(spool: &Path) -> Result<Option<Self>, Error> {
        let path = spool.join(CHAIN);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::disk(format!("reading {}", path.display()))(error)),
        };
        let damaged = |error: serde_json::Error| {
            Error::Damaged(path.display().to_string(), error.to_string())
        };
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// The right to add to it, which is waited for: one process at a time.
    pub(crate) fn lock(spool: &Path) -> Result<File, Error> {
        let path = spool.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.lock().map(|()| file))
            .map_err(Error::disk(format!("locking {}", path.display())))
    }

    /// The chain with one more manifest, of these files.
    pub(crate) fn and(
        last: Option<&Self>,
        name: &str,
        files: Vec<Filed>,
        signer: &Signer,
    ) -> Result<Self, Error> {
        let number = last.map_or(0, |last| last.number + 1);
        let previous = last.map(|last| sha256(last.manifest.as_bytes()));
        let (name, node) = (name.to_owned(), node_of(name).to_owned());
        let manifest = Manifest { name: name.clone(), node, number, previous, files };
        Ok(Self { name, number, manifest: manifest.seal(signer)? })
    }

    /// Remembers this, at once and for good.
    pub(crate) fn save(&self, spool: &Path) -> Result<(), Error> {
        let failed = |error: serde_json::Error| Error::disk("writing a chain")(error.into());
        let text = serde_json::to_vec(self).map_err(failed)?;
        crate::replace_few(&spool.join(CHAIN), &text)
    }

    /// The node whose chain it is.
    pub(crate) fn node(&self) -> &str {
        node_of(&self.name)
    }
}
