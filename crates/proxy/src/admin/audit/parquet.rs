//! Records as Parquet: a column each field, with the day before them.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use archive::record::Record;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::column::{COLUMNS, Column};

/// So many records are held until they are written as one group.
const GROUP: usize = 16 << 10;

/// A file in the making.
pub struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    group: Vec<Record>,
}

impl<W: Write + Send> Table<W> {
    /// Begins a file.
    pub fn begin(out: W) -> Result<Self> {
        let fields: String = COLUMNS.iter().map(field).collect();
        let schema = parse_message_type(&format!("message record {{ {fields} }}"))?;
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { writer, group: Vec::new() })
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) -> Result<()> {
        self.group.push(record);
        if self.group.len() == GROUP { self.write_group() } else { Ok(()) }
    }

    /// Ends the file.
    pub fn end(mut self) -> Result<W> {
        if !self.group.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner().context("ending the Parquet file")
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for column in COLUMNS {
            let Some(mut writer) = group.next_column()? else { bail!("a column is missing") };
            write_column(&mut writer, column, &self.group)?;
            writer.close()?;
        }
        group.close()?;
        self.group.clear();
        Ok(())
    }
}

fn field(column: &Column) -> String {
    let kind = match column.kind {
        "INTEGER" => "int64",
        "REAL" => "double",
        _ => "binary",
    };
    let text = if kind == "binary" { " (UTF8)" } else { "" };
    format!("optional {kind} {}{text}; ", column.name)
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    records: &[Record],
) -> Result<()> {
    let values: Vec<ToSqlOutput<'_>> = records.iter().map(|record| (column.of)(record)).collect();
    let values: Vec<ValueRef<'_>> = values.iter().map(value).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(*value != ValueRef::Null)).collect();
    match writer.untyped() {
        ColumnWriter::Int64ColumnWriter(writer) => {
            let numbers: Vec<i64> = values.iter().filter_map(|v| v.as_i64().ok()).collect();
            writer.write_batch(&numbers, Some(&levels), None)?;
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            let numbers: Vec<f64> = values.iter().filter_map(|v| v.as_f64().ok()).collect();
            writer.write_batch(&numbers, Some(&levels), None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let texts = values.iter().filter_map(|value| value.as_bytes().ok());
            let texts: Vec<ByteArray> = texts.map(ByteArray::from).collect();
            writer.write_batch(&texts, Some(&levels), None)?;
        }
        _ => bail!("column {} has a type that no field has", column.name),
    }
    Ok(())
}

fn value<'a>(value: &'a ToSqlOutput<'_>) -> ValueRef<'a> {
    match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};
    use serde_json::json;

    use super::{COLUMNS, GROUP, Table};
    use crate::admin::transcript::tests::record;

    fn fields(row: &Row) -> Vec<(String, Field)> {
        row.get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect()
    }

    #[test]
    fn a_file_has_every_field_of_every_record() {
        let changes =
            json!({ "id": "x", "status": null, "cost_usd": "0.25", "tags": { "team": "blue" } });
        let mut table = Table::begin(Vec::new()).unwrap();
        for _ in 0..GROUP {
            table.push(record(&json!({}))).unwrap();
        }
        table.push(record(&changes)).unwrap();

        let file = SerializedFileReader::new(Bytes::from(table.end().unwrap())).unwrap();
        assert_eq!(file.metadata().num_row_groups(), 2);
        let rows: Vec<Row> = file.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), GROUP + 1);
        let last = fields(rows.last().unwrap());
        let names: Vec<&str> = last.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>());
        let of = |name: &str| last.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let text = |text: &str| Field::Str(text.to_owned());
        assert_eq!(
            ["day", "id", "status", "cost_usd", "cost_nanos", "tags"].map(of),
            [
                text("2026-11-22"),
                text("x"),
                Field::Null,
                Field::Double(0.25),
                Field::Long(250_000_000),
                text("{\"team\":\"blue\"}")
            ]
        );
    }
}
