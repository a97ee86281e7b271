//! OpenAI's own SDKs: they notice nothing of the gateway but its refusals.

use serde_json::{Value, json};

use crate::harness::recording::{Relay, chunk, lasting, stream_head, unchunked};
use crate::harness::sdk::{Sdk, bill, counted};
use crate::harness::{Gateway, ORGANISATION_KEY, Recording, simulator, url};

const CALLS: [&str; 5] = ["responses", "responses_stream", "chat", "chat_stream", "models"];

/// Makes every call without and with the gateway, and compares.
async fn every_call_gives_what_it_gives_without_the_gateway(sdk: Sdk, version: &str) {
    let (alone, simulator) = (simulator().await, simulator().await);
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let prompt = "sim:say=\"All is well.\" please";

    let direct = sdk.call(&url(&alone), ORGANISATION_KEY, prompt, &CALLS).await;
    let base = format!("http://{}/v1", gateway.address);
    let through = sdk.call(&base, &key.value, prompt, &CALLS).await;

    // What the program got is the same, and it is something.
    assert_eq!(through, direct);
    let texts: Vec<&Value> = (0..4).map(|call| &through[call]["text"]).collect();
    assert_eq!(texts, ["All is well."; 4]);
    assert_eq!(through[1]["last"], "response.completed");
    assert_eq!(through[4][0], "gpt-6.1-sol");

    // The upstream saw the organisation's key only.
    let suffix = &ORGANISATION_KEY[ORGANISATION_KEY.len() - 4..];
    let billed = bill(&simulator);
    assert!(billed.iter().all(|entry| entry["bearer_suffix"] == suffix));

    // Each call left its record, and the counts are those of the bill.
    let records = gateway.records();
    assert_eq!(counted(&records[..4]), counted(&billed));
    let names = ["endpoint", "transport", "outcome", "usage", "user", "client", "client_version"];
    let told: Vec<[&Value; 7]> = records.iter().map(|r| names.map(|name| &r[name])).collect();
    let of = |endpoint: &str, transport: &str, usage: &str| {
        json!([endpoint, transport, "complete", usage, "ada@example.com", "OpenAI", version])
    };
    let expected = json!([
        of("POST /v1/responses", "http", "exact"),
        of("POST /v1/responses", "sse", "exact"),
        of("POST /v1/chat/completions", "http", "exact"),
        of("POST /v1/chat/completions", "sse", "exact"),
        of("GET /v1/models", "http", "none"),
    ]);
    assert_eq!(json!(told), expected);
    simulator.stop().await;
    alone.stop().await;
}

#[tokio::test]
async fn openais_python_sdk_gets_what_it_gets_without_the_gateway() {
    every_call_gives_what_it_gives_without_the_gateway(Sdk::Python, "3.54.0").await;
}

#[tokio::test]
async fn openais_node_sdk_gets_what_it_gets_without_the_gateway() {
    every_call_gives_what_it_gives_without_the_gateway(Sdk::Node, "7.57.0").await;
}

/// An error of the upstream comes as the SDK's own kind of error, with the upstream's words.
async fn errors_of_the_upstream_and_of_ours_are_told_apart(sdk: Sdk) {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let base = format!("http://{}/v1", gateway.address);
    let calls = ["responses", "responses_stream"];

    let prompt = "sim:status=429 sim:message=\"Slow down.\"";
    let mut limited = sdk.call(&base, &key.value, prompt, &calls).await;
    for error in limited.as_array_mut().unwrap() {
        let id = error["request_id"].take();
        assert!(id.as_str().unwrap().starts_with("req_"), "the upstream's id, not {id}");
    }
    gateway.ok(&["key", "disable", &key.id]);
    let refused = sdk.call(&base, &key.value, "hello", &calls).await;

    let error = json!({
        "error": "RateLimitError", "status": 429, "message": "Slow down.",
        "code": "rate_limit_exceeded", "request_id": null,
    });
    assert_eq!(limited, json!([error, error]));
    let refusal = json!({
        "error": "AuthenticationError", "status": 401, "message": "This key is disabled.",
        "code": "invalid_api_key", "request_id": null,
    });
    assert_eq!(refused, json!([refusal, refusal]));
    let records = gateway.records();
    let names = ["status", "outcome", "source", "usage", "total_tokens"];
    let ends: Vec<[&Value; 5]> = records.iter().map(|r| names.map(|name| &r[name])).collect();
    let end = json!([429, "failed", "upstream", "none", 0]);
    assert_eq!(json!(ends), json!([end, end]));
    assert_eq!(bill(&simulator).len(), 2, "the refused ones did not reach the upstream");
    simulator.stop().await;
}

#[tokio::test]
async fn openais_python_sdk_raises_its_own_errors() {
    errors_of_the_upstream_and_of_ours_are_told_apart(Sdk::Python).await;
}

#[tokio::test]
async fn openais_node_sdk_throws_its_own_errors() {
    errors_of_the_upstream_and_of_ours_are_told_apart(Sdk::Node).await;
}

/// A complete streamed answer, in pieces that are no whole events.
const ANSWER: [&str; 3] = [
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",  \"delta\":\"Gr\u{fc}\\u00df ",
    "dich.\"}\n\n: a comment\n\nevent: response.comp",
    "leted\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":9,\"output_tokens\":3,\"total_tokens\":12}}}\n\n",
];

#[tokio::test]
async fn the_bytes_of_a_streamed_call_pass_unchanged() {
    let steps = [vec![stream_head()], ANSWER.map(chunk).to_vec(), vec![chunk("")]].concat();
    let upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let relay = Relay::start(gateway.address).await;
    let key = gateway.key("ada@example.com");

    let base = format!("http://{}/v1", relay.address);
    let got = Sdk::Python.call(&base, &key.value, "hello", &["responses_stream"]).await;

    let text = "Gr\u{fc}\u{df} dich.";
    let expected = json!([{"text": text, "last": "response.completed", "total_tokens": 12}]);
    assert_eq!(got, expected);
    let (passed, seen) = (relay.passed(), upstream.requests());
    assert_eq!((passed.len(), seen.len()), (1, 1));
    assert_eq!(lasting(&passed[0].sent), lasting(&seen[0]));
    assert_eq!(unchunked(&passed[0].received), ANSWER.concat());
}
