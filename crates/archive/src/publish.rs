//! Makes segments of sealed journals, and brings them to the object store with their records beside
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::civil::Date;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::Error;
use crate::frame::{Closing, Encoder, Line, Part, Place, Side};
use crate::journal::{Framed, Noted, split};
use crate::record::Record;
use crate::segment::{FULL, day_of, in_day, list, object_path, sync_folder};
use crate::spool::State;
use crate::spool::folders::{all_folders, publishing};
use crate::underway::{Begun, Underway};

/// How long to wait after the object store refused.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether another writer is gone that left something behind.
const LOOK: Duration = Duration::from_secs(10);

/// How far it steps back, of 19: it still gets a tenth of a core that has no end of other work.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The thread that publishes. One of its own: escaping and compressing is work on megabytes, which
/// must not stand in the way of exchanges.
pub struct Publisher {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Publisher {
    /// Starts to publish whatever is sealed.
    ///
    /// A store that refuses is asked again: the journals wait on local disk, nothing is lost.
    pub fn start(
        spool: PathBuf,
        objects: Arc<dyn ObjectStore>,
        state: State,
    ) -> Result<Self, Error> {
        let starting = "starting the publisher's thread";
        let runtime = Builder::new_current_thread().enable_time().thread_name("publish").build();
        let runtime = runtime.map_err(Error::disk(starting))?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            step_back();
            runtime.block_on(run(&spool, &*objects, &state, stopped));
        };
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

/// Whoever serves goes first: on a busy core this thread would keep exchanges waiting for
/// milliseconds.
fn step_back() {
    // On Linux this is a matter of the calling thread. Where it is not to be had, all are equal.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
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

/// Publishes every sealed journal and removes it from the spool. A folder that fails does not keep
/// the others back; the last failure is told.
pub(crate) async fn publish_sealed(spool: &Path, objects: &dyn ObjectStore) -> Result<(), Error> {
    let mut result = Ok(());
    for folder in all_folders(spool)? {
        if let Err(error) = publish_folder(&folder, objects).await {
            tracing::warn!(%error, "journals wait in {}", folder.display());
            result = Err(error);
        }
    }
    result
}

/// Publishes the journals of one writer. In their order, since each closes what those before have
/// opened: one that fails keeps the others back.
async fn publish_folder(folder: &Path, objects: &dyn ObjectStore) -> Result<(), Error> {
    if list(folder, &[FULL])?.is_empty() {
        return Ok(());
    }
    // Somebody else is at it.
    let Some(_publishing) = publishing(folder)? else { return Ok(()) };
    let mut underway = Underway::load(folder)?;
    for (name, path) in list(folder, &[FULL])? {
        if name != underway.after {
            publish(&name, &path, &mut underway, objects).await?;
        }
        let removed = tokio::fs::remove_file(&path).await;
        removed.map_err(Error::disk(format!("removing {}", path.display())))?;
        // In order also after a power loss: a journal that came back would be published again.
        sync_folder(folder)?;
    }
    Ok(())
}

async fn publish(
    name: &str,
    path: &Path,
    underway: &mut Underway,
    objects: &dyn ObjectStore,
) -> Result<(), Error> {
    let doing = format!("reading {}", path.display());
    let journal = tokio::fs::read(path).await.map_err(Error::disk(doing))?;
    let mut segment = Segment::after(underway.clone(), name)?;
    for entry in split(&journal) {
        segment.take(&entry)?;
    }
    let records = segment.records_by_day()?;
    // Bodies first: a record that is visible can always be shown whole. The names and bytes are the
    // same at every try, so that a try after a crash changes nothing.
    if !segment.bytes.is_empty() {
        objects.put(&object_path(name), PutPayload::from(segment.bytes)).await?;
    }
    for (day, records) in records {
        objects.put(&in_day("records", day, name), PutPayload::from(records)).await?;
    }
    *underway = segment.underway;
    underway.save(path.parent().unwrap_or(path))
}

/// A segment while it is made of a journal.
struct Segment {
    name: String,
    encoder: Encoder,
    bytes: Vec<u8>,
    underway: Underway,
    /// What it closes, with the places of all its frames.
    closed: Vec<(Record, Vec<Place>)>,
}

impl Segment {
    fn after(mut underway: Underway, name: &str) -> Result<Self, Error> {
        let encoder = Encoder::new().map_err(Error::disk("preparing compression"))?;
        name.clone_into(&mut underway.after);
        let (bytes, closed) = (Vec::new(), Vec::new());
        Ok(Self { name: name.to_owned(), encoder, bytes, underway, closed })
    }

    fn take(&mut self, entry: &Framed<'_>) -> Result<(), Error> {
        match entry.noted() {
            Ok(Noted::Open(opening)) => {
                let id = opening.record.id.clone();
                let place = self.frame(Line::Open(opening.clone()), &id, Side::Request, entry)?;
                let begun = Begun { opening: *opening, frames: vec![place] };
                self.underway.exchanges.insert(id, begun);
            }
            Ok(Noted::Body { id, side }) => self.body(&id, side, entry)?,
            Ok(Noted::Close(closing)) => self.close(*closing, entry)?,
            Err(error) => tracing::error!(%error, "an entry of journal {} is lost", self.name),
        }
        Ok(())
    }

    fn body(&mut self, id: &str, side: Side, entry: &Framed<'_>) -> Result<(), Error> {
        let place = self.append(&parts(id, side, entry.body))?;
        // Bytes of an answer may come after its end.
        let late = self.closed.iter_mut().rev().find(|(record, _)| record.id == id);
        if let Some(begun) = self.underway.exchanges.get_mut(id) {
            begun.frames.push(place);
        } else if let Some((_, frames)) = late {
            frames.push(place);
        }
        Ok(())
    }

    fn close(&mut self, mut closing: Closing, entry: &Framed<'_>) -> Result<(), Error> {
        let record = closing.record.clone();
        let begun = self.underway.exchanges.remove(&record.id);
        let mut frames = begun.map(|begun| begun.frames).unwrap_or_default();
        closing.frames.clone_from(&frames);
        let line = Line::Close(Box::new(closing));
        frames.push(self.frame(line, &record.id, Side::Response, entry)?);
        self.closed.push((record, frames));
        Ok(())
    }

    fn frame(
        &mut self,
        first: Line,
        id: &str,
        side: Side,
        entry: &Framed<'_>,
    ) -> Result<Place, Error> {
        let mut lines = vec![first];
        lines.extend(parts(id, side, entry.body));
        self.append(&lines)
    }

    fn append(&mut self, lines: &[Line]) -> Result<Place, Error> {
        let offset = self.bytes.len() as u64;
        self.encoder.encode(lines, &mut self.bytes).map_err(Error::disk("encoding a frame"))?;
        let length = self.bytes.len() as u64 - offset;
        Ok(Place { segment: self.name.clone(), offset, length })
    }

    /// The records that it closes, compressed, by the day on which they began.
    fn records_by_day(&self) -> Result<BTreeMap<Date, Vec<u8>>, Error> {
        let mut days: BTreeMap<Date, Vec<u8>> = BTreeMap::new();
        for (record, frames) in &self.closed {
            let day = days.entry(day_of(record.time)).or_default();
            day.extend(index_line(record, frames));
        }
        for day in days.values_mut() {
            *day = zstd::bulk::compress(day, 3).map_err(Error::disk("compressing records"))?;
        }
        Ok(days)
    }
}

fn parts(id: &str, side: Side, body: &[u8]) -> Vec<Line> {
    Part::cut(id, side, body).into_iter().map(Line::Body).collect()
}

/// A record as it stands in `records/`: its own JSON, and where its frames lie.
fn index_line(record: &Record, frames: &[Place]) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.pop();
    line.extend_from_slice(b",\"frames\":");
    line.extend(serde_json::to_vec(frames).unwrap_or_default());
    line.extend_from_slice(b"}\n");
    line
}
