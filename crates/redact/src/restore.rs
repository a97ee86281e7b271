//! Puts values back in the place of their masks, while an answer passes.
//!
//! A mask may be cut over several events, since a model writes it in several tokens. Then those
//! events are held until the mask is whole or turns out to be none; nothing is added, dropped or
//! reordered. What has no mask passes byte for byte.

mod data;
mod document;
mod events;
mod hold;
mod messages;
mod read;
mod split;
mod text;

use std::sync::Arc;

use crate::mask::Known;

use self::document::Document;
use self::events::Events;
pub use self::messages::{Message, Messages};

/// Which API's events an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The Responses API.
    Responses,
    /// Chat Completions.
    Chat,
}

/// Puts values back into the body of one answer. One without a known mask is not worth a restorer.
#[derive(Debug)]
pub struct Restorer(Kind);

#[derive(Debug)]
enum Kind {
    Events(Box<Events>),
    Document(Box<Document>),
}

impl Restorer {
    /// For a body of server-sent events.
    pub fn events(known: Arc<Known>, dialect: Dialect) -> Self {
        Self(Kind::Events(Box::new(Events::new(known, dialect))))
    }

    /// For a JSON document, or any other text. Its length may change.
    pub fn document(known: Arc<Known>) -> Self {
        Self(Kind::Document(Box::new(Document::new(known))))
    }

    /// Takes the next piece of the body, and appends what may pass on.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Events(events) => events.feed(piece, out),
            Kind::Document(document) => document.feed(piece, out),
        }
    }

    /// Whether something is held that came whole, until more comes. What is kept because it is not
    /// a whole event yet does not count: it is of no use to anybody.
    pub fn is_holding(&self) -> bool {
        match &self.0 {
            Kind::Events(events) => events.is_holding(),
            Kind::Document(document) => document.is_holding(),
        }
    }

    /// Lets go unchanged what is held, for a caller who has waited long enough.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Events(events) => events.release(out),
            Kind::Document(document) => document.release(out),
        }
    }

    /// Ends the body, and appends what is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Events(events) => events.finish(out),
            Kind::Document(document) => document.release(out),
        }
    }
}

#[cfg(test)]
mod tests;
