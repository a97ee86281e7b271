//! Sums in a file of `SQLite`.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use archive::read::index::Index;
use jiff::civil::Date;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::{Group, Groups, Sums};

/// Whoever finds another version begins anew.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE files (
      day TEXT NOT NULL, name TEXT NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (day, name)
    ) WITHOUT ROWID;
    CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE sums (
      day TEXT NOT NULL, hour INTEGER NOT NULL, user INTEGER NOT NULL, team INTEGER NOT NULL,
      model INTEGER NOT NULL, key INTEGER NOT NULL, repo INTEGER NOT NULL, session INTEGER NOT NULL,
      client INTEGER NOT NULL,
      records INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
      unpriced INTEGER NOT NULL, estimated INTEGER NOT NULL, input INTEGER NOT NULL,
      cached INTEGER NOT NULL, written INTEGER NOT NULL, output INTEGER NOT NULL,
      reasoning INTEGER NOT NULL, cost INTEGER NOT NULL,
      PRIMARY KEY (day, hour, user, team, model, key, repo, session, client)
    ) WITHOUT ROWID;";

/// The file.
pub(super) struct Kept {
    connection: Connection,
    /// Whoever has locked this file adds up; none: nobody else can.
    lock: Option<PathBuf>,
    /// Texts by their number, and the other way round: those that were met.
    texts: HashMap<i64, String>,
    numbers: HashMap<String, i64>,
}

impl Kept {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What is lost with the power is added up again.
        connection.pragma_update(None, "synchronous", "normal")?;
        make(&mut connection)?;
        Ok(Self::over(connection, Some(path.with_extension("lock"))))
    }

    pub(super) fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        make(&mut connection)?;
        Ok(Self::over(connection, None))
    }

    fn over(connection: Connection, lock: Option<PathBuf>) -> Self {
        Self { connection, lock, texts: HashMap::new(), numbers: HashMap::new() }
    }

    /// Waits until nobody else adds up, and keeps others waiting until it is dropped.
    ///
    /// Who saw the spool before a file was put must not find that file added up by somebody who looked
    /// later: he would count it twice.
    pub(super) fn alone(&self) -> Result<Option<File>> {
        let Some(path) = &self.lock else { return Ok(None) };
        let locking = || format!("locking {}", path.display());
        let file = File::create(path).with_context(locking)?;
        file.lock().with_context(locking)?;
        Ok(Some(file))
    }

    /// Whether anything of a day is kept.
    pub(super) fn knows(&self, day: Date) -> Result<bool> {
        let mut statement =
            self.connection.prepare_cached("SELECT 1 FROM files WHERE day = ?1 LIMIT 1")?;
        Ok(statement.exists([day.to_string()])?)
    }

    /// The files of a day that are added up, with their marks.
    pub(super) fn files(&self, day: Date) -> Result<HashMap<String, String>> {
        let mut statement =
            self.connection.prepare_cached("SELECT name, mark FROM files WHERE day = ?1")?;
        let rows = statement.query_map([day.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets a day.
    pub(super) fn forget(&mut self, day: Date) -> Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in ["files", "sums"] {
            tx.execute(&format!("DELETE FROM {table} WHERE day = ?1"), [day.to_string()])?;
        }
        Ok(tx.commit()?)
    }

    /// Adds the sums of a file, once. Not where another process has done so, or the file changed.
    pub(super) fn add(&mut self, day: Date, index: &Index, groups: &Groups) -> Result<bool> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let insert =
            "INSERT INTO files (day, name, mark) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let day = day.to_string();
        if tx.execute(insert, params![day, index.name, index.mark])? == 0 {
            let mark: String = tx.query_row(
                "SELECT mark FROM files WHERE day = ?1 AND name = ?2",
                params![day, index.name],
                |row| row.get(0),
            )?;
            return Ok(mark == index.mark);
        }
        // Numbers that are given here are true only once it is committed.
        let mut numbers = std::mem::take(&mut self.numbers);
        for (group, sums) in groups {
            add_group(&tx, &mut numbers, (&day, group), sums)?;
        }
        tx.commit()?;
        self.numbers = numbers;
        Ok(true)
    }

    /// Hands out the groups of a day.
    pub(super) fn each(
        &mut self,
        day: Date,
        each: &mut (dyn FnMut(&Group, &Sums) + Send),
    ) -> Result<()> {
        let Self { connection, texts, .. } = self;
        let mut statement = connection.prepare_cached("SELECT * FROM sums WHERE day = ?1")?;
        let mut rows = statement.query([day.to_string()])?;
        while let Some(row) = rows.next()? {
            let group = read_group(connection, texts, row)?;
            each(&group, &read_sums(row)?);
        }
        Ok(())
    }
}

fn make(connection: &mut Connection) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    ensure!(found <= VERSION, "a newer program has made it");
    if found < VERSION {
        tx.execute_batch(TABLES).context("making tables")?;
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(tx.commit()?)
}

fn add_group(
    tx: &Transaction<'_>,
    numbers: &mut HashMap<String, i64>,
    (day, group): (&str, &Group),
    sums: &Sums,
) -> Result<()> {
    let Group { hour, user, team, model, key, repo, session, client } = group;
    let mut of = |text: &String| number(tx, numbers, text);
    let names = [of(user)?, of(team)?, of(model)?, of(key)?, of(repo)?, of(session)?, of(client)?];
    let [user, team, model, key, repo, session, client] = names;
    let [
        records,
        requests,
        errors,
        unpriced,
        estimated,
        input,
        cached,
        written,
        output,
        reasoning,
        cost,
    ] = sums.all();
    tx.prepare_cached(
        "INSERT INTO sums VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
           ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT DO UPDATE SET records = records + excluded.records,
           requests = requests + excluded.requests, errors = errors + excluded.errors,
           unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated,
           input = input + excluded.input, cached = cached + excluded.cached,
           written = written + excluded.written, output = output + excluded.output,
           reasoning = reasoning + excluded.reasoning, cost = cost + excluded.cost",
    )?
    .execute(params![
        day, hour, user, team, model, key, repo, session, client, records, requests, errors,
        unpriced, estimated, input, cached, written, output, reasoning, cost
    ])?;
    Ok(())
}

/// The number of a text, which is given where it has none.
fn number(tx: &Transaction<'_>, numbers: &mut HashMap<String, i64>, text: &str) -> Result<i64> {
    if let Some(number) = numbers.get(text) {
        return Ok(*number);
    }
    let known = tx
        .prepare_cached("SELECT id FROM texts WHERE text = ?1")?
        .query_map([text], |row| row.get(0))?
        .next()
        .transpose()?;
    let number = if let Some(number) = known {
        number
    } else {
        tx.prepare_cached("INSERT INTO texts (text) VALUES (?1)")?.execute([text])?;
        tx.last_insert_rowid()
    };
    numbers.insert(text.to_owned(), number);
    Ok(number)
}

fn read_group(
    connection: &Connection,
    texts: &mut HashMap<i64, String>,
    row: &Row<'_>,
) -> Result<Group> {
    let mut text = |at: usize| -> Result<String> {
        let id: i64 = row.get(at)?;
        if let Some(text) = texts.get(&id) {
            return Ok(text.clone());
        }
        let text: String = connection
            .prepare_cached("SELECT text FROM texts WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        texts.insert(id, text.clone());
        Ok(text)
    };
    Ok(Group {
        hour: row.get(1)?,
        user: text(2)?,
        team: text(3)?,
        model: text(4)?,
        key: text(5)?,
        repo: text(6)?,
        session: text(7)?,
        client: text(8)?,
    })
}

fn read_sums(row: &Row<'_>) -> Result<Sums> {
    let mut all = [0; 11];
    for (at, value) in all.iter_mut().enumerate() {
        *value = row.get(9 + at)?;
    }
    Ok(Sums::from_all(all))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::Kept;

    #[test]
    fn one_adds_up_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollups.db");
        let first = Kept::open(&path).unwrap().alone().unwrap();
        let (done, other) = channel();
        let second = std::thread::spawn(move || {
            let alone = Kept::open(&path).unwrap().alone().unwrap();
            done.send(()).unwrap();
            drop(alone);
        });
        assert!(other.recv_timeout(Duration::from_millis(100)).is_err(), "it does not wait");
        drop(first);
        other.recv_timeout(Duration::from_secs(10)).unwrap();
        second.join().unwrap();
    }
}
