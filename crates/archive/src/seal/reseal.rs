//! Brings sealed objects from old keys to the current one, and tells how the newest is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use super::format::{HEADER, key_id, rewrap};
use super::opening::Stored;
use super::store::{Sealing, plain_name};
use super::{Key, KeyId, Keys};
use crate::Error;
use crate::retain::folders;

/// Whether it is done or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Objects of old keys are put again.
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
    /// Not sealed. They stay so.
    pub unsealed: u64,
    /// With a key that is not at hand. They stay so.
    pub closed: BTreeMap<KeyId, u64>,
}

/// Brings the objects of old keys to the current one: their headers change, and nothing else of
/// them. To be given the objects as they are stored. May be broken off at any moment, and begun
/// again; others may read, put and delete meanwhile.
pub async fn reseal(
    objects: &dyn ObjectStore,
    (keys, current): (&Keys, &Key),
    doing: Doing,
    progress: &mut dyn FnMut(&Resealed),
) -> Result<Resealed, Error> {
    let mut seen = Resealed::default();
    for kind in ["bodies", "records"] {
        let mut listed = objects.list(Some(&Path::from(kind)));
        while let Some(object) = listed.try_next().await? {
            let path = object.location;
            match sealed_with(objects, &path).await? {
                Sealed::Gone => {}
                Sealed::Not => seen.unsealed += 1,
                Sealed::With(id) if id == current.id => seen.current += 1,
                Sealed::With(id) if keys.find(id).is_none() => {
                    *seen.closed.entry(id).or_default() += 1;
                }
                Sealed::With(_) => {
                    if doing == Doing::Reseal {
                        put_again(objects, &path, (keys, current)).await?;
                    }
                    seen.resealed += 1;
                }
            }
            progress(&seen);
        }
    }
    Ok(seen)
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
    keys: (&Keys, &Key),
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
