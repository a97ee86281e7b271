//! Secrets in what is stored: found with today's rules, counted, told, masked.
//!
//! What is stored once is looked through once, as the archive has it. What is still in the spool has
//! its bodies whole: there it is known by hashes what has been seen.

mod deltas;
pub mod look;
pub mod mask;
pub mod memory;
mod spooled;
pub mod tally;

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use archive::read::{Reader, View};
use archive::record::Record;
use archive::segment::day_of;
use archive::survey::each_text;
use bytes::Bytes;
use jiff::civil::Date;

use look::Look;
use memory::Memory;
use spooled::Seen;
use tally::Tally;

/// Takes word of how far the work has come.
pub type Tell<'a> = &'a mut (dyn FnMut(&dyn Display) + Send);

/// Which exchanges are looked through.
#[derive(Debug, Clone, Default)]
pub struct Among {
    /// Whose.
    pub user: Option<String>,
    /// That began on this day or later (UTC).
    pub from: Option<Date>,
    /// That began on this day or before.
    pub to: Option<Date>,
}

/// What is looked for in a segment.
#[derive(Clone)]
struct Job {
    look: Arc<Look>,
    among: Among,
    /// Exchanges that are counted elsewhere.
    skip: Arc<HashSet<String>>,
}

impl Among {
    fn takes(&self, record: &Record) -> bool {
        let day = day_of(record.time);
        self.user.as_ref().is_none_or(|user| record.user == *user)
            && self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
    }

    /// Whether segments of this day may have such exchanges: they lie under the day on which they
    /// ended.
    fn takes_folder(&self, day: Date) -> bool {
        let before = day.yesterday().unwrap_or(day);
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| before <= to)
    }
}

/// Looks through all that is stored, in the archive and in the spool.
pub async fn all(reader: &Reader, look: &Arc<Look>, among: Among, tell: Tell<'_>) -> Result<Tally> {
    let view = reader.view().context("reading the spool")?;
    let unpublished = view.unpublished();
    let skip = unpublished.iter().map(|found| found.record.id.clone()).collect();
    let job = Job { look: look.clone(), among, skip: Arc::new(skip) };
    let (mut tally, mut looked) = (Tally::default(), 0);
    for day in days(&view).await?.into_iter().filter(|day| job.among.takes_folder(*day)) {
        for name in view.segments(day).await? {
            let Some(segment) = view.segment(&name).await? else { continue };
            let (found, bytes) = beside(&job, name, segment).await?;
            looked += bytes;
            tally.add(found);
            let count = tally.count();
            tell(&format_args!("{day}: {} MB, {count} secrets found", looked / 1_000_000));
        }
    }
    let mut seen = Seen::default();
    for found in unpublished.iter().filter(|found| job.among.takes(&found.record)) {
        let exchange = reader.exchange(found).await.context("reading the spool")?;
        spooled::count(look, &found.record, &exchange, (&mut seen, &mut tally));
        tell(&format_args!("the spool: {} secrets found", tally.count()));
    }
    Ok(tally)
}

/// Looks through what has come into the archive since that was last done, and notes that it was. In
/// what it gives is also what an earlier one has found and not told. After each segment it rests so
/// many times as long as it worked.
pub async fn fresh(
    reader: &Reader,
    look: &Arc<Look>,
    memory: &mut Memory,
    (rest, tell): (u32, Tell<'_>),
) -> Result<Tally> {
    let view = reader.view().context("reading the spool")?;
    let job = Job { look: look.clone(), among: Among::default(), skip: Arc::default() };
    let mut looked = 0;
    let days = days(&view).await?;
    memory.keep_only(&days)?;
    for day in days {
        let mut of_day = memory.day(day);
        for name in view.segments(day).await? {
            if of_day.knows(&name) {
                continue;
            }
            let begun = Instant::now();
            let Some(segment) = view.segment(&name).await? else { continue };
            let (found, bytes) = beside(&job, name.clone(), segment).await?;
            looked += bytes;
            tell(&format_args!("{day}: {} MB looked through", looked / 1_000_000));
            of_day.note(name, found);
            memory.save_soon(&of_day)?;
            tokio::time::sleep(begun.elapsed() * rest).await;
        }
        memory.save(&of_day)?;
    }
    memory.untold()
}

/// Days that have segments, oldest first: so the first exchange that had something is named.
async fn days(view: &View<'_>) -> Result<Vec<Date>> {
    let mut days = view.days_of_bodies().await.context("listing the archive")?;
    days.reverse();
    Ok(days)
}

/// Looks through a segment beside whatever else this thread does.
async fn beside(job: &Job, name: String, segment: Bytes) -> Result<(Tally, u64)> {
    let job = job.clone();
    let work = move || {
        let mut tally = Tally::default();
        let looked = each_text(&name, &segment, &mut |text| {
            if job.among.takes(text.record) && !job.skip.contains(&text.record.id) {
                job.look.count(text.record, text.bytes, &mut tally);
            }
        })?;
        Ok((tally, looked))
    };
    tokio::task::spawn_blocking(work).await.context("looking through a segment")?
}
