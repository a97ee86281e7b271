//! Bad input: each a clear word, and nothing falls over.

use std::time::Duration;

use crate::harness::client::{self, ask, post, request};
use crate::harness::recording::whole;
use crate::harness::{Gateway, Raw, Recording, gateway, simulator, url};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_though_the_client_sends_it_whole() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let gateway = Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_MAX_BODY", "100KiB")]);
    let key = gateway.key("ada@example.com");
    let large = format!("{{\"model\":\"gpt-5.5\",\"input\":\"{}\"}}", "x".repeat(3_000_000));

    // With a length, and without one.
    let answer = post(gateway.address, "/v1/responses", &key.value, &large).await;
    assert_eq!((answer.status, answer.refusal()), (413, Some("body_too_large")));
    assert_eq!(answer.json()["error"]["code"], "request_too_large");
    let mut client = Raw::connect(gateway.address).await;
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        bearer(&key.value)
    );
    client.send(head.as_bytes()).await;
    client.send(format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).as_bytes()).await;
    assert_eq!(client.answer().await.refusal(), Some("body_too_large"));

    // An upload that is not read whole is bounded too.
    let headers =
        [("authorization", bearer(&key.value)), ("content-type", "text/plain".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let length = large.len();
    let mut client = Raw::connect(gateway.address).await;
    let head = request("POST", "/v1/files", &headers, "");
    let head = head.trim_end().to_owned() + &format!("\r\nContent-Length: {length}\r\n\r\n");
    client.send((head + &large).as_bytes()).await;
    assert_eq!(client.answer().await.refusal(), Some("body_too_large"));

    assert_eq!(upstream.requests(), Vec::<Vec<u8>>::new());
    let refusals: Vec<_> = gateway.records().iter().map(|r| r["refusal"].clone()).collect();
    assert_eq!(refusals, ["body_too_large", "body_too_large", "body_too_large"]);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let large = "x".repeat(20_000_000);
    let answer = post(gateway.address, "/v1/responses", "cpk_unknown", &large).await;
    assert_eq!((answer.status, answer.refusal()), (401, Some("key_unknown")));
    simulator.stop().await;
}

#[tokio::test]
async fn rubbish_is_answered_and_the_gateway_goes_on() {
    let simulator = simulator().await;
    let settings =
        [("CODEX_PROXY_CLIENT_HEAD_TIMEOUT", "1s"), ("CODEX_PROXY_CLIENT_BODY_TIMEOUT", "1s")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");

    // No HTTP at all; a header bomb; too many headers.
    for (sent, status) in [
        ("this is no HTTP\r\n\r\n".to_owned(), 400),
        (format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)), 431),
        (format!("GET /v1/models HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(5000)), 431),
    ] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(sent.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"]["code"], "bad_request");
    }
    // A client that never ends its head is let go.
    let mut client = Raw::connect(gateway.address).await;
    client.send(b"GET /v1/models HTTP/1.1\r\nHost:").await;
    let waited = tokio::time::timeout(Duration::from_secs(10), client.piece()).await.unwrap();
    assert!(waited.is_empty() || waited.starts_with(b"HTTP/1.1 408"), "{waited:?}");
    // One that stalls in its body is told so, and recorded.
    let mut client = Raw::connect(gateway.address).await;
    let head = request("POST", "/v1/responses", &[("authorization", &bearer(&key.value))], "{}");
    client.send(&head.as_bytes()[..head.len() - 1]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.refusal()), (400, Some("unreadable_body")));
    assert_eq!(answer.json()["error"]["message"], "The request's body stalled for 1s.");
    // A body that is no JSON is the upstream's to judge.
    let answer = post(gateway.address, "/v1/responses", &key.value, "{\"model\":").await;
    assert_eq!((answer.status, answer.refusal()), (400, None));
    // Addresses that are not ours.
    let answer = ask(gateway.address, "GET", "/favicon.ico", &[], "").await;
    assert_eq!((answer.status, answer.header("x-codex-proxy-id")), (404, None));
    assert_eq!(ask(gateway.address, "GET", "/healthz", &[], "").await.text(), "alive\n");
    assert_eq!(ask(gateway.address, "GET", "/readyz", &[], "").await.text(), "ready\n");
    simulator.stop().await;
}

#[tokio::test]
async fn a_closed_endpoint_is_refused() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_ENDPOINTS", "POST /v1/responses,GET /v1/responses")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let authorization = bearer(&key.value);

    let closed =
        ask(gateway.address, "GET", "/v1/models", &[("authorization", &authorization)], "").await;
    assert_eq!((closed.status, closed.refusal()), (403, Some("not_allowed")));
    simulator.stop().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_or_says_nothing_is_told_apart() {
    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&format!("http://{free}/v1"));
    let key = gateway.key("ada@example.com");
    let answer = post(gateway.address, "/v1/responses", &key.value, "{}").await;
    assert_eq!((answer.status, answer.refusal()), (502, Some("upstream_unreachable")));
    assert_eq!(gateway.records()[0]["usage"], "none");

    let settings = [
        ("CODEX_PROXY_UPSTREAM_FIRST_BYTE_TIMEOUT", "300ms"),
        ("CODEX_PROXY_UPSTREAM_IDLE_TIMEOUT", "300ms"),
    ];
    let simulator = simulator().await;
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let ask = async |input: &str| {
        let body = format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}");
        post(gateway.address, "/v1/responses", &key.value, &body).await
    };
    let slow = ask("sim:delay=30s").await;
    assert_eq!((slow.status, slow.refusal()), (504, Some("upstream_timeout")));
    let stalled = ask("sim:stall=3").await;
    assert_eq!(stalled.status, 200);
    assert!(
        stalled.text().ends_with("\"message\":\"The upstream has sent nothing for 300ms.\"}}}\n\n"),
        "{}",
        stalled.text()
    );
    let dropped = ask("sim:drop").await;
    assert_eq!((dropped.status, dropped.refusal()), (502, Some("upstream_unreachable")));
    let refusals: Vec<_> = gateway.records().iter().map(|r| r["refusal"].clone()).collect();
    assert_eq!(refusals, ["upstream_timeout", "upstream_timeout", "upstream_unreachable"]);
    simulator.stop().await;
}

#[tokio::test]
async fn too_much_at_once_is_refused_for_its_key_alone() {
    let upstream = Recording::start(vec![
        crate::harness::recording::Step::Wait,
        whole("application/json", "{}"),
    ])
    .await;
    let gateway =
        Gateway::start_with(&upstream.url(), &[("CODEX_PROXY_LIMITS_EXCHANGES_PER_KEY", "1")]);
    let (ada, grace) = (gateway.key("ada@example.com"), gateway.key("grace@example.com"));
    let mut first = Raw::connect(gateway.address).await;
    let sent = request("POST", "/v1/responses", &[("authorization", &bearer(&ada.value))], "{}");
    first.send(sent.as_bytes()).await;
    crate::harness::until("the first upstream", || upstream.requests().len() == 1).await;

    let second = post(gateway.address, "/v1/responses", &ada.value, "{}").await;
    assert_eq!((second.status, second.refusal()), (429, Some("too_many_requests")));
    assert_eq!(second.header("retry-after"), Some("1"));
    let mut other = Raw::connect(gateway.address).await;
    let sent = request("POST", "/v1/responses", &[("authorization", &bearer(&grace.value))], "{}");
    other.send(sent.as_bytes()).await;
    crate::harness::until("the other upstream", || upstream.requests().len() == 2).await;
    upstream.go_on.notify_one();
    upstream.go_on.notify_waiters();
    assert_eq!(first.answer().await.status, 200);
}

#[test]
fn a_wrong_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| {
        let output = gateway::run(folder.path(), arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let check = |arguments: &[&str], code: i32, parts: &[&str]| {
        let (exit, text) = said(arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {text}");
        }
    };
    // Wrong usage and wrong configuration are 2, with every problem.
    check(&["serve", "--nonsense"], 2, &["--nonsense"]);
    std::fs::write(folder.path().join("bad.toml"), "listne = 1\nmax_body = \"big\"\n").unwrap();
    check(
        &["serve", "--config", "bad.toml"],
        2,
        &[
            "bad.toml:1:1: no setting is called listne; did you mean listen?",
            "bad.toml:2:1: max_body `big`",
        ],
    );
    check(
        &["config", "check", "--config", "none.toml"],
        2,
        &["none.toml: the file cannot be read"],
    );
    check(&["config", "check", "--resolve"], 2, &["OPENAI_API_KEY is not set"]);
    check(&["report", "2026-02-02", "2026-01-01"], 2, &["before the first"]);
    // What fails for other reasons is 1.
    check(&["serve"], 2, &["OPENAI_API_KEY is not set"]);
    check(&["key", "create", "--user", ""], 2, &["a key needs a user"]);
    check(&["audit", "show", "nothing-like-an-id"], 1, &["no exchange has the id"]);
    check(&["key", "disable", "nobody@example.com"], 1, &["no key has the id, prefix or user"]);
    std::fs::write(folder.path().join("file"), "").unwrap();
    check(&["key", "list", "--data", "file"], 1, &["making the data folder file"]);
}

#[tokio::test]
async fn a_second_serve_and_a_taken_port_are_told() {
    let simulator = simulator().await;
    let first = Gateway::start(&url(&simulator));
    std::fs::write(first.folder.path().join("key"), "sk-x").unwrap();
    std::fs::write(first.folder.path().join("codex-proxy.toml"), "upstream.key = \"file:key\"\n")
        .unwrap();
    let again = first.run(&["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("another `codex-proxy serve` uses the data folder"), "{said}");
    let taken = first.run(&["serve", "--data", "other", "--listen", &first.address.to_string()]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("listening on {}", first.address)), "{said}");
    simulator.stop().await;
}

#[tokio::test]
async fn silent_connections_are_let_go_and_lock_nobody_out() {
    let simulator = simulator().await;
    let settings = [
        ("CODEX_PROXY_CLIENT_HEAD_TIMEOUT", "1s"),
        ("CODEX_PROXY_LIMITS_CONNECTIONS", "4"),
        ("CODEX_PROXY_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let mut silent = Vec::new();
    for first in ["", "P", "PRI * HTTP/2.0\r\n", ""] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(first.as_bytes()).await;
        silent.push(client);
    }
    for client in &mut silent {
        let end = tokio::time::timeout(Duration::from_secs(10), client.piece()).await;
        assert_eq!(end.unwrap(), b"");
    }
    assert_eq!(ask(gateway.address, "GET", "/v1/models", &[], "").await.status, 401);
    simulator.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_is_cancelled() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    // In a body that is read whole, and in an upload that is on its way upstream already.
    for (path, content_type) in [("/v1/responses", "application/json"), ("/v1/files", "text/plain")]
    {
        let authorization = bearer(&key.value);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", content_type),
            ("content-length", "500"),
        ];
        let head = request("POST", path, &headers, "");
        let mut client = Raw::connect(gateway.address).await;
        client.send((head + "{\"model\"").as_bytes()).await;
        client::metric(gateway.address, "codex_proxy_exchanges_open 1").await;
        drop(client);
        client::metric(gateway.address, "codex_proxy_exchanges_open 0").await;
    }
    let records = gateway.records();
    let null = serde_json::Value::Null;
    let cancelled = (&"cancelled".into(), &"client".into(), &null, &null);
    let ends: Vec<_> = records
        .iter()
        .map(|r| (&r["outcome"], &r["source"], &r["status"], &r["refusal"]))
        .collect();
    assert_eq!(ends, [cancelled, cancelled]);
    simulator.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_CLIENT_READ_TIMEOUT", "500ms")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","stream":true,"input":"sim:huge=16MiB"}"#;
    // Kept open, and never read.
    let _client = Raw::asking(gateway.address, &key.value, body).await;
    client::metric(gateway.address, "codex_proxy_exchanges_total{outcome=\"cancelled\"} 1").await;
    let record = &gateway.records()[0];
    assert_eq!((&record["outcome"], &record["source"]), (&"cancelled".into(), &"client".into()));
    simulator.stop().await;
}
