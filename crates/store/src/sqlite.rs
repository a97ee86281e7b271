//! `SQLite`: the embedded engine, in write-ahead mode so that commands work beside `serve`.
//!
//! One thread owns the writing connection; a second connection answers [`Store::version`] where
//! it is asked, and a look at the write-ahead log's index tells whether it need be asked at all.

mod budgets;
mod index;

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use tokio::sync::oneshot;

use crate::budget::{Budget, Grant, Holder, Level, Report, Want};
use crate::{Error, Key, KeyState, Refusals, Store};
use index::{Index, Look};

/// Each entry brings the tables one version forward; entries are only ever added.
const MIGRATIONS: &[&str] =
    &[include_str!("sqlite/001_keys.sql"), include_str!("sqlite/002_budgets.sql")];

/// Jobs that may wait for the thread; whoever brings one more waits himself.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A store in one file.
pub struct Sqlite {
    watch: Mutex<Watch>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// The connection that notices changes, and what it saw last.
struct Watch {
    connection: Connection,
    index: Index,
    data_version: i64,
    seq: u64,
}

impl Sqlite {
    /// Opens the file, makes it if it is new, and brings its tables up to date.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut connection = connect(path)?;
        migrate(&mut connection)?;
        let watch = connect(path)?;
        let index = Index::beside(path);
        let watch = Watch { connection: watch, index, data_version: -1, seq: 0 };
        let (jobs, inbox) = sync_channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || inbox.into_iter().for_each(|job| job(&mut connection)))
            .map_err(|error| Error::Engine(error.into()))?;
        Ok(Self { watch: Mutex::new(watch), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in one transaction on the store's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.on_thread(move |connection| in_transaction(connection, work)).await
    }

    /// The same for counts, which need not survive a power loss: what is lost with it was spent in
    /// the last moment, and waiting for the disk would stand in the way of exchanges.
    async fn count<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, i64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.on_thread(move |connection| {
            connection.pragma_update(None, "synchronous", "normal")?;
            let counted = in_transaction(connection, |tx| work(tx, now_ms()));
            connection.pragma_update(None, "synchronous", "full")?;
            counted
        })
        .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may have gone: then nobody needs the answer.
            let _ = answer.send(work(connection));
        });
        let gone = || Error::Engine("the store's thread has ended".into());
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    fn version(&self) -> Result<u64, Error> {
        // A panic while the lock was held leaves nothing half done: both fields are re-read.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).version()
    }

    async fn claim(&self, fingerprint: [u8; 32]) -> Result<(), Error> {
        self.run(move |tx| claim(tx, fingerprint)).await
    }

    async fn keys(&self) -> Result<Vec<Key>, Error> {
        self.run(|tx| {
            let mut statement = tx.prepare("SELECT * FROM keys ORDER BY created_ms, id")?;
            let keys = statement.query_map([], read_key)?.collect::<Result<_, _>>()?;
            Ok(keys)
        })
        .await
    }

    async fn add_keys(&self, keys: Vec<Key>) -> Result<(), Error> {
        self.run(move |tx| {
            for key in &keys {
                add_key(tx, key)?;
            }
            changed(tx)
        })
        .await
    }

    async fn set_state(&self, ids: Vec<String>, state: KeyState) -> Result<usize, Error> {
        self.run(move |tx| {
            let mut count = 0;
            for id in &ids {
                count += tx.execute(
                    "UPDATE keys SET state = ?2 WHERE id = ?1 AND state <> 'revoked'",
                    params![id, state.as_str()],
                )?;
            }
            changed(tx)?;
            Ok(count)
        })
        .await
    }

    async fn rehash(&self, id: String, hash: [u8; 32], prefix: String) -> Result<(), Error> {
        self.run(move |tx| {
            tx.execute(
                "UPDATE keys SET hash = ?2, prefix = ?3 WHERE id = ?1",
                params![id, hash, prefix],
            )?;
            changed(tx)
        })
        .await
    }

    async fn count_refusals(&self, refusals: Vec<Refusals>) -> Result<(), Error> {
        self.run(move |tx| {
            for refused in &refusals {
                tx.execute(
                    "INSERT INTO refusals (key_id, word, count, last_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (key_id, word) DO UPDATE SET
                       count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)",
                    params![refused.key_id, refused.word, refused.count, refused.last_ms],
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn refusals(&self, key_id: String) -> Result<Vec<Refusals>, Error> {
        self.run(move |tx| {
            let mut statement = tx.prepare(
                "SELECT key_id, word, count, last_ms FROM refusals WHERE key_id = ?1
                 ORDER BY last_ms DESC, word",
            )?;
            let rows = statement.query_map([key_id], |row| {
                let (key_id, word) = (row.get(0)?, row.get(1)?);
                Ok(Refusals { key_id, word, count: row.get(2)?, last_ms: row.get(3)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn budgets(&self) -> Result<Vec<Budget>, Error> {
        self.run(budgets::all).await
    }

    async fn put_budgets(&self, budgets: Vec<Budget>) -> Result<(), Error> {
        self.run(move |tx| {
            budgets.iter().try_for_each(|budget| budgets::put(tx, budget))?;
            changed(tx)
        })
        .await
    }

    async fn remove_budget(&self, id: String) -> Result<bool, Error> {
        self.run(move |tx| {
            let was_there = budgets::remove(tx, &id)?;
            changed(tx)?;
            Ok(was_there)
        })
        .await
    }

    async fn lease(&self, holder: Holder, wants: Vec<Want>) -> Result<Vec<Grant>, Error> {
        self.count(move |tx, now_ms| budgets::lease(tx, &holder, &wants, now_ms)).await
    }

    async fn settle(&self, holder: Holder, report: Report) -> Result<Vec<Level>, Error> {
        self.count(move |tx, now_ms| budgets::settle(tx, &holder, &report, now_ms)).await
    }

    async fn told_through(&self, node: String) -> Result<Option<i64>, Error> {
        self.count(move |tx, _| budgets::told_through(tx, &node)).await
    }

    async fn lapse(&self, node: String, process: Option<String>) -> Result<(), Error> {
        self.count(move |tx, _| budgets::lapse(tx, &node, process.as_deref())).await
    }

    async fn levels(&self) -> Result<Vec<Level>, Error> {
        self.count(budgets::levels).await
    }

    async fn forget(&self, before_ms: i64) -> Result<(), Error> {
        self.count(move |tx, now_ms| budgets::forget(tx, before_ms, now_ms)).await
    }
}

/// Leases of all processes are measured by the clock of where they stand: here the machine's.
fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a database reads its own clock")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Watch {
    fn version(&mut self) -> Result<u64, Error> {
        // Looked at before: a commit in between is seen by the next look.
        if self.index.look() == Look::Same {
            return Ok(self.seq);
        }
        self.index.forget();
        // `data_version` changes when another connection has committed; only then is more read.
        let data_version =
            self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |r| r.get(0))?;
        if data_version != self.data_version {
            self.seq = self
                .connection
                .prepare_cached("SELECT seq FROM change")?
                .query_row([], |row| row.get(0))?;
            self.data_version = data_version;
        }
        self.index.remember();
        Ok(self.seq)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Full: a key that was switched off stays off, also after a power loss. Writes are rare here.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(Error::TooNew { found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "user_version", known)?;
    Ok(tx.commit()?)
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let result = work(&tx)?;
    tx.commit()?;
    Ok(result)
}

/// Tells every process that keys have changed; in the same transaction as the change.
fn changed(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.execute("UPDATE change SET seq = seq + 1", [])?;
    Ok(())
}

fn claim(tx: &Transaction<'_>, fingerprint: [u8; 32]) -> Result<(), Error> {
    let owner: Option<[u8; 32]> =
        tx.query_row("SELECT fingerprint FROM secret", [], |row| row.get(0)).optional()?;
    match owner {
        None => {
            tx.execute("INSERT INTO secret (fingerprint) VALUES (?1)", [fingerprint])?;
            Ok(())
        }
        Some(owner) if owner == fingerprint => Ok(()),
        Some(_) => Err(Error::OtherSecret),
    }
}

fn add_key(tx: &Transaction<'_>, key: &Key) -> Result<(), Error> {
    let owner: Option<String> = tx
        .query_row("SELECT user FROM keys WHERE hash = ?1", [key.hash], |row| row.get(0))
        .optional()?;
    if let Some(owner) = owner {
        return Err(Error::Exists(format!("{} of {owner}", key.prefix)));
    }
    if let Some(team) = &key.team {
        tx.execute(
            "INSERT INTO teams (name, created_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![team, key.created_ms],
        )?;
    }
    tx.execute(
        "INSERT INTO keys
           (id, hash, prefix, user, team, label, models, created_ms, expires_ms, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            key.id,
            key.hash,
            key.prefix,
            key.user,
            key.team,
            key.label,
            key.models.join(","),
            key.created_ms,
            key.expires_ms,
            key.state.as_str(),
        ],
    )?;
    Ok(())
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let models: String = row.get("models")?;
    let state: String = row.get("state")?;
    Ok(Key {
        id: row.get("id")?,
        hash: row.get("hash")?,
        prefix: row.get("prefix")?,
        user: row.get("user")?,
        team: row.get("team")?,
        label: row.get("label")?,
        models: models.split(',').filter(|glob| !glob.is_empty()).map(str::to_owned).collect(),
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        state: KeyState::of(&state),
    })
}

#[cfg(test)]
mod tests {
    use super::Sqlite;
    use std::path::PathBuf;

    use crate::contract::AsyncOpen;
    use crate::{Error, Store, contract};

    struct Here(PathBuf);

    #[async_trait::async_trait]
    impl AsyncOpen for Here {
        async fn open(&self) -> Box<dyn Store> {
            Box::new(Sqlite::open(&self.0).unwrap())
        }
    }

    #[tokio::test]
    async fn sqlite_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        contract::all(&Here(path)).await;
    }

    #[tokio::test]
    async fn a_store_of_a_newer_program_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        super::connect(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(Error::TooNew { found: 99, known: 2 })));
    }
}
