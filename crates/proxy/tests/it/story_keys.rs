//! Keys: made, switched, imported, and what becomes of what is open.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::{ask, metric, post, request};
use crate::harness::recording::{Step, chunk, stream_head, whole};
use crate::harness::{Gateway, Raw, Recording, simulator, until, url};

const BODY: &str = r#"{"model":"gpt-5.5","input":"hi"}"#;

async fn status(gateway: &Gateway, key: &str) -> (u16, Option<String>) {
    let answer = post(gateway.address, "/v1/responses", key, BODY).await;
    (answer.status, answer.refusal().map(str::to_owned))
}

fn refused(word: &str) -> (u16, Option<String>) {
    (401, Some(word.to_owned()))
}

#[tokio::test]
async fn a_switch_counts_from_the_next_request_on() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    assert_eq!(status(&gateway, &key.value).await, (200, None));

    gateway.ok(&["key", "disable", "ada@example.com"]);
    assert_eq!(status(&gateway, &key.value).await, refused("key_disabled"));
    gateway.ok(&["key", "enable", &key.id]);
    assert_eq!(status(&gateway, &key.value).await, (200, None));

    let rotated = gateway.ok(&["key", "rotate", &key.value[..12]]);
    assert_eq!(status(&gateway, &key.value).await, refused("key_unknown"));
    assert_eq!(status(&gateway, rotated.trim()).await, (200, None));

    gateway.ok(&["key", "revoke", &key.id]);
    assert_eq!(status(&gateway, rotated.trim()).await, refused("key_disabled"));
    assert!(!gateway.run(&["key", "enable", &key.id]).status.success(), "revoked is for good");

    // A refused key leaves no record, but is counted for its key.
    assert_eq!(gateway.records().len(), 3);
    until("the refusals in the store", || {
        let shown: Value =
            serde_json::from_str(&gateway.ok(&["key", "show", &key.id, "--format", "json"]))
                .unwrap();
        shown[0]["refusals"][0]["count"] == 2
    })
    .await;
    simulator.stop().await;
}

#[tokio::test]
async fn open_streams_of_a_key_end_within_a_second() {
    // Given one stream that stands between events, and one in the middle of an event.
    let whole = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
    let half = "data: {\"type\":\"response.output_text.del";
    let steps = vec![stream_head(), chunk(whole), Step::Wait, chunk(half), Step::Wait];
    let mut upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let (ada, grace) = (gateway.key("ada@example.com"), gateway.key("grace@example.com"));
    let mut clients = Vec::new();
    for key in [&ada, &ada, &grace] {
        let authorization = format!("Bearer {}", key.value);
        let mut client = Raw::connect(gateway.address).await;
        let body = r#"{"model":"gpt-5.5","stream":true}"#;
        let sent = request("POST", "/v1/responses", &[("authorization", &authorization)], body);
        client.send(sent.as_bytes()).await;
        client.read_until("\"x\"}\n\n\r\n").await;
        clients.push(client);
        if clients.len() == 1 {
            upstream.go_on.notify_one();
            clients[0].read_until("output_text.del\r\n").await;
        }
    }

    // When the key is disabled, then both end with the event that Codex understands.
    gateway.ok(&["key", "disable", &ada.id]);
    let since = Instant::now();
    let half_ended = String::from_utf8(clients[0].read_until("0\r\n\r\n").await).unwrap();
    let ended = String::from_utf8(clients[1].read_until("0\r\n\r\n").await).unwrap();
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    let event = "event: response.failed\ndata: {\"type\":\"response.failed\"";
    assert!(half_ended.contains(&format!("\r\n\n\n{event}")), "{half_ended}");
    assert!(ended.contains(&format!("\r\n{event}")), "{ended}");
    assert!(ended.contains("\"code\":\"invalid_api_key\""), "{ended}");

    // And the upstream is told, the records say so, and the other key's stream goes on.
    upstream.left.recv().await.unwrap();
    upstream.left.recv().await.unwrap();
    let records = gateway.records();
    let ends: Vec<_> = records.iter().map(|r| (&r["user"], &r["outcome"], &r["refusal"])).collect();
    let cut = (&json!("ada@example.com"), &json!("refused"), &json!("key_disabled"));
    assert_eq!(ends, [cut, cut]);
    upstream.go_on.notify_one();
    clients[2].read_until("output_text.del\r\n").await;
}

#[tokio::test]
async fn an_answer_that_is_ahead_of_its_client_is_cut_too() {
    // Given an answer that is here long before its client has read it.
    let delta = "x".repeat(1 << 10);
    let event =
        format!("data: {{\"type\":\"response.output_text.delta\",\"delta\":\"{delta}\"}}\n\n");
    let all = event.repeat(64 << 10);
    let upstream = Recording::start(vec![stream_head(), chunk(&all), Step::Wait]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","stream":true}"#;
    let mut client = Raw::asking(gateway.address, &key.value, body).await;
    client.read_until(&delta).await;

    // When the key is disabled, and the client reads on.
    gateway.ok(&["key", "disable", &key.id]);
    assert_eq!(status(&gateway, &key.value).await, refused("key_disabled"));
    let (mut read, mut last) = (0, Vec::new());
    while !last.ends_with(b"0\r\n\r\n") {
        last = client.piece().await;
        assert!(!last.is_empty(), "the answer has no end");
        read += last.len();
    }

    // Then it gets what was on its way, and the end that Codex understands.
    assert!(read < all.len() / 2, "{read} bytes came");
    assert!(String::from_utf8_lossy(&last).contains("event: response.failed\n"));
    assert_eq!(gateway.records()[0]["refusal"], "key_disabled");
}

#[tokio::test]
async fn nothing_is_sent_for_a_key_that_ends_while_its_request_comes() {
    // Given a kept connection to the upstream, and a request whose body comes slowly.
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    assert_eq!(status(&gateway, &key.value).await, (200, None));
    let authorization = format!("Bearer {}", key.value);
    let sent = request("POST", "/v1/responses", &[("authorization", &authorization)], BODY);
    let (first, rest) = sent.split_at(sent.len() - 5);
    let mut client = Raw::connect(gateway.address).await;
    client.send(first.as_bytes()).await;
    metric(gateway.address, "codex_proxy_exchanges_open 1").await;

    // When the key is disabled before the body has come, then that is its end: the client hears of
    // it, and the upstream of nothing.
    gateway.ok(&["key", "disable", &key.id]);
    metric(gateway.address, "codex_proxy_exchanges_open 0").await;
    client.send(rest.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.refusal()), (401, Some("key_disabled")));
    assert_eq!(upstream.requests().len(), 1);
    let record = gateway.records().remove(1);
    assert_eq!((&record["refusal"], &record["usage"]), (&json!("key_disabled"), &json!("none")));
}

#[tokio::test]
async fn what_a_key_may_not_do_is_said_in_words() {
    let simulator = simulator().await;
    let gateway =
        Gateway::start_with(&url(&simulator), &[("CODEX_PROXY_CONTACT", "platform@example.com")]);
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*,o3"]);
    let short = gateway.key_with("ada@example.com", &["--expires", "1ms"]);

    let answer =
        post(gateway.address, "/v1/responses", &key.value, r#"{"model":"gpt-6-sol"}"#).await;
    let message =
        "This key may not ask the model gpt-6-sol, only gpt-5*, o3. Ask platform@example.com.";
    let expected = json!({ "error": { "message": message, "type": "invalid_request_error",
        "param": null, "code": "invalid_prompt" } });
    assert_eq!((answer.status, answer.refusal()), (400, Some("model_not_allowed")));
    assert_eq!(answer.json(), expected);
    assert_eq!(status(&gateway, &key.value).await, (200, None));
    assert_eq!(status(&gateway, &short.value).await, refused("key_expired"));
    assert_eq!(status(&gateway, "cpk_nobody").await, refused("key_unknown"));
    let nobody = ask(gateway.address, "POST", "/v1/responses", &[], BODY).await;
    assert_eq!((nobody.status, nobody.refusal()), (401, Some("key_missing")));

    // The refused exchange is on record with what was asked; strangers are not.
    let records = gateway.records();
    let ends: Vec<_> =
        records.iter().map(|r| (&r["outcome"], &r["refusal"], &r["status"])).collect();
    assert_eq!(
        ends,
        [
            (&json!("refused"), &json!("model_not_allowed"), &json!(400)),
            (&json!("complete"), &Value::Null, &json!(200)),
        ]
    );
    simulator.stop().await;
}

#[tokio::test]
async fn the_callers_own_credential_passes_through() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let headers = [("x-codex-proxy-key", key.value.as_str()), ("authorization", "Bearer sk-own")];

    let answer = ask(gateway.address, "POST", "/v1/responses", &headers, BODY).await;

    assert_eq!(answer.status, 200);
    let seen = String::from_utf8(upstream.requests().remove(0)).unwrap();
    assert!(seen.contains("authorization: Bearer sk-own\r\n"), "{seen}");
    assert!(!seen.contains("cpk_"), "{seen}");
}

#[tokio::test]
async fn an_existing_list_of_tokens_keeps_working() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let csv = "email,name,team,token,enabled,created_at\n\
        ada@example.com,Ada,blue,codexproxy_a1b2c3d4e5f6,true,2026-01-15T00:00:00Z\n\
        grace@example.com,Grace,red,codexproxy_ffffffffffff,false,\n\
        mary@example.com,Mary,,,,\n";
    std::fs::write(gateway.folder.path().join("team.csv"), csv).unwrap();

    // A dry run says what would be, and changes nothing.
    let table = gateway.ok(&["key", "import", "team.csv", "--dry-run"]);
    assert!(table.contains("grace@example.com") && table.contains("disabled"), "{table}");
    assert!(gateway.ok(&["key", "list", "--format", "json"]).trim() == "[]");

    gateway.ok(&["key", "import", "team.csv"]);
    let file = gateway.folder.path().join("codex-keys.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let keys: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(keys[0]["key"], "codexproxy_a1b2c3d4e5f6");
    let mary = keys[2]["key"].as_str().unwrap();

    assert_eq!(status(&gateway, "codexproxy_a1b2c3d4e5f6").await, (200, None));
    assert_eq!(status(&gateway, "codexproxy_ffffffffffff").await, refused("key_disabled"));
    assert_eq!(status(&gateway, mary).await, (200, None));
    let again = gateway.run(&["key", "import", "team.csv"]);
    assert!(!again.status.success(), "a token is there once");

    // Neither the store nor anything else holds a key.
    let found = std::process::Command::new("grep")
        .args(["-rl", "-e", "codexproxy_a1b2c3d4e5f6", "-e", mary])
        .arg(gateway.folder.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    simulator.stop().await;
}

#[tokio::test]
async fn a_bad_list_is_refused_with_its_place() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let cases = [
        ("email,tokn\nada@example.com,x\n", "tokn"),
        ("email,token\nada@example.com,short\n", "entry 1 is shorter than 8"),
        ("[{\"email\":\"a@b\",\"enabled\":\"maybe\"}]", "entry 1"),
        ("", "empty"),
    ];
    for (list, expected) in cases {
        std::fs::write(gateway.folder.path().join("list"), list).unwrap();
        let output = gateway.run(&["key", "import", "list"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    simulator.stop().await;
}
