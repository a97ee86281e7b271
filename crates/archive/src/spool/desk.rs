//! Where entries are appended: by whoever has them, with one short write.

use std::fs::File;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::Thread;

use tokio::sync::watch;

use super::growing::Growing;
use super::{Options, State, Sync, Unwritable, error_text};
use crate::Error;
use crate::journal::Draft;

/// Takes entries, from any thread.
pub struct Desk {
    pub(super) options: Options,
    pub(super) state: State,
    page: Mutex<Page>,
    /// Whom to wake when a journal is full or a sync is asked for.
    keeper: OnceLock<Thread>,
    synced: watch::Sender<Synced>,
}

/// What is appended to.
#[derive(Default)]
struct Page {
    growing: Option<Growing>,
    /// Bytes appended in this life, to all journals.
    appended: u64,
    /// Closings that the disk refused; tried again at each tick.
    later: Vec<Draft>,
}

/// How far appended bytes are on the disk itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Synced {
    /// All before this are, but those that failed.
    pub(super) up_to: u64,
    /// Those before this may be lost.
    pub(super) failed_up_to: u64,
}

/// Tells when an appended draft is as safe as the setting promises.
#[must_use = "an entry counts when it is as safe as promised"]
pub enum Receipt {
    /// It is.
    Now(Result<(), Unwritable>),
    /// It waits for the disk.
    Synced(Pin<Box<dyn Future<Output = Result<(), Unwritable>> + Send>>),
}

impl Future for Receipt {
    type Output = Result<(), Unwritable>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(result) => Poll::Ready(*result),
            Self::Synced(waiting) => waiting.as_mut().poll(cx),
        }
    }
}

impl Desk {
    pub(super) fn new(options: Options, state: State) -> Self {
        let (synced, _) = watch::channel(Synced::default());
        Self { options, state, page: Mutex::default(), keeper: OnceLock::new(), synced }
    }

    /// Appends a draft whole, or nothing of it.
    pub fn append(&self, draft: &Draft) -> Result<Receipt, Unwritable> {
        let mut page = self.page();
        let appended = page.append(draft, &self.options);
        let (full, end) = (page.is_full(&self.options), page.appended);
        drop(page);
        self.note_writable(appended.as_ref().err());
        let always = self.options.sync == Sync::Always;
        if full || (always && appended.is_ok()) {
            self.wake();
        }
        appended.map_err(|_| Unwritable)?;
        Ok(if always { self.receipt(end) } else { Receipt::Now(Ok(())) })
    }

    /// Keeps a closing that must be written as soon as the disk takes it. While the disk is full
    /// nothing more is opened, so that they stay few.
    pub fn append_later(&self, draft: Draft) {
        self.page().later.push(draft);
    }

    fn receipt(&self, end: u64) -> Receipt {
        let mut synced = self.synced.subscribe();
        Receipt::Synced(Box::pin(async move {
            let done = |synced: &Synced| synced.failed_up_to >= end || synced.up_to >= end;
            match synced.wait_for(done).await {
                Ok(synced) if synced.failed_up_to < end => Ok(()),
                _ => Err(Unwritable),
            }
        }))
    }

    /// Notes whether the last write succeeded, and says so when that has changed.
    pub(super) fn note_writable(&self, error: Option<&Error>) {
        let now = error.is_none();
        if self.state.writable.load(Ordering::Relaxed) == now {
            return;
        }
        self.state.writable.store(now, Ordering::Relaxed);
        if let Some(error) = error {
            tracing::error!(error = error_text(error), "the spool cannot be written");
        } else {
            tracing::info!("the spool can be written again");
        }
    }

    /// From now on this thread is woken.
    pub(super) fn is_kept_by(&self, thread: Thread) {
        let _ = self.keeper.set(thread);
        self.wake();
    }

    pub(super) fn wake(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    /// Puts a fresh journal in the place of the one that grows; gives that, and where it ends.
    pub(super) fn turn(&self, fresh: Option<Growing>) -> (Option<Growing>, u64) {
        let mut page = self.page();
        (std::mem::replace(&mut page.growing, fresh), page.appended)
    }

    /// Looks at the growing journal, while nobody appends.
    pub(super) fn with_growing<T>(&self, look: impl FnOnce(&mut Growing) -> T) -> Option<T> {
        self.page().growing.as_mut().map(look)
    }

    /// The file of the growing journal, and how far it has been appended to.
    pub(super) fn growing_file(&self) -> Option<(Arc<File>, u64)> {
        let page = self.page();
        page.growing.as_ref().map(|growing| (growing.file(), page.appended))
    }

    /// How far appended bytes are on the disk.
    pub(super) fn synced(&self) -> &watch::Sender<Synced> {
        &self.synced
    }

    /// Takes the closings that are to be tried again.
    pub(super) fn take_later(&self) -> Vec<Draft> {
        std::mem::take(&mut self.page().later)
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        // A panic while the lock was held leaves at worst a half write, whose length is known.
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn append(&mut self, draft: &Draft, options: &Options) -> Result<(), Error> {
        let Some(growing) = &mut self.growing else {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(Error::Disk { doing: "there is no journal".to_owned(), source });
        };
        growing.append(draft, options.clock)?;
        self.appended += draft.length();
        Ok(())
    }

    fn is_full(&self, options: &Options) -> bool {
        self.growing.as_ref().is_some_and(|growing| growing.length >= options.seal_bytes)
    }
}
