//! Deletes what need not be kept any longer, a day's folder at a time.

use futures_util::{StreamExt, TryStreamExt};
use jiff::Span;
use jiff::civil::Date;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Error;
use crate::hold::Holds;
use crate::segment::day_of_folder;

/// How many whole days are kept besides today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Of bodies.
    pub bodies_days: u64,
    /// Of records.
    pub records_days: u64,
}

impl Keep {
    /// The first days that are kept.
    pub fn on(self, today: Date) -> Kept {
        Kept { bodies: before(today, self.bodies_days), records: before(today, self.records_days) }
    }
}

/// The first days that are kept: what is older may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    bodies: Date,
    records: Date,
}

impl Kept {
    /// Whatever there is.
    pub const ALL: Self = Self { bodies: Date::MIN, records: Date::MIN };

    /// Whether an object need not be there any more.
    pub(crate) fn may_be_gone(self, path: &str) -> bool {
        let Some((folder, _)) = path.rsplit_once('/') else { return false };
        let is_before = |kind: &str, first_kept: Date| {
            day_of_folder(kind, &folder.into()).is_some_and(|day| day < first_kept)
        };
        is_before("bodies", self.bodies) || is_before("records", self.records)
    }
}

/// So many days before; the first of all days where there is no such day.
fn before(today: Date, days: u64) -> Date {
    let span = i64::try_from(days).ok().and_then(|days| Span::new().try_days(days).ok());
    span.and_then(|span| today.checked_sub(span).ok()).unwrap_or(Date::MIN)
}

/// Whether it is done or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It is deleted.
    Delete,
    /// It stays.
    Tell,
}

/// A day's folder that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    /// `bodies` or `records`.
    pub kind: &'static str,
    /// The day (UTC).
    pub day: Date,
    /// Objects in it.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The hold that keeps all of them.
    pub held: Option<String>,
    /// Why some of them are still there, as the object store says.
    pub refused: Option<String>,
}

/// Deletes the folders of days that are older than what is kept, oldest first, or tells which they
/// are. What the object store refuses to delete stays and is told, and so does a folder in which
/// something is held, or of which nobody can tell.
///
/// Others may do the same at the same time, and add to newer days.
pub async fn prune(
    objects: &dyn ObjectStore,
    keep: Keep,
    today: Date,
    (doing, holds): (Doing, &Holds),
) -> Result<Vec<Old>, Error> {
    let mut pruned = Vec::new();
    let kept = keep.on(today);
    for (kind, first_kept) in [("bodies", kept.bodies), ("records", kept.records)] {
        for (day, folder) in folders(objects, kind).await? {
            if day < first_kept {
                pruned.push(prune_folder(objects, (kind, day), &folder, (doing, holds)).await?);
            }
        }
    }
    Ok(pruned)
}

async fn prune_folder(
    objects: &dyn ObjectStore,
    (kind, day): (&'static str, Date),
    folder: &Path,
    (doing, holds): (Doing, &Holds),
) -> Result<Old, Error> {
    let mut old = Old { kind, day, objects: 0, bytes: 0, held: None, refused: None };
    let mut listed: Vec<_> = objects.list(Some(folder)).try_collect().await?;
    // One is there under both names where somebody who sealed it afterwards broke off.
    listed.sort_by(|one, other| one.location.cmp(&other.location));
    listed.dedup_by(|one, other| one.location == other.location);
    let mut paths = Vec::new();
    for object in listed {
        old.objects += 1;
        old.bytes += object.size;
        paths.push(object.location);
    }
    match holds.in_folder(objects, folder).await {
        Ok(hold) => old.held = hold.map(ToString::to_string),
        Err(error) => {
            let why = crate::error_text(&error);
            old.refused = Some(format!("whether something in it is held cannot be told: {why}"));
        }
    }
    let may_go = old.held.is_none() && old.refused.is_none();
    if doing == Doing::Delete && may_go {
        old.refused = delete(objects, paths).await;
    }
    Ok(old)
}

/// Deletes objects; tells the first refusal. One that is gone already is none.
async fn delete(objects: &dyn ObjectStore, paths: Vec<Path>) -> Option<String> {
    let paths = futures_util::stream::iter(paths.into_iter().map(Ok)).boxed();
    let mut refused = None;
    let mut deleted = objects.delete_stream(paths);
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => drop(refused.get_or_insert_with(|| error.to_string())),
        }
    }
    refused
}

/// The folders of days, oldest first.
pub(crate) async fn folders(
    objects: &dyn ObjectStore,
    kind: &str,
) -> Result<Vec<(Date, Path)>, Error> {
    let mut found = Vec::new();
    for year in below(objects, &Path::from(kind)).await? {
        for month in below(objects, &year).await? {
            for folder in below(objects, &month).await? {
                let day =
                    Date::strptime(format!("{kind}/year=%Y/month=%m/day=%d"), folder.as_ref());
                // What is not ours stays.
                found.extend(day.ok().map(|day| (day, folder)));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

async fn below(objects: &dyn ObjectStore, folder: &Path) -> Result<Vec<Path>, Error> {
    Ok(objects.list_with_delimiter(Some(folder)).await?.common_prefixes)
}

/// Puts a small object and deletes it again: tells that an archive can be written.
pub async fn probe(objects: &dyn ObjectStore, name: &str) -> Result<(), Error> {
    let path = Path::from(format!("probe/{name}"));
    objects.put(&path, name.as_bytes().to_vec().into()).await?;
    Ok(objects.delete(&path).await?)
}
