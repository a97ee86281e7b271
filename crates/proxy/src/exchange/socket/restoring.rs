//! Puts a developer's own values back into the messages that answer a masked question.

use std::sync::Arc;

use redact::mask::Known;
use redact::restore::{Message, Messages};
use tokio::time::Instant;
use wire::websocket::{Opcode, binary, text};

use crate::exchange::restored::PATIENCE;

/// What becomes of the messages of one answer.
pub(super) struct Restoring {
    messages: Messages,
    /// The message under way, as far as it has come.
    message: Vec<u8>,
    is_text: bool,
    /// Until when messages wait for those after them, where some do.
    patience: Option<Instant>,
}

/// Waits until messages have waited long enough for those after them; for ever, where none does.
pub(super) async fn overdue(restoring: Option<&Restoring>) {
    match restoring.and_then(|restoring| restoring.patience) {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Restoring {
    /// With these masks.
    pub(super) fn new(masks: Arc<Known>) -> Self {
        Self { messages: Messages::new(masks), message: Vec::new(), is_text: true, patience: None }
    }

    /// A message begins.
    pub(super) fn begin(&mut self, opcode: Opcode) {
        self.is_text = opcode == Opcode::Text;
        self.message.clear();
    }

    /// More of the message.
    pub(super) fn take(&mut self, data: &[u8]) {
        self.message.extend_from_slice(data);
    }

    /// The message has ended: the frames that the client gets now. Some messages wait for those after
    /// them, which may complete a mask.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let message = std::mem::take(&mut self.message);
        if !self.is_text {
            return [self.rest(), binary(&message)].concat();
        }
        let sent = frames(&self.messages.message(&message));
        self.patience = self.messages.is_holding().then(|| Instant::now() + PATIENCE);
        sent
    }

    /// Nobody waits any longer: whatever still waits.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.patience = None;
        frames(&self.messages.release())
    }
}

fn frames(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| text(&message.text)).collect()
}
