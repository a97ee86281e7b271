//! Budgets and their counts in PostgreSQL: a statement a call, which a function there answers.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::Row;

use super::{globs, signed, unsigned};
use crate::Error;
use crate::budget::{
    Budget, Grant, Holder, LEASE, Level, Raise, Report, Scope, Slice, Unit, Want, Window,
};

/// All budgets, oldest first. One whose words a newer program wrote is left out.
pub(super) async fn all(client: &Object) -> Result<Vec<Budget>, Error> {
    let select = "SELECT * FROM codex_proxy.budgets ORDER BY created_ms, id COLLATE \"C\"";
    let statement = client.prepare_cached(select).await?;
    Ok(client.query(&statement, &[]).await?.iter().filter_map(read).collect())
}

/// Makes a budget, or puts another in the place of the one of this id.
pub(super) async fn put(tx: &Transaction<'_>, budget: &Budget) -> Result<(), Error> {
    let (scope, name) = budget.scope.parts();
    tx.execute(
        "INSERT INTO codex_proxy.budgets (id, scope, name, models, amount, unit, \"window\", zone,
           raise_by, raise_until_ms, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, name = excluded.name,
           models = excluded.models, amount = excluded.amount, unit = excluded.unit,
           \"window\" = excluded.\"window\", zone = excluded.zone, raise_by = excluded.raise_by,
           raise_until_ms = excluded.raise_until_ms, created_ms = excluded.created_ms",
        &[
            &budget.id,
            &scope,
            &name,
            &budget.models.join(","),
            &signed(budget.amount),
            &budget.unit.as_str(),
            &budget.window.as_str(),
            &budget.zone,
            &budget.raise.map(|raise| signed(raise.by)),
            &budget.raise.map(|raise| raise.until_ms),
            &budget.created_ms,
        ],
    )
    .await?;
    Ok(())
}

/// Removes a budget with all that was counted, and tells how many there were.
pub(super) async fn remove(tx: &Transaction<'_>, id: &str) -> Result<u64, Error> {
    tx.execute("DELETE FROM codex_proxy.spent WHERE budget = $1", &[&id]).await?;
    tx.execute("DELETE FROM codex_proxy.leases WHERE budget = $1", &[&id]).await?;
    Ok(tx.execute("DELETE FROM codex_proxy.budgets WHERE id = $1", &[&id]).await?)
}

/// Grants what there is.
pub(super) async fn lease(
    client: &Object,
    holder: &Holder,
    wants: &[Want],
) -> Result<Vec<Grant>, Error> {
    let (budgets, begins) = columns(wants.iter().map(|want| &want.slice));
    let limits: Vec<i64> = wants.iter().map(|want| signed(want.limit)).collect();
    let leasts: Vec<i64> = wants.iter().map(|want| signed(want.least)).collect();
    let mosts: Vec<i64> = wants.iter().map(|want| signed(want.most)).collect();
    let statement = client
        .prepare_cached(
            "SELECT amount, spent, leased FROM codex_proxy.lease_1($1, $2, $3, $4, $5, $6, $7, $8)
             ORDER BY place",
        )
        .await?;
    let rows = client
        .query(
            &statement,
            &[
                &holder.node,
                &holder.process,
                &lease_ms(),
                &budgets,
                &begins,
                &limits,
                &leasts,
                &mosts,
            ],
        )
        .await?;
    let grants = rows.iter().zip(wants).map(|(row, want)| Grant {
        amount: unsigned(row.get(0)),
        level: level(&want.slice, row.get(1), row.get(2)),
    });
    Ok(grants.collect())
}

/// Takes a report, and tells how it stands after each line.
pub(super) async fn settle(
    client: &Object,
    holder: &Holder,
    report: &Report,
) -> Result<Vec<Level>, Error> {
    let (budgets, begins) = columns(report.lines.iter().map(|line| &line.slice));
    let spents: Vec<i64> = report.lines.iter().map(|line| signed(line.spent)).collect();
    let helds: Vec<i64> = report.lines.iter().map(|line| signed(line.held)).collect();
    let statement = client
        .prepare_cached(
            "SELECT spent, leased FROM codex_proxy.settle_1($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ORDER BY place",
        )
        .await?;
    let rows = client
        .query(
            &statement,
            &[
                &holder.node,
                &holder.process,
                &lease_ms(),
                &signed(report.number),
                &report.through_ms,
                &budgets,
                &begins,
                &spents,
                &helds,
            ],
        )
        .await?;
    let lines = rows.iter().zip(&report.lines);
    Ok(lines.map(|(row, line)| level(&line.slice, row.get(0), row.get(1))).collect())
}

/// How all budgets stand in the windows that are counted.
pub(super) async fn levels(client: &Object) -> Result<Vec<Level>, Error> {
    let select = "WITH held AS (
        SELECT budget, begins_ms, sum(amount)::bigint AS amount
        FROM codex_proxy.leases JOIN codex_proxy.holders USING (node, process)
        WHERE expires_ms > floor(extract(epoch FROM clock_timestamp()) * 1000)
        GROUP BY budget, begins_ms)
      SELECT budget, begins_ms, coalesce(s.amount, 0), coalesce(h.amount, 0)
      FROM codex_proxy.spent s FULL JOIN held h USING (budget, begins_ms)";
    let rows = client.query(select, &[]).await?;
    let read = |row: &Row| {
        let slice = Slice { budget: row.get(0), begins_ms: row.get(1) };
        level(&slice, row.get(2), row.get(3))
    };
    Ok(rows.iter().map(read).collect())
}

/// Forgets what was counted in windows that are long over, and leases that have lapsed.
pub(super) async fn forget(client: &Object, before_ms: i64) -> Result<(), Error> {
    for table in ["spent", "leases"] {
        let delete =
            format!("DELETE FROM codex_proxy.{table} WHERE begins_ms > 0 AND begins_ms < $1");
        client.execute(&delete, &[&before_ms]).await?;
    }
    client
        .execute(
            "DELETE FROM codex_proxy.leases l WHERE NOT EXISTS (SELECT 1 FROM codex_proxy.holders h
               WHERE h.node = l.node AND h.process = l.process
                 AND h.expires_ms > floor(extract(epoch FROM clock_timestamp()) * 1000))",
            &[],
        )
        .await?;
    // Longer than their leases: what they have not told is asked for when their node begins anew.
    client.execute("DELETE FROM codex_proxy.holders WHERE expires_ms <= $1", &[&before_ms]).await?;
    Ok(())
}

fn columns<'s>(slices: impl Iterator<Item = &'s Slice>) -> (Vec<&'s str>, Vec<i64>) {
    slices.map(|slice| (slice.budget.as_str(), slice.begins_ms)).unzip()
}

fn level(slice: &Slice, spent: i64, leased: i64) -> Level {
    Level { slice: slice.clone(), spent: unsigned(spent), leased: unsigned(leased) }
}

fn lease_ms() -> i64 {
    i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX)
}

fn read(row: &Row) -> Option<Budget> {
    let raise = row.get::<_, Option<i64>>("raise_by").zip(row.get("raise_until_ms"));
    Some(Budget {
        id: row.get("id"),
        scope: Scope::of(row.get("scope"), row.get("name"))?,
        models: globs(row.get("models")),
        amount: unsigned(row.get("amount")),
        unit: Unit::of(row.get("unit"))?,
        window: Window::of(row.get("window"))?,
        zone: row.get("zone"),
        raise: raise.map(|(by, until_ms)| Raise { by: unsigned(by), until_ms }),
        created_ms: row.get("created_ms"),
    })
}
