//! What the meter writes down, event by event.

use std::ops::ControlFlow;

use crate::estimate::Sample;
use crate::pick::{Value, string};
use crate::usage::Usage;

use super::places::{Place, TEXT_LIMIT};
use super::{Ending, Reading, Shape};

/// The reading, and what is known of the event that is passing.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) reading: Reading,
    /// Of the text, to estimate how many tokens it has.
    pub(super) sample: Sample,
    pub(super) sentinel: Sentinel,
    kind: Option<Kind>,
    /// The length of a delta that came before the event's type.
    delta_bytes: u64,
}

/// What the type of a Responses event makes of it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// It carries a piece of text.
    TextDelta,
    /// It carries the response.
    Response(Option<Ending>),
    /// It carries an error.
    Error,
    /// It carries nothing that is read.
    Other,
}

impl Kind {
    pub(super) fn of(raw_type: &[u8]) -> Self {
        match raw_type {
            br#""response.output_text.delta""#
            | br#""response.function_call_arguments.delta""#
            | br#""response.custom_tool_call_input.delta""#
            | br#""response.mcp_call_arguments.delta""#
            | br#""response.code_interpreter_call_code.delta""#
            | br#""response.reasoning_text.delta""#
            | br#""response.reasoning_summary_text.delta""#
            | br#""response.refusal.delta""# => Self::TextDelta,
            br#""response.created""# | br#""response.queued""# | br#""response.in_progress""# => {
                Self::Response(None)
            }
            br#""response.completed""# => Self::Response(Some(Ending::Completed)),
            br#""response.failed""# => Self::Response(Some(Ending::Failed)),
            br#""response.incomplete""# => Self::Response(Some(Ending::Incomplete)),
            br#""error""# => Self::Error,
            _ => Self::Other,
        }
    }
}

impl Notes {
    /// Takes note of a member; breaks when the rest of the event tells nothing more.
    pub(super) fn take(&mut self, place: Place, value: Value<'_>) -> ControlFlow<()> {
        let reading = &mut self.reading;
        match place {
            Place::Type => return self.take_type(value.raw),
            Place::Delta => return self.take_delta(value),
            Place::Id => note(&mut reading.response_id, value.raw),
            Place::Model => note(&mut reading.upstream_model, value.raw),
            Place::ServiceTier => note(&mut reading.service_tier, value.raw),
            Place::Usage => reading.usage = Usage::read(value.raw).or(reading.usage),
            Place::Status => reading.ending = status(value.raw),
            Place::ErrorStatus => reading.error_status = number(value.raw),
            Place::ErrorCode => note(&mut reading.error_code, value.raw),
            Place::ErrorType if reading.error_code.is_none() => {
                note(&mut reading.error_code, value.raw);
            }
            Place::ErrorType => {}
            Place::Text => self.count_text(value),
            Place::OutputType => {
                reading.web_searches += u64::from(value.raw == br#""web_search_call""#);
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes note of an event that carries this piece of text, quotes and all, and nothing else.
    pub(super) fn take_text_delta(&mut self, raw: &[u8]) {
        self.kind = Some(Kind::TextDelta);
        let string_bytes = raw.len().saturating_sub(2) as u64;
        let raw = if raw.len() <= TEXT_LIMIT { raw } else { &[] };
        self.count_text(Value { raw, string_bytes, begin: 0, end: 0 });
    }

    /// Closes an event, and tells which ending it is.
    pub(super) fn end_event(&mut self, shape: Shape) -> Option<Ending> {
        let kind = self.kind.take();
        let done = std::mem::take(&mut self.sentinel).is_done();
        self.delta_bytes = 0;
        match (shape, kind) {
            (Shape::ResponsesEvents | Shape::ResponsesMessages, Some(Kind::Response(ending))) => {
                ending
            }
            // Among server-sent events clients read past it; in a WebSocket it is the answer's end.
            (Shape::ResponsesMessages, Some(Kind::Error)) => Some(Ending::Failed),
            (Shape::ChatEvents, _) if done => Some(Ending::Done),
            _ => None,
        }
    }

    fn take_type(&mut self, raw: &[u8]) -> ControlFlow<()> {
        let kind = Kind::of(raw);
        self.kind = Some(kind);
        match kind {
            Kind::TextDelta if self.delta_bytes == 0 => ControlFlow::Continue(()),
            Kind::TextDelta => {
                self.reading.text_bytes += self.delta_bytes;
                ControlFlow::Break(())
            }
            Kind::Response(_) | Kind::Error => ControlFlow::Continue(()),
            Kind::Other => ControlFlow::Break(()),
        }
    }

    fn take_delta(&mut self, value: Value<'_>) -> ControlFlow<()> {
        match self.kind {
            None => self.delta_bytes = value.string_bytes,
            Some(Kind::TextDelta) => {
                self.count_text(value);
                return ControlFlow::Break(());
            }
            Some(Kind::Response(_) | Kind::Error | Kind::Other) => {}
        }
        ControlFlow::Continue(())
    }

    fn count_text(&mut self, value: Value<'_>) {
        self.reading.text_bytes = self.reading.text_bytes.saturating_add(value.string_bytes);
        let text = value.raw.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
        self.sample.add(text.unwrap_or_default());
    }
}

/// Notes a string; one that is not understood leaves what was noted before.
fn note(noted: &mut Option<String>, raw: &[u8]) {
    let plain = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    // Each chunk of a chat repeats its id and model: nothing is copied for that.
    if plain.is_some() && plain == noted.as_deref().map(str::as_bytes) {
        return;
    }
    if let Some(text) = string(raw) {
        *noted = Some(text);
    }
}

fn number(raw: &[u8]) -> Option<u16> {
    serde_json::from_slice(raw).ok()
}

fn status(raw: &[u8]) -> Option<Ending> {
    match raw {
        br#""completed""# => Some(Ending::Completed),
        br#""failed""# => Some(Ending::Failed),
        br#""incomplete""# => Some(Ending::Incomplete),
        _ => None,
    }
}

/// Compares the data of an event with `[DONE]`, the last one of a chat stream.
#[derive(Default)]
pub(super) struct Sentinel {
    seen: usize,
    differs: bool,
}

impl Sentinel {
    const DONE: &[u8] = b"[DONE]";

    /// Compares the next piece of data.
    pub(super) fn feed(&mut self, data: &[u8]) {
        if self.differs {
            return;
        }
        self.differs = !Self::DONE.get(self.seen..).is_some_and(|rest| rest.starts_with(data));
        self.seen += data.len();
    }

    fn is_done(&self) -> bool {
        !self.differs && self.seen == Self::DONE.len()
    }
}
