//! What travels in other forms: HTTP/2, coded bodies, uploads, and the sums of many.

use std::io::Write;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::client::{ask, post};
use crate::harness::recording::{Step, whole};
use crate::harness::{Gateway, Recording, simulator, until, url};

#[tokio::test]
async fn http2_in_is_the_same_journey() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);

    // Given two exchanges on one connection at once.
    let mut ask = |input: &str| {
        let body = format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}");
        let request = Request::post(format!("http://{}/v1/responses", gateway.address))
            .header("authorization", format!("Bearer {}", key.value))
            .body(Full::new(Bytes::from(body)));
        sender.send_request(request.unwrap())
    };
    let (slow, quick) = (ask("sim:pace=20ms"), ask("hello"));
    let quick = quick.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let slow = slow.await.unwrap().into_body().collect().await.unwrap().to_bytes();

    let mut ends: Vec<_> = gateway
        .records()
        .iter()
        .map(|r| (r["response_bytes"].as_u64(), r["outcome"].clone(), r["usage"].clone()))
        .collect();
    ends.sort_by_key(|end| end.0);
    let mut expected =
        [quick, slow].map(|body| (Some(body.len() as u64), json!("complete"), json!("exact")));
    expected.sort_by_key(|end| end.0);
    assert_eq!(ends, expected);
    simulator.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_there_leaves_with_its_head() {
    let upstream = Recording::start(vec![whole("application/json", "{\"id\":\"resp_1\"}")]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        key.value
    );
    stream.write_all(request.as_bytes()).await.unwrap();

    let mut first = vec![0; 64 << 10];
    let length = stream.read(&mut first).await.unwrap();

    let first = String::from_utf8_lossy(&first[..length]).into_owned();
    assert!(first.ends_with("\r\n\r\n{\"id\":\"resp_1\"}"), "{first}");
}

#[tokio::test]
async fn a_chunked_body_without_bytes_stays_chunked() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let upstream = Recording::start(vec![Step::Send(answer.to_vec())]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");

    let got = post(gateway.address, "/v1/responses", &key.value, r#"{"model":"gpt-5.5"}"#).await;

    assert_eq!(
        (got.header("transfer-encoding"), got.header("content-length")),
        (Some("chunked"), None)
    );
}

#[tokio::test]
async fn a_coded_answer_passes_coded_and_is_kept_and_metered_decoded() {
    let answer =
        r#"{"id":"resp_1","model":"gpt-5.5","usage":{"input_tokens":7,"output_tokens":5}}"#;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(answer.as_bytes()).unwrap();
    let coded = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        coded.len()
    );
    let upstream = Recording::start(vec![Step::Send([head.as_bytes(), &coded].concat())]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");

    let got = post(gateway.address, "/v1/responses", &key.value, r#"{"model":"gpt-5.5"}"#).await;

    assert!(got.body == coded && got.header("content-encoding") == Some("gzip"));
    let record = &gateway.records()[0];
    assert_eq!(
        (&record["content_encoding"], &record["total_tokens"]),
        (&json!("gzip"), &json!(12))
    );
    let stored = gateway.stored(got.header("x-codex-proxy-id").unwrap()).await;
    let wire = stored.response.unwrap().wire.unwrap();
    assert_eq!(wire.blake3, blake3::hash(&coded).to_hex().as_str());
    assert_eq!((wire.coding.as_str(), wire.bytes), ("gzip", coded.len() as u64));

    let id = record["id"].as_str().unwrap();
    assert_eq!(gateway.raw(id, "response"), answer.as_bytes());
}

#[tokio::test]
async fn an_upload_streams_through_and_is_kept_whole() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);
    let content: Vec<u8> = (0..5_000_000u32).map(|number| (number % 251) as u8).collect();
    let length = content.len().to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/octet-stream"),
        ("content-length", length.as_str()),
    ];
    let head = crate::harness::client::request("POST", "/v1/files", &headers, "");
    let mut client = crate::harness::Raw::connect(gateway.address).await;
    client.send(&[head.as_bytes(), &content].concat()).await;
    let answer = client.answer().await;

    assert_eq!((answer.status, &answer.json()["bytes"]), (200, &json!(content.len())));
    let record = &gateway.records()[0];
    assert_eq!(record["request_bytes"], content.len());
    assert_eq!((&record["priced"], &record["usage"]), (&json!(false), &json!("none")));
    assert!(gateway.raw(record["id"].as_str().unwrap(), "request") == content);
    simulator.stop().await;
}

#[tokio::test]
async fn the_reports_sums_are_the_bill_to_the_token() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let asked = ask_much(&gateway).await;
    let bill = simulator.bill().exchanges;
    let report: Vec<Value> =
        serde_json::from_str(&gateway.ok(&["report", "--by", "model", "--format", "json"]))
            .unwrap();
    let sum = |name: &str| report.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();

    let estimated: Vec<_> =
        gateway.records().into_iter().filter(|r| r["usage"] == "estimated").collect();
    assert_eq!(estimated, Vec::<Value>::new());
    assert_eq!(sum("requests"), asked);
    assert_eq!(sum("input_tokens"), bill.iter().map(|one| one.input_tokens).sum::<u64>());
    assert_eq!(
        sum("cached_input_tokens"),
        bill.iter().map(|one| one.cached_input_tokens).sum::<u64>()
    );
    assert_eq!(sum("output_tokens"), bill.iter().map(|one| one.output_tokens).sum::<u64>());
    assert_eq!(sum("reasoning_tokens"), bill.iter().map(|one| one.reasoning_tokens).sum::<u64>());
    assert_eq!(sum("total_tokens"), bill.iter().map(|one| one.total_tokens).sum::<u64>());
    assert_eq!(
        sum("errors"),
        gateway.records().iter().filter(|r| r["outcome"] != "complete").count() as u64
    );

    // The same sums by user and by team, and after everything was published.
    let by = |what: &str| -> Vec<Value> {
        serde_json::from_str(&gateway.ok(&["report", "--by", what, "--format", "json"])).unwrap()
    };
    let teams: Vec<_> = by("team").iter().map(|row| row["team"].clone()).collect();
    assert!(teams.contains(&json!("red")) && teams.contains(&Value::Null));
    let before = by("user");
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    assert_eq!(by_user(&gateway), before);
    let csv = gateway.ok(&["report", "--format", "csv", "--csv", "out.csv"]);
    assert_eq!(csv, std::fs::read_to_string(gateway.folder.path().join("out.csv")).unwrap());
    assert!(csv.starts_with("user,requests,errors,input_tokens,cached_input_tokens,output_tokens,reasoning_tokens,total_tokens,cost_usd,unpriced_requests,models\n"));
    simulator.stop().await;
}

/// Asks several models in both APIs, streamed and not, with and without trouble, as two people;
/// tells how often.
async fn ask_much(gateway: &Gateway) -> u64 {
    let keys =
        [gateway.key("ada@example.com"), gateway.key_with("grace@example.com", &["--team", "red"])];
    let models = ["gpt-5.5", "gpt-6.1-sol", "gpt-5.4-mini", "o3"];
    let inputs = [
        "hello",
        "sim:reasoning=300",
        "sim:words=400",
        "sim:tool=\\\"f\\\" sim:args=\\\"{}\\\"",
        "sim:cached=3 sim:input_tokens=1000",
        "sim:status=500",
        "sim:fail=server_error",
        "sim:incomplete=max_output_tokens",
        "sim:tier=flex",
        "sim:crlf sim:comment",
        "sim:event=300KiB",
    ];
    let mut asked = 0;
    for (round, input) in inputs.iter().enumerate() {
        for (number, model) in models.iter().enumerate() {
            let stream = (round + number) % 2 == 0;
            let key = &keys[number % 2].value;
            let responses =
                format!("{{\"model\":\"{model}\",\"stream\":{stream},\"input\":\"{input}\"}}");
            post(gateway.address, "/v1/responses", key, &responses).await;
            asked += 1;
            // A chat stream that breaks with an error tells no usage: that is an estimate.
            if stream && input.starts_with("sim:fail") {
                continue;
            }
            let options = if stream { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
            let chat = format!(
                "{{\"model\":\"{model}\",\"stream\":{stream}{options},\"messages\":[{{\"role\":\"user\",\"content\":\"{input}\"}}]}}"
            );
            post(gateway.address, "/v1/chat/completions", key, &chat).await;
            asked += 1;
        }
    }
    asked
}

fn by_user(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_str(&gateway.ok(&["report", "--format", "json"])).unwrap()
}

#[tokio::test]
async fn what_was_said_is_found_again() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let body = r#"{"model":"gpt-5.5","input":"a needle \"in\" hay"}"#;
    post(gateway.address, "/v1/responses", &key.value, body).await;
    post(gateway.address, "/v1/responses", &key.value, r#"{"model":"gpt-5.5","input":"hay"}"#)
        .await;

    let hits: Vec<Value> = serde_json::from_str(&gateway.ok(&[
        "audit",
        "search",
        "needle \"in\"",
        "--format",
        "json",
    ]))
    .unwrap();
    assert_eq!(
        hits.iter().map(|hit| hit["side"].as_str().unwrap()).collect::<Vec<_>>(),
        ["request", "response"]
    );
    let id = hits[0]["id"].as_str().unwrap();
    assert!(gateway.ok(&["audit", "show", &id[..18]]).contains("needle"));
    let listed = gateway.ok(&[
        "audit",
        "list",
        "--user",
        "ada@example.com",
        "--limit",
        "1",
        "--format",
        "csv",
    ]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(gateway.ok(&["audit", "list", "--status", "404", "--format", "json"]).trim(), "[]");
    simulator.stop().await;
}

#[tokio::test]
async fn a_stop_lets_streams_end_and_cuts_what_does_not() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_DRAIN_TIMEOUT", "2s")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let stream = |input: &str| {
        let body = format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}");
        let (address, key) = (gateway.address, key.value.clone());
        async move { post(address, "/v1/responses", &key, &body).await }
    };
    let mut clients = tokio::task::JoinSet::new();
    clients.spawn(stream("sim:pace=50ms"));
    clients.spawn(stream("sim:stall=2"));
    until("both upstream", || simulator.bill().exchanges.len() == 2).await;

    let stopped = tokio::task::spawn_blocking(move || gateway.stop());
    let answers = clients.join_all().await;
    let (folder, well, said) = stopped.await.unwrap();

    assert!(well, "{said}");
    assert!(answers.iter().all(|answer| !answer.broken));
    let cut = "\"code\":\"server_is_overloaded\",\"message\":\"This proxy is stopping.\"}}}\n\n";
    assert_eq!(answers.iter().filter(|answer| answer.text().ends_with(cut)).count(), 1);
    let records = crate::harness::gateway::records(folder.path());
    let mut ends: Vec<_> =
        records.iter().map(|r| (r["outcome"].as_str(), r["source"].as_str())).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(Some("complete"), Some("upstream")), (Some("refused"), Some("proxy"))]);
    simulator.stop().await;
}

#[tokio::test]
async fn browsers_may_ask_only_from_configured_origins() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_CORS_ORIGINS", "https://app.example.com")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        ask(gateway.address, "OPTIONS", "/v1/responses", &headers, "").await
    };
    let good = preflight("https://app.example.com").await;
    assert_eq!(
        (good.status, good.header("access-control-allow-origin")),
        (204, Some("https://app.example.com"))
    );
    assert_eq!(good.header("access-control-allow-headers"), Some("authorization"));
    let bad = preflight("https://evil.example.com").await;
    assert_eq!((bad.status, bad.header("access-control-allow-origin")), (403, None));
    simulator.stop().await;
}
