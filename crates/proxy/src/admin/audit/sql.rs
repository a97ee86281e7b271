//! Questions in SQL, over a table of records.
//!
//! The table is a private file of SQLite's that nobody else sees and that goes with the process:
//! what does not fit into its cache lies on disk, so that memory is bounded.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use archive::read::{Found, Reader};
use archive::record::Record;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value};
use wire::price::usd;

use super::column::{COLUMNS, Column};
use super::filter::Filter;
use super::{Tell, days, each_of_day};

/// Kilobytes of the table that stay in memory.
const CACHE_KIB: u32 = 128 << 10;

/// Records are handed to the table in batches of so many, of which so many wait.
const BATCH: usize = 256;
const QUEUE: usize = 8;

/// The longest query, in bytes.
const QUERY: i32 = 1 << 20;

/// A query that is known to be one question, and the table it is asked of.
pub struct Question {
    connection: Connection,
    query: String,
    /// What the answer's columns are called.
    pub columns: Vec<String>,
    /// The columns of the table that it reads; the others stay empty.
    reads: Vec<&'static Column>,
}

impl Question {
    /// Reads a query: one statement that changes nothing, over the table `records`.
    pub fn read(query: &str) -> Result<Self> {
        let mut connection = open()?;
        let seen = watch(&mut connection)?;
        let (columns, is_read_only) = {
            let statement = connection.prepare(query).context("reading the query")?;
            (names(statement.column_names()), statement.readonly())
        };
        if !is_read_only || columns.is_empty() {
            bail!("the query is no question: write one SELECT over the table records");
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut reads: Vec<&Column> =
            COLUMNS.iter().filter(|column| seen.contains(column.name)).collect();
        // So that a count, which reads no column, has rows to count.
        if reads.is_empty() {
            reads.extend(COLUMNS.first());
        }
        Ok(Self { connection, query: query.to_owned(), columns, reads })
    }

    /// Fills the table with the records that pass, beside reading them.
    pub async fn load(self, reader: &Reader, filter: &Filter, tell: Tell<'_>) -> Result<Self> {
        let (to, batches) = sync_channel(QUEUE);
        let thread = std::thread::spawn(move || self.fill(&batches));
        let read = read(reader, filter, to, tell).await;
        let filled = thread.join().map_err(|_| anyhow!("filling the table of records panicked"))?;
        // Where filling failed, reading stopped for that reason.
        let filled = filled.context("filling the table of records")?;
        read?;
        Ok(filled)
    }

    fn fill(mut self, batches: &Receiver<Vec<Record>>) -> rusqlite::Result<Self> {
        self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
        self.connection.execute_batch("BEGIN")?;
        let mut statement = self.connection.prepare(&self.insertion())?;
        for batch in batches {
            for record in &batch {
                insert(&mut statement, &self.reads, record)?;
            }
        }
        drop(statement);
        self.connection.execute_batch("COMMIT")?;
        Ok(self)
    }

    /// Asks, and hands over each row as an object.
    pub fn ask(mut self, each: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
        self.connection.pragma_update(None, "query_only", true)?;
        watch(&mut self.connection)?;
        let mut statement = self.connection.prepare(&self.query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next().context("asking the records")? {
            each(object(&self.columns, row)?)?;
        }
        Ok(())
    }

    fn insertion(&self) -> String {
        let names: Vec<&str> = self.reads.iter().map(|column| column.name).collect();
        let places = vec!["?"; names.len()].join(", ");
        let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
        format!("INSERT INTO records ({}) VALUES ({places})", names.join(", "))
    }
}

/// Reads the records that pass, and hands them over in batches, until nobody takes them.
async fn read(
    reader: &Reader,
    filter: &Filter,
    to: SyncSender<Vec<Record>>,
    tell: Tell<'_>,
) -> Result<()> {
    let view = reader.view()?;
    let mut count = 0u64;
    for day in days(&view, filter).await? {
        let mut batch = Vec::with_capacity(BATCH);
        let mut keep = |found: Found| {
            count += 1;
            batch.push(found.record);
            if batch.len() == BATCH {
                let _ = to.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
        };
        each_of_day(reader, &view, (day, filter), &mut keep).await?;
        if to.send(batch).is_err() {
            break;
        }
        tell(&format_args!("{day}: {count} records read"));
    }
    Ok(())
}

fn open() -> Result<Connection> {
    let connection = Connection::open("").context("making a table of records")?;
    let columns: Vec<String> =
        COLUMNS.iter().map(|column| format!("\"{}\" {}", column.name, column.kind)).collect();
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIB};
         CREATE TABLE records ({})",
        columns.join(", ")
    ))?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, QUERY)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("usd", 1, flags, |arguments| {
        let nanos: Option<u64> = arguments.get(0)?;
        Ok(nanos.map(usd))
    })?;
    Ok(connection)
}

/// From now on only questions may be asked; notes which columns they read.
fn watch(connection: &mut Connection) -> Result<Arc<Mutex<BTreeSet<String>>>> {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let noted = seen.clone();
    let decide = move |context: AuthContext<'_>| match context.action {
        AuthAction::Read { column_name, .. } => {
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(column_name.to_owned());
            Authorization::Allow
        }
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    };
    connection.authorizer(Some(decide))?;
    Ok(seen)
}

fn insert(
    statement: &mut rusqlite::Statement<'_>,
    columns: &[&Column],
    record: &Record,
) -> rusqlite::Result<()> {
    for (index, column) in columns.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, (column.of)(record))?;
    }
    statement.raw_execute()?;
    Ok(())
}

/// Names for the fields of a row, each of its own.
fn names<'a>(columns: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let same = names.iter().filter(|name| name.split(':').next() == Some(column)).count();
        names.push(if same == 0 { column.to_owned() } else { format!("{column}:{same}") });
    }
    names
}

fn object(columns: &[String], row: &Row<'_>) -> Result<Value> {
    let mut object = Map::new();
    for (index, name) in columns.iter().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            ValueRef::Blob(bytes) => format!("{bytes:02x?}").into(),
        };
        object.insert(name.clone(), value);
    }
    Ok(Value::Object(object))
}
