//! Stories of strict mode as its user sees it.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::client::{Raw, ask, contains, lossy, request};
use crate::harness::recording::{Recording, Step, chunk, stream_head, whole};
use crate::harness::strict::{KEY, Strict, Twin};

const OURS: [Twin; 2] = [Twin::Ours, Twin::Named];

#[tokio::test]
async fn one_kind_of_request_is_forwarded_with_the_key_and_nothing_else() {
    for twin in OURS {
        let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
        let url = format!("http://{}/openai/responses?api-version=1", upstream.address);
        let proxy = Strict::start(twin, &url, &[]);
        let headers = [
            ("Authorization", "Bearer theirs"),
            ("Cookie", "a=b"),
            ("Proxy-Authorization", "Basic eA=="),
            ("X-Thing", "1"),
        ];
        let answer = ask(proxy.address, "POST", "/v1/responses", &headers, "{\"a\":1}").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
        let expected = format!(
            "POST /openai/responses?api-version=1 HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {KEY}\r\nX-Thing: 1\r\nContent-Type: application/json\r\n\
             Content-Length: 7\r\n\r\n{{\"a\":1}}",
            upstream.address
        );
        let forwarded: Vec<String> = upstream.requests().iter().map(|one| lossy(one)).collect();
        assert_eq!(forwarded, [expected]);

        let others = [
            ("GET", "/v1/responses"),
            ("POST", "/v1/responses?"),
            ("POST", "/v1/responses?a=b"),
            ("POST", "/v1/responses/"),
            ("POST", "/v1/responses/compact"),
            ("POST", "/responses"),
            ("POST", "http://127.0.0.1/v1/responses"),
            ("GET", "/v1/models"),
            ("GET", "/healthz"),
            ("GET", "/metrics"),
            ("OPTIONS", "/v1/responses"),
            ("POST", "/shutdown"),
            ("GET", "/shutdown?"),
        ];
        for (method, path) in others {
            let answer = ask(proxy.address, method, path, &[], "").await;
            assert_eq!((answer.status, answer.body.len()), (403, 0), "{method} {path}");
        }
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn it_tells_where_it_listens_and_ends_when_it_is_asked() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    for twin in OURS {
        let mut proxy = Strict::start(twin, &upstream.url(), &["--require-hardening"]);
        let info = json!({"port": proxy.address.port(), "pid": proxy.pid()});
        assert_eq!(proxy.info(), info);
        let file = std::fs::metadata(proxy.folder.path().join("info.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o644);
        let answer = ask(proxy.address, "GET", "/shutdown", &[], "").await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let said = format!("responses-api-proxy listening on {}\n", proxy.address);
        assert_eq!(proxy.ended(), (Some(0), said));
    }
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_ends_before_the_proxy_does() {
    let steps =
        vec![stream_head(), chunk("data: 1\n\n"), Step::Wait, chunk("data: 2\n\n"), chunk("")];
    let upstream = Recording::start(steps).await;
    let mut proxy = Strict::start(Twin::Ours, &upstream.url(), &[]);
    let mut client = Raw::connect(proxy.address).await;
    client.send(request("POST", "/v1/responses", &[], "{\"stream\":true}").as_bytes()).await;
    client.read_until("data: 1\n\n").await;
    let answer = ask(proxy.address, "GET", "/shutdown", &[], "").await;
    assert_eq!(answer.status, 200);
    upstream.go_on.notify_one();
    let rest = client.read_until("0\r\n\r\n").await;
    assert!(contains(&rest, b"data: 2\n\n"), "{}", lossy(&rest));
    assert_eq!(proxy.ended().0, Some(0));
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_upstream() {
    let steps = vec![stream_head(), chunk("data: 1\n\n"), Step::Wait, chunk("")];
    let mut upstream = Recording::start(steps).await;
    let proxy = Strict::start(Twin::Ours, &upstream.url(), &[]);
    let mut client = Raw::connect(proxy.address).await;
    client.send(request("POST", "/v1/responses", &[], "{\"stream\":true}").as_bytes()).await;
    client.read_until("data: 1\n\n").await;
    drop(client);
    upstream.left.recv().await.unwrap();
}

#[tokio::test]
async fn exchanges_are_written_down_for_their_owner_without_credentials() {
    let upstream = Recording::start(vec![whole("application/json", "{\"id\":\"r\"}")]).await;
    let proxy = Strict::start(Twin::Ours, &upstream.url(), &["--dump-dir", "a/dumps"]);
    let headers = [("Cookie", "a=b"), ("X-Thing", "1")];
    ask(proxy.address, "POST", "/v1/responses", &headers, "{\"input\":\"hi\"}").await;
    ask(proxy.address, "POST", "/v1/other", &headers, "{}").await;
    let folder = proxy.folder.path().join("a/dumps");
    let files = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut written: Vec<_> = files().collect();
    written.sort();
    let parsed: Vec<serde_json::Value> = written
        .iter()
        .map(|path| {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        })
        .collect();
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let request = json!({
        "method": "POST", "url": "/v1/responses",
        "headers": [header("host", "gateway.test"), header("cookie", "[REDACTED]"),
            header("x-thing", "1"), header("content-type", "application/json"),
            header("content-length", "14")],
        "body": {"input": "hi"},
    });
    let response = json!({
        "status": 200,
        "headers": [header("content-type", "application/json"), header("content-length", "10"),
            header("x-request-id", "req_1")],
        "body": {"id": "r"},
    });
    assert_eq!(parsed, [request, response]);
}

#[tokio::test]
async fn records_are_kept_where_they_are_asked_for() {
    let upstream = Recording::start(vec![whole("application/json", "{\"id\":\"r\"}")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("archive.key"), "ab".repeat(32)).unwrap();
    let sealed = format!("[archive]\nencryption_key = \"file:{}\"\n", path("archive.key"));
    std::fs::write(path("strict.toml"), sealed).unwrap();
    let more = ["--record", "kept", "--require-hardening", "--config", &path("strict.toml")];
    let mut proxy = Strict::start(Twin::Ours, &upstream.url(), &more);
    let data = proxy.folder.path().join("kept");
    ask(proxy.address, "POST", "/v1/responses", &[], "{\"model\":\"gpt-5.5\"}").await;
    let config = path("strict.toml");
    let kept = ["--data", data.to_str().unwrap(), "--config", &config];
    let beside = |arguments: &[&str]| {
        crate::harness::gateway::run(folder.path(), &[arguments, &kept].concat())
    };
    let list = || {
        let output = beside(&["audit", "list", "--format", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let record = &list()[0];
    let told = json!([record["user"], record["endpoint"], record["outcome"], record["model"]]);
    assert_eq!(told, json!(["local", "POST /v1/responses", "complete", "gpt-5.5"]));
    ask(proxy.address, "GET", "/shutdown", &[], "").await;
    assert_eq!(proxy.ended().0, Some(0));
    assert!(beside(&["audit", "verify"]).status.success());
}

#[tokio::test]
async fn secrets_are_screened_where_that_is_asked_for() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let secret = redact::own_key::build([7; redact::own_key::RANDOM_CHARACTERS]);
    let body = format!("{{\"input\":\"{secret}\"}}");
    let mut statuses = Vec::new();
    for more in [&[][..], &["--screen", "block"]] {
        let proxy = Strict::start(Twin::Ours, &upstream.url(), more);
        let answer = ask(proxy.address, "POST", "/v1/responses", &[], &body).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 400]);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_unreachable_upstream_is_told_as_json() {
    let proxy = Strict::start(Twin::Ours, "http://127.0.0.1:9/responses", &[]);
    let answer = ask(proxy.address, "POST", "/v1/responses", &[], "{}").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "upstream_error");
}

#[test]
fn what_would_open_it_is_a_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    std::fs::write(&file, "[upstream]\nauth = \"api-key\"\n").unwrap();
    let file = file.to_str().unwrap();
    let (code, said) = Twin::Ours.fails(b"key", &["--config", file]);
    let expected = format!(
        "error: {file}:2:1: upstream.auth cannot be set in strict mode: it would open what is closed there"
    );
    assert_eq!((code, said), (Some(2), expected));
    // What keeps nothing has no data folder.
    let (code, _) = Twin::Ours.fails(b"key", &["--data", "a"]);
    assert_eq!(code, Some(2));
}
