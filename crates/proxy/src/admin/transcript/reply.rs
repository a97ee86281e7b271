//! What an answer's body brings: one JSON object, events, or messages of a WebSocket.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::What;
use super::content::at;
use super::item::{self, Item};

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The items, as they stand and as they read.
    pub(super) items: Vec<(String, Item)>,
    /// What is said of an error.
    pub(super) error: Option<String>,
    /// Why the answer is not whole, though it is no error.
    pub(super) incomplete: Option<String>,
}

/// The members of an event, of a message of a WebSocket, or of a whole answer, that matter here.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    item_id: Option<Cow<'a, str>>,
    delta: Option<Value>,
    response: Option<Outline>,
    error: Option<Value>,
    message: Option<Value>,
    output: Option<Vec<Value>>,
    choices: Option<Vec<Value>>,
    incomplete_details: Option<Value>,
}

/// The members of a response that matter here.
#[derive(Deserialize)]
struct Outline {
    error: Option<Value>,
    incomplete_details: Option<Value>,
    output: Option<Vec<Value>>,
}

/// An answer in the making.
#[derive(Default)]
struct Reading {
    reply: Reply,
    /// Texts of items that have not ended, by the item's id.
    partial: BTreeMap<String, String>,
    /// The assistant's message of a streamed chat completion.
    chat: Chat,
}

#[derive(Default)]
struct Chat {
    content: String,
    calls: BTreeMap<u64, (String, String, String)>,
    ended: bool,
}

/// Reads an answer as far as it came.
pub(super) fn read(body: &[u8]) -> Reply {
    let mut reading = Reading::default();
    if serde_json::from_slice::<&RawValue>(body).is_ok() {
        reading.event(body);
    } else if is_stream(body) {
        wire::sse::each_data(body, &mut |data| reading.event(data));
    } else {
        body.split(|byte| *byte == b'\n').for_each(|line| reading.event(line));
    }
    reading.end()
}

/// Whether the first line that says anything is one of an event stream.
fn is_stream(body: &[u8]) -> bool {
    let line = body.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.is_empty());
    let line = line.map(|line| line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line));
    line.is_some_and(|line| {
        [&b"data"[..], b"event", b"id", b"retry", b":"].iter().any(|begin| line.starts_with(begin))
    })
}

impl Reading {
    fn event(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
        match event.kind.as_deref() {
            Some("response.output_item.done") => self.done(event.item),
            Some("response.output_text.delta") => {
                let id = event.item_id.unwrap_or_default().into_owned();
                let more = event.delta.as_ref().and_then(Value::as_str).unwrap_or_default();
                self.partial.entry(id).or_default().push_str(more);
            }
            Some("error") => self.fails(event.error.as_ref().or(event.message.as_ref())),
            _ => self.whole(event),
        }
    }

    fn done(&mut self, item: Option<&RawValue>) {
        let Some(raw) = item else { return };
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        self.item(raw.get().to_owned(), &value);
    }

    fn item(&mut self, raw: String, value: &Value) {
        let item = item::read(value);
        self.partial.remove(item.id.as_deref().unwrap_or_default());
        self.reply.items.push((raw, item));
    }

    /// The last event of a stream, a whole answer, or a piece of a chat completion.
    fn whole(&mut self, event: Event<'_>) {
        self.fails(event.error.as_ref());
        let mut output = event.output;
        let mut details = event.incomplete_details;
        if let Some(response) = event.response {
            self.fails(response.error.as_ref());
            output = response.output;
            details = response.incomplete_details;
        }
        if let Some(reason) =
            details.and_then(|details| Some(details.get("reason")?.as_str()?.to_owned()))
        {
            self.reply.incomplete = Some(reason);
        }
        // A stream repeats its items at the end; some upstreams say them only there.
        if self.reply.items.is_empty() {
            for value in output.into_iter().flatten() {
                self.item(value.to_string(), &value);
            }
        }
        for choice in event.choices.into_iter().flatten() {
            self.choice(&choice);
        }
    }

    fn choice(&mut self, choice: &Value) {
        if choice["message"].is_object() {
            let mut message = choice["message"].clone();
            if let Some(message) = message.as_object_mut() {
                message.insert("role".to_owned(), json!("assistant"));
            }
            return self.item(message.to_string(), &message);
        }
        let delta = &choice["delta"];
        self.chat.content.push_str(delta["content"].as_str().unwrap_or_default());
        self.chat.ended |= choice["finish_reason"].is_string();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let known = self.chat.calls.entry(call["index"].as_u64().unwrap_or(0)).or_default();
            known.0.push_str(call["id"].as_str().unwrap_or_default());
            known.1.push_str(at(call, "/function/name").as_str().unwrap_or_default());
            known.2.push_str(at(call, "/function/arguments").as_str().unwrap_or_default());
        }
    }

    fn fails(&mut self, error: Option<&Value>) {
        let Some(error) = error.filter(|error| !error.is_null()) else { return };
        let message = error["message"].as_str().or_else(|| error.as_str());
        let code = error["code"].as_str().or_else(|| error["type"].as_str());
        let told = match (message, code) {
            (Some(message), _) => message.to_owned(),
            (None, Some(code)) => code.to_owned(),
            (None, None) => error.to_string(),
        };
        self.reply.error = Some(told);
    }

    fn end(mut self) -> Reply {
        if !self.chat.content.is_empty() || !self.chat.calls.is_empty() {
            self.chat_message();
        }
        for text in std::mem::take(&mut self.partial).into_values() {
            self.reply.items.push((String::new(), cut(text)));
        }
        self.reply
    }

    fn chat_message(&mut self) {
        let Chat { content, calls, ended } = std::mem::take(&mut self.chat);
        if !ended && calls.is_empty() {
            return self.reply.items.push((String::new(), cut(content)));
        }
        let call = |(id, name, arguments)| {
            json!({ "id": id, "type": "function",
                "function": { "name": name, "arguments": arguments } })
        };
        let calls: Vec<Value> = calls.into_values().map(call).collect();
        let message = json!({ "role": "assistant", "content": content, "tool_calls": calls });
        self.item(message.to_string(), &message);
    }
}

/// Words that broke off.
fn cut(text: String) -> Item {
    Item::saying(What::Answered { text, cut: true })
}
