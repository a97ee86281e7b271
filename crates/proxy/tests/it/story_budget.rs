//! Budgets: never overshot, settled to what was billed, told before they are spent.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{ask, metric, post};
use crate::harness::gateway::Key;
use crate::harness::{Gateway, Raw, simulator, until, url};

/// What an exchange with a body of so many bytes reserves of gpt-6-luna at most, in nano-dollars:
/// 0.125 dollars a million input tokens that are written to the cache, 0.5 for output.
fn bound_nanos(body: &str, output: u64) -> u64 {
    body.len() as u64 * 125 + output * 500
}

fn usd(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn budgets(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_str(&gateway.ok(&["budget", "list", "--format", "json"])).unwrap()
}

fn nanos(usd: &Value) -> u64 {
    let (whole, fraction) = usd.as_str().unwrap().split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000_000
        + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

fn body(words: &str, output: u64) -> String {
    json!({ "model": "gpt-6-luna", "input": words, "max_output_tokens": output }).to_string()
}

async fn refusal(gateway: &Gateway, key: &Key, body: &str) -> (u16, Option<String>) {
    let answer = post(gateway.address, "/v1/responses", &key.value, body).await;
    (answer.status, answer.refusal().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_fifty_at_once_at_the_edge_do_not_overshoot() {
    // Given a budget with room for 150 exchanges at their bound, each held open upstream for longer
    // than others wait.
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let body = body("sim:delay=8s sim:output_tokens=1000 sim:input_tokens=100", 1000);
    let budget = 150 * bound_nanos(&body, 1000) + 7;
    let key =
        gateway.key_with("ada@example.com", &["--budget", &format!("{}usd/month", usd(budget))]);

    // When many more ask at one moment.
    let asked = (0..220).map(|_| refusal(&gateway, &key, &body));
    let answers = futures_util::future::join_all(asked).await;

    // Then just as many are let through as there is room for; the rest waited in vain.
    let count = |expected: (u16, Option<&str>)| {
        answers.iter().filter(|(status, word)| (*status, word.as_deref()) == expected).count()
    };
    assert_eq!(count((200, None)), 150, "{answers:?}");
    assert_eq!(count((429, Some("too_many_requests"))), 70);
    assert_eq!(simulator.bill().exchanges.len(), 150);

    // And what was billed is what is counted, to the nano-dollar.
    let records = gateway.records();
    let costs = records.iter().filter(|record| record["outcome"] == "complete");
    let cost: u64 = costs.map(|record| nanos(&record["cost_usd"])).sum();
    assert!(cost <= budget);
    until("all is told to the store", || nanos(&budgets(&gateway)[0]["spent"]) == cost).await;

    // When the rest of it is spent one by one, the last one is refused in words.
    let mut spent = cost;
    loop {
        let body = self::body("sim:output_tokens=1000 sim:input_tokens=100", 1000);
        let answer = post(gateway.address, "/v1/responses", &key.value, &body).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.refusal()), (400, Some("budget_exceeded")));
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.starts_with("The budget of this key, "), "{message}");
            assert!(message.contains("It begins anew at "), "{message}");
            break;
        }
        spent += 100 * 100 + 1000 * 500;
        assert!(spent <= budget);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn what_is_nearly_spent_is_told() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    gateway.ok(&["budget", "set", "--team", "blue", "1000tokens/day"]);
    let key = gateway.key_with("ada@example.com", &["--team", "blue"]);
    let ask_for = async |tokens: u64| {
        let words = format!("sim:output_tokens={tokens} sim:input_tokens=0");
        post(gateway.address, "/v1/responses", &key.value, &body(&words, tokens)).await
    };

    let first = ask_for(500).await;
    assert_eq!((first.status, first.header("x-codex-proxy-budget")), (200, None));
    metric(gateway.address, "codex_proxy_budgets_passed_total{percent=\"50\"} 1").await;
    assert_eq!(ask_for(350).await.status, 200);
    metric(gateway.address, "codex_proxy_budgets_passed_total{percent=\"85\"} 1").await;
    let near = ask_for(10).await;
    let note = near.header("x-codex-proxy-budget").unwrap();
    let told = "team:blue:tokens:day; spent=850; limit=1000; unit=tokens; percent=85; resets=";
    assert!(note.starts_with(told), "{note}");
    // Also where nothing is reserved.
    let bearer = format!("Bearer {}", key.value);
    let models = ask(gateway.address, "GET", "/v1/models", &[("authorization", &bearer)], "").await;
    let note = models.header("x-codex-proxy-budget").unwrap();
    assert!(note.starts_with("team:blue:tokens:day; spent=860; "), "{note}");

    // A raise for a while makes room, and is over when its time is.
    let spent = ask_for(300).await;
    assert_eq!((spent.status, spent.refusal()), (400, Some("budget_exceeded")));
    assert!(spent.header("x-codex-proxy-budget").unwrap().contains("; percent=86; "));
    gateway.ok(&["budget", "raise", "team:blue:tokens:day", "1000tokens", "--for", "1h"]);
    assert_eq!(ask_for(300).await.status, 200);
    gateway.ok(&["budget", "raise", "team:blue:tokens:day", "1000tokens", "--for", "1ms"]);
    assert_eq!(ask_for(300).await.refusal(), Some("budget_exceeded"));

    // What has no budget any more is not held back.
    gateway.ok(&["budget", "remove", "team:blue:tokens:day"]);
    assert_eq!(ask_for(300).await.status, 200);
    simulator.stop().await;
}

#[tokio::test]
async fn rates_and_places_come_free_again() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    gateway.ok(&["budget", "set", "--user", "ada@example.com", "2at-once"]);
    gateway.ok(&["budget", "set", "--organisation", "3requests/hour", "--models", "gpt-6*"]);

    // The third waits until one of the first two has ended.
    let held = body("sim:delay=1s", 10);
    let asked = (0..3).map(|_| refusal(&gateway, &key, &held));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers, vec![(200, None); 3]);

    let answer = post(gateway.address, "/v1/responses", &key.value, &held).await;
    assert_eq!((answer.status, answer.refusal()), (429, Some("too_many_requests")));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    // Other models are not counted, and neither is a look-up.
    let other = r#"{"model":"gpt-5.5","input":"hi"}"#;
    assert_eq!(refusal(&gateway, &key, other).await, (200, None));
    let bearer = format!("Bearer {}", key.value);
    let models = ask(gateway.address, "GET", "/v1/models", &[("authorization", &bearer)], "").await;
    assert_eq!(models.status, 200);
    simulator.stop().await;
}

#[tokio::test]
async fn what_has_no_price_is_refused_or_counted_at_a_ceiling() {
    let simulator = simulator().await;
    let unknown = r#"{"model":"mystery","input":"sim:output_tokens=1000 sim:input_tokens=500","max_output_tokens":1000}"#;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key_with("ada@example.com", &["--budget", "5usd/month"]);
    assert_eq!(refusal(&gateway, &key, unknown).await, (400, Some("model_not_allowed".to_owned())));

    let settings = [("CODEX_PROXY_BUDGETS_UNPRICED_RATE", "20")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let key = gateway.key_with("ada@example.com", &["--budget", "5usd/month"]);
    assert_eq!(refusal(&gateway, &key, unknown).await, (200, None));
    until("it is counted", || budgets(&gateway)[0]["spent"] == "0.03").await;
    // The record does not pretend to know.
    let record = &gateway.records()[0];
    assert_eq!((&record["cost_usd"], &record["priced"]), (&Value::Null, &json!(false)));
    simulator.stop().await;
}

#[tokio::test]
async fn what_was_spent_is_known_after_a_restart_and_a_kill() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key_with("ada@example.com", &["--budget", "3000tokens/month"]);
    let words = |delay| format!("sim:output_tokens=600 sim:input_tokens=0 sim:delay={delay}");
    assert_eq!(refusal(&gateway, &key, &body(&words("0ms"), 600)).await, (200, None));

    // Killed with one under way, which had reserved something.
    let held = body(&words("30s"), 600);
    let _open = Raw::asking(gateway.address, &key.value, &held).await;
    until("it is reserved", || budgets(&gateway)[0]["reserved"] != "0").await;
    until("it is upstream", || simulator.bill().exchanges.len() == 2).await;
    let folder = gateway.kill();
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);

    // What was reserved is free again, what was spent stays spent.
    until("it is counted", || budgets(&gateway)[0]["spent"] == "600").await;
    assert_eq!(budgets(&gateway)[0]["reserved"], "0");

    // Killed in the moment after an answer: its record says what the store was not told.
    assert_eq!(refusal(&gateway, &key, &body(&words("0ms"), 600)).await, (200, None));
    let folder = gateway.kill();
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    until("it is counted", || budgets(&gateway)[0]["spent"] == "1200").await;
    let (folder, ended, said) = gateway.stop();
    assert!(ended, "{said}");
    let gateway = Gateway::start_in(folder, &url(&simulator), &[]);
    let full = body(&words("0ms"), 1200);
    assert_eq!(refusal(&gateway, &key, &full).await, (200, None));
    assert_eq!(refusal(&gateway, &key, &full).await, (400, Some("budget_exceeded".to_owned())));
    tokio::time::timeout(Duration::from_secs(20), simulator.stop()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_budget_is_said() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let output = gateway.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check(
        &["budget", "set", "--organisation", "50eur/month"],
        2,
        "is no budget such as 50usd/month",
    );
    check(&["budget", "set", "50usd/month"], 2, "--team");
    let zone = ["budget", "set", "--organisation", "5usd/day", "--zone", "Mars/Base"];
    check(&zone, 2, "Europe/Berlin");
    check(&["budget", "raise", "nobody", "5usd", "--for", "1d"], 1, "there is no budget nobody");
    gateway.ok(&["budget", "set", "--organisation", "5usd/day"]);
    let other = ["budget", "raise", "organisation:usd:day", "5tokens", "--for", "1d"];
    check(&other, 2, "5tokens is no amount in usd, as 20usd");
    simulator.stop().await;
}

#[tokio::test]
async fn a_bill_beyond_the_bound_is_counted_recorded_and_told() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key_with("ada@example.com", &["--budget", "1000tokens/month"]);
    // A tool of the upstream's has brought what nobody could foresee.
    let body = body("sim:input_tokens=700 sim:output_tokens=10", 10);
    assert_eq!(refusal(&gateway, &key, &body).await, (200, None));
    metric(gateway.address, "codex_proxy_budgets_over_bound_total 1").await;
    assert_eq!(gateway.records()[0]["tags"]["budget"], "over bound");
    until("it is counted", || budgets(&gateway)[0]["spent"] == "710").await;
    assert_eq!(refusal(&gateway, &key, &self::body("sim:output_tokens=1", 300)).await.0, 400);
    simulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_does_not_get_around_a_budget() {
    let simulator = simulator().await;
    let settings =
        [("CODEX_PROXY_SCREEN_ACTION", "off"), ("CODEX_PROXY_SCREEN_UNREADABLE", "pass")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    let odd = async |key: &Key| {
        let bearer = format!("Bearer {}", key.value);
        let headers = [("authorization", bearer.as_str()), ("content-encoding", "odd")];
        let body = body("hello", 10);
        let answer = ask(gateway.address, "POST", "/v1/responses", &headers, &body).await;
        answer.refusal().map(str::to_owned)
    };
    let free = gateway.key("bob@example.com");
    assert_eq!(odd(&free).await, None, "without a budget it is the upstream's to refuse");
    for budget in ["5usd/month", "1000tokens/day"] {
        let key = gateway.key_with("ada@example.com", &["--budget", budget]);
        assert_eq!(odd(&key).await.as_deref(), Some("unreadable_body"), "{budget}");
    }
    let counted = gateway.key_with("cleo@example.com", &["--budget", "10requests/day"]);
    assert_eq!(odd(&counted).await, None, "a request is one whatever it asks");
    simulator.stop().await;
}
