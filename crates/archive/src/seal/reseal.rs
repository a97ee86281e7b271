//! Brings objects to the current key: those of old ones, and those that are not sealed. And tells
//! how the newest is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use super::format::{HEADER, key_id, rewrap, seal};
use super::opening::Stored;
use super::ring::Ring;
use super::store::{Sealing, failed, plain_name, sealed_name};
use super::{Closed, Key, KeyId, Keys};
use crate::Error;
use crate::retain::folders;

/// Whether it is done or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Objects of old keys and unsealed ones are put again.
    Reseal,
    /// All stays as it is.
    Tell,
}

/// What was seen, in objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed with the current key before.
    pub current: u64,
    /// With an old one: brought to the current one, or to be brought.
    pub resealed: u64,
    /// Not sealed before: sealed, or to be sealed.
    pub sealed: u64,
    /// With a key that is not at hand. They stay so.
    pub closed: BTreeMap<KeyId, u64>,
}

/// Brings all objects to the current key. Of those of old keys the headers change, and nothing else;
/// those that are not sealed are put sealed, and then deleted as they are. To be given the objects as
/// they are stored. May be broken off at any moment, and begun again; others may read, put and delete
/// meanwhile. Without a current key nothing is done.
pub async fn reseal(
    objects: &Arc<dyn ObjectStore>,
    keys: &Keys,
    doing: Doing,
    progress: &mut dyn FnMut(&Resealed),
) -> Result<Resealed, Error> {
    let ring = Ring::new(keys.clone(), objects.clone());
    let current = match doing {
        Doing::Reseal => ring.current().await?,
        Doing::Tell => ring.such().await?,
    };
    let mut seen = Resealed::default();
    let Some(current) = current else { return Ok(seen) };
    let resealing = Resealing { objects, keys, ring, current, doing };
    for kind in ["bodies", "records"] {
        // All of them first: what is put meanwhile has the current key.
        let listed: Vec<_> = objects.list(Some(&Path::from(kind))).try_collect().await?;
        for object in listed {
            resealing.reseal(&object.location, &mut seen).await?;
            progress(&seen);
        }
    }
    Ok(seen)
}

/// What it takes.
struct Resealing<'a> {
    objects: &'a Arc<dyn ObjectStore>,
    keys: &'a Keys,
    ring: Ring,
    current: Key,
    doing: Doing,
}

impl Resealing<'_> {
    async fn reseal(&self, path: &Path, seen: &mut Resealed) -> Result<(), Error> {
        let id = match sealed_with(&**self.objects, path).await? {
            Sealed::Gone => return Ok(()),
            Sealed::Not => {
                if self.doing == Doing::Reseal {
                    self.seal(path).await?;
                }
                seen.sealed += 1;
                return Ok(());
            }
            Sealed::With(id) => id,
        };
        if self.ring.is_like(id, &self.current).await? {
            seen.current += 1;
            return Ok(());
        }
        let old = match self.ring.find(path, id).await.map_err(Error::from) {
            Err(Error::Closed(Closed::KeyWanted { .. } | Closed::ServiceWanted { .. })) => {
                *seen.closed.entry(id).or_default() += 1;
                return Ok(());
            }
            found => found?,
        };
        if self.doing == Doing::Reseal {
            put_again(&**self.objects, path, (&old, &self.current)).await?;
        }
        seen.resealed += 1;
        Ok(())
    }

    /// Seals an object that lies there as it is. First it is there under both names, then sealed
    /// alone.
    async fn seal(&self, path: &Path) -> Result<(), Error> {
        let Some(sealed) = sealed_name(path)? else { return Ok(()) };
        let body = match self.objects.get(path).await {
            // Somebody has deleted it meanwhile.
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            got => got?.bytes().await?,
        };
        let bytes = seal(&self.current, &body).map_err(failed)?;
        match self.objects.put(&sealed, bytes.into()).await {
            // An earlier try broke off before the deletion: what is sealed there must be this.
            Err(object_store::Error::AlreadyExists { .. }) => self.is_there(path, &body).await?,
            put => drop(put?),
        }
        Ok(self.objects.delete(path).await?)
    }

    /// Fails where another text is sealed under this name.
    async fn is_there(&self, path: &Path, body: &[u8]) -> Result<(), Error> {
        let opened = Sealing::new(self.objects.clone(), self.keys.clone());
        if opened.get(path).await?.bytes().await? == body {
            return Ok(());
        }
        let what = "it is there twice, sealed and as it is, and the two are not the same";
        Err(Error::Damaged(path.to_string(), what.to_owned()))
    }
}

/// How an object is sealed.
enum Sealed {
    With(KeyId),
    Not,
    /// It was deleted since it was listed.
    Gone,
}

async fn sealed_with(objects: &dyn ObjectStore, path: &Path) -> Result<Sealed, Error> {
    if plain_name(path).is_none() {
        return Ok(Sealed::Not);
    }
    let range = Some((0..HEADER as u64).into());
    let got = match objects.get_opts(path, GetOptions { range, ..GetOptions::default() }).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(Sealed::Gone),
        got => got?,
    };
    let header = Stored::new(got.into_stream()).take(HEADER).await?;
    Ok(Sealed::With(key_id(path, &header).map_err(object_store::Error::from)?))
}

async fn put_again(
    objects: &dyn ObjectStore,
    path: &Path,
    keys: (&Key, &Key),
) -> Result<(), Error> {
    let got = objects.get(path).await?;
    let (e_tag, version) = (got.meta.e_tag.clone(), got.meta.version.clone());
    let mut body = got.bytes().await?;
    let header = body.split_to(HEADER.min(body.len()));
    let header = rewrap(path, &header, keys)?;
    let payload = PutPayload::from_iter([header.into(), body]);
    // Something in it may be erased meanwhile: that stays.
    let options = PutOptions::from(PutMode::Update(UpdateVersion { e_tag, version }));
    objects.put_opts(path, payload, options).await?;
    Ok(())
}

/// How the newest object of an archive is sealed, by its path as manifests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newest {
    /// There is none.
    None,
    /// It lies there as it is.
    Unsealed(String),
    /// This key opens it.
    Opens(String, KeyId),
}

/// Tries whether the newest records can be opened. To be given the objects as they are stored.
pub async fn newest(objects: &Arc<dyn ObjectStore>, keys: &Keys) -> Result<Newest, Error> {
    let days = folders(&**objects, "records").await?;
    let Some((_, folder)) = days.last() else { return Ok(Newest::None) };
    let listed: Vec<_> = objects.list(Some(folder)).try_collect().await?;
    let newest = listed.into_iter().max_by_key(|object| object.last_modified);
    let Some(path) = newest.map(|object| object.location) else { return Ok(Newest::None) };
    let Some(name) = plain_name(&path) else { return Ok(Newest::Unsealed(path.to_string())) };
    let Sealed::With(id) = sealed_with(&**objects, &path).await? else { return Ok(Newest::None) };
    let opened = Sealing::new(objects.clone(), keys.clone());
    opened.get(&name).await?.bytes().await?;
    Ok(Newest::Opens(name.to_string(), id))
}
