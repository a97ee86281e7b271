//! What an erasure says of itself: which files of a segment are others now, signed.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::manifest::Filed;
use crate::sealed::{seal, unseal};
use crate::segment::{day_folder, day_of_name};
use crate::sign::{PublicKey, Signer, sha256};

/// The folder of all statements, which has folders of days as that of manifests.
pub(crate) const FOLDER: &str = "erasures";
/// Ends the name of a statement.
const ENDING: &str = ".json";

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "erasure")]
pub(crate) struct Statement {
    /// The name of the segment.
    pub(crate) name: String,
    /// Which erasure of this segment it is, from 1.
    pub(crate) number: u64,
    /// The SHA-256 of the statement before it, of the manifest for the first; both lines of it.
    pub(crate) previous: String,
    /// When.
    pub(crate) time: Timestamp,
    /// How many exchanges were erased by it.
    pub(crate) exchanges: u64,
    /// In how many something was masked by it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) masked: u64,
    /// The files that it changes, as they are from then on.
    pub(crate) files: Vec<Filed>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// All statements of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statements {
    /// In order.
    all: Vec<Statement>,
    /// The SHA-256 of the last.
    last: Option<String>,
}

/// How a file stands to what was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is what was said last.
    Last,
    /// It is what it was before an erasure that has not come to its end.
    Before,
    /// It is something else.
    Neither,
}

impl Statements {
    /// How a file with this digest stands to what its manifest and the statements say of it.
    pub(crate) fn standing(&self, file: &Filed, sha256: &str) -> Standing {
        let said = |statement: &'_ Statement| {
            let said = statement.files.iter().find(|said| said.path == file.path);
            said.map(|said| said.sha256 == sha256)
        };
        let mut agrees: Vec<bool> = vec![file.sha256 == sha256];
        agrees.extend(self.all.iter().filter_map(said));
        match agrees.iter().rposition(|agrees| *agrees) {
            Some(at) if at + 1 == agrees.len() => Standing::Last,
            Some(_) => Standing::Before,
            None => Standing::Neither,
        }
    }

    /// How many exchanges were erased.
    pub(crate) fn exchanges(&self) -> u64 {
        self.all.iter().map(|statement| statement.exchanges).sum()
    }

    /// In how many something was masked, however often.
    pub(crate) fn masked(&self) -> u64 {
        self.all.iter().map(|statement| statement.masked).sum()
    }

    /// Whether the last of them is about an erasure.
    pub(crate) fn ends_with_erasure(&self) -> bool {
        self.all.last().is_some_and(|last| last.masked == 0)
    }

    /// The statement that comes next, behind the manifest with this digest.
    pub(crate) fn next(&self, name: &str, manifest: &str, time: Timestamp) -> Statement {
        let number = self.all.len() as u64 + 1;
        let previous = self.last.clone().unwrap_or_else(|| manifest.to_owned());
        let (exchanges, masked, files) = (0, 0, Vec::new());
        Statement { name: name.to_owned(), number, previous, time, exchanges, masked, files }
    }

    /// Why they do not follow each other and this manifest; none where they do.
    pub(crate) fn broken(&self, manifest: &str) -> Option<&'static str> {
        let first = self.all.first()?;
        (first.previous != manifest)
            .then_some("it does not go on from the manifest: one of the two was put there later")
    }
}

/// Puts a statement into the archive.
pub(crate) async fn put(
    objects: &dyn ObjectStore,
    statement: &Statement,
    signer: &Signer,
) -> Result<(), Error> {
    let path = place(&statement.name, statement.number);
    objects.put(&path, seal(statement, signer)?.into()).await?;
    Ok(())
}

/// The paths of a day's statements, with the names of their segments, in order.
pub(crate) async fn list(
    objects: &dyn ObjectStore,
    day: Date,
) -> Result<Vec<(String, u64, Path)>, Error> {
    let listed: Vec<_> = objects.list(Some(&day_folder(FOLDER, day))).try_collect().await?;
    let paths = listed.into_iter().map(|object| object.location);
    let mut found: Vec<_> = paths
        .map(|path| {
            let stem = path.filename().and_then(|file| file.strip_suffix(ENDING));
            let parts = stem.and_then(|stem| stem.rsplit_once('.'));
            let (name, number) = parts.unwrap_or_default();
            (name.to_owned(), number.parse().unwrap_or_default(), path)
        })
        .collect();
    found.sort();
    Ok(found)
}

/// The statements of a day, by the names of their segments; or the first that is wrong, and why.
pub(crate) async fn of_day(
    objects: &dyn ObjectStore,
    day: Date,
    keys: &[PublicKey],
) -> Result<Result<BTreeMap<String, Statements>, (String, String)>, Error> {
    let mut all: BTreeMap<String, Statements> = BTreeMap::new();
    for (name, _, path) in list(objects, day).await? {
        let text = objects.get(&path).await?.bytes().await?;
        let statements = all.entry(name.clone()).or_default();
        if let Err(why) = statements.add(&name, &path, (&text, keys)) {
            return Ok(Err((path.to_string(), why)));
        }
    }
    Ok(Ok(all))
}

/// The statements of one segment.
pub(crate) async fn of_segment(
    objects: &dyn ObjectStore,
    name: &str,
    keys: &[PublicKey],
) -> Result<Result<Statements, (String, String)>, Error> {
    let mut statements = Statements::default();
    for (of, _, path) in list(objects, day_of_name(name)).await? {
        if of == name {
            let text = objects.get(&path).await?.bytes().await?;
            if let Err(why) = statements.add(name, &path, (&text, keys)) {
                return Ok(Err((path.to_string(), why)));
            }
        }
    }
    Ok(Ok(statements))
}

impl Statements {
    /// Takes the next.
    fn add(
        &mut self,
        name: &str,
        path: &Path,
        (text, keys): (&[u8], &[PublicKey]),
    ) -> Result<(), String> {
        let statement: Statement = unseal("erasure", text, keys)?;
        let number = self.all.len() as u64 + 1;
        if statement.name != name || place(name, statement.number) != *path {
            return Err(format!("it is an erasure in {}, moved or copied", statement.name));
        }
        if statement.number != number {
            return Err(format!(
                "it is erasure {} in {name}: {number} is missing",
                statement.number
            ));
        }
        if self.last.as_ref().is_some_and(|last| statement.previous != *last) {
            return Err("it does not go on from the one before it".to_owned());
        }
        self.last = Some(sha256(text));
        self.all.push(statement);
        Ok(())
    }
}

fn place(name: &str, number: u64) -> Path {
    format!("{}/{name}.{number}{ENDING}", day_folder(FOLDER, day_of_name(name))).into()
}
