//! Where in a body texts stand.

use std::ops::Range;

use bytes::Bytes;
use wire::ask::{Ask, Item};
use wire::form::Form;

use super::Looked;

/// Where in a body texts stand.
pub(super) enum Texts<'t> {
    /// Everywhere; these are its items.
    Items(&'t [Item]),
    /// In these parts of a form.
    Parts(Vec<Range<usize>>),
}

/// Where texts stand in a body, and how much of it that is.
pub(super) fn texts<'t>(kind: &str, body: &Bytes, ask: Option<&'t Ask>) -> (Texts<'t>, Looked) {
    if let Some((parts, are_all)) = Form::new(kind, body).and_then(|form| form.texts()) {
        let looked = if are_all { Looked::Through } else { Looked::Partly };
        return (Texts::Parts(parts), looked);
    }
    (Texts::Items(ask.map(|ask| ask.items.as_slice()).unwrap_or_default()), Looked::Through)
}

/// Whether a body is what it says: JSON is text in UTF-8 (RFC 8259 §8.1), and a form has parts.
pub(super) fn is_text(kind: &str, body: &[u8]) -> bool {
    Form::new(kind, body).is_some() || std::str::from_utf8(body).is_ok()
}
