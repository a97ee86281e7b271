//! Messages of a WebSocket that ask for an answer: collected within bounds, and inspected.

use tokio::sync::OwnedSemaphorePermit;
use wire::ask::Ask;

use super::{Buffered, GRAIN, Proof, Screen};
use crate::exchange::refusal::Refusal;

/// A message that was inspected. Made only here.
#[derive(Debug)]
pub struct ScreenedMessage {
    /// What it says.
    pub text: Buffered,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    _made_here: Proof,
}

/// A message while it is collected, with the memory that it holds.
#[derive(Debug, Default)]
pub struct Collected {
    /// Its frames as they came.
    pub frames: Vec<u8>,
    /// What they say.
    pub text: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
}

impl Screen {
    /// Sees to it that what was collected is within bounds.
    pub fn bound(&self, collected: &mut Collected) -> Result<(), Refusal> {
        if collected.text.len().max(collected.frames.len()) as u64 > self.max_body {
            return Err(self.too_large());
        }
        let bytes = collected.text.len() + collected.frames.len();
        self.reserve(&mut collected.memory, bytes.div_ceil(GRAIN))
    }

    /// Inspects a whole message.
    pub fn message(&self, text: Vec<u8>, ask: Option<Ask>) -> ScreenedMessage {
        let text = Buffered { bytes: text.into(), _memory: None };
        ScreenedMessage { text, ask, _made_here: Proof }
    }
}
