//! To whom a request goes, and what it shows there.

use serde_json::{Value, json};

use crate::harness::client::{Answer, Raw, ask, lossy, metric, post};
use crate::harness::recording::{Step, whole};
use crate::harness::socket::{ACCEPTED, Upstream, asks, handshake, read_text, says};
use crate::harness::{Gateway, ORGANISATION_KEY, Recording, simulator, url};

const BODY: &str = r#"{"model":"gpt-5.5","input":"hi"}"#;

/// An address that nobody listens on.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

/// Asks as part of a conversation.
async fn say(gateway: &Gateway, key: &str, thread: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("thread-id", thread)];
    ask(gateway.address, "POST", "/v1/responses", &headers, body).await
}

/// Which way each exchange went.
fn ways(gateway: &Gateway) -> Vec<Value> {
    gateway.records().iter().map(|record| record["tags"]["upstream"].clone()).collect()
}

#[tokio::test]
async fn azure_gets_its_path_its_version_and_its_key() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let base =
        format!("http://{}/openai/deployments/codex?api-version=2026-03-01", upstream.address);
    let settings = [
        ("CODEX_PROXY_UPSTREAM_AUTH", "api-key"),
        ("CODEX_PROXY_UPSTREAM_HEADERS", "OpenAI-Project=proj_1,X-Gate-Token=env:GATE"),
        ("GATE", "gate-secret"),
    ];
    let gateway = Gateway::start_with(&base, &settings);
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);
    let headers = [
        ("authorization", authorization.as_str()),
        ("api-key", "mine"),
        ("openai-project", "mine"),
    ];

    let path = "/v1/responses?include[]=a&b=%20";
    assert_eq!(ask(gateway.address, "POST", path, &headers, BODY).await.status, 200);
    assert_eq!(ask(gateway.address, "GET", "/v1/models", &headers, "").await.status, 200);

    let seen: Vec<String> = upstream.requests().iter().map(|request| lossy(request)).collect();
    let lines: Vec<&str> = seen[0].split("\r\n\r\n").next().unwrap().split("\r\n").collect();
    let address = upstream.address.to_string();
    assert_eq!(
        lines,
        [
            "POST /openai/deployments/codex/responses?api-version=2026-03-01&include[]=a&b=%20 HTTP/1.1",
            &format!("Host: {address}"),
            &format!("api-key: {ORGANISATION_KEY}"),
            "openai-project: proj_1",
            "Content-Type: application/json",
            &format!("Content-Length: {}", BODY.len()),
            "x-gate-token: gate-secret",
        ]
    );
    assert!(
        seen[1].starts_with("GET /openai/deployments/codex/models?api-version=2026-03-01 HTTP")
    );

    // Nothing that is kept or shown holds the secrets.
    let shown = clean_show(&gateway);
    assert!(shown.contains("\"X-Gate-Token\" = \"env:GATE\""), "{shown}");
    let found = grep(&gateway, &["gate-secret", ORGANISATION_KEY, &key.value]);
    assert_eq!((found.as_str(), shown.contains("gate-secret")), ("", false));
}

/// `config show` with headers in a file, as the gateway has them in its environment.
fn clean_show(gateway: &Gateway) -> String {
    let headers = "{ OpenAI-Project = \"proj_1\", X-Gate-Token = \"env:GATE\" }";
    let file = format!("[upstream]\nheaders = {headers}\n");
    std::fs::write(gateway.folder.path().join("codex-proxy.toml"), file).unwrap();
    gateway.ok(&["config", "show"])
}

/// The files of the data folder that hold one of these, compressed or not.
fn grep(gateway: &Gateway, texts: &[&str]) -> String {
    let script = "for file in $(find data -type f); do for text in \"$@\"; do \
        (cat \"$file\"; zstd -dcq \"$file\" 2>/dev/null) | grep -qaF -e \"$text\" && echo \"$file: $text\"; \
        done; done; true";
    let output = std::process::Command::new("sh")
        .args(["-c", script, "grep"])
        .args(texts)
        .current_dir(gateway.folder.path())
        .output()
        .unwrap();
    lossy(&output.stdout)
}

#[tokio::test]
async fn a_model_goes_to_its_upstream_and_what_cannot_be_reached_is_passed_by() {
    let (north, south) = (simulator().await, simulator().await);
    let upstreams = json!([
        { "name": "south", "url": url(&south), "key": "env:OPENAI_API_KEY", "models": ["o3*"] },
        { "name": "spare", "url": url(&north), "key": "env:OPENAI_API_KEY", "priority": 2 },
    ]);
    let upstreams = upstreams.to_string();
    let settings = [("CODEX_PROXY_UPSTREAMS", upstreams.as_str())];
    let gateway = Gateway::start_with(&nobody().await, &settings);
    let key = gateway.key("ada@example.com");

    assert_eq!(
        say(&gateway, &key.value, "t", r#"{"model":"o3-mini","input":"a"}"#).await.status,
        200
    );
    assert_eq!(say(&gateway, &key.value, "t", BODY).await.status, 200);
    let listed = [("authorization", format!("Bearer {}", key.value))];
    let listed = [(listed[0].0, listed[0].1.as_str())];
    assert_eq!(ask(gateway.address, "GET", "/v1/models", &listed, "").await.status, 200);

    assert_eq!(ways(&gateway), ["south", "spare", "spare"]);
    assert_eq!(south.bill().exchanges.len(), 1);
    assert_eq!(north.bill().exchanges.len(), 1);
    let counted = "codex_proxy_upstream_exchanges_total{upstream=\"spare\"} 2";
    metric(gateway.address, counted).await;
    let (_, _, said) = gateway.stop();
    assert!(said.contains("the upstream cannot be reached: it is set aside"), "{said}");
    assert!(said.contains("(spare)"), "{said}");
    north.stop().await;
    south.stop().await;
}

#[tokio::test]
async fn where_nobody_can_be_reached_one_refusal_says_so() {
    let (one, other) = (nobody().await, nobody().await);
    let upstreams =
        json!([{ "name": "other", "url": other, "key": "env:OPENAI_API_KEY" }]).to_string();
    let gateway = Gateway::start_with(&one, &[("CODEX_PROXY_UPSTREAMS", upstreams.as_str())]);
    let key = gateway.key("ada@example.com");
    let answer = post(gateway.address, "/v1/responses", &key.value, BODY).await;
    assert_eq!((answer.status, answer.refusal()), (502, Some("upstream_unreachable")));
    let record = gateway.records().remove(0);
    assert_eq!(
        (&record["refusal"], &record["cost_usd"]),
        (&json!("upstream_unreachable"), &json!("0.0000"))
    );
}

#[tokio::test]
async fn a_conversation_keeps_its_key_until_that_is_not_accepted() {
    let simulator = simulator().await;
    let settings = [
        ("CODEX_PROXY_UPSTREAM_KEY", "env:OPENAI_API_KEY,env:WITHDRAWN"),
        ("WITHDRAWN", "sk-withdrawn"),
    ];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");

    // Given conversations on either key: the upstream's 401 passes as it is.
    let mut refused = None;
    for number in 0..64 {
        let thread = format!("thread-{number}");
        let answer = say(&gateway, &key.value, &thread, BODY).await;
        if answer.status == 401 {
            assert_eq!(
                (answer.refusal(), &answer.json()["error"]["code"]),
                (None, &json!("invalid_api_key"))
            );
            refused = Some(thread);
            break;
        }
    }
    // Then that conversation goes on with the other key, and all do.
    let refused = refused.unwrap();
    for thread in [refused.as_str(), refused.as_str(), "another", "and another"] {
        assert_eq!(say(&gateway, &key.value, thread, BODY).await.status, 200);
    }
    let went = ways(&gateway);
    let withdrawn = went.iter().filter(|way| **way == json!("default/2")).count();
    assert_eq!((withdrawn, went.last()), (1, Some(&json!("default/1"))));
    simulator.stop().await;
}

#[tokio::test]
async fn a_key_without_quota_is_set_aside_and_a_busy_one_is_not() {
    let simulator = simulator().await;
    let settings =
        [("CODEX_PROXY_UPSTREAM_KEY", "env:OPENAI_API_KEY,env:SAME"), ("SAME", ORGANISATION_KEY)];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key("ada@example.com");
    let busy = r#"{"model":"gpt-5.5","input":"sim:status=429 sim:code=rate_limit_exceeded"}"#;
    let empty = r#"{"model":"gpt-5.5","input":"sim:status=429 sim:code=insufficient_quota"}"#;
    for body in [BODY, busy, BODY, empty, BODY, BODY] {
        say(&gateway, &key.value, "thread", body).await;
    }
    let went = ways(&gateway);
    assert!(went[..4].iter().all(|way| *way == went[0]), "{went:?}");
    assert!(went[4..].iter().all(|way| *way != went[0]), "{went:?}");
    simulator.stop().await;
}

#[tokio::test]
async fn a_socket_has_its_way_and_a_message_may_set_it_aside() {
    let upstream = Upstream::start().await;
    let settings =
        [("CODEX_PROXY_UPSTREAM_KEY", "env:OPENAI_API_KEY,env:OTHER"), ("OTHER", "sk-other")];
    let gateway = Gateway::start_with(&upstream.url(), &settings);
    let key = gateway.key("ada@example.com");
    let create = json!({ "type": "response.create", "model": "gpt-5.5", "input": "hi" });
    let empty = json!({ "type": "error", "status": 429,
        "error": { "type": "insufficient_quota", "code": "insufficient_quota", "message": "no" } });
    let mut shown = Vec::new();
    for _ in 0..2 {
        let mut client = Raw::connect(gateway.address).await;
        client.send(handshake(&key.value, &["thread-id: thread-1"]).as_bytes()).await;
        let (mut server, head) = upstream.next().await;
        let line = head.lines().find(|line| line.starts_with("Authorization:")).unwrap();
        shown.push(line.to_owned());
        server.send(format!("{ACCEPTED}\r\n").as_bytes()).await;
        client.read_until("\r\n\r\n").await;
        client.send(&asks(&create)).await;
        assert_eq!(read_text(&mut server).await, create.to_string());
        server.send(&says(&empty)).await;
        assert_eq!(read_text(&mut client).await, empty.to_string());
    }
    shown.sort();
    let keys = [
        format!("Authorization: Bearer {ORGANISATION_KEY}"),
        "Authorization: Bearer sk-other".to_owned(),
    ];
    assert_eq!(shown, keys);
    let mut went = ways(&gateway);
    went.sort_by_key(Value::to_string);
    assert_eq!(went, ["default/1", "default/2"]);
}

#[tokio::test]
async fn where_models_have_their_upstreams_a_socket_is_answered_426() {
    let upstreams =
        r#"[{"name":"o","url":"http://127.0.0.1:9","key":"env:OPENAI_API_KEY","models":["o3"]}]"#;
    let settings = [("CODEX_PROXY_UPSTREAMS", upstreams)];
    let gateway = Gateway::start_with(&nobody().await, &settings);
    let key = gateway.key("ada@example.com");
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake(&key.value, &[]).as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.refusal()), (426, Some("websocket_off")));
    assert!(answer.text().contains("Models have upstreams of their own"), "{}", answer.text());
    assert_eq!(gateway.records(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_upstream_and_its_key_may_come_under_way() {
    let (first, second) = (
        Recording::start(vec![whole("application/json", "{}")]).await,
        Recording::start(vec![whole("application/json", "{}")]).await,
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("codex-proxy.toml"), "").unwrap();
    std::fs::write(folder.path().join("second.key"), "sk-second").unwrap();
    let gateway = Gateway::start_in(folder, &first.url(), &[]);
    let key = gateway.key("ada@example.com");
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, BODY).await.status, 200);

    let file = format!(
        "[[upstreams]]\nname = 'second'\nurl = '{}'\nkey = 'file:second.key'\nmodels = ['gpt-5*']\n",
        second.url()
    );
    std::fs::write(gateway.folder.path().join("codex-proxy.toml"), file).unwrap();
    let reloaded = |count: u32| {
        format!("codex_proxy_reloads_total{{what=\"configuration\",outcome=\"taken\"}} {count}")
    };
    metric(gateway.address, &reloaded(1)).await;
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, BODY).await.status, 200);
    std::fs::write(gateway.folder.path().join("second.key"), "sk-third").unwrap();
    metric(gateway.address, &reloaded(2)).await;
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, BODY).await.status, 200);

    assert_eq!((first.requests().len(), second.requests().len()), (1, 2));
    let seen: Vec<String> = second.requests().iter().map(|request| lossy(request)).collect();
    assert!(seen[0].contains("Bearer sk-second\r\n") && seen[1].contains("Bearer sk-third\r\n"));
    assert_eq!(ways(&gateway), [Value::Null, json!("second"), json!("second")]);
}

#[tokio::test]
async fn the_backend_of_chatgpt_is_reached_with_a_login_of_ones_own_and_nothing_else() {
    let answer =
        r#"{"id":"resp_1","model":"gpt-5.5","usage":{"input_tokens":7,"output_tokens":5}}"#;
    let chatgpt = Recording::start(vec![whole("application/json", answer)]).await;
    let address = format!("http://{}/backend-api", chatgpt.address);
    let settings = [
        ("CODEX_PROXY_UPSTREAM_CHATGPT_URL", address.as_str()),
        ("CODEX_PROXY_UPSTREAM_HEADERS", "OpenAI-Project=proj_1"),
    ];
    let gateway = Gateway::start_with(&nobody().await, &settings);
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*"]);
    let own = [
        ("x-codex-proxy-key", key.value.as_str()),
        ("authorization", "Bearer eyJ.login.jwt"),
        ("chatgpt-account-id", "account-1"),
        ("cookie", "cf=1"),
    ];
    let path = "/backend-api/codex/responses?a=b";
    assert_eq!(ask(gateway.address, "POST", path, &own, BODY).await.status, 200);
    let usage = "/backend-api/wham/usage";
    assert_eq!(ask(gateway.address, "GET", usage, &own, "").await.status, 200);
    let model = ask(gateway.address, "POST", path, &own, r#"{"model":"o3"}"#).await;
    assert_eq!((model.status, model.refusal()), (400, Some("model_not_allowed")));

    let seen: Vec<String> = chatgpt.requests().iter().map(|request| lossy(request)).collect();
    let head: Vec<&str> = seen[0].split("\r\n\r\n").next().unwrap().split("\r\n").collect();
    let expected = [
        "POST /backend-api/codex/responses?a=b HTTP/1.1",
        &format!("Host: {}", chatgpt.address),
        "authorization: Bearer eyJ.login.jwt",
        "chatgpt-account-id: account-1",
        "Content-Type: application/json",
        &format!("Content-Length: {}", BODY.len()),
    ];
    assert_eq!(head, expected);
    assert!(seen.len() == 2 && seen[1].starts_with("GET /backend-api/wham/usage HTTP/1.1\r\n"));

    let records = gateway.records();
    let told: Vec<_> = records
        .iter()
        .map(|r| (&r["endpoint"], &r["model"], &r["total_tokens"], &r["refusal"]))
        .collect();
    let (call, look, none) = (
        json!("POST /backend-api/codex/responses"),
        json!("GET /backend-api/wham/usage"),
        Value::Null,
    );
    assert_eq!(
        told,
        [
            (&call, &json!("gpt-5.5"), &json!(12), &none),
            (&look, &none, &json!(0), &none),
            (&call, &json!("o3"), &json!(0), &json!("model_not_allowed")),
        ]
    );
    assert!(grep(&gateway, &["account-1"]).contains("spool"), "the search finds what is there");
    assert_eq!(grep(&gateway, &["eyJ.login.jwt", "cf=1", &key.value, ORGANISATION_KEY]), "");
}

#[tokio::test]
async fn without_a_login_of_ones_own_the_organisations_key_goes_nowhere() {
    let chatgpt = Recording::start(vec![whole("application/json", "{}")]).await;
    let address = format!("http://{}/backend-api", chatgpt.address);
    let settings = [("CODEX_PROXY_UPSTREAM_CHATGPT_URL", address.as_str())];
    let gateway = Gateway::start_with(&nobody().await, &settings);
    let key = gateway.key("ada@example.com");
    let authorization = format!("Bearer {}", key.value);
    let headers = [("authorization", authorization.as_str())];

    let refused = ask(gateway.address, "GET", "/backend-api/wham/usage", &headers, "").await;

    assert_eq!((refused.status, refused.refusal()), (403, Some("not_allowed")));
    assert!(refused.text().contains("x-codex-proxy-key"), "{}", refused.text());
    assert_eq!(chatgpt.requests().len(), 0);
    let record = gateway.records().remove(0);
    assert_eq!(
        (&record["outcome"], &record["refusal"]),
        (&json!("refused"), &json!("not_allowed"))
    );
}

#[tokio::test]
async fn a_transfer_coding_that_would_be_lost_is_refused() {
    let upstream = Recording::start(vec![Step::Close]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com");
    let sent = format!(
        "POST /v1/responses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
        key.value
    );
    let mut client = Raw::connect(gateway.address).await;
    client.send(sent.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.refusal()), (400, Some("unreadable_body")));
    let message = "The request's body has the transfer coding `gzip, chunked`: send it `chunked` alone, with what is compressed told in content-encoding.";
    assert_eq!(answer.json()["error"]["message"], message);
    assert!(upstream.requests().is_empty());
}
