//! A request's top-level fields, each kept as it was written.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

/// The top level of a JSON object. Of a key that stands twice the last counts; `null` is absent.
pub(crate) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// Reads an object; `None` if the bytes are none.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    /// The field as written.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }

    /// The field as a value; `Null` where there is none.
    pub(crate) fn value(&self, name: &str) -> Value {
        let value = self.raw(name).map(|raw| serde_json::from_str(raw.get()));
        value.and_then(Result::ok).unwrap_or_default()
    }

    /// The field if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Whether the field is `true`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get() == "true")
    }
}
