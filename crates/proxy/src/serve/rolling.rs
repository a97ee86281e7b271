//! Keeps the sums of records warm, so that a report of a month is made in a moment.

use std::time::Duration;

use anyhow::{Context, Result};
use archive::segment::day_of;

use crate::clock;
use crate::config::Config;
use crate::rollup::{Rollups, is_sealed};

/// How often what is new is added up.
const PAUSE: Duration = Duration::from_mins(5);

/// What is added up, and where.
pub struct Rolling {
    config: Config,
}

impl Rolling {
    /// Of the archive of an installation.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone() }
    }

    /// Adds up what is new, again and again.
    pub async fn run(self) {
        if is_sealed(&self.config.archive) {
            return;
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Err(error) = self.add_up().await {
                tracing::warn!("records cannot be added up for reports: {error:#}");
            }
        }
    }

    /// Today, and the day before: what was published late.
    async fn add_up(&self) -> Result<()> {
        let reader = self.config.archive.reader()?;
        let config = self.config.clone();
        let runtime = tokio::runtime::Handle::current();
        // Its file is written from here, and lines are parsed: off the way of exchanges.
        let work = move || {
            let today = day_of(clock::now());
            let days = (today.yesterday().unwrap_or(today), today);
            runtime.block_on(async { Rollups::open(&config)?.bring_up(&reader, days).await })
        };
        tokio::task::spawn_blocking(work).await.context("adding up")?
    }
}
