//! The thread behind the desk: syncs, begins and seals journals, tries again what the disk refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Sync;
use super::desk::{Desk, Synced};
use super::growing::Growing;
use crate::{Error, error_text};

/// How often is done what is due by time; under [`Sync::Group`] the longest that an appended entry
/// stays off the disk.
const TICK: Duration = Duration::from_millis(200);
/// How long to wait after a new journal could not be begun.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the thread.
pub(super) struct Keeper {
    desk: Arc<Desk>,
    stop: Arc<AtomicBool>,
    next_number: u64,
    /// The journal before, while it cannot be sealed: none after it may be published first, since
    /// it may hold the openings of what those close.
    stuck: Option<Growing>,
    /// How far is synced or has failed.
    seen: u64,
    /// Before this no new journal is tried: the last try failed.
    patient_until: Instant,
}

impl Keeper {
    pub(super) fn new(desk: Arc<Desk>, stop: Arc<AtomicBool>) -> Self {
        let mut keeper = Self {
            desk,
            stop,
            next_number: 0,
            stuck: None,
            seen: 0,
            patient_until: Instant::now(),
        };
        // Before anybody appends; where that fails, the desk refuses, and it is tried again.
        keeper.begin_if_none();
        keeper
    }

    /// Keeps the desk until it is told to stop, then seals what is open.
    pub(super) fn run(mut self) {
        // After a panic nobody may think that entries are still cared for.
        let _closed = Closed(self.desk.clone());
        self.desk.is_kept_by(std::thread::current());
        let mut due = Instant::now() + TICK;
        while !self.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            if self.desk.options.sync == Sync::Always {
                self.sync();
            }
            self.turn_if_due();
            if Instant::now() >= due {
                self.tick();
                due = Instant::now() + TICK;
            }
        }
        self.tick();
        self.turn(None);
    }

    /// What is due by time: retries, sync.
    fn tick(&mut self) {
        self.begin_if_none();
        if !self.desk.state.is_writable() {
            let probed = self.desk.with_growing(Growing::probe);
            if let Some(probed) = probed {
                self.desk.note_writable(probed.as_ref().err());
            }
        }
        self.desk.flush();
        for draft in self.desk.take_later() {
            // What fails is kept again.
            let _ = self.desk.append_now(&draft);
        }
        if self.desk.options.sync == Sync::Group {
            self.sync();
        }
        self.seal_stuck();
    }

    fn begin_if_none(&mut self) {
        if self.desk.growing_file().is_some() {
            return;
        }
        match self.begin() {
            Ok(fresh) => drop(self.desk.turn(Some(fresh))),
            Err(error) => self.desk.note_writable(Some(&error)),
        }
    }

    fn begin(&mut self) -> Result<Growing, Error> {
        let options = &self.desk.options;
        let now = (options.clock)();
        let fresh = Growing::begin(&options.folder, &options.node, self.next_number, now)?;
        self.next_number += 1;
        Ok(fresh)
    }

    /// Begins the next journal when the growing one is large or old.
    fn turn_if_due(&mut self) {
        let options = &self.desk.options;
        let (now, most) = ((options.clock)(), options.seal_after);
        let bytes = options.seal_bytes;
        let is_due = |growing: &mut Growing| growing.length >= bytes || growing.is_old(now, most);
        let waits = self.stuck.is_some() || Instant::now() < self.patient_until;
        if waits || self.desk.with_growing(is_due) != Some(true) {
            return;
        }
        match self.begin() {
            Ok(fresh) => self.turn(Some(fresh)),
            // The old one goes on, large as it may get.
            Err(error) => {
                self.patient_until = Instant::now() + PATIENCE;
                tracing::error!(error = error_text(&error), "no new journal can be begun");
            }
        }
    }

    fn turn(&mut self, fresh: Option<Growing>) {
        self.seal_stuck();
        let (old, end) = self.desk.turn(fresh);
        self.stuck = old;
        // Sealing syncs.
        self.seal_stuck();
        match self.stuck {
            None => self.tell(|synced| synced.up_to = end, end),
            Some(_) => self.tell(|synced| synced.failed_up_to = end, end),
        }
    }

    fn seal_stuck(&mut self) {
        let Some(stuck) = &mut self.stuck else { return };
        if let Err(error) = stuck.seal() {
            // Tried again at the next tick, and by the recovery of the next start.
            tracing::error!(error = error_text(&error), "a journal stays unsealed");
            return;
        }
        self.stuck = None;
        self.desk.state.sealed.notify_one();
    }

    /// Brings what was appended to the disk itself; others append meanwhile.
    fn sync(&mut self) {
        let Some((file, end)) = self.desk.growing_file() else { return };
        if end == self.seen {
            return;
        }
        match file.sync_data() {
            Ok(()) => self.tell(|synced| synced.up_to = end, end),
            Err(error) => {
                self.desk.state.writable.store(false, Ordering::Relaxed);
                tracing::error!(%error, "the spool cannot be synced");
                self.tell(|synced| synced.failed_up_to = end, end);
            }
        }
    }

    fn tell(&mut self, news: impl FnOnce(&mut Synced), end: u64) {
        self.seen = end;
        self.desk.synced().send_modify(news);
    }
}

/// Closes the desk when the thread panics.
struct Closed(Arc<Desk>);

impl Drop for Closed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let _ = self.0.turn(None);
        self.0.state.writable.store(false, Ordering::Relaxed);
        self.0.synced().send_modify(|synced| synced.failed_up_to = u64::MAX);
    }
}
