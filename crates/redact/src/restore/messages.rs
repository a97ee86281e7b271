//! Messages of a WebSocket: each is an event of the Responses API.

use std::sync::Arc;

use crate::mask::Known;

use super::Dialect;
use super::data::Data;
use super::hold::{Hold, Unit};

/// Puts values back into the messages of a socket.
#[derive(Debug)]
pub struct Messages(Hold);

/// A message that may be sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it says now.
    pub text: Vec<u8>,
    /// Whether that is not what it said when it came.
    pub is_rewritten: bool,
}

impl Messages {
    /// For the answers of a conversation with these masks.
    pub fn new(known: Arc<Known>) -> Self {
        Self(Hold::new(known, Dialect::Responses))
    }

    /// Takes the masks of the next request, when the answer to the one before has ended. Returns
    /// what was still held.
    pub fn renew(&mut self, known: Arc<Known>) -> Vec<Message> {
        let held = self.release();
        *self = Self::new(known);
        held
    }

    /// Takes a message, and returns those that may be sent now, in order: none while it is held.
    pub fn message(&mut self, text: &[u8]) -> Vec<Message> {
        if self.0.may_pass(text) {
            return vec![Message { text: text.to_vec(), is_rewritten: false }];
        }
        sent(self.0.take(text.to_vec(), &Data::of_message(text)))
    }

    /// Whether a message is held.
    pub fn is_holding(&self) -> bool {
        self.0.is_holding()
    }

    /// Lets go unchanged what is held: at the socket's end, or when the caller waits no longer.
    pub fn release(&mut self) -> Vec<Message> {
        sent(self.0.release())
    }
}

fn sent(units: Vec<Unit>) -> Vec<Message> {
    let message = |unit: Unit| {
        let (mut text, is_rewritten) = (Vec::new(), unit.is_changed());
        unit.write(&mut text);
        Message { text, is_rewritten }
    };
    units.into_iter().map(message).collect()
}
