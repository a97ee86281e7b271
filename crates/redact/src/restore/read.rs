//! What an event says: pieces of which texts, and which texts have ended.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Dialect;

/// Which text of an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The output item, or the choice.
    pub(super) index: Option<u64>,
    /// The item's id.
    item: String,
    /// The event's type without its last word, or the member's name.
    kind: String,
    /// The part of the content or summary, or the tool call.
    part: [Option<u64>; 2],
}

/// A piece of a text: where in the data it stands, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) key: Key,
    pub(super) span: Range<usize>,
}

/// Which texts have ended with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// None.
    Nothing,
    /// One.
    Text(Key),
    /// All of these items or choices.
    Of(Vec<u64>),
    /// All.
    All,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// Pieces of texts; of an event that has none, whole masks are put back wherever they stand.
    pub(super) pieces: Option<Vec<Piece>>,
    pub(super) ended: Ended,
}

impl Reading {
    const OTHER: Self = Self { pieces: None, ended: Ended::Nothing };
}

/// Reads the data of an event; what is not understood says nothing.
pub(super) fn read(dialect: Dialect, data: &[u8]) -> Reading {
    let reading = match dialect {
        Dialect::Responses => serde_json::from_slice(data).ok().map(|event| of_event(data, &event)),
        Dialect::Chat if data == b"[DONE]" => Some(Reading { pieces: None, ended: Ended::All }),
        Dialect::Chat => serde_json::from_slice(data).ok().map(|chunk| of_chunk(data, &chunk)),
    };
    reading.unwrap_or(Reading::OTHER)
}

/// An event of the Responses API.
#[derive(Deserialize)]
struct Event<'d> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'d, str>,
    #[serde(borrow)]
    delta: Option<&'d RawValue>,
    #[serde(borrow, default)]
    item_id: Cow<'d, str>,
    output_index: Option<u64>,
    content_index: Option<u64>,
    summary_index: Option<u64>,
}

impl Event<'_> {
    fn key(&self, kind: &str) -> Key {
        let (item, kind) = (self.item_id.clone().into_owned(), kind.to_owned());
        Key { index: self.output_index, item, kind, part: [self.content_index, self.summary_index] }
    }
}

fn of_event(data: &[u8], event: &Event<'_>) -> Reading {
    let ended = match &*event.kind {
        "response.completed" | "response.failed" | "response.incomplete" | "error" => Ended::All,
        "response.output_item.done"
        | "response.content_part.done"
        | "response.reasoning_summary_part.done" => {
            Ended::Of(event.output_index.into_iter().collect())
        }
        kind => match kind.strip_suffix(".done") {
            Some(text) => Ended::Text(event.key(text)),
            None => Ended::Nothing,
        },
    };
    let text = event.kind.strip_suffix(".delta");
    let piece = text
        .and_then(|text| Some(Piece { key: event.key(text), span: span_of(data, event.delta?)? }));
    Reading { pieces: piece.map(|piece| vec![piece]), ended }
}

/// A chunk of Chat Completions.
#[derive(Deserialize)]
struct Chunk<'d> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'d>>,
}

#[derive(Deserialize)]
struct Choice<'d> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<Delta<'d>>,
    #[serde(borrow)]
    finish_reason: Option<&'d RawValue>,
}

#[derive(Deserialize)]
struct Delta<'d> {
    #[serde(borrow)]
    content: Option<&'d RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'d RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'d RawValue>,
    #[serde(borrow)]
    refusal: Option<&'d RawValue>,
    #[serde(borrow)]
    function_call: Option<Call<'d>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'d>>>,
}

#[derive(Deserialize)]
struct ToolCall<'d> {
    index: Option<u64>,
    #[serde(borrow)]
    function: Option<Call<'d>>,
    #[serde(borrow)]
    custom: Option<Call<'d>>,
}

/// A function has arguments, a custom tool an input.
#[derive(Deserialize)]
struct Call<'d> {
    #[serde(borrow)]
    arguments: Option<&'d RawValue>,
    #[serde(borrow)]
    input: Option<&'d RawValue>,
}

fn of_chunk(data: &[u8], chunk: &Chunk<'_>) -> Reading {
    let (mut pieces, mut ended) = (Vec::new(), Vec::new());
    for choice in &chunk.choices {
        if choice.finish_reason.is_some() {
            ended.push(choice.index);
        }
        for (kind, tool, raw) in choice.delta.iter().flat_map(texts) {
            let Some(span) = raw.and_then(|raw| span_of(data, raw)) else { continue };
            let (item, kind) = (String::new(), kind.to_owned());
            let key = Key { index: Some(choice.index), item, kind, part: [tool, None] };
            pieces.push(Piece { key, span });
        }
    }
    let ended = if ended.is_empty() { Ended::Nothing } else { Ended::Of(ended) };
    Reading { pieces: Some(pieces).filter(|pieces| !pieces.is_empty()), ended }
}

type Text<'d> = (&'static str, Option<u64>, Option<&'d RawValue>);

fn texts<'d>(delta: &Delta<'d>) -> Vec<Text<'d>> {
    let mut texts = vec![
        ("content", None, delta.content),
        ("reasoning", None, delta.reasoning),
        ("reasoning_content", None, delta.reasoning_content),
        ("refusal", None, delta.refusal),
    ];
    if let Some(call) = &delta.function_call {
        texts.push(("function_call", None, call.arguments));
    }
    for tool in delta.tool_calls.iter().flatten() {
        let function = tool.function.as_ref().and_then(|call| call.arguments);
        let custom = tool.custom.as_ref().and_then(|call| call.input);
        texts.extend([("function", tool.index, function), ("custom", tool.index, custom)]);
    }
    texts
}

/// Where in the data the content of a string stands, that was read from it.
fn span_of(data: &[u8], raw: &RawValue) -> Option<Range<usize>> {
    let raw = raw.get();
    let quoted = raw.starts_with('"') && raw.len() >= 2;
    let start = raw.as_ptr().addr().checked_sub(data.as_ptr().addr())?;
    let end = start + raw.len();
    (quoted && end <= data.len()).then_some(start + 1..end - 1)
}
