use std::path::PathBuf;

use serde_json::{Value, json};
use wire::price::PriceTable;

use super::Place;
use super::object::{Object, read};

fn place(request: &str) -> Place {
    let day = "2026-02-16".parse().unwrap();
    let token = "codexproxy_a1b2".to_owned();
    Place { path: PathBuf::new(), day, token, request: request.to_owned() }
}

fn object(object: &Value) -> Object {
    let json = object.to_string();
    read(json.as_bytes(), &place("req-1"), &PriceTable::builtin(), "n1").unwrap()
}

fn tags(object: &Object) -> Value {
    json!(object.record.tags)
}

#[test]
fn an_object_becomes_a_record_with_its_usage_and_cost() {
    let events = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":\
        {\"id\":\"resp_1\",\"model\":\"gpt-5.5\",\"usage\":{\"input_tokens\":100,\
        \"output_tokens\":10,\"total_tokens\":110}}}\n\n";
    let taken = object(&json!({
        "request_id": "req-1", "timestamp": "2026-02-16T14:03:05.678Z", "user_id": "Ada@Example.com",
        "method": "POST", "path": "/v1/responses", "status_code": 200, "duration_ms": 1234,
        "request_body": "{\"model\":\"gpt-5.5\",\"input\":\"hi\"}", "response_body": events,
    }));
    let record = serde_json::to_value(&taken.record).unwrap();
    let of = |names: &[&str]| names.iter().map(|name| record[*name].clone()).collect::<Vec<_>>();
    assert_eq!(
        of(&["time", "user", "endpoint", "transport", "model", "status", "outcome", "took_ms"]),
        [
            json!("2026-02-16T14:03:05.678Z"),
            json!("ada@example.com"),
            json!("POST /v1/responses"),
            json!("sse"),
            json!("gpt-5.5"),
            json!(200),
            json!("complete"),
            json!(1234)
        ]
    );
    assert_eq!(
        of(&["input_tokens", "output_tokens", "priced"]),
        [json!(100), json!(10), json!(true)]
    );
    assert_eq!((tags(&taken), taken.response_body), (json!({ "imported": "s3" }), events.into()));
}

#[test]
fn bodies_that_are_cut_off_are_marked() {
    let long = format!("{{\"model\":\"gpt-5.5\",\"input\":\"{}", "x".repeat(100_000));
    let cut = object(&json!({ "request_body": long, "response_body": "data: half [truncated]" }));
    assert_eq!(tags(&cut)["truncated"], "request response");
    let whole = object(&json!({ "request_body": long + "\"}", "response_body": "" }));
    assert_eq!(tags(&whole)["truncated"], Value::Null);
    assert_eq!(cut.record.cost_usd, None);
}

#[test]
fn an_object_has_the_same_id_each_time_and_none_shows_the_token() {
    let one = object(&json!({ "timestamp": 1_771_250_585 }));
    let again = object(&json!({ "timestamp": 1_771_250_585_000_u64, "user": "x" }));
    let other =
        read(br#"{"path":"/v1/models"}"#, &place("req-2"), &PriceTable::builtin(), "n1").unwrap();
    assert_eq!(one.record.id, again.record.id);
    let end = |object: &Object| object.record.id.split_once("-7").unwrap().1.to_owned();
    assert_ne!(end(&one), end(&other));
    assert_eq!(other.record.time.to_string(), "2026-02-16T00:00:00Z");
    assert!(!serde_json::to_string(&one.record).unwrap().contains("codexproxy"));
}

#[test]
fn fields_are_found_however_they_are_spelled() {
    let spelled = [
        json!({ "Timestamp": "2026-02-16T14:03:05Z", "UserID": "ada@example.com", "Method": "POST",
            "Path": "/v1/responses", "StatusCode": 429, "LatencyMs": 12.7,
            "RequestBody": "{\"model\":\"m\"}", "ResponseBody": "{}" }),
        json!({ "request-time": 1_771_250_585_000_000_000_u64, "user_email": "ada@example.com",
            "url": "https://proxy.example.com/v1/responses?x=1", "status": "429", "tookMs": "12",
            "request": {"model": "m"}, "response": {} }),
        json!({ "@timestamp": "1771250585", "user": "Ada@example.com",
            "request": { "method": "POST", "uri": "/v1/responses", "headers": {},
                "body": {"model": "m"} },
            "response": { "statusCode": 429, "body": "{}" }, "durationMs": 12 }),
    ];
    for value in spelled {
        let taken = object(&value);
        let record = &taken.record;
        assert_eq!(record.time.to_string(), "2026-02-16T14:03:05Z", "{value}");
        assert_eq!((&*record.user, &*record.endpoint), ("ada@example.com", "POST /v1/responses"));
        assert_eq!((record.status, record.took_ms), (Some(429), 12), "{value}");
        assert_eq!((record.model.as_deref(), taken.response_body), (Some("m"), b"{}".to_vec()));
        assert_eq!(taken.request_body, b"{\"model\":\"m\"}");
    }
}

#[test]
fn an_object_may_say_itself_that_it_is_cut_off() {
    let cut = object(&json!({ "request_body": "{}", "ResponseTruncated": true }));
    assert_eq!(tags(&cut)["truncated"], "response");
    let both = object(&json!({ "truncated": true }));
    assert_eq!(tags(&both)["truncated"], "request response");
}
