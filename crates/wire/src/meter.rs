//! Reads an answer while it passes: what it used, which model gave it, how it ended.

mod notes;
mod places;
mod quick;

use serde::{Deserialize, Serialize};

use crate::pick::Picker;
use crate::sse::{Events, Token};
use crate::usage::Usage;

use notes::Notes;
use places::{CHAT_CHUNK, DOCUMENT, Place, RESPONSES_EVENT};

/// What the bytes of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Server-sent events of the Responses API.
    ResponsesEvents,
    /// Messages of a WebSocket, each an event of the Responses API.
    ResponsesMessages,
    /// Server-sent events of Chat Completions.
    ChatEvents,
    /// One JSON document of any API.
    Json,
    /// Nothing that is read.
    Opaque,
}

/// Which terminal unit an answer had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// `response.completed`, or a document with that status.
    Completed,
    /// `response.failed`, or a document with that status.
    Failed,
    /// `response.incomplete`, or a document with that status.
    Incomplete,
    /// Chat's `data: [DONE]`.
    Done,
}

/// What was read in an answer, as far as it has come; what was not understood is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tokens used, if the upstream has said so.
    pub usage: Option<Usage>,
    /// The model that the answer names; it can be another than the one asked for.
    pub upstream_model: Option<String>,
    /// The service tier that the answer names.
    pub service_tier: Option<String>,
    /// The answer's id.
    pub response_id: Option<String>,
    /// The terminal unit seen.
    pub ending: Option<Ending>,
    /// The status that an error in a WebSocket names.
    pub error_status: Option<u16>,
    /// The code of the error in the answer, or its type where the code is null.
    pub error_code: Option<String>,
    /// Searches of the web that the upstream made for it.
    pub web_searches: u64,
    /// Raw bytes of text, reasoning and tool arguments seen.
    pub text_bytes: u64,
}

/// Reads one answer, piece by piece; it never fails, and its memory is bounded.
pub struct Meter {
    shape: Shape,
    events: Events,
    picker: Picker<Place>,
    notes: Notes,
}

impl Meter {
    /// Makes a meter for an answer of this shape.
    pub fn new(shape: Shape) -> Self {
        let members = match shape {
            Shape::ResponsesEvents | Shape::ResponsesMessages => RESPONSES_EVENT,
            Shape::ChatEvents => CHAT_CHUNK,
            Shape::Json => DOCUMENT,
            Shape::Opaque => &[],
        };
        Self { shape, events: Events::new(), picker: Picker::new(members), notes: Notes::default() }
    }

    /// Reads the next piece. If the terminal event ends in it, tells where in it that event begins:
    /// 0 if it began in an earlier piece. Only the first terminal event is told, once; what follows
    /// it is not read.
    pub fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        match self.shape {
            Shape::ResponsesEvents | Shape::ChatEvents => self.read_events(piece),
            Shape::ResponsesMessages => {
                self.read_data(piece);
                None
            }
            Shape::Json => {
                self.read_document(piece);
                None
            }
            Shape::Opaque => None,
        }
    }

    /// Ends a message; tells whether it is the terminal one.
    pub fn end_message(&mut self) -> bool {
        self.shape == Shape::ResponsesMessages && self.end_event()
    }

    /// Tells whether the stream stands inside an event, which must be ended before another begins.
    pub fn mid_event(&self) -> bool {
        self.events.in_event()
    }

    /// What was read so far; of a JSON document it is valid once the document has ended.
    pub fn reading(&self) -> Reading {
        self.notes.reading.clone()
    }

    /// How many tokens the text has that was read so far, as its own tokenizer counts them.
    pub fn text_tokens(&self) -> u64 {
        self.notes.sample.tokens(self.notes.reading.text_bytes)
    }

    fn read_events(&mut self, piece: &[u8]) -> Option<usize> {
        let (mut rest, mut begin, mut terminal) = (piece, 0, None);
        while !rest.is_empty() {
            if !self.events.in_event() {
                begin = piece.len() - rest.len();
            }
            let (used, token) = self.events.step(rest);
            match token {
                Token::Data(data) => self.read_data(data),
                Token::End if self.end_event() => terminal = Some(begin),
                Token::Nothing | Token::End => {}
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        terminal
    }

    fn read_data(&mut self, data: &[u8]) {
        if self.notes.reading.ending.is_some() {
            return;
        }
        if self.shape != Shape::ChatEvents
            && self.picker.is_fresh()
            && let Some(delta) = quick::text_delta(data)
        {
            self.notes.take_text_delta(delta);
            return self.picker.enough();
        }
        self.notes.sentinel.feed(data);
        self.read_document(data);
    }

    fn read_document(&mut self, piece: &[u8]) {
        let notes = &mut self.notes;
        self.picker.feed(piece, &mut |place, value| notes.take(place, value));
    }

    /// Closes an event, and tells whether it is the first terminal one.
    fn end_event(&mut self) -> bool {
        self.picker.restart();
        let ending = self.notes.end_event(self.shape);
        if self.notes.reading.ending.is_some() {
            return false;
        }
        self.notes.reading.ending = ending;
        ending.is_some()
    }
}

#[cfg(test)]
mod tests;
