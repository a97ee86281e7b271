//! What was looked through by which rules: a small file a day, so that nothing is looked through
//! twice, and what breaks off goes on where it was.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::civil::Date;
use redact::rule::Tier;
use serde::{Deserialize, Serialize};

use super::look::Look;
use super::tally::{Row, Tally};

/// The folder in the data folder.
const FOLDER: &str = "scanned";
/// Ends the name of a day's file.
const ENDING: &str = ".json";
/// How often a day is written while it is looked through.
const PAUSE: Duration = Duration::from_secs(1);

/// What is remembered. Whoever has it is the only one.
pub struct Memory {
    folder: PathBuf,
    rules: String,
    least: Tier,
    saved: Instant,
    _lock: File,
}

/// What is remembered of a day's segments.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OfDay {
    #[serde(skip)]
    day: Date,
    /// The version of the rules.
    rules: String,
    /// How sure they were at least.
    least: String,
    /// Those that were looked through.
    segments: BTreeSet<String>,
    /// What was found in them and is not told yet.
    untold: Vec<Row>,
}

impl Memory {
    /// Opens what a data folder remembers of looks like this one; none while another process has it.
    pub fn open(data: &Path, look: &Look) -> Result<Option<Self>> {
        let folder = data.join(FOLDER);
        let opening = || format!("opening {}", folder.display());
        std::fs::create_dir_all(&folder).with_context(opening)?;
        let guard = File::create(folder.join("lock")).with_context(opening)?;
        match guard.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).with_context(opening),
        }
        let rules = format!("{:016x}", look.rules.version());
        let (least, saved) = (look.wanted.least, Instant::now());
        Ok(Some(Self { folder, rules, least, saved, _lock: guard }))
    }

    /// What is remembered of a day; nothing where other rules were used, or less was looked for.
    pub(super) fn day(&self, day: Date) -> OfDay {
        let nothing = || OfDay {
            rules: self.rules.clone(),
            least: self.least.as_str().to_owned(),
            ..OfDay::default()
        };
        OfDay { day, ..self.read(day).unwrap_or_else(nothing) }
    }

    /// A file that cannot be read says nothing: then the day is looked through again.
    fn read(&self, day: Date) -> Option<OfDay> {
        let text = std::fs::read(self.path(day)).ok()?;
        let of_day: OfDay = serde_json::from_slice(&text).ok()?;
        let least = Tier::parse(&of_day.least)?;
        (of_day.rules == self.rules && least <= self.least).then_some(of_day)
    }

    /// Writes down what is remembered of a day, whole or not at all.
    pub(super) fn save(&mut self, of_day: &OfDay) -> Result<()> {
        let path = self.path(of_day.day);
        let part = path.with_extension("part");
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(&serde_json::to_vec(of_day)?)?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        self.saved = Instant::now();
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// The same, unless it was done just now.
    pub(super) fn save_soon(&mut self, of_day: &OfDay) -> Result<()> {
        if self.saved.elapsed() < PAUSE { Ok(()) } else { self.save(of_day) }
    }

    /// Forgets all days but these.
    pub(super) fn keep_only(&self, days: &[Date]) -> Result<()> {
        for day in self.days()?.into_iter().filter(|day| !days.contains(day)) {
            let path = self.path(day);
            std::fs::remove_file(&path).with_context(|| format!("deleting {}", path.display()))?;
        }
        Ok(())
    }

    /// What was found and is not told yet.
    pub(super) fn untold(&self) -> Result<Tally> {
        let mut tally = Tally::default();
        for of_day in self.days()?.into_iter().filter_map(|day| self.read(day)) {
            let is_sure = |row: &Row| Tier::parse(&row.tier).is_some_and(|tier| tier >= self.least);
            of_day.untold.into_iter().filter(is_sure).for_each(|row| tally.add_row(row));
        }
        Ok(tally)
    }

    /// From now on all of it is told.
    pub fn told(&mut self) -> Result<()> {
        for day in self.days()? {
            let Some(of_day) = self.read(day).filter(|of_day| !of_day.untold.is_empty()) else {
                continue;
            };
            self.save(&OfDay { day, untold: Vec::new(), ..of_day })?;
        }
        Ok(())
    }

    fn days(&self) -> Result<Vec<Date>> {
        let reading = || format!("reading {}", self.folder.display());
        let mut days = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(reading)? {
            let name = entry.with_context(reading)?.file_name();
            let day =
                name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse::<Date>().ok());
            days.extend(day);
        }
        Ok(days)
    }

    fn path(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}{ENDING}"))
    }
}

impl OfDay {
    pub(super) fn knows(&self, segment: &str) -> bool {
        self.segments.contains(segment)
    }

    /// A segment was looked through, and this was found.
    pub(super) fn note(&mut self, segment: String, found: Tally) {
        self.segments.insert(segment);
        let mut tally = Tally::default();
        self.untold.drain(..).for_each(|row| tally.add_row(row));
        tally.add(found);
        self.untold = tally.into_rows().collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use archive::record::Record;
    use jiff::civil::date;
    use redact::rule::{Allowed, CustomRule, Rules, Tier};

    use super::Memory;
    use crate::stored::look::{Look, Wanted};
    use crate::stored::tally::Tally;

    fn look(rules: Rules, least: Tier) -> Look {
        let wanted = Wanted { least, only: Vec::new() };
        Look { rules: Arc::new(rules), wanted, allowed: Vec::new(), keys: None }
    }

    fn found() -> Tally {
        let record = Record::blank("1".to_owned(), jiff::Timestamp::UNIX_EPOCH, "n");
        let mut tally = Tally::default();
        tally.note(&record, ("github-pat", "certain"));
        tally
    }

    #[test]
    fn what_was_looked_through_and_not_told_is_told_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let look = look(Rules::builtin(), Tier::Likely);
        let mut memory = Memory::open(folder.path(), &look).unwrap().unwrap();
        assert!(Memory::open(folder.path(), &look).unwrap().is_none(), "one at a time");
        let day = date(2026, 11, 22);
        let mut of_day = memory.day(day);
        of_day.note("a".to_owned(), found());
        memory.save(&of_day).unwrap();
        // It broke off here.
        drop(memory);
        let mut memory = Memory::open(folder.path(), &look).unwrap().unwrap();
        let of_day = memory.day(day);
        assert!(of_day.knows("a") && !of_day.knows("b"));
        assert_eq!(memory.untold().unwrap().count(), 1);
        memory.told().unwrap();
        assert_eq!(memory.untold().unwrap().count(), 0);
        assert!(memory.day(day).knows("a"));
        memory.keep_only(&[]).unwrap();
        assert!(!memory.day(day).knows("a"));
    }

    #[test]
    fn other_rules_or_a_wider_look_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let open = |look: &Look| Memory::open(folder.path(), look).unwrap().unwrap();
        let day = date(2026, 11, 22);
        let mut memory = open(&look(Rules::builtin(), Tier::Likely));
        let mut of_day = memory.day(day);
        of_day.note("a".to_owned(), found());
        memory.save(&of_day).unwrap();
        drop(memory);
        let knows = |look: &Look| open(look).day(day).knows("a");
        assert!(knows(&look(Rules::builtin(), Tier::Certain)));
        assert!(!knows(&look(Rules::builtin(), Tier::Possible)));
        let custom = CustomRule {
            id: "badge".to_owned(),
            pattern: "badge-[0-9]{4}".to_owned(),
            tier: Tier::Certain,
            example: "badge-1234".to_owned(),
        };
        let rules = Rules::new(&[custom], &Allowed::default()).unwrap();
        assert!(!knows(&look(rules, Tier::Likely)));
    }
}
