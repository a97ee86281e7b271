//! The spool: one thread that appends frames to local disk, in the order they were handed over.
//!
//! What is acknowledged is in the file (and, by the [`Sync`] setting, on the disk). A segment that
//! is full or old is sealed; the publisher takes it from there. Nothing waits for the object store.

pub(crate) mod folders;
mod recover;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use crate::frame::{Closing, Line, Opening, Part};
use crate::segment::Clock;
use crate::{Error, make_private_folder};
use folders::{Folders, Own};
use writer::Writer;

/// When appended frames are brought to the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the operating system likes: a crash of the machine loses seconds.
    Os,
    /// Every 200 ms: a crash of the machine loses at most that.
    Group,
    /// Before each acknowledgement.
    Always,
}

/// How the spool is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder on local disk, in which each writer makes one of its own.
    pub folder: PathBuf,
    /// Which node writes; letters and digits only.
    pub node: String,
    /// When appended frames are brought to the disk itself.
    pub sync: Sync,
    /// A segment is sealed when it is this old.
    pub seal_after: Duration,
    /// A segment is sealed when it has this many bytes.
    pub seal_bytes: u64,
    /// Commands that may wait for the writer.
    pub queue: usize,
    /// Where the clock is asked.
    pub clock: Clock,
}

/// The writer could not append; the disk is full or gone. Said once in the diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spool cannot be written")]
pub struct Unwritable;

/// Tells whoever waits that a frame is in the spool.
pub type Ack = oneshot::Sender<Result<(), Unwritable>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Command {
    /// An exchange begins; its request body, where it is known whole.
    Open(Box<Opening>, Vec<Part>, Ack),
    /// More of a body; parts of one exchange and side in order. The permit bounds how many bytes
    /// wait: it is given back when they are written.
    Body(Vec<Part>, Option<OwnedSemaphorePermit>),
    /// It has ended; what else belongs into this frame: the rest of its answer, or its opening
    /// where it had none. Without an ack nobody waits any more.
    Close(Box<Closing>, Vec<Line>, Option<Ack>),
    /// No more comes that matters.
    Stop,
}

/// The spool of this process.
pub struct Spool {
    inbox: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
    state: State,
}

/// What others may know of the spool.
#[derive(Clone)]
pub struct State {
    /// Wakes the publisher.
    pub(crate) sealed: Arc<Notify>,
    /// All folders of the spool, those of other writers too.
    pub(crate) folders: Folders,
    writable: Arc<AtomicBool>,
}

impl State {
    /// Whether the last append succeeded.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }
}

impl Spool {
    /// Ends what processes left open that are gone, and starts a writer in a folder of its own.
    pub fn open(options: Options) -> Result<Self, Error> {
        let clock = options.clock;
        let folders = Folders { root: options.folder, node: options.node, clock };
        folders.recover_left()?;
        let Own { path, name, lock } = folders.own()?;
        let (sealed, writable) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
        let state = State { sealed, folders, writable };
        state.sealed.notify_one();
        let (inbox, commands) = mpsc::channel(options.queue);
        let options = Options { folder: path, node: name, ..options };
        let writer = Writer::new(options, 0, state.clone())?;
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                writer.run(commands);
                drop(lock);
            })
            .map_err(Error::disk("starting the spool's thread"))?;
        Ok(Self { inbox, thread, state })
    }

    /// Where commands are put.
    pub fn inbox(&self) -> &mpsc::Sender<Command> {
        &self.inbox
    }

    /// What others may know.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Writes what is queued before this, seals the last segment and waits for that. What others
    /// send later is not taken.
    pub fn close(self) {
        // Not by dropping the sender alone: an upload that hangs may hold another one for ever.
        let _ = self.inbox.blocking_send(Command::Stop);
        // A panic of the writer has been printed; what it left is recovered at the next start.
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
