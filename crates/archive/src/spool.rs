//! The spool: journals on local disk, to which whoever has an entry appends it.
//!
//! What is appended is in the file (and, by the [`Sync`] setting, on the disk). A journal that is
//! full or old is sealed; the publisher takes it from there. Nothing waits for the object store.

pub mod backlog;
pub mod desk;
pub(crate) mod folders;
mod growing;
mod keeper;
mod recover;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::outage::Outage;
use crate::segment::Clock;
use crate::{Error, make_private_folder};
use backlog::Backlog;
use desk::Desk;
use folders::{Folders, Own};
use keeper::Keeper;

/// When appended entries are brought to the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the operating system likes: a crash of the machine loses seconds.
    Os,
    /// Every 200 ms: a crash of the machine loses at most that.
    Group,
    /// Before it counts as appended.
    Always,
}

/// How the spool is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder on local disk, in which each writer makes one of its own.
    pub folder: PathBuf,
    /// Which node writes; letters and digits only.
    pub node: String,
    /// When appended entries are brought to the disk itself.
    pub sync: Sync,
    /// A journal is sealed when it is this old.
    pub seal_after: Duration,
    /// A journal is sealed when it has this many bytes.
    pub seal_bytes: u64,
    /// Where the clock is asked.
    pub clock: Clock,
}

/// An entry is not safe; the disk is full or gone. Said once in the diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// Nothing of it was appended.
    #[error("the spool cannot be written")]
    Unwritten,
    /// It was appended, but may not be on the disk.
    #[error("the spool cannot be synced")]
    Unsynced,
}

/// The spool of this process.
pub struct Spool {
    desk: Arc<Desk>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What others may know of the spool.
#[derive(Clone)]
pub struct State {
    /// Wakes the publisher.
    pub(crate) sealed: Arc<Notify>,
    /// All folders of the spool, those of other writers too.
    pub(crate) folders: Folders,
    /// How publishing goes.
    pub(crate) outage: Arc<Outage>,
    writable: Arc<AtomicBool>,
    /// What earlier processes left open has been brought to an end.
    recovered: Arc<watch::Sender<bool>>,
}

impl State {
    /// Waits until what earlier processes left open has been brought to an end.
    pub async fn recovered(&self) {
        // It cannot fail: the sender is ours.
        let _ = self.recovered.subscribe().wait_for(|recovered| *recovered).await;
    }

    /// It has been.
    pub(crate) fn has_recovered(&self) {
        self.recovered.send_replace(true);
    }

    /// Whether the last append succeeded.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// Measures what is not in the archive yet.
    pub fn backlog(&self) -> Result<Backlog, Error> {
        Backlog::measure(&self.folders.root, (self.folders.clock)())
    }

    /// Rounds of publishing that failed.
    pub fn publish_failures(&self) -> u64 {
        self.outage.failures()
    }
}

impl Spool {
    /// Takes a folder of its own, with a keeper. What processes left that are gone is the publisher's
    /// business: it may be much, and nobody need wait for it.
    pub fn open(options: Options) -> Result<Self, Error> {
        let clock = options.clock;
        let ended = Arc::default();
        let folders = Folders { root: options.folder, node: options.node, clock, ended };
        let Own { path, name, lock } = folders.own()?;
        let (sealed, writable) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
        let (outage, recovered) = (Arc::default(), Arc::default());
        let state = State { sealed, folders, outage, writable, recovered };
        state.sealed.notify_one();
        let options = Options { folder: path, node: name, ..options };
        let desk = Arc::new(Desk::new(options, state));
        let stop = Arc::new(AtomicBool::new(false));
        let keeper = Keeper::new(desk.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                keeper.run();
                drop(lock);
            })
            .map_err(Error::disk("starting the spool's thread"))?;
        Ok(Self { desk, stop, thread })
    }

    /// Where entries are appended.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// What others may know.
    pub fn state(&self) -> &State {
        &self.desk.state
    }

    /// Seals the last journal and waits for that. What others append later is not taken.
    pub fn close(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic of the keeper has been printed; what it left is recovered at the next start.
        let _ = self.thread.join();
    }
}

/// The node's name, made once and kept in the spool's folder.
pub fn node_name(folder: &Path, fresh: impl FnOnce() -> String) -> Result<String, Error> {
    make_private_folder(folder)?;
    let path = folder.join("node");
    let doing = || format!("reading {}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        Ok(_) => write_node(&path, fresh()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_node(&path, fresh()),
        Err(error) => Err(Error::disk(doing())(error)),
    }
}

fn write_node(path: &Path, name: String) -> Result<String, Error> {
    std::fs::write(path, &name).map_err(Error::disk(format!("writing {}", path.display())))?;
    Ok(name)
}
