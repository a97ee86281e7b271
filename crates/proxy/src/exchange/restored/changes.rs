//! What changes in an answer on its way to the client.

use std::sync::Arc;

use http::{HeaderMap, header};
use redact::mask::Known;
use redact::restore::{Dialect, Restorer};
use wire::chat::Without;

use crate::exchange::endpoint::Operation;
use crate::exchange::screen::Extra;
use crate::ledger::account::Expected;

/// Something is taken out, or values are put back, or both in this order.
pub(super) struct Changes {
    without: Option<Without>,
    restorer: Option<Restorer>,
}

/// What the bytes of an answer are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Events,
    Document,
    /// Nothing that can be changed.
    Opaque,
}

impl Changes {
    /// What is to change in an answer with these headers; nothing where that is nothing.
    pub(super) fn new(
        headers: &HeaderMap,
        (masks, extra): (Option<Arc<Known>>, Extra),
        (operation, expected): (Operation, Expected),
    ) -> Option<Self> {
        let form = form(headers, expected);
        let hides = extra == Extra::Usage && form == Form::Events;
        let without = hides.then(Without::default);
        let dialect = match operation {
            Operation::ChatCompletions => Dialect::Chat,
            Operation::Responses | Operation::Work | Operation::Other => Dialect::Responses,
        };
        let restorer = masks.and_then(|masks| match form {
            Form::Events => Some(Restorer::events(masks, dialect)),
            Form::Document => Some(Restorer::document(masks)),
            Form::Opaque => None,
        });
        (without.is_some() || restorer.is_some()).then_some(Self { without, restorer })
    }

    /// Takes the next piece, and appends what may pass on.
    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match (&mut self.without, &mut self.restorer) {
            (None, None) => out.extend_from_slice(piece),
            (Some(without), None) => without.feed(piece, out),
            (None, Some(restorer)) => restorer.feed(piece, out),
            (Some(without), Some(restorer)) => {
                let mut passed = Vec::with_capacity(piece.len());
                without.feed(piece, &mut passed);
                restorer.feed(&passed, out);
            }
        }
    }

    /// Whether something is held that came whole.
    pub(super) fn is_holding(&self) -> bool {
        self.restorer.as_ref().is_some_and(Restorer::is_holding)
    }

    /// Lets go what is held for what may follow it.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(restorer) = &mut self.restorer {
            restorer.release(out);
        }
    }

    /// Lets go all that came: nothing follows, though this is not the end.
    pub(super) fn break_off(&mut self, out: &mut Vec<u8>) {
        self.let_go(out);
        self.release(out);
    }

    /// Ends the answer, and appends what is left.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.let_go(out);
        if let Some(restorer) = &mut self.restorer {
            restorer.finish(out);
        }
    }

    fn let_go(&mut self, out: &mut Vec<u8>) {
        let mut rest = Vec::new();
        if let Some(without) = &mut self.without {
            without.finish(&mut rest);
        }
        match &mut self.restorer {
            Some(restorer) => restorer.feed(&rest, out),
            None => out.append(&mut rest),
        }
    }
}

fn form(headers: &HeaderMap, expected: Expected) -> Form {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    // A backend may stream without saying so: then what was asked decides.
    let unsaid = kind.is_empty() && expected == Expected::Events;
    if unsaid || kind.starts_with("text/event-stream") {
        return Form::Events;
    }
    let is_text = kind.contains("json") || kind.starts_with("text/");
    if is_text { Form::Document } else { Form::Opaque }
}
