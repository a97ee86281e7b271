//! The keys at hand: those of the operator, and those that a service keeps.
//!
//! A service is asked for a key once in a while, not for each object. Such a key lies in the archive
//! as the service has encrypted it, below `keys/`, before anything is sealed with it: so whoever may
//! ask the service can read what any node has put.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, Result};

use super::service::{Kept, KeyService, Made};
use super::{Closed, Key, KeyId, Keys};

/// How long a key of the service seals objects.
const LONGEST: Duration = Duration::from_hours(24);
/// How many objects it seals.
const MOST: u32 = 10_000;
/// Where keys lie as a service has encrypted them.
const FOLDER: &str = "keys";

/// Finds keys.
#[derive(Debug)]
pub(super) struct Ring {
    keys: Keys,
    /// The objects as they are stored.
    objects: Arc<dyn ObjectStore>,
    sealing: tokio::sync::Mutex<Option<Sealing>>,
    /// What the service has opened, for as long as this process lives.
    opened: Mutex<BTreeMap<KeyId, Key>>,
    /// What was read below `keys/`.
    kept: Mutex<BTreeMap<KeyId, Kept>>,
}

/// A key of the service while objects are sealed with it.
#[derive(Debug)]
struct Sealing {
    key: Key,
    since: Instant,
    objects: u32,
}

impl Ring {
    pub(super) fn new(keys: Keys, objects: Arc<dyn ObjectStore>) -> Self {
        let (sealing, opened, kept) = Default::default();
        Self { keys, objects, sealing, opened, kept }
    }

    /// Whether new objects are sealed.
    pub(super) fn seals(&self) -> bool {
        self.keys.seals()
    }

    /// The key for one more object; none where it is not to be sealed.
    pub(super) async fn current(&self) -> Result<Option<Key>> {
        let Some(service) = &self.keys.service else { return Ok(self.keys.current.clone()) };
        let mut sealing = self.sealing.lock().await;
        if let Some(Sealing { key, since, objects }) = &mut *sealing
            && since.elapsed() < LONGEST
            && *objects < MOST
        {
            *objects += 1;
            return Ok(Some(key.clone()));
        }
        let (key, kept) = make(&**service).await?;
        // First: what is sealed with a key that is nowhere is lost.
        self.objects.put(&place(key.id), kept.into()).await?;
        locked(&self.opened).insert(key.id, key.clone());
        *sealing = Some(Sealing { key: key.clone(), since: Instant::now(), objects: 1 });
        Ok(Some(key))
    }

    /// A key such as the next objects would be sealed with, for who only compares.
    pub(super) async fn such(&self) -> Result<Option<Key>> {
        match &self.keys.service {
            Some(service) => Ok(Some(make(&**service).await?.0)),
            None => Ok(self.keys.current.clone()),
        }
    }

    /// The key of this object.
    pub(super) async fn find(&self, path: &Path, id: KeyId) -> Result<Key> {
        let known = self.keys.find(id).cloned().or_else(|| locked(&self.opened).get(&id).cloned());
        if let Some(key) = known {
            return Ok(key);
        }
        let wanted = || Closed::KeyWanted { path: path.to_string(), key: id };
        let kept = self.kept(id).await?.ok_or_else(wanted)?;
        let service = self.keys.services().next().ok_or_else(|| Closed::ServiceWanted {
            path: path.to_string(),
            key: id,
            kms: kept.kms.clone(),
        })?;
        let bytes = service.open(&kept).await.map_err(Closed::Service)?;
        let key = Key::kept(&bytes, &kept.kms).filter(|key| key.id == id);
        let key = key.ok_or_else(|| Closed::broken(&place(id), "it is not the key of its name"))?;
        locked(&self.opened).insert(id, key.clone());
        Ok(key)
    }

    /// Whether a key is as good as this one, with which objects are sealed now.
    pub(super) async fn is_like(&self, id: KeyId, current: &Key) -> Result<bool> {
        if id == current.id {
            return Ok(true);
        }
        let Some(kms) = &current.kms else { return Ok(false) };
        Ok(self.kept(id).await?.is_some_and(|kept| kept.kms == **kms))
    }

    /// A key as it lies in the archive.
    async fn kept(&self, id: KeyId) -> Result<Option<Kept>> {
        if let Some(kept) = locked(&self.kept).get(&id) {
            return Ok(Some(kept.clone()));
        }
        let place = place(id);
        let bytes = match self.objects.get(&place).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            got => got?.bytes().await?,
        };
        let broken = |_| Closed::broken(&place, "it was edited or is cut off");
        let kept: Kept = serde_json::from_slice(&bytes).map_err(broken)?;
        locked(&self.kept).insert(id, kept.clone());
        Ok(Some(kept))
    }
}

/// What is in there is whole also after a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn make(service: &dyn KeyService) -> Result<(Key, Vec<u8>)> {
    let Made { key, kms, encrypted } = service.make().await.map_err(Closed::Service)?;
    let strange = || Closed::Service("the service gave a key that has not 32 bytes".to_owned());
    let key = Key::kept(&key, &kms).ok_or_else(strange)?;
    let kept = Kept { id: key.id.to_string(), kms, encrypted };
    let text = serde_json::to_vec(&kept).map_err(|error| Closed::Service(error.to_string()))?;
    Ok((key, [text.as_slice(), b"\n"].concat()))
}

fn place(id: KeyId) -> Path {
    Path::from(format!("{FOLDER}/{id}.json"))
}
