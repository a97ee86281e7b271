//! Lists of tables, as `[[upstreams]]`: what an entry may say, and reading it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::layer::Problem;
use super::setting::{Kind, Setting};
use super::value::{Value, parse};

/// A kind of list.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The setting's dotted name.
    pub path: &'static str,
    /// An entry, to people.
    pub an_entry: &'static str,
    /// What an entry may say.
    pub members: &'static [Setting],
    /// What it must say.
    pub needed: &'static [&'static str],
    /// What no two entries may have in common, if there is such a thing.
    pub unique: Option<&'static str>,
}

/// One member of an entry as it was written.
pub struct Leaf {
    /// Its name.
    pub name: String,
    /// Its value; nothing where the type is one that no setting takes.
    pub texts: Option<Vec<String>>,
    /// Where it stands.
    pub place: String,
}

/// An entry as it was written.
pub struct Entry {
    /// Where it begins.
    pub place: String,
    /// What it says.
    pub leaves: Vec<Leaf>,
}

/// An entry whose values are proven; what is not said has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(BTreeMap<&'static str, Value>);

impl Members {
    /// The value of a member, where it has one.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text of a member; empty where it has none.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// The texts of a member.
    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }
}

/// Reads all entries, and tells everything that is wrong with them.
pub fn read(
    table: &'static Table,
    entries: &[Entry],
    base: &Path,
) -> Result<Vec<Members>, Vec<Problem>> {
    let (mut read, mut problems) = (Vec::<Members>::new(), Vec::new());
    for entry in entries {
        match members(table, entry, base) {
            Ok(members) if is_there(table, &read, &members) => {
                let name = table.unique.unwrap_or_default();
                let what = format!("{} {name} `{}` is there twice", table.path, members.text(name));
                problems.push(Problem { place: entry.place.clone(), what });
            }
            Ok(members) => read.push(members),
            Err(mut more) => problems.append(&mut more),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

fn is_there(table: &Table, before: &[Members], members: &Members) -> bool {
    let Some(name) = table.unique else { return false };
    before.iter().any(|other| other.value(name) == members.value(name))
}

fn members(table: &'static Table, entry: &Entry, base: &Path) -> Result<Members, Vec<Problem>> {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for Setting { path, kind, default, .. } in table.members {
        let leaf = entry.leaves.iter().find(|leaf| leaf.name == *path);
        let written = match leaf {
            Some(leaf) => leaf.texts.clone(),
            None if default.is_empty() => continue,
            None => Some(vec![(*default).to_owned()]),
        };
        let read = match written {
            Some(texts) => parse(*kind, &texts, base),
            None => Err(vec![format!("takes {}", kind.allowed())]),
        };
        let place = leaf.map_or(&entry.place, |leaf| &leaf.place);
        match read {
            Ok(value) => drop(values.insert(*path, value)),
            Err(all) => problems.extend(all.into_iter().map(|what| Problem {
                place: place.clone(),
                what: format!("{}.{path} {what}", table.path),
            })),
        }
    }
    problems.extend(unknown(table, entry));
    problems.extend(missing(table, entry));
    if problems.is_empty() { Ok(Members(values)) } else { Err(problems) }
}

fn unknown(table: &Table, entry: &Entry) -> impl Iterator<Item = Problem> {
    let known = |leaf: &&Leaf| !table.members.iter().any(|setting| setting.path == leaf.name);
    entry.leaves.iter().filter(known).map(|leaf| {
        let all: Vec<&str> = table.members.iter().map(|setting| setting.path).collect();
        let what = format!("{} has no {}: it has {}", table.an_entry, leaf.name, all.join(", "));
        Problem { place: leaf.place.clone(), what }
    })
}

fn missing(table: &Table, entry: &Entry) -> impl Iterator<Item = Problem> {
    let said = |name: &str| entry.leaves.iter().any(|leaf| leaf.name == name);
    let needed = table.needed.iter().filter(move |name| !said(name));
    needed.map(|name| {
        let what = format!("an entry of {} needs {name}", table.path);
        Problem { place: entry.place.clone(), what }
    })
}

/// An entry as an inline table, to be shown: it names secrets, and holds none.
pub fn shown(table: &Table, entry: &Entry) -> String {
    let mut pairs = Vec::new();
    for Setting { path, kind, .. } in table.members {
        let leaf = entry.leaves.iter().find(|leaf| leaf.name == *path);
        let Some(texts) = leaf.and_then(|leaf| leaf.texts.as_ref()) else { continue };
        pairs.push(format!("{path} = {}", value(*kind, texts)));
    }
    format!("{{ {} }}", pairs.join(", "))
}

fn value(kind: Kind, texts: &[String]) -> String {
    if kind.is_table() {
        return pairs(texts);
    }
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    match kind {
        _ if kind.is_list() => format!("[{}]", quoted.join(", ")),
        Kind::Count => texts.concat(),
        _ => quoted.concat(),
    }
}

/// `NAME=VALUE` of each member of a table, as an inline table.
pub fn pairs(texts: &[String]) -> String {
    let mut table = String::from("{");
    for (at, text) in texts.iter().enumerate() {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let comma = if at == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(table, "{comma} {:?} = {:?}", name.trim(), value.trim());
    }
    table.push_str(" }");
    table
}
