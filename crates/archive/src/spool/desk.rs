//! Where entries are appended: by whoever has them, the small ones of one moment with one write.
//!
//! Whoever appends waits for the end of the moment, in which others append too; the first who goes
//! on then writes for all of them.

use std::fs::File;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::Thread;

use tokio::sync::watch;

use super::growing::Growing;
use super::{Options, State, Sync, Unwritable};
use crate::journal::{Draft, ends_to_write};
use crate::{Error, error_text};

/// A longer draft is written at once, not copied to wait for others.
const SMALL: u64 = 16 << 10;
/// More than this does not wait.
const MOST_WAITING: usize = 256 << 10;
/// Memory that is kept from one write to the next.
const KEPT: usize = 64 << 10;

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
    /// What is to be appended with the next write.
    waiting: Waiting,
    /// Closings that the disk refused; tried again at each tick.
    later: Vec<Draft>,
}

/// Small drafts that are written together.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Where each draft ends.
    ends: Vec<usize>,
    fate: Arc<Fate>,
}

/// What became of drafts that were written together: up to which of all appended bytes they reach.
type Fate = OnceLock<Result<u64, Unwritable>>;

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
pub struct Receipt(Stage);

enum Stage {
    /// It is written with others at the end of this moment.
    Waiting { desk: Arc<Desk>, fate: Arc<Fate>, yielded: bool },
    /// It waits for the disk.
    Synced(Pin<Box<dyn Future<Output = Result<(), Unwritable>> + Send>>),
    /// It is safe, or will never be.
    Over(Result<(), Unwritable>),
}

impl Receipt {
    /// For what need not be appended.
    pub fn unneeded() -> Self {
        Self(Stage::Over(Ok(())))
    }

    /// For what is not to be appended at all.
    pub fn refused() -> Self {
        Self(Stage::Over(Err(Unwritable::Unwritten)))
    }
}

impl Future for Receipt {
    type Output = Result<(), Unwritable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.0 {
                Stage::Over(result) => return Poll::Ready(*result),
                Stage::Synced(waiting) => return waiting.as_mut().poll(cx),
                Stage::Waiting { fate, yielded, .. } if fate.get().is_none() && !*yielded => {
                    *yielded = true;
                    // Only its first step: it sees to it that we are asked again after all others
                    // that can go on now.
                    let _ = pin!(tokio::task::yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Stage::Waiting { desk, fate, .. } => desk.fate(fate),
            };
            self.0 = next;
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // Nobody waits for it, and yet it must be written.
        if let Stage::Waiting { desk, fate, .. } = &self.0
            && fate.get().is_none()
        {
            desk.flush();
        }
    }
}

impl Desk {
    pub(super) fn new(options: Options, state: State) -> Self {
        let (synced, _) = watch::channel(Synced::default());
        Self { options, state, page: Mutex::default(), keeper: OnceLock::new(), synced }
    }

    /// Appends a draft whole, or nothing of it. Where the disk refuses a closing whose opening it
    /// has taken, another closing, as failed, is kept until it takes that.
    pub fn append(self: &Arc<Self>, draft: &Draft) -> Receipt {
        if draft.length() > SMALL {
            return Receipt(self.stage(self.write(draft)));
        }
        let mut page = self.page();
        let fate = page.waiting.add(draft);
        let many = page.waiting.bytes.len() >= MOST_WAITING;
        drop(page);
        if many {
            self.flush();
        }
        Receipt(Stage::Waiting { desk: self.clone(), fate, yielded: false })
    }

    /// Appends a piece of a body at once, whole, or nothing of it.
    pub fn append_now(&self, draft: &Draft) -> Result<(), Unwritable> {
        self.write(draft).map(|_| ())
    }

    /// Keeps a closing that must be written as soon as the disk takes it. While the disk is full
    /// nothing more is opened, so that they stay few.
    pub fn append_later(&self, draft: Draft) {
        self.page().later.push(draft);
    }

    /// Writes what waits, then this; tells where it ends.
    fn write(&self, draft: &Draft) -> Result<u64, Unwritable> {
        self.flush();
        let mut page = self.page();
        let result = page.append(&mut draft.slices(), draft.length(), &self.options);
        if result.is_err() {
            page.later.extend(ends_to_write([draft.whole().as_slice()]));
        }
        self.written(&page, &result)
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        let mut page = self.page();
        if page.waiting.ends.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut page.waiting);
        let length = waiting.bytes.len() as u64;
        let result = page.append(&mut [IoSlice::new(&waiting.bytes)], length, &self.options);
        if result.is_err() {
            page.later.extend(ends_to_write(waiting.drafts()));
        }
        // While nobody else can look: whoever has the lock after us finds it told.
        let _ = waiting.fate.set(self.written(&page, &result));
        // Its memory serves the next.
        page.waiting = waiting.emptied();
    }

    /// What is to be done after a write.
    fn written(&self, page: &Page, result: &Result<(), Error>) -> Result<u64, Unwritable> {
        self.note_writable(result.as_ref().err());
        let always = self.options.sync == Sync::Always;
        if page.is_full(&self.options) || (always && result.is_ok()) {
            self.wake();
        }
        result.as_ref().map(|()| page.appended).map_err(|_| Unwritable::Unwritten)
    }

    fn fate(&self, fate: &Fate) -> Stage {
        self.flush();
        // By now it is told, unless whoever wrote has panicked.
        self.stage(fate.get().copied().unwrap_or(Err(Unwritable::Unwritten)))
    }

    fn stage(&self, written: Result<u64, Unwritable>) -> Stage {
        match written {
            Ok(end) if self.options.sync == Sync::Always => Stage::Synced(self.synced_up_to(end)),
            written => Stage::Over(written.map(|_| ())),
        }
    }

    fn synced_up_to(
        &self,
        end: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unwritable>> + Send>> {
        let mut synced = self.synced.subscribe();
        Box::pin(async move {
            let done = |synced: &Synced| synced.failed_up_to >= end || synced.up_to >= end;
            match synced.wait_for(done).await {
                Ok(synced) if synced.failed_up_to < end => Ok(()),
                _ => Err(Unwritable::Unsynced),
            }
        })
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
        self.flush();
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
    fn append(
        &mut self,
        slices: &mut [IoSlice<'_>],
        length: u64,
        options: &Options,
    ) -> Result<(), Error> {
        let Some(growing) = &mut self.growing else {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(Error::Disk { doing: "there is no journal".to_owned(), source });
        };
        growing.append(slices, length, options.clock)?;
        self.appended += length;
        Ok(())
    }

    fn is_full(&self, options: &Options) -> bool {
        self.growing.as_ref().is_some_and(|growing| growing.length >= options.seal_bytes)
    }
}

impl Waiting {
    fn add(&mut self, draft: &Draft) -> Arc<Fate> {
        for slice in draft.slices() {
            self.bytes.extend_from_slice(&slice);
        }
        self.ends.push(self.bytes.len());
        self.fate.clone()
    }

    fn drafts(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, end)| self.bytes.get(begin..*end))
    }

    fn emptied(mut self) -> Self {
        self.bytes.clear();
        // A moment in which hundreds began must not be remembered for ever.
        self.bytes.shrink_to(KEPT);
        self.ends.clear();
        Self { fate: Arc::default(), ..self }
    }
}
