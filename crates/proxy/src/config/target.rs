//! An upstream as it is configured: `[upstream]` itself, and each entry of `[[upstreams]]`.

use std::collections::BTreeMap;
use std::path::Path;

use http::{HeaderName, HeaderValue, Uri};

use super::layer::Problem;
use super::reference::SecretRef;
use super::setting::{Kind, Setting, setting};
use super::value::{Value, parse};

/// What the one that `[upstream]` describes is called.
pub const DEFAULT: &str = "default";

/// How many credentials may be chosen among.
pub const MOST: usize = 64;

/// An upstream and what is shown to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What metrics and diagnostics call it.
    pub name: String,
    /// Base address: `/v1` of ours is its path.
    pub url: Uri,
    /// The organisation's credentials for it.
    pub keys: Vec<SecretRef>,
    /// In which header they go.
    pub auth: AuthHeader,
    /// Headers that go with them.
    pub headers: Vec<(HeaderName, HeaderText)>,
    /// The models it serves; empty: those that no other is for.
    pub models: Vec<String>,
    /// The lowest is asked first.
    pub priority: usize,
}

impl Target {
    /// Every secret that it needs, with where that is told.
    pub fn references(&self) -> impl Iterator<Item = (String, &SecretRef)> {
        let table = match self.name.as_str() {
            DEFAULT => "upstream".to_owned(),
            name => format!("upstreams.{name}"),
        };
        let keys = self.keys.iter().map(|key| ("key".to_owned(), key));
        let headers = self.headers.iter().filter_map(|(name, value)| match value {
            HeaderText::Secret(reference) => Some((format!("headers.{name}"), reference)),
            HeaderText::Plain(_) => None,
        });
        keys.chain(headers).map(move |(name, reference)| (format!("{table}.{name}"), reference))
    }
}

/// In which header a credential goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthHeader {
    /// `Authorization: Bearer …`
    Bearer,
    /// `api-key: …`, as Azure takes it.
    ApiKey,
}

impl AuthHeader {
    /// The words for them.
    pub const WORDS: &[&str] = &["bearer", "api-key"];

    /// Reads a word that was checked.
    pub fn named(word: &str) -> Self {
        if word == "api-key" { Self::ApiKey } else { Self::Bearer }
    }
}

/// The value of a configured header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// As it is.
    Plain(HeaderValue),
    /// Somewhere else.
    Secret(SecretRef),
}

/// What an entry of `[[upstreams]]` may say.
#[rustfmt::skip] // A table reads best as one.
pub const ENTRY: &[Setting] = &[
    setting("name", Kind::Text, "", "what metrics and diagnostics call it"),
    setting("url", Kind::Url, "", "its base address"),
    setting("key", Kind::References, "", "the organisation's key for it, or several"),
    setting("auth", Kind::Choice(AuthHeader::WORDS), "bearer", "the header in which the key goes"),
    setting("headers", Kind::Headers, "", "further headers for it"),
    setting("models", Kind::Texts, "", "the models it serves, with `*`; none: those that no other is for"),
    setting("priority", Kind::Count, "1", "of those that may serve, the lowest that works is asked"),
];

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

/// Reads all entries, and tells everything that is wrong with them.
pub fn read(entries: &[Entry], base: &Path) -> Result<Vec<Target>, Vec<Problem>> {
    let (mut targets, mut problems) = (Vec::<Target>::new(), Vec::new());
    for entry in entries {
        let mut wrong = |what: String| {
            problems
                .push(Problem { place: entry.place.clone(), what: format!("upstreams {what}") });
        };
        match target(entry, base) {
            Ok(target) if target.name == DEFAULT => {
                wrong(format!("name `{DEFAULT}` is that of [upstream]: choose another"));
            }
            Ok(target) if targets.iter().any(|other| other.name == target.name) => {
                wrong(format!("name `{}` is there twice", target.name));
            }
            Ok(target) => targets.push(target),
            Err(mut more) => problems.append(&mut more),
        }
    }
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

fn target(entry: &Entry, base: &Path) -> Result<Target, Vec<Problem>> {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for Setting { path, kind, default, .. } in ENTRY {
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
                what: format!("upstreams.{path} {what}"),
            })),
        }
    }
    problems.extend(unknown(entry));
    problems.extend(missing(entry));
    if problems.is_empty() { Ok(built(&values)) } else { Err(problems) }
}

/// From values that were checked.
fn built(values: &BTreeMap<&str, Value>) -> Target {
    let texts = |path: &str| match values.get(path) {
        Some(Value::Texts(texts)) => texts.clone(),
        Some(Value::Text(text)) => vec![text.clone()],
        _ => Vec::new(),
    };
    Target {
        name: texts("name").concat(),
        url: match values.get("url") {
            Some(Value::Url(url)) => url.clone(),
            _ => Uri::default(),
        },
        keys: match values.get("key") {
            Some(Value::References(keys)) => keys.clone(),
            _ => Vec::new(),
        },
        auth: AuthHeader::named(&texts("auth").concat()),
        headers: match values.get("headers") {
            Some(Value::Headers(headers)) => headers.clone(),
            _ => Vec::new(),
        },
        models: texts("models"),
        priority: match values.get("priority") {
            Some(Value::Number(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
            _ => 1,
        },
    }
}

fn unknown(entry: &Entry) -> impl Iterator<Item = Problem> {
    let known = |leaf: &&Leaf| !ENTRY.iter().any(|setting| setting.path == leaf.name);
    entry.leaves.iter().filter(known).map(|leaf| {
        let all: Vec<&str> = ENTRY.iter().map(|setting| setting.path).collect();
        let what = format!("an upstream has no {}: it has {}", leaf.name, all.join(", "));
        Problem { place: leaf.place.clone(), what }
    })
}

fn missing(entry: &Entry) -> impl Iterator<Item = Problem> {
    let said = |name: &str| entry.leaves.iter().any(|leaf| leaf.name == name);
    let needed = ["name", "url", "key"].into_iter().filter(move |name| !said(name));
    needed.map(|name| {
        let what = format!("an entry of upstreams needs {name}");
        Problem { place: entry.place.clone(), what }
    })
}
