//! What records add up to, kept by hour and whatever reports group by, so that a month of ten
//! million of them is read in a moment.
//!
//! It is a copy: it lies in the data folder, is made of the archive's files of records, and may be
//! deleted at any time. A file that was added up once is not read again, as long as it is the same;
//! where one is gone, or another, its whole day is added up anew. Records that are not published yet
//! are in the spool, and are added as they are.

mod keep;
pub mod sums;

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use archive::read::{Reader, View};
use archive::segment::day_of;
use jiff::civil::Date;

use crate::config::Config;
use crate::config::archive::Archive;
use keep::Kept;
pub use sums::{Group, Sums};

/// Whether records are encrypted, or were.
pub fn is_sealed(archive: &Archive) -> bool {
    archive.encryption_key.is_some() || !archive.encryption_keys_old.is_empty()
}

/// Sums by group.
pub type Groups = HashMap<Group, Sums>;

/// The sums that are kept.
pub struct Rollups {
    kept: Kept,
}

impl Rollups {
    /// Opens those of an installation, or begins; where nothing can be written there, in memory. So
    /// they are where the archive is sealed: who used what would lie beside it in clear.
    pub fn open(config: &Config) -> Result<Self> {
        if is_sealed(&config.archive) {
            return Ok(Self { kept: Kept::in_memory()? });
        }
        let path = config.data.join("rollups.db");
        let kept = Kept::open(&path).or_else(|error| {
            tracing::debug!("{} cannot be used: {error:#}", path.display());
            Kept::in_memory()
        });
        Ok(Self { kept: kept.context("keeping sums of records")? })
    }

    /// Adds up what is not yet, of these days (both inclusive): what is published.
    pub async fn bring_up(&mut self, reader: &Reader, days: (Date, Date)) -> Result<()> {
        self.each_group(reader, days, &mut |_, _| {}).await
    }

    /// Hands out every group of these days with its sums; a group may come more than once.
    pub async fn each_group(
        &mut self,
        reader: &Reader,
        (first, last): (Date, Date),
        each: &mut (dyn FnMut(&Group, &Sums) + Send),
    ) -> Result<()> {
        let _alone = self.kept.alone()?;
        let view = reader.view()?;
        let spooled = view.spooled().filter(|record| (first..=last).contains(&day_of(record.time)));
        for record in spooled {
            each(&Group::of(record), &Sums::of(record));
        }
        let there: HashSet<Date> = view.days().await?.into_iter().collect();
        for day in first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last) {
            if there.contains(&day) || self.kept.knows(day)? {
                let rest = self.add_up(&view, day).await?;
                for (group, sums) in &rest {
                    each(group, sums);
                }
                self.kept.each(day, each)?;
            }
        }
        Ok(())
    }

    /// Adds up the files of a day that are not yet; of those that cannot be kept, gives the sums.
    async fn add_up(&mut self, view: &View<'_>, day: Date) -> Result<Groups> {
        let indexes = view.indexes(day).await?;
        let mut known = self.kept.files(day)?;
        let is_same = |(name, mark): (&String, &String)| {
            indexes.iter().any(|index| index.name == *name && index.mark == *mark)
        };
        if !known.iter().all(is_same) {
            self.kept.forget(day)?;
            known.clear();
        }
        let mut rest = Groups::new();
        for index in indexes.iter().filter(|index| !known.contains_key(&index.name)) {
            let mut groups = Groups::new();
            let mut is_whole = true;
            let mut add = |found: archive::read::Found| {
                // What the spool has too is counted from there, and this file another time.
                if view.is_unpublished(&found.record.id) {
                    is_whole = false;
                } else {
                    let group = Group::of(&found.record);
                    groups.entry(group).or_default().add(&Sums::of(&found.record));
                }
            };
            view.each_of(index, &mut add).await?;
            if is_whole && self.kept.add(day, index, &groups)? {
                continue;
            }
            for (group, sums) in groups {
                rest.entry(group).or_default().add(&sums);
            }
        }
        Ok(rest)
    }
}
