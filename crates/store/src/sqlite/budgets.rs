//! Budgets and their counts in `SQLite`. Each function runs in the caller's transaction, which is the
//! only one that writes: so what it has read still holds when it writes.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::Error;
use crate::budget::{
    Budget, Grant, Holder, LEASE, Level, Raise, Report, Scope, Settled, Slice, Unit, Want, Window,
};

/// All budgets, oldest first. One whose words a newer program wrote is left out.
pub(super) fn all(tx: &Transaction<'_>) -> Result<Vec<Budget>, Error> {
    let mut statement = tx.prepare_cached("SELECT * FROM budgets ORDER BY created_ms, id")?;
    let budgets = statement.query_map([], read)?.collect::<Result<Vec<_>, _>>()?;
    Ok(budgets.into_iter().flatten().collect())
}

/// Makes a budget, or puts another in the place of the one of this id.
pub(super) fn put(tx: &Transaction<'_>, budget: &Budget) -> Result<(), Error> {
    let (scope, name) = budget.scope.parts();
    tx.execute(
        "INSERT OR REPLACE INTO budgets
           (id, scope, name, models, amount, unit, window, zone, raise_by, raise_until_ms, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            budget.id,
            scope,
            name,
            budget.models.join(","),
            budget.amount,
            budget.unit.as_str(),
            budget.window.as_str(),
            budget.zone,
            budget.raise.map(|raise| raise.by),
            budget.raise.map(|raise| raise.until_ms),
            budget.created_ms,
        ],
    )?;
    Ok(())
}

/// Removes a budget with all that was counted, and tells whether there was one.
pub(super) fn remove(tx: &Transaction<'_>, id: &str) -> Result<bool, Error> {
    tx.execute("DELETE FROM spent WHERE budget = ?1", [id])?;
    tx.execute("DELETE FROM leases WHERE budget = ?1", [id])?;
    Ok(tx.execute("DELETE FROM budgets WHERE id = ?1", [id])? > 0)
}

/// Grants what there is.
pub(super) fn lease(
    tx: &Transaction<'_>,
    holder: &Holder,
    wants: &[Want],
    now_ms: i64,
) -> Result<Vec<Grant>, Error> {
    renew(tx, holder, now_ms)?;
    let mut grants = Vec::with_capacity(wants.len());
    for Want { slice, limit, least, most } in wants {
        let Level { spent, leased, .. } = level(tx, slice, now_ms)?;
        let left = limit.saturating_sub(spent).saturating_sub(leased);
        let amount = if left < *least { 0 } else { left.min(*most) };
        if amount > 0 {
            tx.prepare_cached(
                "INSERT INTO leases (budget, begins_ms, node, process, amount)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            )?
            .execute(params![
                slice.budget,
                slice.begins_ms,
                holder.node,
                holder.process,
                amount
            ])?;
        }
        let level = Level { slice: slice.clone(), spent, leased: leased + amount };
        grants.push(Grant { amount, level });
    }
    Ok(grants)
}

/// Takes a report, and tells how it stands after each line.
pub(super) fn settle(
    tx: &Transaction<'_>,
    holder: &Holder,
    report: &Report,
    now_ms: i64,
) -> Result<Vec<Level>, Error> {
    renew(tx, holder, now_ms)?;
    let is_new = tx
        .prepare_cached(
            "UPDATE holders SET report = ?3, through_ms = ?4
             WHERE node = ?1 AND process = ?2 AND report < ?3",
        )?
        .execute(params![holder.node, holder.process, report.number, report.through_ms])?;
    let mut levels = Vec::with_capacity(report.lines.len());
    for line in &report.lines {
        if is_new > 0 {
            settle_line(tx, holder, line)?;
        }
        levels.push(level(tx, &line.slice, now_ms)?);
    }
    Ok(levels)
}

fn settle_line(tx: &Transaction<'_>, holder: &Holder, line: &Settled) -> Result<(), Error> {
    let Settled { slice, spent, held } = line;
    tx.prepare_cached(
        "INSERT INTO spent (budget, begins_ms, amount) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
    )?
    .execute(params![slice.budget, slice.begins_ms, spent])?;
    // Only downwards: where the lease has lapsed, others may have it by now.
    tx.prepare_cached(
        "UPDATE leases SET amount = min(amount, ?5)
         WHERE budget = ?1 AND begins_ms = ?2 AND node = ?3 AND process = ?4",
    )?
    .execute(params![slice.budget, slice.begins_ms, holder.node, holder.process, held])?;
    Ok(())
}

/// Up to when a node's processes have told what was spent.
pub(super) fn told_through(tx: &Transaction<'_>, node: &str) -> Result<Option<i64>, Error> {
    let latest = "SELECT max(through_ms) FROM holders WHERE node = ?1";
    Ok(tx.query_row(latest, [node], |row| row.get(0))?)
}

/// Forgets a node's leases, or those of one process.
pub(super) fn lapse(tx: &Transaction<'_>, node: &str, process: Option<&str>) -> Result<(), Error> {
    for table in ["leases", "holders"] {
        let statement =
            format!("DELETE FROM {table} WHERE node = ?1 AND (?2 IS NULL OR process = ?2)");
        tx.execute(&statement, params![node, process])?;
    }
    Ok(())
}

/// How all budgets stand in the windows that are counted.
pub(super) fn levels(tx: &Transaction<'_>, now_ms: i64) -> Result<Vec<Level>, Error> {
    let mut statement = tx.prepare_cached(
        "SELECT budget, begins_ms FROM spent UNION SELECT budget, begins_ms FROM leases",
    )?;
    let slices =
        statement.query_map([], |row| Ok(Slice { budget: row.get(0)?, begins_ms: row.get(1)? }))?;
    slices.map(|slice| level(tx, &slice?, now_ms)).collect()
}

/// Forgets what was counted in windows that are long over.
pub(super) fn forget(tx: &Transaction<'_>, before_ms: i64, now_ms: i64) -> Result<(), Error> {
    for table in ["spent", "leases"] {
        let statement = format!("DELETE FROM {table} WHERE begins_ms > 0 AND begins_ms < ?1");
        tx.execute(&statement, [before_ms])?;
    }
    tx.execute(
        "DELETE FROM leases WHERE NOT EXISTS (SELECT 1 FROM holders
           WHERE holders.node = leases.node AND holders.process = leases.process AND expires_ms > ?1)",
        [now_ms],
    )?;
    // Longer than their leases: what they have not told is asked for when their node begins anew.
    tx.execute("DELETE FROM holders WHERE expires_ms <= ?1", [before_ms])?;
    Ok(())
}

fn level(tx: &Transaction<'_>, slice: &Slice, now_ms: i64) -> Result<Level, Error> {
    let spent = tx
        .prepare_cached("SELECT amount FROM spent WHERE budget = ?1 AND begins_ms = ?2")?
        .query_row(params![slice.budget, slice.begins_ms], |row| row.get(0))
        .optional()?;
    let leased = tx
        .prepare_cached(
            "SELECT coalesce(sum(amount), 0) FROM leases JOIN holders USING (node, process)
             WHERE budget = ?1 AND begins_ms = ?2 AND expires_ms > ?3",
        )?
        .query_row(params![slice.budget, slice.begins_ms, now_ms], |row| row.get(0))?;
    Ok(Level { slice: slice.clone(), spent: spent.unwrap_or(0), leased })
}

fn renew(tx: &Transaction<'_>, holder: &Holder, now_ms: i64) -> Result<(), Error> {
    let lease_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    // What had lapsed does not come back: others may have leased it since.
    tx.prepare_cached(
        "DELETE FROM leases WHERE node = ?1 AND process = ?2 AND EXISTS (SELECT 1 FROM holders
           WHERE node = ?1 AND process = ?2 AND expires_ms <= ?3)",
    )?
    .execute(params![holder.node, holder.process, now_ms])?;
    tx.prepare_cached(
        "INSERT INTO holders (node, process, expires_ms, report, through_ms)
         VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT DO UPDATE SET expires_ms = excluded.expires_ms",
    )?
    .execute(params![holder.node, holder.process, now_ms.saturating_add(lease_ms), now_ms])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Budget>> {
    let (scope, name): (String, String) = (row.get("scope")?, row.get("name")?);
    let (unit, window): (String, String) = (row.get("unit")?, row.get("window")?);
    let words = (Scope::of(&scope, name), Unit::of(&unit), Window::of(&window));
    let (Some(scope), Some(unit), Some(window)) = words else { return Ok(None) };
    let models: String = row.get("models")?;
    let raise: (Option<u64>, Option<i64>) = (row.get("raise_by")?, row.get("raise_until_ms")?);
    Ok(Some(Budget {
        id: row.get("id")?,
        scope,
        models: models.split(',').filter(|glob| !glob.is_empty()).map(str::to_owned).collect(),
        amount: row.get("amount")?,
        unit,
        window,
        zone: row.get("zone")?,
        raise: raise.0.zip(raise.1).map(|(by, until_ms)| Raise { by, until_ms }),
        created_ms: row.get("created_ms")?,
    }))
}
