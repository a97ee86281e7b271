//! The Responses dialect: the events of a stream.

use crate::{
    ask::Ask,
    event::Event,
    json::{Json, Object},
    responses, speak,
    turn::{End, Item, ToolCall, ToolKind, Turn},
};

/// All events of an answer, in order.
pub(crate) fn events(ask: &Ask<'_>, turn: &Turn) -> Vec<Event> {
    let mut tape = Tape::default();
    for kind in ["response.created", "response.in_progress"] {
        tape.push(kind, |event| event.json("response", &responses::begun(ask, turn)));
    }
    for (index, item) in turn.items.iter().enumerate() {
        tape.item(index, item, responses::item_status(turn));
    }
    let kind = match turn.end {
        End::Completed => "response.completed",
        End::Incomplete(_) => "response.incomplete",
        End::Failed { .. } => "response.failed",
    };
    tape.push(kind, |event| event.json("response", &responses::ended(ask, turn)));
    tape.0
}

#[derive(Default)]
struct Tape(Vec<Event>);

impl Tape {
    fn push(&mut self, kind: &'static str, fill: impl FnOnce(Object) -> Object) {
        let object = Object::new().with("type", kind).with("sequence_number", self.0.len());
        self.0.push(Event::named(kind, fill(object).done()));
    }

    fn item(&mut self, index: usize, item: &Item, status: &str) {
        self.push("response.output_item.added", |event| {
            event.with("output_index", index).json("item", &responses::empty_item(item))
        });
        match item {
            Item::Reasoning { id, summary, .. } if !summary.is_empty() => {
                self.summary(&Place { id, index, part: "summary_index" }, summary);
            }
            Item::Reasoning { .. } | Item::Compaction { .. } => {}
            Item::Message { id, deltas } => {
                self.message(&Place { id, index, part: "content_index" }, deltas);
            }
            Item::Call(call) => self.call(index, call),
        }
        self.push("response.output_item.done", |event| {
            event.with("output_index", index).json("item", &responses::item(item, status))
        });
    }

    fn summary(&mut self, place: &Place<'_>, deltas: &[String]) {
        self.part("response.reasoning_summary_part.added", place, &responses::summary_part(""));
        for delta in deltas {
            self.push("response.reasoning_summary_text.delta", |event| {
                place.on(event).with("delta", delta)
            });
        }
        let text = deltas.concat();
        self.push("response.reasoning_summary_text.done", |event| {
            place.on(event).with("text", &text)
        });
        self.part("response.reasoning_summary_part.done", place, &responses::summary_part(&text));
    }

    fn message(&mut self, place: &Place<'_>, deltas: &[String]) {
        self.part("response.content_part.added", place, &responses::text_part(""));
        for delta in deltas {
            self.push("response.output_text.delta", |event| {
                place.on(event).with("delta", delta).json("logprobs", &Json::list([]))
            });
        }
        let text = deltas.concat();
        self.push("response.output_text.done", |event| {
            place.on(event).with("text", &text).json("logprobs", &Json::list([]))
        });
        self.part("response.content_part.done", place, &responses::text_part(&text));
    }

    fn part(&mut self, kind: &'static str, place: &Place<'_>, part: &Json) {
        self.push(kind, |event| place.on(event).json("part", part));
    }

    fn call(&mut self, index: usize, call: &ToolCall) {
        let (delta_kind, done_kind, field) = match call.kind {
            ToolKind::Function => (
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "arguments",
            ),
            ToolKind::Custom => (
                "response.custom_tool_call_input.delta",
                "response.custom_tool_call_input.done",
                "input",
            ),
        };
        for delta in speak::fragments(&call.input) {
            self.push(delta_kind, |event| {
                event.with("item_id", &call.id).with("output_index", index).with("delta", delta)
            });
        }
        self.push(done_kind, |event| {
            event.with("item_id", &call.id).with("output_index", index).with(field, &call.input)
        });
    }
}

/// Where a part stands: the first of its item.
struct Place<'a> {
    id: &'a str,
    index: usize,
    part: &'static str,
}

impl Place<'_> {
    fn on(&self, event: Object) -> Object {
        event.with("item_id", self.id).with("output_index", self.index).with(self.part, 0)
    }
}
