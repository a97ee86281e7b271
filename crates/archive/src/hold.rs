//! Legal holds: what a person or a session has in the archive stays, until the hold is removed.
//!
//! A hold is a small signed object of the archive, so that all nodes know of it.

use std::io::{BufRead, BufReader};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::frame::item_id;
use crate::sealed::{seal, unseal};
use crate::sign::{PublicKey, Signer};

/// The folder of all holds.
const FOLDER: &str = "holds";

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "hold")]
pub struct Hold {
    /// Its name: letters, digits and dashes.
    pub id: String,
    /// Since when.
    pub time: Timestamp,
    /// What is held.
    #[serde(flatten)]
    pub held: Held,
    /// Why, in the words of whoever asked for it.
    pub reason: Option<String>,
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// Whatever this person has.
    User(String),
    /// Whatever belongs to this Codex session or thread.
    Session(String),
}

/// Those members of a record, or of an exchange's line, by which it may be held.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Names {
    pub(crate) user: Option<String>,
    session_id: Option<String>,
    thread_id: Option<String>,
    parent_thread_id: Option<String>,
}

/// All holds of an archive. Whoever deletes from it must have read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(Vec<Hold>);

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.held {
            Held::User(user) => write!(f, "hold {} on user {user}", self.id),
            Held::Session(session) => write!(f, "hold {} on session {session}", self.id),
        }
    }
}

impl Hold {
    fn holds(&self, names: &Names) -> bool {
        match &self.held {
            Held::User(user) => names.user.as_ref() == Some(user),
            Held::Session(session) => {
                let sessions = [&names.session_id, &names.thread_id, &names.parent_thread_id];
                sessions.into_iter().flatten().any(|named| named == session)
            }
        }
    }
}

impl Holds {
    /// Reads all holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] where one cannot be read, or is signed with none of these keys: then
    /// nobody knows what must stay.
    pub async fn load(objects: &dyn ObjectStore, keys: &[PublicKey]) -> Result<Self, Error> {
        let mut holds = Vec::new();
        let listed: Vec<_> = objects.list(Some(&FOLDER.into())).try_collect().await?;
        for object in listed {
            let text = match objects.get(&object.location).await {
                Ok(got) => got.bytes().await?,
                // Removed meanwhile.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let damaged = |why: String| Error::Damaged(object.location.to_string(), why);
            let hold: Hold = unseal("hold", &text, keys).map_err(damaged)?;
            if place(&hold.id) != object.location {
                return Err(damaged(format!("it is hold {}, moved or copied", hold.id)));
            }
            holds.push(hold);
        }
        holds.sort_by(|one, other| (one.time, &one.id).cmp(&(other.time, &other.id)));
        Ok(Self(holds))
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[Hold] {
        &self.0
    }

    /// The first hold on a person as such.
    pub fn on_user(&self, user: &str) -> Option<&Hold> {
        self.of(&Names { user: Some(user.to_owned()), ..Names::default() })
    }

    /// The first hold on what has these names.
    pub(crate) fn of(&self, names: &Names) -> Option<&Hold> {
        self.0.iter().find(|hold| hold.holds(names))
    }

    /// The first hold on something in a folder of segments or of records.
    pub(crate) async fn in_folder(
        &self,
        objects: &dyn ObjectStore,
        folder: &Path,
    ) -> Result<Option<&Hold>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let listed: Vec<_> = objects.list(Some(folder)).try_collect().await?;
        for object in listed {
            let bytes = objects.get(&object.location).await?.bytes().await?;
            let damaged = |error: std::io::Error| {
                Error::Damaged(object.location.to_string(), error.to_string())
            };
            if let Some(hold) = self.in_file(&bytes).map_err(damaged)? {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// The first hold on a line of a file.
    fn in_file(&self, bytes: &[u8]) -> std::io::Result<Option<&Hold>> {
        let mut text = BufReader::new(zstd::Decoder::with_buffer(bytes)?);
        let mut line = Vec::new();
        while text.read_until(b'\n', &mut line)? > 0 {
            if item_id(&line).is_none()
                && let Some(hold) = self.of(&serde_json::from_slice(&line)?)
            {
                return Ok(Some(hold));
            }
            line.clear();
        }
        Ok(None)
    }
}

/// Puts a hold into the archive; from then on it holds.
pub async fn add(objects: &dyn ObjectStore, hold: &Hold, signer: &Signer) -> Result<(), Error> {
    objects.put(&place(&hold.id), seal(hold, signer)?.into()).await?;
    Ok(())
}

/// Removes a hold; tells whether there was one. It need not be one that can be read.
pub async fn remove(objects: &dyn ObjectStore, id: &str) -> Result<bool, Error> {
    let place = place(id);
    // Not every store says that there was nothing to delete.
    match objects.head(&place).await {
        Ok(_) => {}
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    objects.delete(&place).await?;
    Ok(true)
}

fn place(id: &str) -> Path {
    Path::from_iter([FOLDER, &format!("{id}.json")])
}

#[cfg(test)]
mod tests;
