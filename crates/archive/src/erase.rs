//! Erases what one person has in the archive, and says so in a way that can be verified.
//!
//! Of each exchange of theirs only the hash of its line stays, in the place where it was; of its
//! record the numbers. Files keep their names, and all other frames their places. A statement is
//! signed and put first, then the files are replaced, the segment before its records: whoever tries
//! again after a crash still finds the person named there, and comes to the same bytes.

pub mod mask;
pub mod masked;
mod rewrite;
pub(crate) mod statement;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use crate::Error;
use crate::hold::{Hold, Holds, Names};
use crate::manifest::{Filed, Manifest};
use crate::retain::Doing;
use crate::sign::{PublicKey, Signer, sha256};
use statement::{Standing, Statements};

/// What stands in a record in place of a person and their key.
pub const ERASED: &str = "erased";

/// Why a file is left alone.
const EDITED: &str = "it is not what was written: see `codex-proxy audit verify`";
/// The same where it is half done.
const UNFINISHED: &str = "an earlier erasure or masking has not come to its end here: \
                          run that one again before this one";

/// Segments that are looked at beside each other: mostly it is waited for the store.
const LOOKS_AT_ONCE: usize = 16;

/// Erases what one person has.
pub struct Eraser<'a> {
    /// The archive.
    pub objects: &'a dyn ObjectStore,
    /// Signs what is said of it.
    pub signer: &'a Signer,
    /// Whose signatures on manifests count.
    pub keys: &'a [PublicKey],
    /// What must stay.
    pub holds: &'a Holds,
    /// Whose.
    pub user: &'a str,
    /// When.
    pub now: Timestamp,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Exchanges of which only a hash is left.
    pub exchanges: u64,
    /// Records that name nobody any more.
    pub records: u64,
    /// Files that were replaced.
    pub files: u64,
    /// Files that could not be, so that something of theirs is still there.
    pub refused: Vec<Refused>,
}

/// A file that could not be replaced, or not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Refused {
    /// Where.
    pub path: String,
    /// Why.
    pub why: String,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Something of theirs is held.
    #[error("{0} must stay: nothing was erased")]
    Held(Hold),
    /// The archive cannot be read.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A segment with something of theirs.
struct Touched {
    manifest: Manifest,
    /// The digest of the manifest.
    sha256: String,
}

/// A file as it is, and as it is to be.
struct Change {
    file: Filed,
    version: UpdateVersion,
    standing: Standing,
    bytes: Vec<u8>,
}

/// What a segment comes to without theirs.
#[derive(Default)]
struct Plan {
    exchanges: u64,
    records: u64,
    changes: Vec<Change>,
}

impl Eraser<'_> {
    /// Erases everything that is theirs in the archive, or tells how much that is. One file that
    /// fails does not keep the others back. What is still in a spool is not looked at.
    pub async fn erase(
        &self,
        doing: Doing,
        progress: &mut dyn FnMut(&Done),
    ) -> Result<Done, Stopped> {
        if let Some(hold) = self.holds.on_user(self.user) {
            return Err(Stopped::Held(hold.clone()));
        }
        let mut done = Done::default();
        // All of it is looked at before anything is changed: a hold may be on any.
        for touched in self.look(&mut done).await? {
            if let Err(refused) = self.segment(&touched, doing, &mut done).await {
                done.refused.push(refused);
            }
            progress(&done);
        }
        Ok(done)
    }

    /// The segments that have something of theirs.
    async fn look(&self, done: &mut Done) -> Result<Vec<Touched>, Stopped> {
        let listed = self.objects.list(Some(&"manifests".into())).map_err(Error::from);
        let listed = listed.map_err(Stopped::from).map_ok(|object| self.look_at(object.location));
        let mut looks = listed.try_buffer_unordered(LOOKS_AT_ONCE);
        let mut touched = Vec::new();
        while let Some(look) = looks.try_next().await? {
            match look {
                Ok(found) => touched.extend(found),
                Err(refused) => done.refused.push(refused),
            }
        }
        // The newest first: they need what earlier ones hold, so that whatever is still there when
        // this is cut off can be read.
        touched.sort_by_cached_key(|touched: &Touched| {
            let name = &touched.manifest.name;
            Reverse((name.rsplit('-').nth(1).map(str::to_owned), name.clone()))
        });
        Ok(touched)
    }

    /// Whether the segment of a manifest has something of theirs, as its records say. Where records
    /// are gone, it may.
    async fn look_at(&self, path: ObjectPath) -> Result<Result<Option<Touched>, Refused>, Stopped> {
        let text = self.objects.get(&path).await.map_err(Error::from)?;
        let text = text.bytes().await.map_err(Error::from)?;
        let manifest = match Manifest::read(&text, self.keys) {
            Ok(manifest) => manifest,
            Err(why) => return Ok(Err(Refused { path: path.to_string(), why })),
        };
        let mut is_touched = false;
        for file in manifest.files.iter().filter(|file| file.link.is_none()) {
            match self.has_theirs(&file.path).await {
                Ok(has) => is_touched |= has,
                Err(Stopped::Failed(Error::Damaged(path, why))) => {
                    return Ok(Err(Refused { path, why }));
                }
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(Ok(is_touched.then(|| Touched { manifest, sha256: sha256(&text) })))
    }

    async fn has_theirs(&self, path: &str) -> Result<bool, Stopped> {
        let bytes = match self.objects.get(&path.into()).await {
            Ok(got) => got.bytes().await.map_err(Error::from)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(true),
            Err(error) => return Err(Error::from(error).into()),
        };
        let damaged = |error: std::io::Error| Error::Damaged(path.to_owned(), error.to_string());
        let text = zstd::Decoder::with_buffer(&*bytes).map_err(damaged)?;
        let mut has = false;
        for line in BufReader::new(text).lines() {
            let line = line.map_err(damaged)?;
            let names = serde_json::from_str::<Names>(&line);
            let names = names.map_err(|error| damaged(error.into()))?;
            if names.user.as_deref() != Some(self.user) {
                continue;
            }
            if let Some(hold) = self.holds.of(&names) {
                return Err(Stopped::Held(hold.clone()));
            }
            has = true;
        }
        Ok(has)
    }

    /// Erases what is theirs in one segment. The first file that fails keeps back those behind it,
    /// by which it will be found again.
    async fn segment(
        &self,
        touched: &Touched,
        doing: Doing,
        done: &mut Done,
    ) -> Result<(), Refused> {
        let name = &touched.manifest.name;
        let of_segment = |error: Error| refused(name, &error);
        let statements = statement::of_segment(self.objects, name, self.keys).await;
        let statements =
            statements.map_err(of_segment)?.map_err(|(path, why)| Refused { path, why })?;
        if let Some(why) = statements.broken(&touched.sha256) {
            return Err(Refused { path: name.clone(), why: why.to_owned() });
        }
        let plan = self.plan(&touched.manifest, &statements).await?;
        let mut statement = statements.next(name, &touched.sha256, self.now);
        statement.exchanges = plan.exchanges.max(plan.records);
        let fresh = plan.changes.iter().filter(|change| change.standing == Standing::Last);
        statement.files = fresh.map(|change| change.file.clone()).collect();
        if doing == Doing::Delete {
            if !statement.files.is_empty() {
                let put = statement::put(self.objects, &statement, self.signer).await;
                put.map_err(of_segment)?;
            }
            for change in plan.changes {
                let path = change.file.path.clone();
                let replaced = replace(self.objects, change).await;
                replaced.map_err(|error| refused(&path, &error))?;
                done.files += 1;
            }
        } else {
            done.files += plan.changes.len() as u64;
        }
        done.exchanges += plan.exchanges;
        done.records += plan.records;
        Ok(())
    }

    /// What the files of a segment are to be; only those that are not so already.
    async fn plan(&self, manifest: &Manifest, statements: &Statements) -> Result<Plan, Refused> {
        let (mut plan, mut graves) = (Plan::default(), BTreeSet::new());
        for file in &manifest.files {
            let is = |why: &str| Refused { path: file.path.clone(), why: why.to_owned() };
            let Some((bytes, version)) =
                get(self.objects, &file.path).await.map_err(|error| refused(&file.path, &error))?
            else {
                continue;
            };
            let standing = statements.standing(file, &sha256(&bytes));
            if standing == Standing::Neither {
                return Err(is(EDITED));
            }
            let rewritten = if file.link.is_some() {
                let done = rewrite::segment(&bytes, self.user);
                done.map(|(rewritten, found)| {
                    plan.exchanges += rewritten.erased;
                    graves = found;
                    rewritten
                })
            } else {
                let done = rewrite::records(&bytes, self.user, &graves);
                done.inspect(|rewritten| plan.records += rewritten.erased)
            };
            let rewritten = rewritten.map_err(|error| is(&error.to_string()))?;
            let path = ObjectPath::from(file.path.as_str());
            let anew =
                Filed { link: file.link.clone(), ..Filed::of(&path, &rewritten.bytes, file.lines) };
            let is_as_said = statements.standing(file, &anew.sha256) == Standing::Last;
            if standing == Standing::Before && !is_as_said {
                return Err(is(UNFINISHED));
            }
            if rewritten.erased > 0 {
                let bytes = rewritten.bytes;
                plan.changes.push(Change { file: anew, version, standing, bytes });
            }
        }
        Ok(plan)
    }
}

/// Reads a file, with its version; none where it is kept no longer.
async fn get(
    objects: &dyn ObjectStore,
    path: &str,
) -> Result<Option<(Vec<u8>, UpdateVersion)>, Error> {
    let got = match objects.get(&path.into()).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (e_tag, version) = (got.meta.e_tag.clone(), got.meta.version.clone());
    Ok(Some((got.bytes().await?.to_vec(), UpdateVersion { e_tag, version })))
}

/// Puts a file in the place of the one that was read, if that is still there.
async fn replace(objects: &dyn ObjectStore, change: Change) -> Result<(), Error> {
    let path = ObjectPath::from(change.file.path.as_str());
    let options = PutOptions::from(PutMode::Update(change.version));
    objects.put_opts(&path, PutPayload::from(change.bytes), options).await?;
    Ok(())
}

fn refused(path: &str, error: &Error) -> Refused {
    Refused { path: path.to_owned(), why: crate::error_text(error) }
}
