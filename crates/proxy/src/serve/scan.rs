//! Looks for secrets in what is stored, once a day: rules learn, and what passed before they did is
//! found later.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use archive::segment::day_of;
use jiff::civil::Date;
use redact::rule::Tier;

use super::route::Site;
use crate::clock;
use crate::config::Config;
use crate::config::archive::Archive;
use crate::secret::screen::ScreenKeys;
use crate::stored;
use crate::stored::look::{Look, Wanted};
use crate::stored::memory::Memory;
use crate::stored::tally::Row;

/// A start has other things to do first.
const FIRST: Duration = Duration::from_mins(2);
/// How often it is looked whether a new day has begun, or the rules have changed.
const LOOK: Duration = Duration::from_mins(20);
/// For each moment of work so many of rest: exchanges come first.
const REST: u32 = 4;
/// More rows are not said one by one.
const MOST_SAID: usize = 20;

/// What is stored, and what was done about it.
pub struct Scan {
    archive: Archive,
    data: PathBuf,
    screen_key: [u8; 32],
    /// Has the rules that are in force.
    site: Arc<Site>,
    /// The day on which it was last done, and the version of the rules.
    done: Option<(Date, u64)>,
}

impl Scan {
    /// Nothing is done yet.
    pub fn new(config: &Config, screen_key: &[u8; 32], site: Arc<Site>) -> Self {
        let (archive, data) = (config.archive.clone(), config.data.clone());
        Self { archive, data, screen_key: *screen_key, site, done: None }
    }

    /// Does it soon, every day, and when the rules have changed. To be dropped at any moment: it goes
    /// on where it was.
    pub async fn run(mut self) -> Infallible {
        tokio::time::sleep(FIRST).await;
        loop {
            let look = Arc::new(self.look());
            let now = (day_of(clock::now()), look.rules.version());
            if self.done != Some(now) {
                match self.scan(&look).await {
                    Ok(()) => self.done = Some(now),
                    Err(error) => {
                        tracing::warn!("what is stored is not looked through for now: {error:#}");
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// With the rules that are in force now.
    fn look(&self) -> Look {
        let terms = self.site.terms();
        let guard = terms.proxy.screen.guard();
        let (rules, allowed) = (guard.rules().clone(), guard.allowed().to_vec());
        let wanted = Wanted { least: Tier::Likely, only: Vec::new() };
        Look { rules, wanted, allowed, keys: Some(ScreenKeys::new(&self.screen_key)) }
    }

    async fn scan(&self, look: &Arc<Look>) -> Result<()> {
        let reader = self.archive.reader()?;
        let memory = Memory::open(&self.data, look)?;
        let mut memory = memory.context("somebody else is at it")?;
        let tally = stored::fresh(&reader, look, &mut memory, (REST, &mut |_| {})).await?;
        let count = tally.count();
        let rows: Vec<Row> = tally.into_rows().collect();
        self.tell(&rows, count);
        memory.told()
    }

    fn tell(&self, rows: &[Row], count: u64) {
        for row in rows {
            self.site.metrics.found_stored(&row.rule, &row.tier, row.count);
        }
        for row in rows.iter().take(MOST_SAID) {
            let Row { user, rule, tier, count, exchanges, first_exchange, .. } = row;
            tracing::warn!(
                user,
                rule,
                tier,
                count,
                exchanges,
                first_exchange,
                "secrets are in what is stored: see `codex-proxy audit scan`"
            );
        }
        if rows.len() > MOST_SAID {
            tracing::warn!(count, rows = rows.len(), "and more secrets are in what is stored");
        }
    }
}
