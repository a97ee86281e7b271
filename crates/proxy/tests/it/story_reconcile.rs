//! Our books beside the provider's, and what each difference is.

use serde_json::{Value, json};

use crate::harness::client::{ask, post};
use crate::harness::{Gateway, ORGANISATION_KEY, simulator, url};

const ADMIN: [(&str, &str); 2] = [
    ("CODEX_PROXY_RECONCILE_ADMIN_KEY", "env:OPENAI_ADMIN_KEY"),
    ("OPENAI_ADMIN_KEY", "sk-admin-of-these-tests"),
];

/// Findings by model, and how the command ended.
fn reconcile(
    gateway: &Gateway,
    upstream: &str,
    more: &[(&str, &str)],
) -> (Option<i32>, Vec<Value>) {
    let today = gateway.records()[0]["time"].as_str().unwrap()[..10].to_owned();
    let settings = [&ADMIN[..], &[("CODEX_PROXY_UPSTREAM_URL", upstream)], more].concat();
    let arguments = ["reconcile", &today, "--all", "--format", "json"];
    let output = crate::harness::gateway::run_with(gateway.folder.path(), &arguments, &settings);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code(), lines)
}

fn findings(lines: &[Value]) -> Vec<(&str, &str)> {
    lines
        .iter()
        .map(|line| (line["model"].as_str().unwrap(), line["finding"].as_str().unwrap()))
        .collect()
}

async fn say(gateway: &Gateway, key: &str, model: &str, words: &str) {
    let body = json!({ "model": model, "input": words, "stream": true });
    let answer = post(gateway.address, "/v1/responses", key, &body.to_string()).await;
    assert_eq!(answer.status, 200);
}

// The simulator answers while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_difference_is_explained() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    for _ in 0..3 {
        say(&gateway, &key.value, "gpt-5.5", "hello, what is cached of this? sim:cached=2").await;
    }
    let embeddings = r#"{"model":"text-embedding-3-small","input":"hello"}"#;
    post(gateway.address, "/v1/embeddings", &key.value, embeddings).await;

    // When nothing went wrong, all agrees: to the token and the nano-dollar.
    let (code, lines) = reconcile(&gateway, &url(&simulator), &[]);
    let all = [("gpt-5.5", "agrees"), ("text-embedding-3-small", "agrees")];
    assert_eq!((code, findings(&lines)), (Some(0), all.to_vec()), "{lines:?}");
    assert_eq!(lines[0]["their_cost_usd"], lines[0]["our_cost_usd"]);
    assert_eq!(lines[0]["their_requests"], 3);

    // A stream that broke before it told its tokens is an estimate; a model that is not in the table
    // has no price; somebody asks past the gateway with its key.
    say(&gateway, &key.value, "gpt-4.1", "sim:words=50 sim:usage=none").await;
    say(&gateway, &key.value, "gpt-unheard-of", "hello").await;
    say(&gateway, &key.value, "gpt-4.1-mini", "hello").await;
    let organisation = format!("Bearer {ORGANISATION_KEY}");
    let past = r#"{"model":"gpt-4.1-mini","input":"hello"}"#;
    let headers = [("authorization", organisation.as_str())];
    assert_eq!(ask(simulator.address(), "POST", "/v1/responses", &headers, past).await.status, 200);
    let (code, lines) = reconcile(&gateway, &url(&simulator), &[]);
    let expected = [
        ("gpt-4.1", "estimated"),
        ("gpt-4.1-mini", "missing_record"),
        ("gpt-5.5", "agrees"),
        ("gpt-unheard-of", "unknown_model"),
        ("text-embedding-3-small", "agrees"),
    ];
    assert_eq!((code, findings(&lines)), (Some(3), expected.to_vec()), "{lines:?}");

    // With another key than ours it is a bypass, and the key is told.
    let suffix = &ORGANISATION_KEY[ORGANISATION_KEY.len() - 4..];
    let others = [("CODEX_PROXY_RECONCILE_KEYS", "key_other")];
    let (_, lines) = reconcile(&gateway, &url(&simulator), &others);
    let bypass = lines.iter().find(|line| line["finding"] == "bypass").unwrap();
    assert_eq!(bypass["key"], json!(format!("key_{suffix}")));

    // Prices that are not the provider's.
    gateway.ok(&[
        "prices",
        "set",
        "gpt-5.5",
        "--from",
        "2020-01-02",
        "--input",
        "1",
        "--output",
        "2",
    ]);
    let (_, lines) = reconcile(&gateway, &url(&simulator), &[]);
    assert!(findings(&lines).contains(&("gpt-5.5", "agrees")), "what has passed keeps its price");
    simulator.stop().await;
}

// The simulator answers while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_to_reconcile_is_said() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    say(&gateway, &key.value, "gpt-5.5", "hello").await;
    let check = |settings: &[(&str, &str)], code: i32, expected: &str| {
        let arguments = ["reconcile", "2026-11-22"];
        let output = crate::harness::gateway::run_with(gateway.folder.path(), &arguments, settings);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check(&[], 2, "reconcile.admin_key is not set");
    let upstream = url(&simulator);
    let wrong =
        [ADMIN[0], ("OPENAI_ADMIN_KEY", "sk-proj-1"), ("CODEX_PROXY_UPSTREAM_URL", &upstream)];
    check(&wrong, 1, "it must be an administrator's");
    simulator.stop().await;
}
