//! The Chat Completions dialect.

use crate::{
    ask::Ask,
    bill::Usage,
    event::Event,
    json::{Json, Object},
    problem::Problem,
    speak,
    turn::{End, Item, ToolCall, ToolKind, Turn},
};

/// The whole answer as one object; a failed one is an error.
pub(crate) fn completion(turn: &Turn) -> Result<Json, Problem> {
    if let End::Failed { code, message } = &turn.end {
        return Err(failure(code, message));
    }
    let choice = Object::new()
        .with("index", 0)
        .json("message", &message(turn))
        .json("logprobs", &Json::literal("null"))
        .with("finish_reason", finish_reason(turn))
        .done();
    let object = head(turn, "chat.completion").json("choices", &Json::list([choice]));
    let object = match turn.usage {
        Some(usage) => object.json("usage", &usage_json(usage)),
        None => object,
    };
    Ok(tail(object, turn))
}

/// All events of a streamed answer, in order.
pub(crate) fn events(ask: &Ask<'_>, turn: &Turn) -> Vec<Event> {
    let include = ask.fields.value("stream_options");
    let wanted = include.get("include_usage").and_then(serde_json::Value::as_bool) == Some(true);
    let chunks = Chunks { turn, usage: wanted.then_some(turn.usage).flatten() };
    let mut events = vec![chunks.delta(&first_delta())];
    events.extend(deltas(turn).iter().map(|delta| chunks.delta(delta)));
    if let End::Failed { code, message } = &turn.end {
        events.push(Event::unnamed(failure(code, message).json().into_text()));
    } else {
        events.push(chunks.choice(&Object::new().done(), Some(finish_reason(turn))));
        events.extend(chunks.last());
    }
    events.push(Event::unnamed("[DONE]".to_owned()));
    events
}

struct Chunks<'a> {
    turn: &'a Turn,
    usage: Option<Usage>,
}

impl Chunks<'_> {
    fn delta(&self, delta: &Json) -> Event {
        self.choice(delta, None)
    }

    fn choice(&self, delta: &Json, finish_reason: Option<&str>) -> Event {
        let choice = Object::new()
            .with("index", 0)
            .json("delta", delta)
            .json("logprobs", &Json::literal("null"))
            .with("finish_reason", finish_reason)
            .done();
        let usage = self.usage.map(|_| Json::literal("null"));
        self.chunk(&Json::list([choice]), usage)
    }

    /// The chunk that has the usage and no choice.
    fn last(&self) -> Option<Event> {
        let usage = self.usage.map(usage_json)?;
        Some(self.chunk(&Json::list([]), Some(usage)))
    }

    fn chunk(&self, choices: &Json, usage: Option<Json>) -> Event {
        let object = tail_fields(head(self.turn, "chat.completion.chunk"), self.turn);
        let object = object.json("choices", choices);
        let object = match usage {
            Some(usage) => object.json("usage", &usage),
            None => object,
        };
        Event::unnamed(object.done().into_text())
    }
}

fn head(turn: &Turn, object: &str) -> Object {
    Object::new()
        .with("id", turn.id())
        .with("object", object)
        .with("created", turn.ids.created_at())
        .with("model", &turn.model)
}

fn tail_fields(object: Object, turn: &Turn) -> Object {
    object.with("service_tier", &turn.tier).json("system_fingerprint", &Json::literal("null"))
}

fn tail(object: Object, turn: &Turn) -> Json {
    tail_fields(object, turn).done()
}

fn first_delta() -> Json {
    let delta = Object::new().with("role", "assistant").with("content", "");
    delta.json("refusal", &Json::literal("null")).done()
}

fn deltas(turn: &Turn) -> Vec<Json> {
    let texts = turn.items.iter().filter_map(|item| match item {
        Item::Message { deltas, .. } => Some(deltas),
        Item::Reasoning { .. } | Item::Call(_) | Item::Compaction { .. } => None,
    });
    let mut deltas: Vec<Json> =
        texts.flatten().map(|delta| Object::new().with("content", delta).done()).collect();
    deltas.extend(turn.calls().enumerate().flat_map(|(index, call)| call_deltas(index, call)));
    deltas
}

/// The first names the call, the others carry its arguments.
fn call_deltas(index: usize, call: &ToolCall) -> Vec<Json> {
    let object = Object::new().with("index", index);
    let named = tool_call(object, call, "");
    let pieces = speak::fragments(&call.input).into_iter().map(|piece| {
        let (kind, field) = words(call.kind);
        let inner = Object::new().with(field, piece).done();
        Object::new().with("index", index).json(kind, &inner).done()
    });
    let deltas = std::iter::once(named).chain(pieces);
    deltas.map(|delta| Object::new().json("tool_calls", &Json::list([delta])).done()).collect()
}

fn tool_call(object: Object, call: &ToolCall, input: &str) -> Json {
    let (kind, field) = words(call.kind);
    let inner = Object::new().with("name", &call.name).with(field, input).done();
    object.with("id", &call.call_id).with("type", kind).json(kind, &inner).done()
}

fn words(kind: ToolKind) -> (&'static str, &'static str) {
    match kind {
        ToolKind::Function => ("function", "arguments"),
        ToolKind::Custom => ("custom", "input"),
    }
}

fn message(turn: &Turn) -> Json {
    let calls: Vec<Json> =
        turn.calls().map(|call| tool_call(Object::new(), call, &call.input)).collect();
    let content = if calls.is_empty() { Some(text(turn)) } else { None };
    let object = Object::new().with("role", "assistant").with("content", content);
    let object =
        if calls.is_empty() { object } else { object.json("tool_calls", &Json::list(calls)) };
    object.json("refusal", &Json::literal("null")).json("annotations", &Json::list([])).done()
}

fn text(turn: &Turn) -> String {
    let texts = turn.items.iter().map(|item| match item {
        Item::Message { deltas, .. } => deltas.concat(),
        Item::Reasoning { .. } | Item::Call(_) | Item::Compaction { .. } => String::new(),
    });
    texts.collect()
}

fn finish_reason(turn: &Turn) -> &'static str {
    match &turn.end {
        End::Incomplete(reason) if reason == "content_filter" => "content_filter",
        End::Incomplete(_) => "length",
        End::Completed | End::Failed { .. } if turn.calls().next().is_some() => "tool_calls",
        End::Completed | End::Failed { .. } => "stop",
    }
}

fn failure(code: &str, message: &str) -> Problem {
    let problem = Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, message).code(code);
    Problem { kind: "server_error".to_owned(), ..problem }
}

fn usage_json(usage: Usage) -> Json {
    let prompt = Object::new()
        .with("cached_tokens", usage.cached_input_tokens)
        .with("cache_write_tokens", usage.cache_write_tokens)
        .with("audio_tokens", 0);
    let completion = Object::new()
        .with("reasoning_tokens", usage.reasoning_tokens)
        .with("audio_tokens", 0)
        .with("accepted_prediction_tokens", 0)
        .with("rejected_prediction_tokens", 0);
    Object::new()
        .with("prompt_tokens", usage.input_tokens)
        .with("completion_tokens", usage.output_tokens)
        .with("total_tokens", usage.total_tokens)
        .json("prompt_tokens_details", &prompt.done())
        .json("completion_tokens_details", &completion.done())
        .done()
}
