//! Conversations are in `testdata/transcripts`, a file each: its exchanges in order, with what
//! their records say that matters, what was asked, and what answered it.

use archive::record::Record;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::builder::{Builder, Passed};
use super::write::{Form, write};
use super::{Transcript, What};

fn exchanges(name: &str) -> Vec<Value> {
    let path = format!("{}/testdata/transcripts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn record(changes: &Value) -> Record {
    let mut record: Value = serde_json::from_str(
        r#"{
        "id": "", "time": "2026-11-22T10:00:00Z", "key_id": "key-1", "user": "ada@example.com",
        "team": null, "endpoint": "POST /v1/responses", "transport": "sse",
        "request_kind": "turn", "model": "gpt-5.5", "upstream_model": null, "service_tier": null,
        "status": 200, "outcome": "complete", "source": "upstream", "refusal": null,
        "altered": "none", "input_tokens": 0, "cached_input_tokens": 0, "cache_write_tokens": 0,
        "output_tokens": 0, "reasoning_tokens": 0, "total_tokens": 0, "usage": "exact",
        "cost_usd": "0.0000", "priced": true, "took_ms": 1250, "first_byte_ms": 3,
        "request_bytes": 0, "response_bytes": 0, "content_encoding": null, "session_id": null,
        "thread_id": null, "turn_id": null, "parent_thread_id": null, "response_id": null,
        "previous_response_id": null, "connection_id": null, "subagent": null, "repo": "lamp",
        "commit": null, "client": "codex_exec", "client_version": "0.169.0", "tags": {},
        "findings": [], "node": "n1"
    }"#,
    )
    .unwrap();
    let changes = changes.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(changes);
    serde_json::from_value(record).unwrap()
}

/// A body as it passed: JSON as it is, a text as its bytes.
fn body(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.as_bytes().to_vec(),
        value => value.to_string().into_bytes(),
    }
}

fn answer(exchange: &Value) -> Vec<u8> {
    let list = |name: &str| exchange[name].as_array().cloned().unwrap_or_default();
    let mut answer = body(&exchange["whole"]);
    for event in list("events") {
        let kind = event["type"].as_str().unwrap_or("message");
        answer.extend(format!("event: {kind}\ndata: {event}\n\n").into_bytes());
    }
    for message in list("messages") {
        answer.extend(format!("{message}\n").into_bytes());
    }
    answer
}

fn transcript(name: &str) -> Transcript {
    let mut builder = Builder::new("session-1".to_owned());
    for exchange in exchanges(name) {
        let record = record(&exchange["record"]);
        let (request, response) = (body(&exchange["request"]), answer(&exchange));
        builder.add(Passed { record: &record, request: &request, response: &response });
    }
    builder.end().unwrap()
}

fn check(name: &str, form: Form) {
    let written = write(&transcript(name), form).unwrap();
    insta::assert_snapshot!(format!("{name}-{form:?}").to_lowercase(), written);
}

#[test]
fn a_conversation_over_http_shows_each_thing_once() {
    check("http", Form::Text);
}

#[test]
fn a_conversation_over_sockets_is_joined_over_reconnections() {
    check("websocket", Form::Text);
}

#[test]
fn what_failed_is_told_with_how_often_it_was_tried() {
    check("retries", Form::Text);
}

#[test]
fn a_summary_is_told_once_where_it_replaces_the_conversation() {
    check("compaction", Form::Text);
}

#[test]
fn sub_agents_and_other_people_have_threads_of_their_own() {
    check("subagent", Form::Text);
}

#[test]
fn chat_completions_read_like_responses() {
    check("chat", Form::Text);
}

#[test]
fn nothing_that_passed_steers_a_terminal_or_is_lost_for_being_unknown() {
    check("odd", Form::Text);
}

#[test]
fn nothing_that_passed_is_taken_for_markdown() {
    check("odd", Form::Markdown);
    check("subagent", Form::Markdown);
}

#[test]
fn nothing_that_passed_is_taken_for_html() {
    check("odd", Form::Html);
    let page = write(&transcript("odd"), Form::Html).unwrap();
    assert!(!page.contains("<script") && !page.contains("<b>gpt"));
}

#[test]
fn programs_get_all_of_it() {
    check("http", Form::Json);
    check("retries", Form::Json);
}

#[test]
fn a_conversation_without_exchanges_is_none() {
    assert_eq!(Builder::new("session-1".to_owned()).end(), None);
}

/// Whether items have ids, and how much of the history each request repeats.
#[derive(Debug, Clone, Copy)]
enum Style {
    Ids,
    Words,
    Following,
}

fn message(role: &str, words: &str, id: Option<usize>) -> Value {
    let mut message = json!({ "type": "message", "role": role, "content": words });
    if let Some(id) = id {
        message["id"] = format!("msg_{id}").into();
    }
    message
}

proptest! {
    /// People and models repeat themselves, and requests repeat everything: who says what is shown
    /// as often as it was said, and in its order.
    #[test]
    fn all_that_is_said_is_shown_once(
        words in prop::collection::vec("[ab]", 1..12),
        fails in prop::collection::vec(any::<bool>(), 12),
        style in prop_oneof![Just(Style::Ids), Just(Style::Words), Just(Style::Following)],
    ) {
        let mut builder = Builder::new("session-1".to_owned());
        let (mut history, mut said) = (Vec::new(), Vec::new());
        for (turn, word) in words.iter().enumerate() {
            let id = matches!(style, Style::Ids).then_some(2 * turn);
            let (asked, answered) =
                (message("user", word, id), message("assistant", word, id.map(|id| id + 1)));
            history.push(asked.clone());
            let follows = matches!(style, Style::Following) && turn > 0;
            let input = if follows { vec![asked] } else { history.clone() };
            let previous = follows.then(|| format!("resp_{}", turn - 1));
            let request = body(&json!({ "input": input }));
            let response = body(&json!({ "output": [answered] }));
            let of = |outcome: &str| record(&json!({
                "response_id": format!("resp_{turn}"), "previous_response_id": previous,
                "turn_id": format!("turn-{turn}"), "outcome": outcome,
            }));
            // A failure first, after which the same is asked again.
            if fails[turn] && !follows {
                builder.add(Passed { record: &of("failed"), request: &request, response: b"" });
            }
            builder.add(Passed { record: &of("complete"), request: &request, response: &response });
            history.push(answered);
            said.extend([format!("person {word}"), format!("model {word}")]);
        }
        let transcript = builder.end().unwrap();
        let steps = transcript.threads[0].turns.iter().flat_map(|turn| &turn.steps);
        let shown: Vec<String> = steps.filter_map(|step| match &step.what {
            What::Said { text } => Some(format!("person {text}")),
            What::Answered { text, .. } => Some(format!("model {text}")),
            _ => None,
        }).collect();
        prop_assert_eq!(shown, said);
    }

    /// Whatever passed: a transcript is made of it.
    #[test]
    fn anything_can_be_read(request in ".{0,80}", response in "(data: )?.{0,80}\n{0,2}") {
        let mut builder = Builder::new("session-1".to_owned());
        let record = record(&json!({}));
        let (request, response) = (request.as_bytes(), response.as_bytes());
        builder.add(Passed { record: &record, request, response });
        let transcript = builder.end().unwrap();
        for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
            prop_assert!(!write(&transcript, form).unwrap().is_empty());
        }
    }
}
