//! How publishing goes: said when it begins to fail and when it succeeds again, counted always.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::{Error, error_text};

/// Whether the object store takes what is sealed.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    failures: AtomicU64,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// Notes how a round of publishing ended. An outage of hours is said once, not at every try.
    pub(crate) fn note(&self, result: &Result<(), Error>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, *since) {
            (Ok(()), None) => {}
            (Ok(()), Some(begin)) => {
                *since = None;
                let failed_s = begin.elapsed().as_secs();
                tracing::info!(failed_s, "the archive takes records again");
            }
            (Err(error), before) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                since.get_or_insert_with(Instant::now);
                let error = error_text(error);
                if before.is_none() {
                    tracing::warn!(
                        error,
                        "the archive cannot be written: records wait in the spool, and it is tried again"
                    );
                } else {
                    tracing::debug!(error, "the archive still cannot be written");
                }
            }
        }
    }

    /// Rounds that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
