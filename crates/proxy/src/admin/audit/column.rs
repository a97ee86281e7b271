//! The columns of the table of records.

use archive::record::Record;
use archive::segment::day_of;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use serde::Serialize;
use wire::price::nanos;

/// A column.
pub(super) struct Column {
    /// Its name.
    pub(super) name: &'static str,
    /// Its type, as SQLite calls it.
    pub(super) kind: &'static str,
    /// What a record has there.
    pub(super) of: fn(&Record) -> ToSqlOutput<'_>,
}

const ABSENT: ToSqlOutput<'static> = ToSqlOutput::Owned(Value::Null);

/// The fields of a record in order, with its day before and whole nano-dollars beside the cost.
pub(super) const COLUMNS: &[Column] = &[
    Column { name: "day", kind: "TEXT", of: |record| day_of(record.time).to_string().into() },
    Column { name: "id", kind: "TEXT", of: |record| text(&record.id) },
    Column { name: "time", kind: "TEXT", of: |record| format!("{:.3}", record.time).into() },
    Column { name: "key_id", kind: "TEXT", of: |record| text(&record.key_id) },
    Column { name: "user", kind: "TEXT", of: |record| text(&record.user) },
    Column { name: "team", kind: "TEXT", of: |record| record.team.as_deref().map_or(ABSENT, text) },
    Column { name: "endpoint", kind: "TEXT", of: |record| text(&record.endpoint) },
    Column { name: "transport", kind: "TEXT", of: |record| text(record.transport.as_str()) },
    Column { name: "request_kind", kind: "TEXT", of: |record| text(&record.request_kind) },
    Column {
        name: "model",
        kind: "TEXT",
        of: |record| record.model.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "upstream_model",
        kind: "TEXT",
        of: |record| record.upstream_model.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "service_tier",
        kind: "TEXT",
        of: |record| record.service_tier.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "status",
        kind: "INTEGER",
        of: |record| record.status.map_or(ABSENT, Into::into),
    },
    Column { name: "outcome", kind: "TEXT", of: |record| text(record.outcome.as_str()) },
    Column { name: "source", kind: "TEXT", of: |record| text(record.source.as_str()) },
    Column {
        name: "refusal",
        kind: "TEXT",
        of: |record| record.refusal.as_deref().map_or(ABSENT, text),
    },
    Column { name: "altered", kind: "TEXT", of: |record| text(record.altered.as_str()) },
    Column { name: "input_tokens", kind: "INTEGER", of: |record| number(record.input_tokens) },
    Column {
        name: "cached_input_tokens",
        kind: "INTEGER",
        of: |record| number(record.cached_input_tokens),
    },
    Column {
        name: "cache_write_tokens",
        kind: "INTEGER",
        of: |record| number(record.cache_write_tokens),
    },
    Column { name: "output_tokens", kind: "INTEGER", of: |record| number(record.output_tokens) },
    Column {
        name: "reasoning_tokens",
        kind: "INTEGER",
        of: |record| number(record.reasoning_tokens),
    },
    Column { name: "total_tokens", kind: "INTEGER", of: |record| number(record.total_tokens) },
    Column { name: "usage", kind: "TEXT", of: |record| text(record.usage.as_str()) },
    Column { name: "cost_usd", kind: "REAL", of: |record| dollars(record) },
    Column {
        name: "cost_nanos",
        kind: "INTEGER",
        of: |record| record.cost_usd.as_deref().map_or(ABSENT, |usd| number(nanos(usd))),
    },
    Column { name: "priced", kind: "INTEGER", of: |record| record.priced.into() },
    Column { name: "took_ms", kind: "INTEGER", of: |record| number(record.took_ms) },
    Column {
        name: "first_byte_ms",
        kind: "INTEGER",
        of: |record| record.first_byte_ms.map_or(ABSENT, number),
    },
    Column { name: "request_bytes", kind: "INTEGER", of: |record| number(record.request_bytes) },
    Column { name: "response_bytes", kind: "INTEGER", of: |record| number(record.response_bytes) },
    Column {
        name: "content_encoding",
        kind: "TEXT",
        of: |record| record.content_encoding.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "session_id",
        kind: "TEXT",
        of: |record| record.session_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "thread_id",
        kind: "TEXT",
        of: |record| record.thread_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "turn_id",
        kind: "TEXT",
        of: |record| record.turn_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "parent_thread_id",
        kind: "TEXT",
        of: |record| record.parent_thread_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "response_id",
        kind: "TEXT",
        of: |record| record.response_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "previous_response_id",
        kind: "TEXT",
        of: |record| record.previous_response_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "connection_id",
        kind: "TEXT",
        of: |record| record.connection_id.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "subagent",
        kind: "TEXT",
        of: |record| record.subagent.as_deref().map_or(ABSENT, text),
    },
    Column { name: "repo", kind: "TEXT", of: |record| record.repo.as_deref().map_or(ABSENT, text) },
    Column {
        name: "commit",
        kind: "TEXT",
        of: |record| record.commit.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "client",
        kind: "TEXT",
        of: |record| record.client.as_deref().map_or(ABSENT, text),
    },
    Column {
        name: "client_version",
        kind: "TEXT",
        of: |record| record.client_version.as_deref().map_or(ABSENT, text),
    },
    Column { name: "tags", kind: "TEXT", of: |record| json(&record.tags) },
    Column { name: "findings", kind: "TEXT", of: |record| json(&record.findings) },
    Column { name: "node", kind: "TEXT", of: |record| text(&record.node) },
];

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn number(number: u64) -> ToSqlOutput<'static> {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

/// Dollars to add up roughly; exact sums take the nano-dollars.
fn dollars(record: &Record) -> ToSqlOutput<'_> {
    let dollars: Option<f64> = record.cost_usd.as_deref().and_then(|usd| usd.parse().ok());
    dollars.map_or(ABSENT, Into::into)
}

fn json(value: &impl Serialize) -> ToSqlOutput<'static> {
    serde_json::to_string(value).unwrap_or_default().into()
}
