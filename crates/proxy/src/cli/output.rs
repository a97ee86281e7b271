//! Listings: the same rows as a table, JSON or CSV.

use std::cell::Cell;
use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

/// The form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One array.
    Json,
    /// With a head line.
    Csv,
}

/// Rows with named fields.
pub struct Listing<'a> {
    /// The fields of a table, in order; JSON and CSV have all.
    pub columns: &'a [&'a str],
    /// Objects, all with the same fields.
    pub rows: Vec<Value>,
}

impl<'a> Listing<'a> {
    /// Makes a listing of serialisable rows.
    pub fn new<T: Serialize>(columns: &'a [&'a str], rows: &[T]) -> Result<Self> {
        let rows = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// Prints to stdout.
    pub fn print(&self, format: Format) -> Result<()> {
        match format {
            Format::Table => line(&self.table()),
            Format::Json => line(&serde_json::to_string_pretty(&self.rows)?),
            Format::Csv => self.csv(std::io::stdout().lock()),
        }
    }

    /// Writes CSV (RFC 4180), with a head line.
    pub fn csv(&self, to: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(to);
        let fields: Vec<&str> = match self.rows.first().and_then(Value::as_object) {
            Some(first) => first.keys().map(String::as_str).collect(),
            None => self.columns.to_vec(),
        };
        writer.write_record(&fields)?;
        for row in &self.rows {
            writer.write_record(fields.iter().map(|field| harmless(text(row, field))))?;
        }
        writer.flush().context("writing CSV")
    }

    /// A table with one head line; numbers to the right.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns);
        for row in &self.rows {
            table.add_row(self.columns.iter().map(|column| visible(&text(row, column))));
        }
        for (index, name) in self.columns.iter().enumerate() {
            let number = self.rows.first().is_some_and(|row| is_number(row, name));
            let Some(column) = table.column_mut(index) else { continue };
            column.set_padding((0, 2));
            if number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Rows that are printed as they come, so that any number of them can be. A table waits for its
/// end, because its columns must be as wide as their widest cell.
pub struct Rows<'a> {
    columns: &'a [&'a str],
    form: Form,
}

enum Form {
    Table(Vec<Value>),
    Json { out: BufWriter<Stdout>, any: bool },
    Csv { writer: Box<csv::Writer<Stdout>>, fields: Vec<String> },
}

impl<'a> Rows<'a> {
    /// Begins a listing on stdout.
    pub fn new(columns: &'a [&'a str], format: Format) -> Self {
        let form = match format {
            Format::Table => Form::Table(Vec::new()),
            Format::Json => Form::Json { out: BufWriter::new(std::io::stdout()), any: false },
            Format::Csv => {
                let writer = Box::new(csv::Writer::from_writer(std::io::stdout()));
                Form::Csv { writer, fields: Vec::new() }
            }
        };
        Self { columns, form }
    }

    /// Gives CSV its head line, even where no row comes: that of rows like this one.
    pub fn like<T: Serialize>(mut self, row: &T) -> Result<Self> {
        if let Form::Csv { writer, fields } = &mut self.form {
            let row = serde_json::to_value(row)?;
            fields.extend(row.as_object().into_iter().flat_map(Map::keys).cloned());
            writer.write_record(&*fields)?;
        }
        Ok(self)
    }

    /// Adds a row.
    pub fn push<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let row = serde_json::to_value(row)?;
        match &mut self.form {
            Form::Table(rows) => rows.push(shown(self.columns, row)),
            Form::Json { out, any } => {
                let begin = if std::mem::replace(any, true) { ",\n" } else { "[\n" };
                let row = serde_json::to_string_pretty(&row)?.replace('\n', "\n  ");
                write!(out, "{begin}  {row}")?;
            }
            Form::Csv { writer, fields } => {
                if fields.is_empty() {
                    fields.extend(row.as_object().into_iter().flat_map(Map::keys).cloned());
                    writer.write_record(&*fields)?;
                }
                writer.write_record(fields.iter().map(|field| harmless(text(&row, field))))?;
            }
        }
        Ok(())
    }

    /// Ends the listing.
    pub fn end(self) -> Result<()> {
        match self.form {
            Form::Table(rows) => line(&Listing { columns: self.columns, rows }.table()),
            Form::Json { mut out, any } => {
                writeln!(out, "{}", if any { "\n]" } else { "[]" })?;
                Ok(out.flush()?)
            }
            Form::Csv { mut writer, fields } => {
                if fields.is_empty() {
                    writer.write_record(self.columns)?;
                }
                writer.flush().context("writing CSV")
            }
        }
    }
}

/// Of a row only what a table shows.
fn shown(columns: &[&str], mut row: Value) -> Value {
    let kept = columns.iter().map(|column| {
        ((*column).to_owned(), row.get_mut(*column).map_or(Value::Null, Value::take))
    });
    Value::Object(kept.collect())
}

/// How far a long work has come: on a terminal, once it has taken a second.
pub struct Progress {
    begun: Instant,
    last: Cell<Option<Instant>>,
    is_watched: bool,
}

impl Default for Progress {
    fn default() -> Self {
        let is_watched = std::io::stderr().is_terminal();
        Self { begun: Instant::now(), last: Cell::new(None), is_watched }
    }
}

impl Progress {
    /// Beside what goes to stdout as it comes: who watches that needs no more.
    pub fn beside_stdout() -> Self {
        let mut progress = Self::default();
        progress.is_watched &= !is_watched();
        progress
    }

    /// Beside a listing in this form.
    pub fn beside(format: Format) -> Self {
        match format {
            Format::Table => Self::default(),
            Format::Json | Format::Csv => Self::beside_stdout(),
        }
    }

    /// Shows how far it has come, ten times a second at most.
    pub fn tell(&self, done: &dyn std::fmt::Display) {
        let is_late = self.begun.elapsed() > Duration::from_secs(1);
        let last = self.last.get();
        let is_due = last.is_none_or(|last| last.elapsed() > Duration::from_millis(100));
        if self.is_watched && is_late && is_due {
            self.last.set(Some(Instant::now()));
            let _ = write!(std::io::stderr(), "\r\x1b[K{done}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.get().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Prints one line, or several, to stdout.
pub fn line(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// A text without what would steer a terminal: what records say came from outside.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// Whether a person watches stdout.
pub fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}

fn is_number(row: &Value, column: &str) -> bool {
    row[column].is_number() || column == "cost_usd"
}

fn text(row: &Value, column: &str) -> String {
    match &row[column] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map_or_else(|| row[column].to_string(), |texts| texts.join(" "))
        }
        other => other.to_string(),
    }
}

/// A cell that a spreadsheet would take for a formula is marked as text: its content came from
/// outside.
fn harmless(cell: String) -> String {
    let is_amount = cell.parse::<f64>().is_ok();
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_amount {
        format!("'{cell}")
    } else {
        cell
    }
}
