//! The Responses dialect: the `response` object.

pub(crate) mod events;

use crate::{
    ask::Ask,
    bill::Usage,
    fields::Fields,
    json::{Json, Object},
    turn::{End, Item, ToolCall, ToolKind, Turn},
};

/// Fields of the request that the response repeats, in the API's order, with what stands there
/// when the request has none.
type Echoes = &'static [(&'static str, &'static str)];
const LIMITS: Echoes =
    &[("instructions", "null"), ("max_output_tokens", "null"), ("max_tool_calls", "null")];
const STATE: Echoes = &[
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
];
const SAMPLING: Echoes = &[
    ("store", "true"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"},"verbosity":"medium"}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
];
const PERSON: Echoes = &[("user", "null"), ("metadata", "{}")];

/// The response as it is when it begins.
pub(crate) fn begun(ask: &Ask<'_>, turn: &Turn) -> Json {
    let tier = ask.fields.text("service_tier").unwrap_or_else(|| "auto".to_owned());
    let now = Moment { status: "in_progress", output: Json::list([]), tier: &tier, ended: false };
    now.render(&ask.fields, turn)
}

/// The response as it is when it ends.
pub(crate) fn ended(ask: &Ask<'_>, turn: &Turn) -> Json {
    let status = match turn.end {
        End::Completed => "completed",
        End::Incomplete(_) => "incomplete",
        End::Failed { .. } => "failed",
    };
    let output = Json::list(turn.items.iter().map(|done| item(done, item_status(turn))));
    Moment { status, output, tier: &turn.tier, ended: true }.render(&ask.fields, turn)
}

/// The status of a finished item: an incomplete response has incomplete items.
pub(crate) fn item_status(turn: &Turn) -> &'static str {
    match turn.end {
        End::Incomplete(_) => "incomplete",
        End::Completed | End::Failed { .. } => "completed",
    }
}

struct Moment<'a> {
    status: &'static str,
    output: Json,
    tier: &'a str,
    ended: bool,
}

impl Moment<'_> {
    fn render(&self, fields: &Fields<'_>, turn: &Turn) -> Json {
        let end = self.ended.then_some(&turn.end);
        let object = Object::new()
            .with("id", turn.id())
            .with("object", "response")
            .with("created_at", turn.ids.created_at())
            .with("status", self.status)
            .with("background", false)
            .json("error", &error(end))
            .json("incomplete_details", &incomplete(end));
        let object =
            echo(object, fields, LIMITS).with("model", &turn.model).json("output", &self.output);
        let object = echo(object, fields, STATE).with("service_tier", self.tier);
        let usage = turn.usage.filter(|_| self.ended);
        let object = echo(object, fields, SAMPLING).json("usage", &usage_json(usage));
        echo(object, fields, PERSON).done()
    }
}

fn echo(mut object: Object, fields: &Fields<'_>, echoes: Echoes) -> Object {
    for (name, otherwise) in echoes {
        let value = fields.raw(name).map_or_else(|| Json::literal(otherwise), Json::echo);
        object = object.json(name, &value);
    }
    object
}

fn error(end: Option<&End>) -> Json {
    match end {
        Some(End::Failed { code, message }) => {
            Object::new().with("code", code).with("message", message).done()
        }
        Some(End::Completed | End::Incomplete(_)) | None => Json::literal("null"),
    }
}

fn incomplete(end: Option<&End>) -> Json {
    match end {
        Some(End::Incomplete(reason)) => Object::new().with("reason", reason).done(),
        Some(End::Completed | End::Failed { .. }) | None => Json::literal("null"),
    }
}

fn usage_json(usage: Option<Usage>) -> Json {
    let Some(usage) = usage else { return Json::literal("null") };
    let input = Object::new()
        .with("cached_tokens", usage.cached_input_tokens)
        .with("cache_write_tokens", usage.cache_write_tokens);
    let output = Object::new().with("reasoning_tokens", usage.reasoning_tokens);
    Object::new()
        .with("input_tokens", usage.input_tokens)
        .json("input_tokens_details", &input.done())
        .with("output_tokens", usage.output_tokens)
        .json("output_tokens_details", &output.done())
        .with("total_tokens", usage.total_tokens)
        .done()
}

/// A finished item.
pub(crate) fn item(item: &Item, status: &str) -> Json {
    match item {
        Item::Reasoning { id, summary, encrypted } => {
            let parts = (!summary.is_empty()).then(|| summary_part(&summary.concat()));
            reasoning(id, &Json::list(parts), encrypted.as_deref())
        }
        Item::Message { id, deltas } => {
            message(id, status, &Json::list([text_part(&deltas.concat())]))
        }
        Item::Call(call) => tool_call(call, status, &call.input),
        Item::Compaction { id, encrypted } => compaction(id, encrypted),
    }
}

/// An item of which nothing has come yet.
pub(crate) fn empty_item(item: &Item) -> Json {
    match item {
        Item::Reasoning { id, encrypted, .. } => {
            reasoning(id, &Json::list([]), encrypted.as_deref())
        }
        Item::Message { id, .. } => message(id, "in_progress", &Json::list([])),
        Item::Call(call) => tool_call(call, "in_progress", ""),
        Item::Compaction { id, encrypted } => compaction(id, encrypted),
    }
}

/// A text part.
pub(crate) fn text_part(text: &str) -> Json {
    Object::new()
        .with("type", "output_text")
        .json("annotations", &Json::list([]))
        .json("logprobs", &Json::list([]))
        .with("text", text)
        .done()
}

/// A part of a reasoning summary.
pub(crate) fn summary_part(text: &str) -> Json {
    Object::new().with("type", "summary_text").with("text", text).done()
}

fn reasoning(id: &str, summary: &Json, encrypted: Option<&str>) -> Json {
    let object = Object::new().with("id", id).with("type", "reasoning");
    let object = match encrypted {
        Some(sealed) => object.with("encrypted_content", sealed),
        None => object,
    };
    object.json("summary", summary).done()
}

fn compaction(id: &str, encrypted: &str) -> Json {
    Object::new()
        .with("id", id)
        .with("type", "compaction")
        .with("encrypted_content", encrypted)
        .done()
}

fn message(id: &str, status: &str, content: &Json) -> Json {
    Object::new()
        .with("id", id)
        .with("type", "message")
        .with("status", status)
        .json("content", content)
        .with("role", "assistant")
        .done()
}

fn tool_call(call: &ToolCall, status: &str, input: &str) -> Json {
    let (kind, field) = match call.kind {
        ToolKind::Function => ("function_call", "arguments"),
        ToolKind::Custom => ("custom_tool_call", "input"),
    };
    let object = Object::new()
        .with("id", &call.id)
        .with("type", kind)
        .with("status", status)
        .with(field, input)
        .with("call_id", &call.call_id)
        .with("name", &call.name);
    match &call.namespace {
        Some(namespace) => object.with("namespace", namespace).done(),
        None => object.done(),
    }
}
