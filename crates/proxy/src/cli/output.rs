//! Listings: the same rows as a table, JSON or CSV.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

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
pub struct Listing {
    /// The fields of a table, in order; JSON and CSV have all.
    pub columns: &'static [&'static str],
    /// Objects, all with the same fields.
    pub rows: Vec<Value>,
}

impl Listing {
    /// Makes a listing of serialisable rows.
    pub fn new<T: Serialize>(columns: &'static [&'static str], rows: &[T]) -> Result<Self> {
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
