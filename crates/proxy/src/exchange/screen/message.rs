//! Messages of a WebSocket that ask for an answer: collected within bounds, and inspected.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use wire::ask::Ask;

use super::{Buffered, GRAIN, Proof, Screen};
use crate::exchange::refusal::{Refusal, Word};

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

/// A message that was inspected, and the frames that carry it.
pub struct Inspected {
    /// What it says.
    pub message: ScreenedMessage,
    /// As they came.
    pub frames: Buffered,
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

    /// Waits for the next piece of a message that is collected.
    pub async fn in_time<T>(&self, piece: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::time::timeout(self.body_timeout, piece).await.map_err(|_| {
            let limit = humantime::format_duration(self.body_timeout);
            let message = format!("The message stalled for {limit}.");
            Refusal::new(Word::UnreadableBody, message)
        })
    }

    /// Inspects a whole message.
    pub fn message(&self, collected: Collected) -> Inspected {
        let Collected { frames, text, memory } = collected;
        let memory = memory.map(Arc::new);
        let ask = Ask::read(&text);
        let text = Buffered { bytes: text.into(), _memory: memory.clone() };
        let frames = Buffered { bytes: frames.into(), _memory: memory };
        Inspected { message: ScreenedMessage { text, ask, _made_here: Proof }, frames }
    }
}
