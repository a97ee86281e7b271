//! Tables, brought forward.
//!
//! A migration only adds, so that a node of the version before goes on beside it: columns with a
//! default, tables, functions under a new name. One that an older node cannot live with raises
//! `needs`, which is the least version of a program that may use the store.

use deadpool_postgres::Object;

use crate::Error;

/// Each entry brings the tables one version forward; entries are only ever added.
const MIGRATIONS: &[&str] = &[include_str!("001_store.sql")];
/// The least version that a program must know to live with the newest tables.
const NEEDS: i64 = 1;
/// Whoever migrates holds this lock: an arbitrary number that nobody else takes.
const LOCK: i64 = 0x636f_6465_785f_7078;

/// Brings the tables up to date, one process at a time.
pub(super) async fn migrate(client: &mut Object) -> Result<(), Error> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    tx.batch_execute(
        "CREATE SCHEMA IF NOT EXISTS codex_proxy;
         CREATE TABLE IF NOT EXISTS codex_proxy.version (
           one boolean PRIMARY KEY DEFAULT true CHECK (one), found bigint NOT NULL, needs bigint NOT NULL);
         INSERT INTO codex_proxy.version (found, needs) VALUES (0, 0) ON CONFLICT DO NOTHING;",
    )
    .await?;
    let row = tx.query_one("SELECT found, needs FROM codex_proxy.version", &[]).await?;
    let (found, needs): (i64, i64) = (row.get(0), row.get(1));
    if needs > known {
        return Err(Error::TooNew { found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.batch_execute(migration).await?;
    }
    if found < known {
        tx.execute("UPDATE codex_proxy.version SET found = $1, needs = $2", &[&known, &NEEDS])
            .await?;
    }
    Ok(tx.commit().await?)
}
