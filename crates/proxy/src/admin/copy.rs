//! A store, copied into another.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde::Serialize;
use store::budget::{Holder, Report, Settled, Slice};
use store::{Key, Store};

/// What was copied of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Of what.
    pub what: &'static str,
    /// How many there were.
    pub found: usize,
    /// How many of them were there already.
    pub known: usize,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is copied.
    Copy,
    /// It is only looked at.
    DryRun,
}

/// Copies keys, refusals, budgets and what was spent, where it is not there already. A target that
/// knows something else of the same key or budget is refused before anything is changed.
pub async fn copy(from: Arc<dyn Store>, to: Arc<dyn Store>, mode: Mode) -> Result<Vec<Copied>> {
    let (keys, there) = (from.keys().await?, to.keys().await?);
    let fresh_keys = fresh(&keys, &there, |key| &key.id, "key")?;
    let (budgets, there) = (from.budgets().await?, to.budgets().await?);
    let fresh_budgets = fresh(&budgets, &there, |budget| &budget.id, "budget")?;
    let spent: Vec<_> = from.levels().await?.into_iter().filter(|level| level.spent > 0).collect();
    let counted = to.levels().await?;
    // What is counted there is counted: to add it again would be wrong.
    let is_new =
        |slice: &Slice| !counted.iter().any(|level| level.slice == *slice && level.spent > 0);
    let fresh_spent: Vec<_> = spent.iter().filter(|level| is_new(&level.slice)).cloned().collect();
    let copied = vec![
        Copied { what: "keys", found: keys.len(), known: keys.len() - fresh_keys.len() },
        Copied {
            what: "budgets",
            found: budgets.len(),
            known: budgets.len() - fresh_budgets.len(),
        },
        Copied { what: "counts", found: spent.len(), known: spent.len() - fresh_spent.len() },
    ];
    if mode == Mode::DryRun {
        return Ok(copied);
    }
    to.put_budgets(fresh_budgets).await?;
    if !fresh_spent.is_empty() {
        let holder = Holder { node: "store copy".to_owned(), process: "once".to_owned() };
        let lines = fresh_spent.into_iter();
        let lines = lines.map(|level| Settled { slice: level.slice, spent: level.spent, held: 0 });
        let report = Report { number: 1, through_ms: 0, lines: lines.collect() };
        to.settle(holder.clone(), report).await?;
        to.lapse(holder.node, None).await?;
    }
    copy_refusals(&*from, &*to, &fresh_keys).await?;
    // Last: as long as they are not there nobody is served there.
    to.add_keys(fresh_keys).await?;
    Ok(copied)
}

async fn copy_refusals(from: &dyn Store, to: &dyn Store, keys: &[Key]) -> Result<()> {
    for key in keys {
        let refusals = from.refusals(key.id.clone()).await?;
        to.count_refusals(refusals).await?;
    }
    Ok(())
}

/// What is not there yet.
fn fresh<T: PartialEq + Clone>(
    found: &[T],
    there: &[T],
    id: impl Fn(&T) -> &String,
    what: &str,
) -> Result<Vec<T>> {
    let mut fresh = Vec::new();
    for one in found {
        match there.iter().find(|known| id(known) == id(one)) {
            None => fresh.push(one.clone()),
            Some(known) if known == one => {}
            Some(_) => bail!(
                "the {what} {} is in both stores, and differs: nothing was copied; remove one of them first",
                id(one)
            ),
        }
    }
    Ok(fresh)
}
