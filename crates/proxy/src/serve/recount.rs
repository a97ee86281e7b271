//! What a process that was killed has spent, and not told: its records say it.

use anyhow::{Context, Result};
use archive::read::Found;
use archive::record::{Record, UsageKind};
use archive::segment::day_of;
use jiff::{SignedDuration, Timestamp};
use wire::attribution::RequestKind;
use wire::price::nanos;

use crate::budget::reservation::Spent;
use crate::budget::{Budgets, Who};
use crate::config::Config;

/// Records and reports are told the time apart; what may have been told is counted again.
const DOUBT: SignedDuration = SignedDuration::from_millis(5);

/// What was put into the archive so long before what is looked for is not read: clocks differ.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(5);

/// Counts what ended after a moment up to which all was told; tells how many exchanges that are.
pub async fn recount(
    config: &Config,
    budgets: &Budgets,
    node: &str,
    through_ms: i64,
) -> Result<u64> {
    let through = Timestamp::from_millisecond(through_ms).context("reading when all was told")?;
    let since = through.saturating_sub(DOUBT)?;
    let reader = config.archive.reader()?;
    // A long answer may have begun the day before.
    let first = day_of(since).saturating_sub(jiff::Span::new().days(1));
    let last = day_of(crate::clock::now());
    let days = first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last);
    let mut count = 0;
    let mut add = |record: &Record| {
        if record.node == node && ended(record) >= since && record.usage != UsageKind::None {
            count += 1;
            recount_one(budgets, record, config.budgets.unpriced_rate);
        }
    };
    let view = reader.view()?;
    view.spooled().for_each(&mut add);
    let put_since = since.saturating_sub(CLOCKS_APART)?.as_millisecond();
    for day in days {
        for index in view.indexes(day).await?.iter().filter(|index| index.put_ms >= put_since) {
            let mut published = |found: Found| {
                if !view.is_unpublished(&found.record.id) {
                    add(&found.record);
                }
            };
            view.each_of(index, &mut published).await?;
        }
    }
    Ok(count)
}

/// `rate` is what counts where there is no price, US dollars per million tokens.
fn recount_one(budgets: &Budgets, record: &Record, rate: Option<u64>) {
    let who = Who { key: &record.key_id, user: &record.user, team: record.team.as_deref() };
    let asks = record.request_kind != RequestKind::Prewarm.as_str();
    let flat = rate.map(|rate| record.total_tokens.saturating_mul(rate.saturating_mul(1000)));
    let spent = Spent {
        nanos: record.cost_usd.as_deref().map(nanos).or(flat),
        tokens: Some(record.total_tokens),
        requests: Some(u64::from(asks)),
    };
    budgets.recount(&who, record.model.as_deref(), record.time, &spent);
}

fn ended(record: &Record) -> Timestamp {
    let took = SignedDuration::from_millis(i64::try_from(record.took_ms).unwrap_or(i64::MAX));
    record.time.saturating_add(took).unwrap_or(Timestamp::MAX)
}
