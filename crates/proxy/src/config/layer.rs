//! Lays file, environment and flags over the defaults, and keeps where each value came from.

mod over;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, Uri};
use ipnet::IpNet;
use toml_edit::{Document, Item, TableLike};

use super::Flags;
use super::entry::{self, Entry, Members, Table};
use super::listen::Listen;
use super::reference::SecretRef;
use super::screen::Action;
use super::setting::{Kind, SETTINGS, Setting, find, variable};
use super::target::HeaderText;
use super::value::{Value, parse};

/// Names that configure where configuration is, and so are no settings.
pub(super) const CONFIG_VARIABLE: &str = "CODEX_PROXY_CONFIG";
/// The file that is read where none is named.
/// Where a value comes from that nobody has set.
const DEFAULT: &str = "default";
const PRESET: &str = "preset";
pub(super) const DEFAULT_FILE: &str = "codex-proxy.toml";

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File with line and column, variable or flag.
    pub place: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// All settings as given, with what is wrong about them.
#[derive(Debug, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, Given>,
    /// What is wrong; empty: the values can be used.
    pub problems: Vec<Problem>,
    /// What is odd but harmless.
    pub warnings: Vec<String>,
}

/// A value and where it came from.
#[derive(Debug)]
struct Given {
    value: Value,
    /// As it was written, for `config show`.
    texts: Vec<String>,
    place: String,
}

impl Layers {
    /// Reads all layers: defaults, the file, variables, flags; the later wins.
    pub fn read(file: Option<&Path>, environment: &[(String, String)], flags: &Flags) -> Self {
        let mut layers = Self::defaults();
        let named = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        let named = file.map(Path::to_owned).or_else(|| named.map(|(_, path)| path.into()));
        match named {
            Some(path) => layers.read_file(&path),
            None if Path::new(DEFAULT_FILE).exists() => layers.read_file(Path::new(DEFAULT_FILE)),
            None => {}
        }
        layers.read_environment(environment);
        layers.read_flags(flags);
        layers
    }

    /// The first layer alone.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
            let texts = vec![setting.default.to_owned()];
            layers.set(setting.path, texts, DEFAULT, Path::new(""));
        }
        layers
    }

    /// The last layer.
    pub fn read_flags(&mut self, flags: &Flags) {
        for (path, text) in flags {
            let flag = format!("--{}", path.replace(['.', '_'], "-"));
            self.set_text(path, text, &flag);
        }
    }

    /// Settings that have another value than in these layers.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let all = SETTINGS.iter().map(|setting| setting.path);
        all.filter(|path| self.value(path) != other.value(path)).collect()
    }

    /// Where the value of a setting came from.
    pub fn place(&self, path: &str) -> String {
        self.values.get(path).map_or_else(|| path.to_owned(), |given| given.place.clone())
    }

    /// Each setting with its value as text and where it came from.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, Kind, Option<(&[String], &str)>)> {
        SETTINGS.iter().map(|setting| {
            let given = self.values.get(setting.path);
            let shown = given.map(|given| (given.texts.as_slice(), given.place.as_str()));
            (setting.path, setting.kind, shown)
        })
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("CODEX_PROXY_"))
        {
            match SETTINGS.iter().find(|setting| variable(setting.path) == *name) {
                Some(setting) => self.set_text(setting.path, text, name),
                None if name == CONFIG_VARIABLE => {}
                None => {
                    self.warnings.push(format!("{name} sets nothing: no setting has this name"));
                }
            }
        }
    }

    /// A text from a variable or a flag: lists are separated by commas, an empty text unsets.
    fn set_text(&mut self, path: &str, text: &str, place: &str) {
        let Some(setting) = find(path) else { return };
        if let (Kind::Tables(table), false) = (setting.kind, text.is_empty()) {
            let entries = tables::from_json(text, place);
            return self.set_entries(table, place, entries, Path::new(""));
        }
        let texts = match tables::pieces(setting.kind, text) {
            Ok(texts) => texts,
            Err(what) => return self.problem(place, format!("{path} {what}")),
        };
        if texts.iter().all(String::is_empty) && setting.default.is_empty() {
            self.values.remove(setting.path);
            return;
        }
        self.set(setting.path, texts, place, Path::new(""));
    }

    fn set(&mut self, path: &'static str, texts: Vec<String>, place: &str, base: &Path) {
        let Some(setting) = find(path) else { return };
        match parse(setting.kind, &texts, base) {
            Ok(value) => {
                self.values.insert(path, Given { value, texts, place: place.to_owned() });
            }
            Err(problems) => {
                for what in problems {
                    self.problem(place, format!("{path} {what}"));
                }
            }
        }
    }

    fn set_entries(
        &mut self,
        table: &'static Table,
        place: &str,
        entries: Option<Vec<Entry>>,
        base: &Path,
    ) {
        let path = table.path;
        let Some(entries) = entries else {
            return self.problem(place, format!("{path} takes {}", Kind::Tables(table).allowed()));
        };
        match entry::read(table, &entries, base) {
            Ok(members) => {
                let texts = entries.iter().map(|entry| entry::shown(table, entry)).collect();
                let value = Value::Entries(members);
                self.values.insert(path, Given { value, texts, place: place.to_owned() });
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn problem(&mut self, place: &str, what: String) {
        self.problems.push(Problem { place: place.to_owned(), what });
    }

    fn read_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problem(&name, format!("the file cannot be read: {error}")),
        };
        match Document::parse(text.as_str()) {
            Ok(document) => {
                let base = path.parent().unwrap_or(Path::new(""));
                let file = File { name: &name, text: &text, base };
                self.read_table(&file, "", document.as_table());
            }
            Err(error) => {
                let place = File { name: &name, text: &text, base: path }.place(error.span());
                self.problem(&place, format!("no TOML: {}", error.message()));
            }
        }
    }

    fn read_table(&mut self, file: &File<'_>, above: &str, table: &dyn TableLike) {
        for (key, item) in table.iter() {
            let path = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
            let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            let place = file.place(span);
            let is_table = SETTINGS.iter().any(|s| s.path.starts_with(&format!("{path}.")));
            match (find(&path), item.as_table_like()) {
                (Some(Setting { kind: Kind::Tables(table), .. }), _) => {
                    let entries = tables::from_toml(file, table, item, &place);
                    self.set_entries(table, &place, entries, file.base);
                }
                (Some(setting), _) => match texts(item, setting.kind) {
                    Some(texts) => self.set(setting.path, texts, &place, file.base),
                    None => {
                        self.problem(&place, format!("{path} takes {}", setting.kind.allowed()));
                    }
                },
                (None, Some(below)) if is_table => self.read_table(file, &path, below),
                (None, None) if is_table => {
                    self.problem(&place, format!("{path} is a table: write [{path}]"));
                }
                (None, _) => self.problem(&place, unknown(&path)),
            }
        }
    }
}

/// The typed readers. The table of settings says which kind a name is, and a test reads every
/// default through them; a name that is unset or was a problem gives the kind's empty value.
impl Layers {
    fn value(&self, path: &str) -> Option<&Value> {
        debug_assert!(find(path).is_some(), "{path} is in the table");
        self.values.get(path).map(|given| &given.value)
    }

    pub(super) fn optional_text(&self, path: &str) -> Option<String> {
        match self.value(path) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn text(&self, path: &str) -> String {
        self.optional_text(path).unwrap_or_default()
    }

    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn addresses(&self, path: &str) -> Vec<Listen> {
        match self.value(path) {
            Some(Value::Addresses(addresses)) => addresses.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn networks(&self, path: &str) -> Vec<IpNet> {
        match self.value(path) {
            Some(Value::Networks(networks)) => networks.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn bytes(&self, path: &str) -> u64 {
        match self.value(path) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn count(&self, path: &str) -> usize {
        usize::try_from(self.bytes(path)).unwrap_or(usize::MAX)
    }

    pub(super) fn mode(&self, path: &str) -> u32 {
        u32::try_from(self.bytes(path)).unwrap_or(0)
    }

    pub(super) fn duration(&self, path: &str) -> Duration {
        match self.value(path) {
            Some(Value::Duration(duration)) => *duration,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn url(&self, path: &str) -> Uri {
        match self.value(path) {
            Some(Value::Url(url)) => url.clone(),
            _ => Uri::default(),
        }
    }

    pub(super) fn optional_path(&self, path: &str) -> Option<PathBuf> {
        match self.value(path) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.optional_path(path).unwrap_or_default()
    }

    pub(super) fn references(&self, path: &str) -> Vec<SecretRef> {
        match self.value(path) {
            Some(Value::References(references)) => references.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn headers(&self, path: &str) -> Vec<(HeaderName, HeaderText)> {
        match self.value(path) {
            Some(Value::Headers(headers)) => headers.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn actions(&self, path: &str) -> Vec<(String, Action)> {
        match self.value(path) {
            Some(Value::Actions(actions)) => actions.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn entries(&self, table: &Table) -> Vec<Members> {
        match self.value(table.path) {
            Some(Value::Entries(entries)) => entries.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn reference(&self, path: &str) -> Option<SecretRef> {
        match self.value(path) {
            Some(Value::Reference(reference)) => Some(reference.clone()),
            _ => None,
        }
    }
}

/// A configuration file while it is read.
struct File<'a> {
    name: &'a str,
    text: &'a str,
    base: &'a Path,
}

impl File<'_> {
    /// `file:line:column` of a place in the text.
    fn place(&self, span: Option<std::ops::Range<usize>>) -> String {
        let Some(before) = span.and_then(|span| self.text.get(..span.start)) else {
            return self.name.to_owned();
        };
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.name)
    }
}

/// The texts of a value, if it is of a type that this kind takes.
fn texts(item: &Item, kind: Kind) -> Option<Vec<String>> {
    let (number, text) = kind.takes();
    let one = |value: &toml_edit::Value| match value {
        toml_edit::Value::String(value) if text => Some(value.value().clone()),
        toml_edit::Value::Integer(value) if number => Some(value.value().to_string()),
        _ => None,
    };
    if kind.is_table() {
        return tables::pairs(item);
    }
    match item.as_value()? {
        toml_edit::Value::Array(array) if kind.is_list() => array.iter().map(one).collect(),
        value => Some(vec![one(value)?]),
    }
}

fn unknown(path: &str) -> String {
    let near = |setting: &&Setting| strsim::jaro_winkler(setting.path, path) > 0.85;
    match SETTINGS.iter().find(near) {
        Some(setting) => format!("no setting is called {path}; did you mean {}?", setting.path),
        None => format!("no setting is called {path}; `codex-proxy config show` lists all"),
    }
}

#[cfg(test)]
mod tests;
