//! What a request's body brings.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::item::Item;
use super::{What, item};

/// An element of a request's body, as it stands there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Element<'a> {
    /// The request's own `instructions`.
    Instructions(&'a RawValue),
    /// An element of `input` or `messages`; a text alone is what the person said.
    Item(&'a RawValue),
}

/// The members of a request that matter here.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

/// The elements of a request's body in order; none where it is not understood.
pub(super) fn elements(body: &[u8]) -> Option<Vec<Element<'_>>> {
    let Members { instructions, input, messages } = serde_json::from_slice(body).ok()?;
    let mut elements: Vec<Element<'_>> =
        instructions.map(Element::Instructions).into_iter().collect();
    for list in [input, messages].into_iter().flatten() {
        match serde_json::from_str::<Vec<&RawValue>>(list.get()) {
            Ok(list) => elements.extend(list.into_iter().map(Element::Item)),
            Err(_) => elements.push(Element::Item(list)),
        }
    }
    Some(elements)
}

impl Element<'_> {
    /// As it stands.
    pub(super) fn raw(&self) -> &str {
        match self {
            Self::Instructions(raw) | Self::Item(raw) => raw.get(),
        }
    }

    /// What it says.
    pub(super) fn read(&self) -> Item {
        let value: Value = serde_json::from_str(self.raw()).unwrap_or_default();
        match (self, value) {
            (Self::Instructions(_), Value::String(text)) => {
                Item::saying(What::Instructions { text })
            }
            (Self::Item(_), Value::String(text)) => Item::saying(What::Said { text }),
            (_, value) => item::read(&value),
        }
    }
}
