//! An upstream as it is configured: `[upstream]` itself, and each entry of `[[upstreams]]`.

use http::{HeaderName, HeaderValue, Uri};

use super::entry::{Members, Table};
use super::reference::SecretRef;
use super::setting::{Kind, setting};
use super::value::Value;

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
    /// What of a request's address is found there.
    pub covers: Covers,
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

/// What of a request's address is found at an upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// All paths, each below it.
    Below,
    /// Nothing: it is the one that is asked.
    Whole,
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

/// `[[upstreams]]`
#[rustfmt::skip] // A table reads best as one.
pub static TABLE: Table = Table {
    path: "upstreams",
    an_entry: "an upstream",
    members: &[
        setting("name", Kind::Text, "", "what metrics and diagnostics call it"),
        setting("url", Kind::Url, "", "its base address"),
        setting("key", Kind::References, "", "the organisation's key for it, or several"),
        setting("auth", Kind::Choice(AuthHeader::WORDS), "bearer", "the header in which the key goes"),
        setting("headers", Kind::Headers, "", "further headers for it"),
        setting("models", Kind::Texts, "", "the models it serves, with `*`; none: those that no other is for"),
        setting("priority", Kind::Count, "1", "of those that may serve, the lowest that works is asked"),
    ],
    needed: &["name", "url", "key"],
    unique: Some("name"),
};

impl Target {
    /// From an entry that was checked.
    pub fn of(members: &Members) -> Self {
        Self {
            name: members.text("name"),
            url: match members.value("url") {
                Some(Value::Url(url)) => url.clone(),
                _ => Uri::default(),
            },
            covers: Covers::Below,
            keys: match members.value("key") {
                Some(Value::References(keys)) => keys.clone(),
                _ => Vec::new(),
            },
            auth: AuthHeader::named(&members.text("auth")),
            headers: match members.value("headers") {
                Some(Value::Headers(headers)) => headers.clone(),
                _ => Vec::new(),
            },
            models: members.texts("models"),
            priority: match members.value("priority") {
                Some(Value::Number(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
                _ => 1,
            },
        }
    }
}
