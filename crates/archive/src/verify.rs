//! Is the archive complete and unchanged? Needs its objects and a public key, and nothing else.

mod chains;
mod edited;
mod folders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::civil::Date;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Error;
use crate::erase::statement::{self, Standing, Statements};
use crate::hold::Holds;
use crate::manifest::{self, Chain, ENDING as MANIFEST, Filed, Manifest};
use crate::retain::Kept;
use crate::seal::Closed;
use crate::segment::{FULL, GROWING, SEGMENT, day_folder, day_of_name, list};
use crate::sign::{PublicKey, sha256};
use crate::spool::folders::all_folders;
use chains::{Chains, broken, link};
use edited::edited;

/// How often it is looked again for the manifest of files that are just being put.
const LOOKS: usize = 3;
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Manifests that were checked.
    pub manifests: u64,
    /// Files that were checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Exchanges in them.
    pub exchanges: u64,
    /// Of the files, those that are not there, and need not be: they were kept long enough.
    pub gone: u64,
    /// Exchanges that were erased, as signed statements say; they count as exchanges as well.
    pub erased: u64,
    /// Exchanges in which something was masked, as signed statements say.
    pub masked: u64,
    /// Of the files, those that are as they were before an erasure or masking that has been stated.
    pub unfinished: u64,
    /// Journals that are not in the archive yet.
    pub waiting: u64,
    /// The first thing that is wrong; none: all is complete and unchanged.
    pub wrong: Option<Wrong>,
}

/// A thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Wrong {
    /// Where.
    pub path: String,
    /// What.
    pub what: String,
}

/// Verifies an archive.
pub struct Verifier<'a> {
    /// What is verified.
    pub objects: &'a dyn ObjectStore,
    /// Whose signatures count.
    pub keys: &'a [PublicKey],
    /// The spool that feeds it, where it is at hand: it knows how the archive ends.
    pub spool: Option<&'a Path>,
    /// From which days on files must be there; manifests must always.
    pub kept: Kept,
}

/// What stands in the folders, and what manifests say stands there.
#[derive(Default)]
struct Files {
    /// Seen, and named by no manifest so far.
    unnamed: BTreeSet<String>,
    /// Named, in a folder that has not been listed so far.
    ahead: BTreeSet<String>,
    /// Not there, since they need not be.
    gone: u64,
    /// As they were before an erasure that has not come to its end.
    unfinished: u64,
    /// What was erased, of segments whose manifests have not been checked so far.
    erasures: BTreeMap<String, Statements>,
}

/// Whether a file that is named is there.
enum Presence {
    There,
    NotYetErased,
    KeptNoLonger,
}

impl Verifier<'_> {
    /// Verifies what was written on these days (UTC, both inclusive; none: whatever there is).
    /// Stops at the first thing that is wrong.
    pub async fn verify(
        &self,
        (first, last): (Option<Date>, Option<Date>),
        progress: &mut dyn FnMut(&Verdict),
    ) -> Result<Verdict, Error> {
        let mut verdict = Verdict { waiting: self.waiting()?, ..Verdict::default() };
        let (mut files, mut chains) = (Files::default(), Chains::new());
        let wanted = |day: &Date| {
            first.is_none_or(|first| *day >= first) && last.is_none_or(|last| *day <= last)
        };
        for day in self.days().await?.into_iter().filter(wanted) {
            // Files before manifests: what is put meanwhile has its manifest soon.
            let seen = self.files(day).await?;
            if let Some(path) = files.see(seen) {
                let what = "it is there twice, sealed and not: one of them was added, or \
                            `audit reseal` is at it or broke off: run that to its end"
                    .to_owned();
                return Ok(verdict.with(Some(Wrong { path, what })));
            }
            files.erasures = match statement::of_day(self.objects, day, self.keys).await? {
                Ok(erasures) => erasures,
                Err((path, what)) => return Ok(verdict.with(Some(Wrong { path, what }))),
            };
            for (path, text) in self.manifests(day).await? {
                match self.check(&path, &text, &mut files).await? {
                    Ok((manifest, statements)) => {
                        verdict.add(&manifest);
                        verdict.erased += statements.exchanges();
                        verdict.masked += statements.masked();
                        (verdict.gone, verdict.unfinished) = (files.gone, files.unfinished);
                        link(manifest, path, &text, &mut chains);
                    }
                    Err(wrong) => return Ok(verdict.with(Some(wrong))),
                }
                progress(&verdict);
            }
            if let Some(name) = files.erasures.keys().next() {
                let path = format!("{}/{name}", day_folder(statement::FOLDER, day));
                let what =
                    "something is said to be erased there, and it has no manifest".to_owned();
                return Ok(verdict.with(Some(Wrong { path, what })));
            }
        }
        // By their numbers, not by their days: a clock may be set back.
        if let Some(wrong) = broken(&chains, first) {
            return Ok(verdict.with(Some(wrong)));
        }
        // What has no name of ours was seen on a wanted day.
        let is_in = |path: &&String| name(path).is_none_or(|name| wanted(&day_of_name(name)));
        let unnamed: Vec<_> = files.unnamed.iter().filter(is_in).cloned().collect();
        for path in unnamed {
            if !self.is_being_put(&path).await? {
                let what = "it was added: no manifest names it".to_owned();
                return Ok(verdict.with(Some(Wrong { path, what })));
            }
        }
        if let Some(path) = self.stray().await? {
            let what = "it was added: nothing belongs there".to_owned();
            return Ok(verdict.with(Some(Wrong { path, what })));
        }
        let wrong = if last.is_none() { self.check_end(&chains).await? } else { None };
        Ok(match wrong {
            Some(wrong) => verdict.with(Some(wrong)),
            None => verdict.with(self.check_holds().await?),
        })
    }

    async fn files(&self, day: Date) -> Result<Vec<String>, Error> {
        let mut files = Vec::new();
        for kind in ["bodies", "records"] {
            let listed = self.objects.list(Some(&day_folder(kind, day)));
            files.extend(
                listed.map_ok(|file| file.location.to_string()).try_collect::<Vec<_>>().await?,
            );
        }
        Ok(files)
    }

    /// The manifests of a day, in the order in which their segments were begun.
    async fn manifests(&self, day: Date) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let listed = self.objects.list(Some(&day_folder("manifests", day)));
        let mut paths: Vec<_> = listed.map_ok(|file| file.location).try_collect().await?;
        paths.sort_by_key(|path| {
            (path.as_ref().rsplit('-').nth(1).map(str::to_owned), path.clone())
        });
        let mut manifests = Vec::new();
        for path in paths {
            let text = self.objects.get(&path).await?.bytes().await?;
            manifests.push((path.to_string(), text.to_vec()));
        }
        Ok(manifests)
    }

    /// Whether each hold is one.
    async fn check_holds(&self) -> Result<Option<Wrong>, Error> {
        match Holds::load(self.objects, self.keys).await {
            Ok(_) => Ok(None),
            Err(Error::Damaged(path, what)) => Ok(Some(Wrong { path, what })),
            Err(error) => Err(error),
        }
    }

    /// Checks a manifest and its files; gives what was said of them later.
    async fn check(
        &self,
        path: &str,
        text: &[u8],
        files: &mut Files,
    ) -> Result<Result<(Manifest, Statements), Wrong>, Error> {
        let wrong = |what: String| Wrong { path: path.to_owned(), what };
        let manifest = match Manifest::read(text, self.keys) {
            Ok(manifest) => manifest,
            Err(what) => return Ok(Err(wrong(what))),
        };
        if *path != *manifest::path(&manifest.name).as_ref() {
            return Ok(Err(wrong(format!(
                "it is the manifest of {}, moved or copied",
                manifest.name
            ))));
        }
        let statements = files.erasures.remove(&manifest.name).unwrap_or_default();
        if let Some(what) = statements.broken(&sha256(text)) {
            return Ok(Err(wrong(what.to_owned())));
        }
        for file in &manifest.files {
            files.name(&file.path);
            match self.check_file(file, (&manifest.name, &statements)).await? {
                Ok(Presence::There) => {}
                Ok(Presence::NotYetErased) => files.unfinished += 1,
                Ok(Presence::KeptNoLonger) => files.gone += 1,
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
        Ok(Ok((manifest, statements)))
    }

    async fn check_file(
        &self,
        file: &Filed,
        (name, statements): (&str, &Statements),
    ) -> Result<Result<Presence, Wrong>, Error> {
        let wrong = |what: &str| Wrong { path: file.path.clone(), what: what.to_owned() };
        let read = async { self.objects.get(&file.path.as_str().into()).await?.bytes().await };
        let bytes = match read.await {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) if self.kept.may_be_gone(&file.path) => {
                return Ok(Ok(Presence::KeptNoLonger));
            }
            Err(object_store::Error::NotFound { .. }) => return Ok(Err(wrong("it is missing"))),
            Err(error) => return Wrong::in_seal(error.into()).map(Err),
        };
        let digest = sha256(&bytes);
        let mut standing = statements.standing(file, &digest);
        if standing == Standing::Neither {
            // Something may be erased just now: that is stated before it is done.
            let later = statement::of_segment(self.objects, name, self.keys).await?;
            standing = later.map_or(standing, |later| later.standing(file, &digest));
        }
        Ok(match standing {
            Standing::Last => Ok(Presence::There),
            Standing::Before => Ok(Presence::NotYetErased),
            Standing::Neither => Err(wrong(&edited(&bytes, file))),
        })
    }

    /// Whether a file that no manifest names is just being put: by this spool, or by another node.
    async fn is_being_put(&self, path: &str) -> Result<bool, Error> {
        let Some(name) = name(path) else { return Ok(false) };
        for look in 0..LOOKS {
            let text = match self.objects.get(&manifest::path(name)).await {
                Ok(got) => Some(got.bytes().await?),
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let manifest = text.and_then(|text| Manifest::read(&text, self.keys).ok());
            if let Some(manifest) = manifest {
                let own = *path == *manifest::path(name).as_ref();
                return Ok(own || manifest.files.iter().any(|file| file.path == path));
            }
            if self.journals()?.iter().any(|journal| journal == name) {
                return Ok(true);
            }
            if look + 1 < LOOKS {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(false)
    }

    /// Whether the archive ends where the spool says it does.
    async fn check_end(&self, chains: &Chains) -> Result<Option<Wrong>, Error> {
        let Some(spool) = self.spool else { return Ok(None) };
        let Some(chain) = Chain::load(spool)? else { return Ok(None) };
        let links = chains.get(chain.node());
        let reached = links.and_then(|links| links.last_key_value());
        if reached.is_some_and(|(number, _)| *number >= chain.number) {
            return Ok(None);
        }
        let path = manifest::path(&chain.name);
        // It is noted before it is put.
        if self.is_being_put(path.as_ref()).await? {
            return Ok(None);
        }
        let what = "it is missing: this machine has put it there".to_owned();
        Ok(Some(Wrong { path: path.to_string(), what }))
    }

    fn waiting(&self) -> Result<u64, Error> {
        Ok(self.journals()?.len() as u64)
    }

    /// The names of the journals in the spool that have something in them.
    fn journals(&self) -> Result<Vec<String>, Error> {
        let mut journals = Vec::new();
        for folder in self.spool.map_or(Ok(Vec::new()), all_folders)? {
            let has_bytes = |path: &Path| path.metadata().is_ok_and(|file| file.len() > 0);
            let found = list(&folder, &[GROWING, FULL])?.into_iter();
            journals.extend(found.filter(|(_, path)| has_bytes(path)).map(|(name, _)| name));
        }
        Ok(journals)
    }
}

impl Wrong {
    /// A seal that does not hold; that a key is wanted is no such thing.
    fn in_seal(error: Error) -> Result<Self, Error> {
        match error {
            Error::Closed(Closed::Broken { path, what }) => Ok(Self { path, what }),
            other => Err(other),
        }
    }
}

impl Verdict {
    fn with(self, wrong: Option<Wrong>) -> Self {
        Self { wrong, ..self }
    }

    fn add(&mut self, manifest: &Manifest) {
        self.manifests += 1;
        self.files += manifest.files.len() as u64;
        self.bytes += manifest.files.iter().map(|file| file.bytes).sum::<u64>();
        let bodies = manifest.files.iter().filter(|file| file.link.is_some());
        self.exchanges += bodies.map(|file| file.lines).sum::<u64>();
    }
}

impl Files {
    /// Notes the files of a folder; tells one that is there twice.
    fn see(&mut self, paths: Vec<String>) -> Option<String> {
        let ahead = &mut self.ahead;
        let mut unnamed = paths.into_iter().filter(|path| !ahead.remove(path));
        unnamed.find(|path| !self.unnamed.insert(path.clone()))
    }

    fn name(&mut self, path: &str) {
        if !self.unnamed.remove(path) {
            self.ahead.insert(path.to_owned());
        }
    }
}

/// The name of a segment in the path of one of its files, or of its manifest.
fn name(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next()?;
    file.strip_suffix(SEGMENT).or_else(|| file.strip_suffix(MANIFEST))
}
