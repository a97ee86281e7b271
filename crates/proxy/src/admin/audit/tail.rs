//! Records as they come.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use archive::read::{Reader, View};
use archive::record::Record;
use archive::segment::{Clock, day_of};
use jiff::civil::Date;

use super::filter::Filter;
use super::{days, of_day, refusal_says};

/// A look at the spool each time, or rarer where looking takes long.
const PAUSE: Duration = Duration::from_millis(300);

/// What others publish is looked for each time, without a sign from our own spool.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// Follows an archive.
pub struct Tail<'a> {
    reader: &'a Reader,
    filter: &'a Filter,
    clock: Clock,
    /// Ids of what is known, by the day on which it began.
    known: BTreeMap<Date, HashSet<String>>,
    /// Ids of what was in the spool at the last look.
    spooled: HashSet<String>,
    looked_elsewhere: Option<Instant>,
}

impl<'a> Tail<'a> {
    /// Takes what is there already as known.
    pub async fn begin(reader: &'a Reader, filter: &'a Filter, clock: Clock) -> Result<Self> {
        let (known, spooled) = (BTreeMap::new(), HashSet::new());
        let mut tail = Self { reader, filter, clock, known, spooled, looked_elsewhere: None };
        tail.look().await?;
        Ok(tail)
    }

    /// Hands over each record soon after it has ended, for ever.
    pub async fn follow(mut self, each: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        loop {
            let begun = Instant::now();
            for record in self.look().await? {
                each(&record)?;
            }
            // A spool that has grown is long to read: a tenth of the time is enough.
            tokio::time::sleep(PAUSE.max(begun.elapsed() * 9)).await;
        }
    }

    /// The records that pass and were not known, oldest first.
    async fn look(&mut self) -> Result<Vec<Record>> {
        let view = self.reader.view()?;
        let spooled: HashSet<String> = view.spooled().map(|record| record.id.clone()).collect();
        let mut fresh: Vec<Record> = Vec::new();
        for record in view.spooled() {
            if self.is_new(record) && self.filter.takes(record) {
                fresh.push(record.clone());
            }
        }
        let published = !self.spooled.is_subset(&spooled);
        let is_due = self.looked_elsewhere.is_none_or(|last| last.elapsed() >= ELSEWHERE);
        if published || is_due {
            self.looked_elsewhere = Some(Instant::now());
            self.look_at_archive(&view, &mut fresh).await?;
        }
        self.forget(&view);
        self.spooled = spooled;
        fresh.sort_by(|one, other| (one.time, &one.id).cmp(&(other.time, &other.id)));
        self.refused(fresh).await
    }

    /// Of records those that were refused with the text that is wanted, where one is.
    async fn refused(&self, fresh: Vec<Record>) -> Result<Vec<Record>> {
        let Some(text) = &self.filter.refusal else { return Ok(fresh) };
        let mut said = Vec::new();
        for record in fresh {
            let found = self.reader.find(&record.id).await?;
            let Some(found) = found else { continue };
            if refusal_says(self.reader, &found, text).await? {
                said.push(record);
            }
        }
        Ok(said)
    }

    /// What ended and was published between two looks is found here.
    async fn look_at_archive(&mut self, view: &View<'_>, fresh: &mut Vec<Record>) -> Result<()> {
        let everything = Filter::default();
        let oldest = self.oldest();
        for day in days(view, self.filter).await?.into_iter().filter(|day| *day >= oldest) {
            for found in of_day(self.reader, view, (day, &everything), usize::MAX).await? {
                if self.is_new(&found.record) && self.filter.takes(&found.record) {
                    fresh.push(found.record);
                }
            }
        }
        Ok(())
    }

    fn is_new(&mut self, record: &Record) -> bool {
        self.known.entry(day_of(record.time)).or_default().insert(record.id.clone())
    }

    /// The first day that is looked at: an exchange may last over midnight.
    fn oldest(&self) -> Date {
        let today = day_of((self.clock)());
        today.yesterday().unwrap_or(today)
    }

    /// Lets go of days that are neither looked at nor in the spool any more.
    fn forget(&mut self, view: &View<'_>) {
        let oldest = self.oldest();
        let spooled: HashSet<Date> = view.spooled().map(|record| day_of(record.time)).collect();
        self.known.retain(|day, _| *day >= oldest || spooled.contains(day));
    }
}
