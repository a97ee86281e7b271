//! JSON written in the order the API writes it, which a sorted map would lose.

use serde::Serialize;
use serde_json::value::RawValue;

/// A JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Json(String);

impl Json {
    /// Serialises a value.
    pub(crate) fn of(value: impl Serialize) -> Self {
        Self(serde_json::to_string(&value).expect("our own values always serialise"))
    }

    /// Repeats what the client wrote, on one line: an SSE frame ends at a line break.
    pub(crate) fn echo(raw: &RawValue) -> Self {
        Self(raw.get().replace(['\n', '\r'], " "))
    }

    /// Takes a constant of ours that is JSON already.
    pub(crate) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Takes a text that was JSON when it was made.
    pub(crate) fn made(text: String) -> Self {
        Self(text)
    }

    /// Joins values to an array.
    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", items.join(",")))
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// A JSON object under construction.
pub(crate) struct Object(String);

impl Object {
    /// An empty object.
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a value.
    pub(crate) fn with(self, key: &str, value: impl Serialize) -> Self {
        self.json(key, &Json::of(value))
    }

    /// Adds JSON as it stands.
    pub(crate) fn json(mut self, key: &str, value: &Json) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&Json::of(key).0);
        self.0.push(':');
        self.0.push_str(&value.0);
        self
    }

    /// Closes the object.
    pub(crate) fn done(mut self) -> Json {
        self.0.push('}');
        Json(self.0)
    }
}
