//! `audit import`: an archive of one JSON object a request, taken over.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Gateway, simulator, url};

/// Writes an object where the other archive would have it.
fn keep(folder: &Path, day: &str, request: &str, object: &str) {
    let folder = folder.join(format!("year=2026/month=02/day={day}/codexproxy_a1b2c3"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{request}.json")), object).unwrap();
}

fn object(time: &str, answer: &str) -> String {
    json!({
        "timestamp": time, "user_id": "ada@example.com", "path": "/v1/responses",
        "status_code": 200, "request_body": "{\"model\":\"gpt-5.5\",\"input\":\"Is it lit?\"}",
        "response_body": answer,
    })
    .to_string()
}

#[tokio::test]
async fn what_a_forerunner_kept_is_taken_over_once_beside_a_running_gateway() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let bucket = tempfile::tempdir().unwrap();
    let answer = r#"{"id":"resp_1","object":"response","status":"completed","model":"gpt-5.5",
        "usage":{"input_tokens":100,"output_tokens":10,"total_tokens":110}}"#;
    keep(bucket.path(), "16", "one", &object("2026-02-16T10:00:00Z", answer));
    keep(bucket.path(), "17", "two", &object("2026-02-17T10:00:00Z", "data: {\"cut\" [truncated]"));
    for (name, text) in [("bad", "no JSON"), ("list", "[1,2]"), ("empty", "{}")] {
        keep(bucket.path(), "17", name, text);
    }
    let import = |more: &[&str]| {
        let words = ["audit", "import", bucket.path().to_str().unwrap(), "--format", "json"];
        let output = gateway.run(&[&words[..], more].concat());
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        (done, output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let sums = |imported: u64, truncated: u64, known: u64, unreadable: u64| {
        json!([{ "imported": imported, "truncated": truncated, "known": known,
            "unreadable": unreadable }])
    };

    let (would, _, _) = import(&["--dry-run"]);
    assert_eq!((would, gateway.records().len()), (sums(2, 1, 0, 3), 0));
    let (done, code, told) = import(&[]);
    assert_eq!((done, code), (sums(2, 1, 0, 3), Some(1)));
    assert!(told.contains("bad.json: reading its JSON"), "{told}");

    let records = gateway.records();
    assert_eq!(records.len(), 2);
    let id = records[0]["id"].as_str().unwrap();
    assert_eq!(gateway.raw(id, "request"), b"{\"model\":\"gpt-5.5\",\"input\":\"Is it lit?\"}");
    assert_eq!(gateway.raw(id, "response"), answer.as_bytes());
    assert_eq!(records[1]["tags"], json!({ "imported": "s3", "truncated": "response" }));
    let report = gateway.ok(&["report", "2026-02-16", "--format", "json"]);
    let report: Vec<Value> = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report[0]["user"], &report[0]["total_tokens"]),
        (&json!("ada@example.com"), &json!(110))
    );

    // Again brings nothing, and the token is nowhere.
    let day = bucket.path().join("year=2026/month=02/day=17/codexproxy_a1b2c3");
    for name in ["bad.json", "list.json", "empty.json"] {
        std::fs::remove_file(day.join(name)).unwrap();
    }
    assert_eq!(import(&[]).0, sums(0, 0, 2, 0));
    assert_eq!(gateway.records(), records);
    assert!(!gateway.ok(&["audit", "export", "--bodies"]).contains("codexproxy_a1b2c3"));

    let empty = tempfile::tempdir().unwrap();
    let refused = gateway.run(&["audit", "import", empty.path().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no folders year=YYYY"));
    simulator.stop().await;
}
