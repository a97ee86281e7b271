//! What one exchange does: what the client got, what the upstream saw, what the record says.

use serde_json::{Value, json};

use crate::harness::client::{ask, post, request};
use crate::harness::recording::{Step, chunk, stream_head, whole};
use crate::harness::{Gateway, ORGANISATION_KEY, Raw, Recording, simulator, until, url};

/// A record without what differs from run to run.
fn steady(mut record: Value) -> Value {
    for name in ["id", "time", "key_id", "took_ms", "first_byte_ms", "node", "response_id"] {
        record[name] = Value::Null;
    }
    record
}

/// The record of a plain request of one user, as whole as can be; `changes` are laid over it.
fn record(changes: &Value) -> Value {
    let mut record: Value = serde_json::from_str(
        r#"{
        "id": null, "time": null, "key_id": null, "user": "ada@example.com", "team": null,
        "endpoint": "POST /v1/responses", "transport": "http", "request_kind": "turn",
        "model": "gpt-5.5", "upstream_model": null, "service_tier": null, "status": 200,
        "outcome": "complete", "source": "upstream", "refusal": null, "altered": "none",
        "input_tokens": 0, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 0,
        "reasoning_tokens": 0, "total_tokens": 0, "usage": "none", "cost_usd": "0.0000",
        "priced": true, "took_ms": null, "first_byte_ms": null, "request_bytes": 0,
        "response_bytes": 0, "content_encoding": null, "session_id": null, "thread_id": null,
        "turn_id": null, "parent_thread_id": null, "response_id": null,
        "previous_response_id": null, "connection_id": null, "subagent": null, "repo": null,
        "commit": null, "client": null, "client_version": null, "tags": {}, "findings": [],
        "node": null
    }"#,
    )
    .unwrap();
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

const ANSWER: &str = r#"{"id":"resp_1","object":"response","status":"completed","model":"gpt-5.5","service_tier":"default","usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":40},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":110}}"#;

#[tokio::test]
async fn what_passes_is_what_was_sent() {
    // Given an upstream that keeps every byte.
    let upstream = Recording::start(vec![whole("application/json", ANSWER)]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");

    // When a client sends odd but legal headers and a body with blanks and escapes.
    let body = "{ \"model\" : \"gpt-5.5\",\n\t\"input\":\"h\\u00e9\\n\" }";
    let length = body.len();
    let sent = format!(
        "POST /v1/responses?a=b%20c HTTP/1.1\r\nX-First: 1\r\nHost: gateway.test\r\nAuthorization: Bearer {}\r\nx-Second: two,  three\r\nConnection: keep-alive, x-private\r\nX-Private: secret\r\nKeep-Alive: 5\r\nCookie: a=b\r\nProxy-Authorization: Basic eA==\r\nApi-Key: theirs\r\nX-Codex-Proxy-Note: mine\r\nContent-Type: application/json\r\nTE: trailers\r\nContent-Length: {length}\r\nX-Last: \u{e9}\r\n\r\n{body}",
        key.value
    );
    let mut client = Raw::connect(gateway.address).await;
    client.send(sent.as_bytes()).await;
    let answer = client.answer().await;

    // Then the upstream saw the same bytes but for what must change.
    let authority = upstream.address;
    let expected = format!(
        "POST /v1/responses?a=b%20c HTTP/1.1\r\nX-First: 1\r\nHost: {authority}\r\nAuthorization: Bearer {ORGANISATION_KEY}\r\nx-Second: two,  three\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nX-Last: \u{e9}\r\n\r\n{body}"
    );
    let seen = upstream.requests();
    assert_eq!(seen.iter().map(|r| String::from_utf8_lossy(r)).collect::<Vec<_>>(), [expected]);

    // And the client got the same answer, with the exchange's id and nothing else.
    let id = answer.header("x-codex-proxy-id").unwrap().to_owned();
    let headers: Vec<(&str, &str)> =
        answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("Content-Type", "application/json"),
            ("Content-Length", &ANSWER.len().to_string()),
            ("X-Request-Id", "req_1"),
            ("x-codex-proxy-id", &id),
        ]
    );
    assert_eq!(answer.text(), ANSWER);

    // And the record is exact, with both bodies whole.
    let records = gateway.records();
    assert_eq!(records[0]["id"], id);
    let expected = record(&json!({
        "upstream_model": "gpt-5.5", "service_tier": "default", "input_tokens": 100,
        "cached_input_tokens": 40, "output_tokens": 10, "reasoning_tokens": 4,
        "total_tokens": 110, "usage": "exact", "cost_usd": "0.00062",
        "request_bytes": length, "response_bytes": ANSWER.len(),
    }));
    assert_eq!(records.into_iter().map(steady).collect::<Vec<_>>(), [expected]);
    assert_eq!(gateway.raw(&id, "request"), body.as_bytes());
    assert_eq!(gateway.raw(&id, "response"), ANSWER.as_bytes());
    let meta = String::from_utf8(gateway.raw(&id, "meta")).unwrap();
    for secret in [key.value.as_str(), ORGANISATION_KEY, "a=b\"", "theirs", "eA=="] {
        assert!(!meta.contains(secret), "{secret} is stored");
    }
}

#[tokio::test]
async fn events_leave_as_they_arrive_and_the_last_one_once_it_is_recorded() {
    // Given an upstream that stops after half an event, and again before the last.
    let last = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{ANSWER}}}\n\n"
    );
    let steps = vec![
        stream_head(),
        chunk("event: response.created\ndata: {\"type\":\"respon"),
        Step::Wait,
        chunk("se.created\"}\n\n"),
        Step::Wait,
        chunk(&last),
        Step::Wait,
        chunk(""),
    ];
    let upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","input":"hi","stream":true}"#;
    let mut client = Raw::asking(gateway.address, &key.value, body).await;

    // Then each half is there before the next is sent.
    client.read_until("data: {\"type\":\"respon\r\n").await;
    upstream.go_on.notify_one();
    client.read_until("se.created\"}\n\n\r\n").await;
    assert_eq!(gateway.records(), Vec::<Value>::new(), "it has not ended");

    // And with the last event the record is there, though the stream is still open.
    upstream.go_on.notify_one();
    client.read_until("\"total_tokens\":110}}}\n\n\r\n").await;
    let records = gateway.records();
    upstream.go_on.notify_one();
    client.read_until("0\r\n\r\n").await;

    let streamed =
        format!("event: response.created\ndata: {{\"type\":\"response.created\"}}\n\n{last}");
    let id = records[0]["id"].as_str().unwrap().to_owned();
    let expected = record(&json!({
        "transport": "sse", "upstream_model": "gpt-5.5", "service_tier": "default",
        "input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10,
        "reasoning_tokens": 4, "total_tokens": 110, "usage": "exact", "cost_usd": "0.00062",
        "request_bytes": body.len(), "response_bytes": streamed.len(),
    }));
    assert_eq!(records.into_iter().map(steady).collect::<Vec<_>>(), [expected]);
    assert_eq!(String::from_utf8(gateway.raw(&id, "response")).unwrap(), streamed);
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_upstream() {
    let first = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"eight ch\"}\n\n";
    let steps = vec![stream_head(), chunk(first), Step::Wait];
    let mut upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","input":"hi","stream":true}"#;
    let mut client = Raw::asking(gateway.address, &key.value, body).await;
    client.read_until("eight ch").await;

    drop(client);

    upstream.left.recv().await.unwrap();
    until("the record of the cancelled exchange", || !gateway.records().is_empty()).await;
    let expected = record(&json!({
        "transport": "sse", "outcome": "cancelled", "source": "client", "usage": "estimated",
        "input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "cost_usd": "0.000075",
        "request_bytes": body.len(), "response_bytes": first.len(),
    }));
    assert_eq!(gateway.records().into_iter().map(steady).collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_stops_the_upstream() {
    let mut upstream = Recording::start(vec![Step::Wait]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let client = Raw::asking(gateway.address, &key.value, "{}").await;
    until("the request upstream", || !upstream.requests().is_empty()).await;

    drop(client);

    upstream.left.recv().await.unwrap();
    until("the record of the cancelled exchange", || !gateway.records().is_empty()).await;
    let records = gateway.records();
    assert_eq!(records[0]["outcome"], "cancelled");
    assert_eq!(records[0]["status"], Value::Null);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_breaks_off_for_the_client_too() {
    let half = "data: {\"type\":\"response.output_text.delta\",\"del";
    let upstream = Recording::start(vec![stream_head(), chunk(half), Step::Close]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","stream":true}"#;

    let answer = post(gateway.address, "/v1/responses", &key.value, body).await;

    assert_eq!((answer.status, answer.broken, answer.text().as_str()), (200, true, half));
    let expected = record(&json!({
        "transport": "sse", "outcome": "failed", "source": "upstream", "usage": "estimated",
        "input_tokens": 9, "total_tokens": 9, "cost_usd": "0.000045",
        "request_bytes": body.len(), "response_bytes": half.len(),
    }));
    assert_eq!(gateway.records().into_iter().map(steady).collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn an_error_of_the_upstream_passes_as_it_is() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","input":"sim:status=429 sim:retry_after=2","stream":true}"#;

    let answer = post(gateway.address, "/v1/responses", &key.value, body).await;

    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("2")));
    assert_eq!(answer.refusal(), None);
    let expected = record(&json!({
        "status": 429, "outcome": "failed", "source": "upstream", "request_bytes": body.len(),
        "response_bytes": answer.body.len(),
    }));
    assert_eq!(gateway.records().into_iter().map(steady).collect::<Vec<_>>(), [expected]);
    simulator.stop().await;
}

#[tokio::test]
async fn an_unknown_model_is_unpriced_and_never_free() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");

    post(gateway.address, "/v1/responses", &key.value, r#"{"model":"who-knows","input":"x"}"#)
        .await;

    let record = &gateway.records()[0];
    assert_eq!((&record["priced"], &record["cost_usd"]), (&json!(false), &Value::Null));
    assert_eq!(record["usage"], "exact");
    let report: Value = serde_json::from_str(&gateway.ok(&["report", "--format", "json"])).unwrap();
    assert_eq!(
        (&report[0]["unpriced_requests"], &report[0]["cost_usd"]),
        (&json!(1), &json!("0.0000"))
    );
    simulator.stop().await;
}

#[tokio::test]
async fn an_answer_without_a_body_has_a_record_too() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);

    let mut client = Raw::connect(gateway.address).await;
    let sent = request("HEAD", "/v1/models", &[("authorization", &authorization)], "");
    client.send(sent.as_bytes()).await;
    client.read_until("\r\n\r\n").await;

    let expected = record(&json!({
        "endpoint": "HEAD /v1/models", "model": null, "request_kind": "other",
    }));
    assert_eq!(gateway.records().into_iter().map(steady).collect::<Vec<_>>(), [expected]);
    let answer =
        ask(gateway.address, "GET", "/models", &[("authorization", &authorization)], "").await;
    assert_eq!(answer.json()["object"], "list");
    simulator.stop().await;
}

#[tokio::test]
async fn a_stream_passes_the_same_however_it_is_cut() {
    // Given one stream with all line ends, comments, many-byte characters and bytes after its end.
    let text = format!(
        ": hello\r\n\r\nevent: response.created\r\ndata: {{\"type\":\"response.created\"}}\r\n\r\n\
         data: {{\"type\":\"response.output_text.delta\",\"delta\":\"gr\u{fc}\u{df}e \u{1f980}\"}}\n\n\
         event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{ANSWER}}}\n\n\
         : trailing\n\n"
    );
    for piece in [1, 2, 3, 7, 64, text.len()] {
        let mut steps = vec![stream_head()];
        for part in text.as_bytes().chunks(piece) {
            let size = format!("{:x}\r\n", part.len());
            steps.push(Step::Send([size.as_bytes(), part, b"\r\n"].concat()));
        }
        steps.push(chunk(""));
        let upstream = Recording::start(steps).await;
        let gateway = Gateway::start(&upstream.url());
        let key = gateway.key("ada@example.com");

        let body = r#"{"model":"gpt-5.5","stream":true}"#;
        let answer = post(gateway.address, "/v1/responses", &key.value, body).await;

        assert_eq!((answer.broken, answer.text()), (false, text.clone()), "pieces of {piece}");
        let records = gateway.records();
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!(
            (&record["outcome"], &record["total_tokens"]),
            (&json!("complete"), &json!(110))
        );
        let kept = gateway.raw(record["id"].as_str().unwrap(), "response");
        assert_eq!(String::from_utf8(kept).unwrap(), text, "pieces of {piece}");
    }
}
