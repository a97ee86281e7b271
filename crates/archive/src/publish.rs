//! Brings sealed segments from the spool to the object store, with their records beside them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::civil::Date;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::Error;
use crate::frame::{FirstLines, Line, Place, split};
use crate::record::Record;
use crate::segment::{SEALED, day_of, in_day, object_path, sync_folder};
use crate::spool::State;
use crate::spool::folders::list_all;

/// How long to wait after the object store refused.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether another writer is gone that left something behind.
const LOOK: Duration = Duration::from_secs(10);

/// The thread that publishes. One of its own: reading a segment is work on megabytes, which must
/// not stand in the way of exchanges.
pub struct Publisher {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Publisher {
    /// Starts to publish whatever is sealed.
    ///
    /// A store that refuses is asked again: the segments wait on local disk, nothing is lost.
    pub fn start(
        spool: PathBuf,
        objects: Arc<dyn ObjectStore>,
        state: State,
    ) -> Result<Self, Error> {
        let starting = "starting the publisher's thread";
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(Error::disk(starting))?;
        let (stop, stopped) = oneshot::channel();
        let work = move || runtime.block_on(run(&spool, &*objects, &state, stopped));
        let thread = std::thread::Builder::new().name("publish".to_owned()).spawn(work);
        Ok(Self { thread: thread.map_err(Error::disk(starting))?, stop })
    }

    /// Publishes what is sealed by now, and ends.
    pub fn finish(self) {
        // A panic of the thread has been printed; what it left is published at the next start.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn run(
    spool: &Path,
    objects: &dyn ObjectStore,
    state: &State,
    mut stop: oneshot::Receiver<()>,
) {
    let mut stopping = false;
    loop {
        if let Err(error) = state.folders.recover_left() {
            tracing::error!(%error, "what another writer left cannot be brought to an end");
        }
        let result = publish_sealed(spool, objects).await;
        if let Err(error) = state.folders.remove_empty() {
            tracing::warn!(%error, "an empty folder of the spool stays behind");
        }
        if stopping {
            return;
        }
        let pause = if result.is_ok() { LOOK } else { RETRY };
        tokio::select! {
            () = state.sealed.notified() => {}
            () = tokio::time::sleep(pause) => {}
            // Fires also when the sender is dropped: a last round, then the end.
            _ = &mut stop => stopping = true,
        }
    }
}

/// Publishes every sealed segment once and removes it from the spool. One that fails does not keep
/// the others back; the last failure is told.
pub(crate) async fn publish_sealed(spool: &Path, objects: &dyn ObjectStore) -> Result<(), Error> {
    let mut result = Ok(());
    for (name, path) in list_all(spool, &[SEALED])? {
        if let Err(error) = publish(&name, &path, objects).await {
            tracing::warn!(%error, "segment {name} waits in the spool");
            result = Err(error);
        }
    }
    result
}

async fn publish(name: &str, path: &Path, objects: &dyn ObjectStore) -> Result<(), Error> {
    let doing = format!("reading {}", path.display());
    let bytes = match tokio::fs::read(path).await {
        Ok(bytes) => bytes,
        // Another process has published it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::disk(doing)(error)),
    };
    let records = records_by_day(name, &bytes)?;
    // Bodies first: a record that is visible can always be shown whole. The names and bytes are the
    // same at every try, so that a try after a crash changes nothing.
    objects.put(&object_path(name), PutPayload::from(bytes)).await?;
    for (day, records) in records {
        objects.put(&in_day("records", day, name), PutPayload::from(records)).await?;
    }
    let removed = match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    removed.map_err(Error::disk(format!("removing {}", path.display())))?;
    // In order also after a power loss: a segment that came back alone would lack its closings.
    path.parent().map_or(Ok(()), sync_folder)
}

/// The records that a segment closes, compressed, by the day on which they began.
fn records_by_day(name: &str, segment: &[u8]) -> Result<BTreeMap<Date, Vec<u8>>, Error> {
    let mut days: BTreeMap<Date, Vec<u8>> = BTreeMap::new();
    for (record, places) in closed(name, segment) {
        let day = days.entry(day_of(record.time)).or_default();
        day.extend(index_line(&record, &places));
    }
    for day in days.values_mut() {
        *day = zstd::bulk::compress(day, 3).map_err(Error::disk("compressing records"))?;
    }
    Ok(days)
}

/// A record as it stands in `records/`: its own JSON, and where its frames lie.
fn index_line(record: &Record, places: &[Place]) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.pop();
    line.extend_from_slice(b",\"frames\":");
    line.extend(serde_json::to_vec(places).unwrap_or_default());
    line.extend_from_slice(b"}\n");
    line
}

/// Every record that a segment closes, with the places of all its frames.
pub(crate) fn closed(name: &str, segment: &[u8]) -> Vec<(Record, Vec<Place>)> {
    let mut found: Vec<(Record, Vec<Place>)> = Vec::new();
    let mut first_lines = FirstLines::new();
    for (offset, frame) in split(segment) {
        let place = Place { segment: name.to_owned(), offset, length: frame.len() as u64 };
        match first_lines.read(frame) {
            Ok(Line::Close(closing)) => {
                let mut places = closing.frames;
                places.push(place);
                found.push((closing.record, places));
            }
            // Bytes of an answer that came after its end.
            Ok(Line::Body(part)) => {
                let late = found.iter_mut().rev().find(|(record, _)| record.id == part.id);
                if let Some((_, places)) = late {
                    places.push(place);
                }
            }
            Ok(Line::Open(_)) => {}
            Err(error) => tracing::error!(%error, "a frame of segment {name} cannot be read"),
        }
    }
    found
}
