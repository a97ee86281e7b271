//! What was put into the archive, signed: so that whoever changes it later is found out.
//!
//! Each segment has a manifest that names its files with their digests, and the manifest before it
//! of the same writer. It is two lines of JSON: the manifest, and the signature of that line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::segment::{day_folder, day_of_name};
use crate::sign::{PublicKey, Signer, sha256};

/// Ends the name of the file in which the spool remembers a writer's last manifest.
const ENDING: &str = ".chain";

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "manifest")]
pub(crate) struct Manifest {
    /// The name of the segment.
    pub(crate) name: String,
    /// Who wrote it.
    pub(crate) writer: String,
    /// Which of the writer's manifests this is, from 0.
    pub(crate) number: u64,
    /// The SHA-256 of the writer's manifest before this one, hexadecimal; none for the first.
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

/// The second line.
#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    kind: String,
    signature: String,
    key: String,
}

/// The last manifest of a writer, as its spool remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// The segment's name.
    pub(crate) name: String,
    pub(crate) number: u64,
    /// Of the manifest.
    sha256: String,
    /// Of the one before it.
    previous: Option<String>,
}

/// Where the manifest of a segment lies.
pub(crate) fn path(name: &str) -> object_store::path::Path {
    format!("{}/{name}.json", day_folder("manifests", day_of_name(name))).into()
}

/// The writer of a segment, from its name.
pub(crate) fn writer(name: &str) -> &str {
    name.split('-').next().unwrap_or_default()
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
    pub(crate) fn seal(&self, signer: &Signer) -> Result<Vec<u8>, Error> {
        let failed = |error: serde_json::Error| Error::disk("writing a manifest")(error.into());
        let mut text = serde_json::to_vec(self).map_err(failed)?;
        let (kind, key) = ("signature".to_owned(), signer.public_key().to_string());
        let seal = Seal { kind, signature: signer.sign(&text), key };
        text.push(b'\n');
        serde_json::to_writer(&mut text, &seal).map_err(failed)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads one that one of these keys has signed; else says why it is none.
    pub(crate) fn read(text: &[u8], keys: &[PublicKey]) -> Result<Self, String> {
        let end = memchr::memchr(b'\n', text).ok_or("it has one line, where two belong")?;
        let (line, seal) = text.split_at(end);
        let seal: Seal = serde_json::from_slice(seal)
            .map_err(|error| format!("its signature cannot be read: {error}"))?;
        if !keys.iter().any(|key| key.has_signed(line, &seal.signature)) {
            return Err("it was edited, or is signed with another key".to_owned());
        }
        serde_json::from_slice(line).map_err(|error| format!("it cannot be read: {error}"))
    }
}

impl Chain {
    /// What the spool remembers of a writer; none where it has put nothing yet.
    pub(crate) fn load(spool: &Path, writer: &str) -> Result<Option<Self>, Error> {
        let path = file(spool, writer);
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

    /// What the spool remembers of all its writers.
    pub(crate) fn load_all(spool: &Path) -> Result<Vec<(String, Self)>, Error> {
        let mut chains = Vec::new();
        for (writer, _) in crate::segment::list(spool, &[ENDING])? {
            if let Some(chain) = Self::load(spool, &writer)? {
                chains.push((writer, chain));
            }
        }
        Ok(chains)
    }

    /// The manifest that comes next, of these files; the same again where it was put already, and a
    /// crash came before the end.
    pub(crate) fn next(last: Option<&Self>, name: &str, files: Vec<Filed>) -> Manifest {
        let (number, previous) = match last {
            None => (0, None),
            Some(last) if last.name == name => (last.number, last.previous.clone()),
            Some(last) => (last.number + 1, Some(last.sha256.clone())),
        };
        let (name, writer) = (name.to_owned(), writer(name).to_owned());
        Manifest { name, writer, number, previous, files }
    }

    /// A chain that ends with this manifest, which is these bytes.
    pub(crate) fn of(manifest: &Manifest, bytes: &[u8]) -> Self {
        Self {
            name: manifest.name.clone(),
            number: manifest.number,
            sha256: sha256(bytes),
            previous: manifest.previous.clone(),
        }
    }

    /// Remembers that this manifest was put, which is these bytes.
    pub(crate) fn save(spool: &Path, manifest: &Manifest, bytes: &[u8]) -> Result<(), Error> {
        let chain = Self::of(manifest, bytes);
        let failed = |error: serde_json::Error| Error::disk("writing a chain")(error.into());
        let text = serde_json::to_vec(&chain).map_err(failed)?;
        crate::replace_few(&file(spool, &manifest.writer), &text)
    }
}

fn file(spool: &Path, writer: &str) -> PathBuf {
    spool.join(format!("{writer}{ENDING}"))
}
