//! Settings that are more than texts: headers and upstreams, in a file or as JSON in a variable.

use std::fmt::Write;

use serde_json::Value as Json;
use toml_edit::{Item, TableLike};

use super::File;
use crate::config::setting::Kind;
use crate::config::target::{AuthHeader, ENTRY, Entry, HeaderText, Leaf, Target};

/// The pieces of a variable's or a flag's text: lists are separated by commas; headers may be a
/// JSON object.
pub(super) fn pieces(kind: Kind, text: &str) -> Result<Vec<String>, String> {
    if kind == Kind::Headers && text.trim_start().starts_with('{') {
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
pub(super) fn from_toml(file: &File<'_>, item: &Item, place: &str) -> Option<Vec<Entry>> {
    let place_of = |span: Option<std::ops::Range<usize>>| {
        if span.is_some() { file.place(span) } else { place.to_owned() }
    };
    if let Some(tables) = item.as_array_of_tables() {
        let entries = tables.iter().map(|table| entry(file, table, place_of(table.span())));
        return Some(entries.collect());
    }
    let array = item.as_array()?;
    let inline = |value: &toml_edit::Value| {
        let table = value.as_inline_table()?;
        Some(entry(file, table, place_of(value.span())))
    };
    array.iter().map(inline).collect()
}

fn entry(file: &File<'_>, table: &dyn TableLike, place: String) -> Entry {
    let leaf = |(name, item): (&str, &Item)| {
        let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let kind = ENTRY.iter().find(|setting| setting.path == name).map(|setting| setting.kind);
        let texts = kind.and_then(|kind| super::texts(item, kind));
        Leaf { name: name.to_owned(), texts, place: file.place(span) }
    };
    Entry { leaves: table.iter().map(leaf).collect(), place }
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

/// An upstream as an inline table, to be shown: it names secrets, and holds none.
pub(super) fn shown(target: &Target) -> String {
    let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let mut table = format!(
        "{{ name = {:?}, url = {:?}, key = {}",
        target.name,
        target.url.to_string(),
        list(target.keys.iter().map(|key| format!("{:?}", key.to_string())).collect()),
    );
    // Writing to a text cannot fail.
    if target.auth == AuthHeader::ApiKey {
        table.push_str(", auth = \"api-key\"");
    }
    if !target.headers.is_empty() {
        let pair = |(name, value): &(http::HeaderName, HeaderText)| {
            let value = match value {
                HeaderText::Plain(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                HeaderText::Secret(reference) => reference.to_string(),
            };
            format!("{name} = {value:?}")
        };
        let pairs: Vec<String> = target.headers.iter().map(pair).collect();
        let _ = write!(table, ", headers = {{ {} }}", pairs.join(", "));
    }
    if !target.models.is_empty() {
        let models = target.models.iter().map(|model| format!("{model:?}")).collect();
        let _ = write!(table, ", models = {}", list(models));
    }
    let _ = write!(table, ", priority = {} }}", target.priority);
    table
}
