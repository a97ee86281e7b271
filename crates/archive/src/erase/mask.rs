//! Masks what must not stand in the archive, and says so in a way that can be verified.
//!
//! A statement is signed and put first, then the files are replaced, the records before their
//! segment: whoever tries again after a crash still finds there what is to be masked, and comes to
//! the same bytes.

use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use super::masked::{self, Mask};
use super::statement::{self, Standing, Statements};
use super::{Change, Refused, get, refused, replace};
use crate::Error;
use crate::hold::Holds;
use crate::manifest::{self, Filed, Manifest};
use crate::sign::{PublicKey, Signer, sha256};

/// Masks texts in segments.
pub struct Masker<'a> {
    /// The archive.
    pub objects: &'a dyn ObjectStore,
    /// Signs what is said of it.
    pub signer: &'a Signer,
    /// Whose signatures on manifests count.
    pub keys: &'a [PublicKey],
    /// What must stay as it is.
    pub holds: &'a Holds,
    /// When.
    pub now: Timestamp,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Exchanges in which something was masked.
    pub exchanges: u64,
    /// Files that were replaced.
    pub files: u64,
    /// Exchanges in which something is to be masked, and that are held.
    pub held: u64,
    /// Files that could not be replaced, so that it still stands there.
    pub refused: Vec<Refused>,
}

impl Masker<'_> {
    /// Masks what is to be masked in a segment. A file that fails is said, and keeps nothing else
    /// back.
    pub async fn segment(&self, name: &str, mask: Mask<'_>, done: &mut Done) {
        if let Err(refused) = self.try_segment(name, mask, done).await {
            done.refused.push(refused);
        }
    }

    async fn try_segment(
        &self,
        name: &str,
        mask: Mask<'_>,
        done: &mut Done,
    ) -> Result<(), Refused> {
        let of_segment = |error: Error| refused(name, &error);
        let said = |why: String| Refused { path: name.to_owned(), why };
        let text = self.objects.get(&manifest::path(name)).await;
        let text = text.map_err(|error| of_segment(error.into()))?.bytes().await;
        let text = text.map_err(|error| of_segment(error.into()))?;
        let manifest = Manifest::read(&text, self.keys).map_err(said)?;
        let statements = statement::of_segment(self.objects, name, self.keys).await;
        let statements =
            statements.map_err(of_segment)?.map_err(|(path, why)| Refused { path, why })?;
        if let Some(why) = statements.broken(&sha256(&text)) {
            return Err(said(why.to_owned()));
        }
        let Some(plan) = self.plan(&manifest, &statements, mask).await? else { return Ok(()) };
        done.held += plan.held;
        if plan.changes.is_empty() {
            return Ok(());
        }
        let mut statement = statements.next(name, &sha256(&text), self.now);
        let fresh = plan.changes.iter().filter(|change| change.standing == Standing::Last);
        statement.files = fresh.map(|change| change.file.clone()).collect();
        statement.masked = plan.exchanges;
        if !statement.files.is_empty() {
            statement::put(self.objects, &statement, self.signer).await.map_err(of_segment)?;
        }
        for change in plan.changes {
            let path = change.file.path.clone();
            let replaced = replace(self.objects, change).await;
            replaced.map_err(|error| refused(&path, &error))?;
            done.files += 1;
        }
        done.exchanges += plan.exchanges;
        Ok(())
    }

    /// What the files of a segment are to be, the records first; only those that change.
    async fn plan(
        &self,
        manifest: &Manifest,
        statements: &Statements,
        mask: Mask<'_>,
    ) -> Result<Option<Plan>, Refused> {
        let (records, segments): (Vec<_>, Vec<_>) =
            manifest.files.iter().partition(|file| file.link.is_none());
        let Some(file) = segments.into_iter().next() else { return Ok(None) };
        let Some(open) = self.open(file, statements).await? else { return Ok(None) };
        let made = masked::segment(&open.bytes, self.holds, mask);
        let made = made.map_err(|error| open.refused(error.to_string()))?;
        let mut plan =
            Plan { exchanges: made.found.len() as u64, held: made.held, changes: Vec::new() };
        if made.found.is_empty() {
            return Ok(Some(plan));
        }
        for file in records {
            let Some(records) = self.open(file, statements).await? else { continue };
            // What was stated and broke off before the segment is done already here.
            if open.standing == Standing::Before && records.standing == Standing::Last {
                continue;
            }
            let anew = masked::records(&records.bytes, &made.found);
            let anew = anew.map_err(|error| records.refused(error.to_string()))?;
            plan.changes.extend(anew.map(|bytes| records.change(bytes, statements)));
        }
        plan.changes.push(open.change(made.bytes, statements));
        Ok(Some(plan))
    }

    /// Reads a file, if it is there; it must be what was said of it, or what it was before a masking
    /// that broke off.
    async fn open<'f>(
        &self,
        file: &'f Filed,
        statements: &Statements,
    ) -> Result<Option<Open<'f>>, Refused> {
        let got = get(self.objects, &file.path).await;
        let Some((bytes, version)) = got.map_err(|error| refused(&file.path, &error))? else {
            return Ok(None);
        };
        let standing = statements.standing(file, &sha256(&bytes));
        let open = Open { file, bytes, version, standing };
        match standing {
            Standing::Neither => Err(open.refused(super::EDITED.to_owned())),
            Standing::Before if statements.ends_with_erasure() => {
                Err(open.refused(super::UNFINISHED.to_owned()))
            }
            Standing::Before | Standing::Last => Ok(Some(open)),
        }
    }
}

/// What a segment comes to.
struct Plan {
    exchanges: u64,
    held: u64,
    changes: Vec<Change>,
}

/// A file as it is.
struct Open<'f> {
    file: &'f Filed,
    bytes: Vec<u8>,
    version: object_store::UpdateVersion,
    standing: Standing,
}

impl Open<'_> {
    fn refused(&self, why: String) -> Refused {
        Refused { path: self.file.path.clone(), why }
    }

    /// Other bytes in its place. Where they have been stated before, it only comes to its end.
    fn change(self, bytes: Vec<u8>, statements: &Statements) -> Change {
        let Self { file, version, .. } = self;
        let path = ObjectPath::from(file.path.as_str());
        let anew = Filed { link: file.link.clone(), ..Filed::of(&path, &bytes, file.lines) };
        let standing = match statements.standing(file, &anew.sha256) {
            Standing::Last => Standing::Before,
            Standing::Before | Standing::Neither => Standing::Last,
        };
        Change { file: anew, version, standing, bytes }
    }
}
