//! Makes segments of sealed journals, and brings them to the object store with their records beside
//! them.

mod draw;
mod made;
mod nameless;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::carry::Carry;
use crate::erase::statement;
use crate::gather::Gathered;
use crate::known::Known;
use crate::manifest::{self, Chain, Filed};
use crate::segment::{FULL, day_folder, day_of_name, list, name_of, sync_folder};
use crate::sign::Signer;
use crate::spool::State;
use crate::spool::folders::{all_folders, publishing};
use crate::{Error, error_text};
use nameless::Nameless;
use segment::{Made, Press, Segment};

/// How hard frames are compressed. What is left of a conversation once its items are named is mostly
/// noise (encrypted reasoning, padding of events, ids), so that levels differ little: of generated
/// sessions 1 leaves 1/25.1, 3 leaves 1/25.9, 5 leaves 1/26.3 and 6 leaves 1/26.9, where 6 takes half
/// as much time again as 3. A frame is smaller than any level's window.
pub(crate) const LEVEL: i32 = 3;
/// How hard records are: they are few, and small.
pub(crate) const RECORDS_LEVEL: i32 = 9;

/// How long to wait after the object store refused.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether another writer is gone that left something behind.
const LOOK: Duration = Duration::from_secs(10);

/// Others have their turn after so many bytes that are read or written.
pub(crate) const BREATH: usize = 128 << 10;

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
        signer: Signer,
        state: State,
    ) -> Result<Self, Error> {
        let starting = "starting the publisher's thread";
        let runtime = Builder::new_current_thread().enable_all().thread_name("publish").build();
        let runtime = runtime.map_err(Error::disk(starting))?;
        let (stop, stopped) = oneshot::channel();
        let mut work = Work::new(spool, objects, signer)?;
        let work = move || {
            step_back();
            runtime.block_on(run(&mut work, &state, stopped));
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

/// On a busy core whoever serves need not wait for the rest: where the system gives a thread its time
/// in slices of milliseconds, priority alone does not help who wakes within one. Called after each
/// tenth of a millisecond, or two, of work.
pub(crate) fn others_first() {
    std::thread::yield_now();
}

async fn run(work: &mut Work, state: &State, mut stop: oneshot::Receiver<()>) {
    let mut stopping = false;
    loop {
        if let Err(error) = state.folders.recover_left() {
            tracing::error!(%error, "what another writer left cannot be brought to an end");
        }
        state.has_recovered();
        let result = work.publish_sealed().await;
        state.outage.note(&result);
        if let Err(error) = state.folders.remove_empty() {
            tracing::warn!(%error, "an empty folder of the spool stays behind");
        }
        if stopping {
            work.remember(Known::save);
            return;
        }
        work.remember(Known::save_if_grown);
        let pause = if result.is_ok() { LOOK } else { RETRY };
        tokio::select! {
            () = state.sealed.notified() => {}
            () = tokio::time::sleep(pause) => {}
            // Fires also when the sender is dropped: a last round, then the end.
            _ = &mut stop => stopping = true,
        }
    }
}

/// Reads a file, with breaks.
fn read_whole(path: &Path, into: &mut Vec<u8>) -> std::io::Result<()> {
    let file = File::open(path)?;
    // All at once: memory that grows is copied, and memory that is fresh costs as much as reading.
    into.reserve(usize::try_from(file.metadata()?.len()).unwrap_or_default());
    while (&file).take(BREATH as u64).read_to_end(into)? > 0 {
        others_first();
    }
    Ok(())
}

/// What it takes to publish.
pub(crate) struct Work {
    spool: PathBuf,
    objects: Arc<dyn ObjectStore>,
    signer: Signer,
    /// The last manifest of this node that is surely in the archive.
    settled: String,
    known: Known,
    /// Erasures on the day that is known, in whose segments no item is known any more.
    erasures: HashSet<ObjectPath>,
    /// What an earlier process knew has been recalled.
    recalled: bool,
    press: Press,
    /// Memory for a journal, while there are more.
    journal: Vec<u8>,
}

impl Work {
    pub(crate) fn new(
        spool: PathBuf,
        objects: Arc<dyn ObjectStore>,
        signer: Signer,
    ) -> Result<Self, Error> {
        let known = Known::nothing(objects.to_string());
        let (settled, press) = (String::new(), Press::new()?);
        let journal = Vec::new();
        Ok(Self {
            spool,
            objects,
            signer,
            settled,
            known,
            erasures: HashSet::new(),
            recalled: false,
            press,
            journal,
        })
    }

    /// Recalls which items an earlier process has stored today, as far as they are still there.
    async fn recall(&mut self) {
        let mut known = Known::load(&self.spool, self.objects.to_string());
        let Ok(there) = self.names(&known).await else { return };
        for segment in known.segments() {
            if !there.contains(&*segment) {
                known.forget_segment(&segment);
            }
        }
        (self.known, self.recalled) = (known, true);
    }

    /// Forgets the items of segments in which something was erased: whoever names them would name
    /// what is gone.
    async fn forget_erased(&mut self) -> Result<(), Error> {
        let erasures = statement::list(&*self.objects, self.known.day()).await?;
        let there = |path: &ObjectPath| erasures.iter().any(|(.., erasure)| erasure == path);
        // Those of other days go.
        self.erasures.retain(there);
        for (name, _, path) in erasures {
            if self.erasures.insert(path) {
                self.known.forget_segment(&name);
            }
        }
        Ok(())
    }

    /// The names of the segments of the day that is known.
    async fn names(&self, known: &Known) -> Result<HashSet<String>, Error> {
        let folder = day_folder("bodies", known.day());
        let objects: Vec<_> = self.objects.list(Some(&folder)).try_collect().await?;
        Ok(objects
            .iter()
            .filter_map(|object| name_of(&object.location))
            .map(str::to_owned)
            .collect())
    }

    /// Keeps what is known for the next process. Nothing is lost where that fails.
    pub(crate) fn remember(&mut self, save: fn(&mut Known, &Path) -> Result<(), Error>) {
        if let Err(error) = save(&mut self.known, &self.spool) {
            tracing::warn!(%error, "which items are stored is not saved");
        }
    }

    /// Publishes every sealed journal and removes it from the spool. A folder that fails does not
    /// keep the others back; the last failure is told.
    pub(crate) async fn publish_sealed(&mut self) -> Result<(), Error> {
        if !self.recalled {
            self.recall().await;
        }
        let mut result = Ok(());
        for folder in all_folders(&self.spool)? {
            if let Err(error) = self.publish_folder(&folder).await {
                result = Err(error);
            }
        }
        self.journal = Vec::new();
        result
    }

    /// Publishes the journals of one writer. In their order, since each closes what those before
    /// have opened: one that fails keeps the others back.
    async fn publish_folder(&mut self, folder: &Path) -> Result<(), Error> {
        if list(folder, &[FULL])?.is_empty() {
            return Ok(());
        }
        // Somebody else is at it.
        let Some(_publishing) = publishing(folder)? else { return Ok(()) };
        for (name, path) in list(folder, &[FULL])? {
            let carry = Carry::load(folder)?;
            if name != carry.after {
                self.publish((&name, &path), folder, carry).await?;
            }
            let mut nameless = made::forget(&path);
            let journal = Nameless::of(&path);
            nameless.push(journal.map_err(Error::disk(format!("removing {}", path.display())))?);
            // In order also after a power loss: a journal that came back would be published again.
            sync_folder(folder)?;
            nameless.into_iter().for_each(Nameless::free);
        }
        Ok(())
    }

    /// Publishes a journal, and notes in its folder what is carried over behind it.
    async fn publish(
        &mut self,
        (name, path): (&str, &Path),
        folder: &Path,
        before: Carry,
    ) -> Result<(), Error> {
        let reading = format!("reading {}", path.display());
        // Taken, and given back at the end: fresh memory costs as much as reading into it.
        let mut journal = std::mem::take(&mut self.journal);
        journal.clear();
        read_whole(path, &mut journal).map_err(Error::disk(reading))?;
        let mut gathered = Gathered::default();
        gathered.take(&before.after, &before.entries);
        gathered.take(name, &journal);
        let published = self.publish_ended((name, path), &mut gathered).await;
        let carried = published.and_then(|()| Carry::save(folder, name, &gathered.carried()));
        self.journal = journal;
        carried
    }

    async fn publish_ended(
        &mut self,
        (name, path): (&str, &Path),
        gathered: &mut Gathered<'_>,
    ) -> Result<(), Error> {
        if gathered.late > 0 {
            let late = gathered.late;
            tracing::error!(
                "{late} bytes of answers are lost that came after their end, in {name}"
            );
        }
        if self.is_published(name).await? {
            return Ok(());
        }
        if let Some(files) = made::load(path)? {
            // An earlier try did not come to its end.
            return self.put(name, files).await;
        }
        self.known.turn_to(day_of_name(name));
        self.forget_erased().await?;
        let mut segment = Segment::new(name, &self.known, &mut self.press, gathered.bytes);
        for whole in std::mem::take(&mut gathered.ended) {
            segment.add(whole)?;
            others_first();
        }
        let Made { files, fresh } = segment.made()?;
        if !files.is_empty() {
            if let Err(error) = made::keep(path, &files) {
                // On a full disk too the spool becomes empty.
                tracing::debug!(error = error_text(&error), "what was made of {name} is not kept");
            }
            self.put(name, files).await?;
        }
        self.known.learn(fresh);
        Ok(())
    }

    /// Puts the files of a segment into the archive. The bodies first: a record that is visible can
    /// always be shown whole. Then its manifest: from then on nothing of it changes any more. The
    /// names and bytes are the same at every try, so that a try after a crash changes nothing.
    async fn put(&mut self, name: &str, files: Vec<(Filed, Vec<u8>)>) -> Result<(), Error> {
        let mut put = Vec::new();
        for (file, bytes) in files {
            let path = ObjectPath::from(file.path.as_str());
            self.objects.put(&path, PutPayload::from(bytes)).await?;
            put.push(file);
        }
        let _adding = Chain::lock(&self.spool)?;
        let last = self.settled().await?;
        let chain = Chain::and(last.as_ref(), name, put, &self.signer)?;
        chain.save(&self.spool)?;
        self.put_manifest(chain).await
    }

    /// The chain of this node, whose last manifest is in the archive.
    async fn settled(&mut self) -> Result<Option<Chain>, Error> {
        let chain = Chain::load(&self.spool)?;
        if let Some(chain) = chain.clone().filter(|chain| chain.name != self.settled) {
            // A crash may have come before it was put; the same bytes again harm nobody.
            self.put_manifest(chain).await?;
        }
        Ok(chain)
    }

    async fn put_manifest(&mut self, chain: Chain) -> Result<(), Error> {
        let path = manifest::path(&chain.name);
        self.objects.put(&path, PutPayload::from(chain.manifest)).await?;
        self.settled = chain.name;
        Ok(())
    }

    /// Whether a segment has its manifest: a crash came behind that, and before the journal was
    /// removed.
    async fn is_published(&mut self, name: &str) -> Result<bool, Error> {
        let adding = Chain::lock(&self.spool)?;
        self.settled().await?;
        drop(adding);
        match self.objects.head(&manifest::path(name)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
