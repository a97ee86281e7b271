//! A server-sent event.

use bytes::Bytes;

use crate::{
    json::Json,
    script::delivery::{Delivery, Quirk},
};

/// An event before it is framed.
pub(crate) struct Event {
    name: Option<&'static str>,
    data: String,
}

impl Event {
    /// An event with a name.
    pub(crate) fn named(name: &'static str, data: Json) -> Self {
        Self { name: Some(name), data: data.into_text() }
    }

    /// An event without a name.
    pub(crate) fn unnamed(data: String) -> Self {
        Self { name: None, data }
    }

    /// What it says.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// The event as it goes over the wire.
    pub(crate) fn frame(&self, delivery: &Delivery) -> Bytes {
        let end = line_end(delivery);
        let name = self.name.filter(|_| !delivery.has(Quirk::NoEvent));
        let name = name.map(|name| format!("event: {name}{end}")).unwrap_or_default();
        Bytes::from([&name, "data: ", &self.data, end, end].concat())
    }
}

/// A comment as it goes over the wire.
pub(crate) fn comment(text: &str, delivery: &Delivery) -> Bytes {
    let end = line_end(delivery);
    Bytes::from(format!(": {text}{end}{end}"))
}

fn line_end(delivery: &Delivery) -> &'static str {
    if delivery.has(Quirk::Crlf) { "\r\n" } else { "\n" }
}
