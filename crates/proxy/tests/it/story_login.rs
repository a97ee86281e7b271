//! People with a ChatGPT login of their own, and the real Codex CLI: the login passes, and the
//! company has record and limits all the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::ask;
use crate::harness::codex::{ACCOUNT, Codex, LOGIN};
use crate::harness::{Gateway, Simulator};

/// The backend of ChatGPT, which takes only this login.
async fn backend() -> (Simulator, String) {
    let options = simulate::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        key: Some(LOGIN.to_owned()),
        pace: Duration::ZERO,
    };
    let simulator = Simulator::start(options).await.unwrap();
    let url = format!("http://{}/backend-api", simulator.address());
    (simulator, url)
}

/// The headers of the model calls that came in.
async fn calls(simulator: &Simulator) -> Vec<Value> {
    let all = ask(simulator.address(), "GET", "/simulate/requests", &[], "").await.json();
    let calls = all.as_array().unwrap().iter();
    let calls = calls.filter(|request| request["path"] == "/backend-api/codex/responses");
    calls.map(|request| request["headers"].clone()).collect()
}

fn header<'h>(headers: &'h Value, name: &str) -> Option<&'h str> {
    let found = headers.as_array().unwrap().iter().find(|pair| pair[0] == name);
    found.map(|pair| pair[1].as_str().unwrap())
}

#[tokio::test]
async fn codex_works_with_a_persons_own_login_and_leaves_a_record() {
    let (simulator, url) = backend().await;
    let settings = [("CODEX_PROXY_UPSTREAM_CHATGPT_URL", url.as_str())];
    let gateway = Gateway::start_with("http://127.0.0.1:9/v1", &settings);
    let key = gateway.key_with("ada@example.com", &["--models", "gpt-5*"]);
    let (codex, base) = (Codex::new(), format!("http://{}/backend-api/codex", gateway.address));

    let done = codex.exec_logged_in(&base, &key.value, &url, &["sim:say=\"All is well.\""]).await;

    // The developer reads the answer; what came in shows the login and nothing of ours.
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "All is well.\n"), "{}", done.stderr);
    let calls = calls(&simulator).await;
    assert_eq!(calls.len(), 1);
    let shown = ["authorization", "chatgpt-account-id", "x-codex-proxy-key", "cookie"];
    let bearer = format!("Bearer {LOGIN}");
    let expected = [Some(bearer.as_str()), Some(ACCOUNT), None, None];
    assert_eq!(shown.map(|name| header(&calls[0], name)), expected);

    // The record tells whose key it was, what it cost, and none of the login.
    let records = gateway.records();
    let call =
        records.iter().find(|r| r["endpoint"] == "POST /backend-api/codex/responses").unwrap();
    let told =
        ["user", "model", "outcome", "usage", "request_kind", "client"].map(|name| &call[name]);
    let expected = ["ada@example.com", "gpt-5.5", "complete", "exact", "turn", "codex_exec"];
    assert_eq!(told.map(Value::as_str), expected.map(Some));
    assert_eq!(call["total_tokens"], simulator.bill().exchanges[0].total_tokens);
    let stored = gateway.ok(&["audit", "show", call["id"].as_str().unwrap(), "--part", "meta"]);
    assert!(stored.contains("chatgpt-account-id") && !stored.contains("authorization"), "{stored}");
    assert!(!stored.contains(LOGIN) && !stored.contains(&key.value), "{stored}");

    // What the key may not do, the login does not open.
    let arguments = ["--model", "o3", "hello"];
    let refused = codex.exec_logged_in(&base, &key.value, &url, &arguments).await;
    let told = "ERROR: This key may not ask the model o3, only gpt-5*.";
    assert!(refused.errors().contains(&told.to_owned()), "{:?}", refused.errors());
    let last = gateway.records().pop().unwrap();
    assert_eq!((&last["model"], &last["refusal"]), (&json!("o3"), &json!("model_not_allowed")));
    simulator.stop().await;
}
