//! Finding exchanges, and reading them back.

mod column;
pub mod export;
pub mod filter;
pub mod import;
pub mod origin;
#[cfg_attr(not(feature = "parquet"), path = "audit/without_parquet.rs")]
pub mod parquet;
pub mod search;
pub mod session;
pub mod sql;
pub mod tail;

use std::fmt::Display;

use anyhow::{Context, Result, bail};
use archive::read::{Exchange, Found, Reader, View};
use archive::record::Record;
use jiff::civil::Date;

use filter::Filter;

/// Takes word of how far a long work has come.
pub type Tell<'a> = &'a dyn Fn(&dyn Display);

/// So many records more than wanted are kept before the oldest are let go.
const SLACK: usize = 4096;

/// The newest records that pass the filter, newest first; a limit of 0 means all. No more is held
/// at a time than what passes of one day.
pub async fn list(
    reader: &Reader,
    filter: &Filter,
    limit: usize,
    each: &mut dyn FnMut(Record) -> Result<()>,
    tell: Tell<'_>,
) -> Result<()> {
    let mut left = if limit == 0 { usize::MAX } else { limit };
    let view = reader.view()?;
    for day in days(&view, filter).await? {
        tell(&format_args!("reading {day}"));
        for found in of_day(reader, &view, (day, filter), left).await? {
            left -= 1;
            each(found.record)?;
        }
        if left == 0 {
            break;
        }
    }
    Ok(())
}

/// One exchange by its id, or by the beginning of it where that is enough.
pub async fn show(reader: &Reader, id: &str) -> Result<(Record, Exchange)> {
    let found = match reader.find(id).await? {
        Some(found) => found,
        None => by_prefix(reader, id).await?,
    };
    let exchange = reader.exchange(&found).await.context("reading the exchange")?;
    Ok((found.record, exchange))
}

/// The days that may have what the filter wants, newest first.
async fn days(view: &View<'_>, filter: &Filter) -> Result<Vec<Date>> {
    let mut days = view.days().await?;
    days.retain(|day| filter.takes_day(*day));
    Ok(days)
}

/// What passes of a day, newest first, so many at most.
async fn of_day(
    reader: &Reader,
    view: &View<'_>,
    (day, filter): (Date, &Filter),
    limit: usize,
) -> Result<Vec<Found>> {
    // What a refusal said is looked up only where all else passes.
    let before = if filter.refusal.is_some() { usize::MAX } else { limit };
    let mut of_day = Vec::new();
    let mut keep = |found: Found| {
        if filter.takes(&found.record) {
            of_day.push(found);
        }
        if of_day.len() >= before.saturating_add(SLACK) {
            newest(&mut of_day, before);
        }
    };
    view.records(day, &mut keep).await?;
    newest(&mut of_day, before);
    let Some(text) = &filter.refusal else { return Ok(of_day) };
    let mut said = Vec::new();
    for found in of_day {
        if said.len() < limit && refusal_says(reader, &found, text).await? {
            said.push(found);
        }
    }
    Ok(said)
}

/// What passes of a day, in no order, as it is read.
async fn each_of_day(
    reader: &Reader,
    view: &View<'_>,
    (day, filter): (Date, &Filter),
    each: &mut (dyn FnMut(Found) + Send),
) -> Result<()> {
    if filter.refusal.is_some() {
        of_day(reader, view, (day, filter), usize::MAX).await?.into_iter().for_each(each);
        return Ok(());
    }
    let mut keep = |found: Found| {
        if filter.takes(&found.record) {
            each(found);
        }
    };
    Ok(view.records(day, &mut keep).await?)
}

/// Sorts, and lets go of the oldest. Ids are `UUIDv7`: among records of one millisecond they tell the
/// order.
fn newest(found: &mut Vec<Found>, limit: usize) {
    found.sort_by(|one, other| {
        (other.record.time, &other.record.id).cmp(&(one.record.time, &one.record.id))
    });
    found.truncate(limit);
}

/// Whether a refusal has this text, in its word or in what the client was told.
async fn refusal_says(reader: &Reader, found: &Found, text: &str) -> Result<bool> {
    let text = text.to_lowercase();
    if found.record.refusal.as_ref().is_some_and(|word| word.contains(&text)) {
        return Ok(true);
    }
    let told = reader.exchange(found).await?.response_body;
    Ok(String::from_utf8_lossy(&told).to_lowercase().contains(&text))
}

async fn by_prefix(reader: &Reader, id: &str) -> Result<Found> {
    let none = || format!("no exchange has the id {id}: see `codex-proxy audit list`");
    if id.len() < 8 {
        bail!(none());
    }
    let mut all = Vec::new();
    let view = reader.view()?;
    for day in view.days().await? {
        let mut keep = |found: Found| {
            if found.record.id.starts_with(id) {
                all.push(found);
            }
        };
        view.records(day, &mut keep).await?;
    }
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => bail!(none()),
        many => bail!("{many} exchanges begin with {id}: write more of the id"),
    }
}
