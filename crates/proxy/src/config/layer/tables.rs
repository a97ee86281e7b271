//! Settings that are more than texts: tables and lists of tables, in a file or as JSON in a variable.

use serde_json::Value as Json;
use toml_edit::{Item, TableLike};

use super::File;
use crate::config::entry::{Entry, Leaf, Table};
use crate::config::setting::Kind;

/// The pieces of a variable's or a flag's text: lists are separated by commas; a table may be a
/// JSON object.
pub(super) fn pieces(kind: Kind, text: &str) -> Result<Vec<String>, String> {
    if kind.is_table() && text.trim_start().starts_with('{') {
        let json = serde_json::from_str(text).ok();
        let pairs = json.as_ref().and_then(json_texts);
        return pairs.ok_or_else(|| "is no JSON object of texts".to_owned());
    }
    if !kind.is_list() {
        return Ok(vec![text.to_owned()]);
    }
    let pieces = text.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    Ok(pieces.map(str::to_owned).collect())
}

/// `NAME=VALUE` of each member of a table of texts.
pub(super) fn pairs(item: &Item) -> Option<Vec<String>> {
    let table = item.as_table_like()?;
    let pair = |(name, value): (&str, &Item)| Some(format!("{name}={}", value.as_str()?));
    table.iter().map(pair).collect()
}

/// The entries of a list of tables.
pub(super) fn from_toml(
    file: &File<'_>,
    table: &Table,
    item: &Item,
    place: &str,
) -> Option<Vec<Entry>> {
    let place_of = |span: Option<std::ops::Range<usize>>| {
        if span.is_some() { file.place(span) } else { place.to_owned() }
    };
    if let Some(tables) = item.as_array_of_tables() {
        let entries = tables.iter().map(|one| entry(file, table, one, place_of(one.span())));
        return Some(entries.collect());
    }
    let array = item.as_array()?;
    let inline = |value: &toml_edit::Value| {
        let one = value.as_inline_table()?;
        Some(entry(file, table, one, place_of(value.span())))
    };
    array.iter().map(inline).collect()
}

fn entry(file: &File<'_>, table: &Table, one: &dyn TableLike, place: String) -> Entry {
    let leaf = |(name, item): (&str, &Item)| {
        let span = one.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let kind =
            table.members.iter().find(|setting| setting.path == name).map(|setting| setting.kind);
        let texts = kind.and_then(|kind| super::texts(item, kind));
        Leaf { name: name.to_owned(), texts, place: file.place(span) }
    };
    Entry { leaves: one.iter().map(leaf).collect(), place }
}

/// The entries of a JSON array of objects.
pub(super) fn from_json(text: &str, place: &str) -> Option<Vec<Entry>> {
    let Json::Array(entries) = serde_json::from_str(text).ok()? else { return None };
    let entry = |entry: &Json| {
        let leaves = entry.as_object()?.iter().map(|(name, value)| Leaf {
            name: name.clone(),
            texts: json_texts(value),
            place: place.to_owned(),
        });
        Some(Entry { leaves: leaves.collect(), place: place.to_owned() })
    };
    entries.iter().map(entry).collect()
}

/// A value as texts: one, several, or `NAME=VALUE` of each member.
fn json_texts(value: &Json) -> Option<Vec<String>> {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    match value {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Number(number) => Some(vec![number.to_string()]),
        Json::Array(values) => values.iter().map(text).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
            .collect(),
        Json::Null | Json::Bool(_) => None,
    }
}
