//! What a request asks: the few members of a Responses or Chat Completions body that matter to us.

use std::ops::{ControlFlow, Range};

use crate::form::Form;
use crate::pick::{Member, Picker, Value, elements, inside, string, text};

/// What a request asks for, read from its JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What a message of a WebSocket is: `response.create` asks for an answer.
    pub message_type: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Whether the answer shall be a stream of events.
    pub stream: bool,
    /// Whether an answer shall be generated; false for the prewarming of a WebSocket.
    pub generate: bool,
    /// The service tier asked for.
    pub service_tier: Option<String>,
    /// `max_output_tokens`, or chat's `max_completion_tokens`, or its older `max_tokens`.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for: chat's `n`.
    pub choices: Option<u64>,
    /// Whether it names a conversation or a prompt that the upstream keeps: there may be more to read
    /// than the body has.
    pub names_kept: bool,
    /// The response that this request continues.
    pub previous_response_id: Option<String>,
    /// What the upstream keeps its cache by.
    pub prompt_cache_key: Option<String>,
    /// The conversation, from `client_metadata`.
    pub thread_id: Option<String>,
    /// The session, from `client_metadata`.
    pub session_id: Option<String>,
    /// The JSON text of Codex's turn metadata, from `client_metadata`.
    pub turn_metadata: Option<String>,
    /// Where in the body the pieces stand that later requests of the conversation repeat, in order:
    /// `instructions`, and each element of `tools`, `input` and `messages`.
    pub items: Vec<Item>,
}

/// A piece of a request's body that later requests of its conversation repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub range: Range<usize>,
    /// Of which member it is a part.
    pub of: Part,
}

/// The members that a conversation repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `instructions`, whole.
    Instructions,
    /// One of `tools`.
    Tools,
    /// One of `input`, or all of it where it is a text.
    Input,
    /// One of Chat's `messages`.
    Messages,
}

impl Default for Ask {
    /// A request that asks for nothing in particular; unless told otherwise the API generates.
    fn default() -> Self {
        Self {
            message_type: None,
            model: None,
            stream: false,
            generate: true,
            service_tier: None,
            max_output_tokens: None,
            choices: None,
            names_kept: false,
            previous_response_id: None,
            prompt_cache_key: None,
            thread_id: None,
            session_id: None,
            turn_metadata: None,
            items: Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
enum Place {
    MessageType,
    Model,
    Stream,
    Generate,
    ServiceTier,
    MaxOutputTokens,
    Choices,
    Kept,
    PreviousResponseId,
    PromptCacheKey,
    ThreadId,
    SessionId,
    TurnMetadata,
    Item(Part),
}

/// Names and ids are far shorter.
const NAME_LIMIT: usize = 1024;
const METADATA_LIMIT: usize = 64 * 1024;

const BODY: &[Member<Place>] = &[
    text(Place::MessageType, "type", NAME_LIMIT),
    text(Place::Model, "model", NAME_LIMIT),
    text(Place::Stream, "stream", NAME_LIMIT),
    text(Place::Generate, "generate", NAME_LIMIT),
    text(Place::ServiceTier, "service_tier", NAME_LIMIT),
    text(Place::MaxOutputTokens, "max_output_tokens", NAME_LIMIT),
    text(Place::MaxOutputTokens, "max_completion_tokens", NAME_LIMIT),
    text(Place::MaxOutputTokens, "max_tokens", NAME_LIMIT),
    text(Place::Choices, "n", NAME_LIMIT),
    text(Place::Kept, "conversation", NAME_LIMIT),
    text(Place::Kept, "prompt", NAME_LIMIT),
    text(Place::PreviousResponseId, "previous_response_id", NAME_LIMIT),
    text(Place::PromptCacheKey, "prompt_cache_key", NAME_LIMIT),
    elements(Place::Item(Part::Instructions), "instructions"),
    elements(Place::Item(Part::Tools), "tools"),
    elements(Place::Item(Part::Input), "input"),
    elements(Place::Item(Part::Messages), "messages"),
    inside(
        "client_metadata",
        &[
            text(Place::ThreadId, "thread_id", NAME_LIMIT),
            text(Place::SessionId, "session_id", NAME_LIMIT),
            text(Place::TurnMetadata, "x-codex-turn-metadata", METADATA_LIMIT),
        ],
    ),
];

impl Ask {
    /// Reads a body in one pass; nothing if it is no JSON object. Of a repeated key the last counts.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut ask = Self::default();
        let mut picker = Picker::new(BODY);
        picker.feed(body, &mut |place, value| {
            ask.take(place, value);
            ControlFlow::Continue(())
        });
        picker.read_whole_object().then_some(ask)
    }

    /// Reads a multipart form, as images and recordings are sent in; nothing if it is none.
    pub fn read_form(content_type: &str, body: &[u8]) -> Option<Self> {
        let form = Form::new(content_type, body)?;
        let stream = form.text("stream").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Some(Self { model: form.text("model"), stream, ..Self::default() })
    }

    /// Whether it is a message that asks for an answer. Of several types the one that does counts:
    /// who stands behind us may heed another one than the last.
    pub fn asks(&self) -> bool {
        self.message_type.as_deref() == Some("response.create")
    }

    fn take(&mut self, place: Place, value: Value<'_>) {
        let raw = value.raw;
        match place {
            Place::MessageType if self.asks() => {}
            Place::MessageType => self.message_type = string(raw),
            Place::Model => self.model = string(raw),
            Place::Stream => self.stream = raw == b"true",
            Place::Generate => self.generate = raw != b"false",
            Place::ServiceTier => self.service_tier = string(raw),
            Place::MaxOutputTokens => self.max_output_tokens = self.larger_bound(raw),
            Place::Choices => self.choices = choices(raw),
            Place::Kept => self.names_kept |= raw != b"null",
            Place::PreviousResponseId => self.previous_response_id = string(raw),
            Place::PromptCacheKey => self.prompt_cache_key = string(raw),
            Place::ThreadId => self.thread_id = string(raw),
            Place::SessionId => self.session_id = string(raw),
            Place::TurnMetadata => self.turn_metadata = string(raw),
            Place::Item(of) => self.items.push(Item { range: value.begin..value.end, of }),
        }
    }

    /// Of several bounds the largest counts: which one the API heeds differs by endpoint and model,
    /// and a budget reserves the worst case.
    fn larger_bound(&self, raw: &[u8]) -> Option<u64> {
        self.max_output_tokens.max(serde_json::from_slice(raw).ok())
    }
}

/// How many answers; as many as the API gives at most where that cannot be read.
fn choices(raw: &[u8]) -> Option<u64> {
    const MOST: u64 = 128;
    (raw != b"null").then(|| serde_json::from_slice(raw).unwrap_or(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<&Ask>) {
        let read = Ask::read(body.as_bytes()).map(|ask| Ask { items: Vec::new(), ..ask });
        assert_eq!(read.as_ref(), expected, "{body}");
    }

    fn items(body: &str) -> Vec<&str> {
        let items = Ask::read(body.as_bytes()).unwrap().items;
        items.into_iter().map(|item| body.get(item.range).unwrap()).collect()
    }

    #[test]
    fn what_a_conversation_repeats_is_told_by_its_place() {
        let body = r#" {"model":"m","instructions" : "be \"brief\"","tools":[{"name":"a"}, {"name":"b"} ],
            "input":[{"text":"[1]"},"plain", 7 ],"messages":[],"metadata":{"input":[1]}}"#;
        let expected =
            [r#""be \"brief\"""#, r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"text":"[1]"}"#];
        assert_eq!(items(body).get(..4).unwrap(), expected);
        assert_eq!(items(body).get(4..).unwrap(), [r#""plain""#, "7"]);
        assert_eq!(items(r#"{"input":"all of it"}"#), [r#""all of it""#]);
    }

    #[test]
    fn a_responses_body_of_codex_is_read() {
        let body = r#"{"type":"response.create","model":"gpt-5.5","stream":true,
            "previous_response_id":"resp_1","service_tier":"priority","max_output_tokens":900,
            "input":[{"type":"message","model":"not this","content":[{"text":"a \"model\": {"}]}],
            "tools":[{"parameters":{"generate":true,"stream":false}}],
            "prompt_cache_key":"thread-1","generate":false,
            "client_metadata":{"thread_id":"thread-1","session_id":"session-1","turn_id":"",
              "x-codex-turn-metadata":"{\"request_kind\":\"prewarm\",\"team\":\"bl\u00fce\"}"}}"#;
        check(
            body,
            Some(&Ask {
                message_type: Some("response.create".into()),
                model: Some("gpt-5.5".into()),
                stream: true,
                generate: false,
                service_tier: Some("priority".into()),
                max_output_tokens: Some(900),
                choices: None,
                names_kept: false,
                previous_response_id: Some("resp_1".into()),
                prompt_cache_key: Some("thread-1".into()),
                thread_id: Some("thread-1".into()),
                session_id: Some("session-1".into()),
                turn_metadata: Some(r#"{"request_kind":"prewarm","team":"blüe"}"#.into()),
                items: Vec::new(),
            }),
        );
    }

    #[test]
    fn a_chat_body_is_read() {
        let body = r#" {"messages":[{"role":"user","content":"hi"}],"model":"gpt-4o","max_tokens":5,
            "max_completion_tokens":7,"stream":false,"service_tier":null} "#;
        let (model, max_output_tokens) = (Some("gpt-4o".into()), Some(7));
        check(body, Some(&Ask { model, max_output_tokens, ..Ask::default() }));
    }

    #[test]
    fn of_a_repeated_key_the_last_counts() {
        let model = Some("b".into());
        check(r#"{"model":"a","mod\u0065l":"b"}"#, Some(&Ask { model, ..Ask::default() }));
        check(r#"{"model":"a","model":5}"#, Some(&Ask::default()));
    }

    #[test]
    fn of_several_types_the_one_that_asks_counts() {
        for types in [["response.create", "x"], ["x", "response.create"]] {
            let body = format!(r#"{{"type":"{}","type":"{}"}}"#, types[0], types[1]);
            assert!(Ask::read(body.as_bytes()).unwrap().asks(), "{body}");
        }
        assert!(!Ask::read(br#"{"type":"response.cancel"}"#).unwrap().asks());
    }

    #[test]
    fn a_name_beyond_any_sense_is_left_out() {
        let body = format!(r#"{{"model":"{}"}}"#, "x".repeat(NAME_LIMIT));
        check(&body, Some(&Ask::default()));
    }

    #[test]
    fn what_is_no_json_object_asks_nothing() {
        for body in
            ["", " ", "[]", "7", "\"model\"", r#"{"model":"a""#, r#"{"model":"a"} x"#, "{}{}"]
        {
            check(body, None);
        }
        check(r#"[{"model":"a"}]"#, None);
        check(r#"{model:"a"}"#, None);
        assert_eq!(Ask::read(b"\xFF\xFE{\0}\0"), None);
    }
}
