//! Deletes from the archive what is kept no longer: at the start, and once a day.

use std::convert::Infallible;
use std::time::Duration;

use archive::hold::Holds;
use archive::retain::{Doing, Keep, prune};
use archive::segment::day_of;
use archive::sign::PublicKey;
use jiff::ToSpan;
use jiff::civil::Date;

use crate::clock;
use crate::config::archive::Archive;

/// A day begins so many hours late: what other nodes have of the last one arrives before.
const LATE_HOURS: i64 = 2;

/// How often it is looked whether a new day has begun.
const LOOK: Duration = Duration::from_mins(20);

/// The archive whose old days go.
pub struct Retain {
    archive: Archive,
    /// Whose signatures on holds count.
    key: PublicKey,
    /// The day on which it was last done.
    done: Option<Date>,
}

impl Retain {
    /// Nothing is done yet.
    pub fn new(archive: Archive, key: PublicKey) -> Self {
        Self { archive, key, done: None }
    }

    /// Does it now and every day. To be dropped at any moment: what is deleted halfway is deleted
    /// at the next start.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.daily().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does it, unless it is done today. What cannot be deleted is said once a day; where the
    /// archive cannot be reached it is tried again at the next call.
    async fn daily(&mut self) {
        let today = day_of(clock::now() - LATE_HOURS.hours());
        if self.done == Some(today) {
            return;
        }
        match self.prune(today).await {
            Ok(()) => self.done = Some(today),
            Err(error) => tracing::warn!("old days stay in the archive for now: {error:#}"),
        }
    }

    async fn prune(&self, today: Date) -> anyhow::Result<()> {
        let Archive { retain_days, retain_records_days, .. } = &self.archive;
        let keep = Keep { bodies_days: *retain_days, records_days: *retain_records_days };
        let objects = self.archive.open()?;
        let holds = Holds::load(&*objects, std::slice::from_ref(&self.key)).await?;
        for old in prune(&*objects, keep, today, (Doing::Delete, &holds)).await? {
            let (kind, objects, bytes) = (old.kind, old.objects, old.bytes);
            match (old.held, old.refused) {
                (Some(hold), _) => tracing::info!(objects, "{kind} of {} stay: {hold}", old.day),
                (None, Some(why)) => {
                    tracing::warn!(why, "{kind} of {} cannot all be deleted", old.day);
                }
                (None, None) => {
                    tracing::info!(objects, bytes, "{kind} of {} are deleted", old.day);
                }
            }
        }
        Ok(())
    }
}
