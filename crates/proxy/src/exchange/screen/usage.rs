//! The usage of a chat stream, asked for where its client did not ask.

use wire::ask::Ask;
use wire::chat::asking_usage;

use super::intake::{Buffered, Reading};
use super::{Screen, Screened, ScreenedBody, text_of};
use crate::config::ChatUsage;
use crate::exchange::endpoint::{Endpoint, Operation};
use crate::exchange::refusal::Refusal;

/// What the upstream is asked for that the client did not ask, and does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    Nothing,
    /// The usage of a chat stream.
    Usage,
}

impl Screen {
    /// Asks for usage, where it would not be told: only `stream_options` changes. Gives the body as
    /// it is from here on.
    pub(super) fn ask_usage(
        &self,
        endpoint: &Endpoint,
        screened: &mut Screened,
        came: Buffered,
    ) -> Result<Buffered, Refusal> {
        let streams = screened.ask.as_ref().is_some_and(|ask| ask.stream);
        let is_chat = endpoint.operation == Operation::ChatCompletions;
        if self.chat_usage == ChatUsage::Off || !is_chat || !streams {
            return Ok(came);
        }
        let read = match &screened.reading {
            Reading::Plain => came.clone(),
            Reading::Decoded(copy) => copy.clone(),
            Reading::Unread(_) => return Ok(came),
        };
        let Some(asking) = asking_usage(&read.bytes) else { return Ok(came) };
        self.replace(screened, &came, &read, asking)?;
        screened.ask = Ask::read(text_of(screened));
        screened.extra = Extra::Usage;
        match &screened.body {
            ScreenedBody::Whole(body) => Ok(body.clone()),
            ScreenedBody::Streamed { .. } => Ok(came),
        }
    }
}
