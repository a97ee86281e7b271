//! Prices: listed, set, imported and checked, under a running gateway.

use serde_json::Value;

use crate::harness::client::post;
use crate::harness::{Gateway, simulator, until, url};

const BODY: &str =
    r#"{"model":"gpt-6-luna","input":"sim:input_tokens=1000000 sim:output_tokens=0 sim:cached=0"}"#;

fn listed(gateway: &Gateway, model: &str, day: &str) -> Value {
    let rows = gateway.ok(&["prices", "list", "--model", model, "--day", day, "--format", "json"]);
    serde_json::from_str::<Value>(&rows).unwrap()[0].take()
}

#[tokio::test]
async fn a_new_price_counts_from_its_day_on_without_a_restart() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    let cost = async || {
        post(gateway.address, "/v1/responses", &key.value, BODY).await;
        gateway.records().last().unwrap()["cost_usd"].as_str().unwrap().to_owned()
    };
    // A million tokens are above 272,000: 0.2 dollars a million.
    assert_eq!(cost().await, "0.2000");
    let before = listed(&gateway, "gpt-6-luna", "2026-11-22");
    assert_eq!((&before["input"], &before["table"]), (&"0.1".into(), &"builtin".into()));

    let set =
        ["prices", "set", "gpt-6-luna", "--from", "2026-11-23", "--input", "0.08", "--output", "1"];
    gateway.ok(&set);
    assert_eq!(listed(&gateway, "gpt-6-luna", "2026-11-22"), before, "the past stays what it was");
    let after = listed(&gateway, "gpt-6-luna", "2026-11-23");
    assert_eq!((&after["input"], &after["table"]), (&"0.08".into(), &"own".into()));
    let again = gateway.run(&set);
    assert_eq!(again.status.code(), Some(2), "a row is never changed");

    let mut now = cost().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while now != "0.0800" {
        assert!(std::time::Instant::now() < deadline, "still {now}");
        now = cost().await;
    }
    assert_eq!(gateway.records()[0]["cost_usd"], "0.2000", "what has passed is not priced anew");
    simulator.stop().await;
}

#[tokio::test]
async fn what_was_asked_and_has_no_price_is_found() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com");
    gateway.ok(&["prices", "check"]);
    let body = r#"{"model":"mystery","input":"hi"}"#;
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, body).await.status, 200);
    let check = || {
        let output = gateway.run(&["prices", "check"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    until("it is found", || check().0 == Some(3)).await;
    assert!(check().1.contains("mystery: 1 exchanges without a price"), "{}", check().1);

    // A table of another project has it: only what differs is taken.
    let theirs = gateway.folder.path().join("theirs.json");
    let json = r#"{"mystery": {"litellm_provider": "openai", "input_cost_per_token": 3e-06,
          "output_cost_per_token": 1.5e-05},
        "gpt-5.1-codex": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06,
          "output_cost_per_token": 1e-05}}"#;
    std::fs::write(&theirs, json).unwrap();
    let import = ["prices", "import", theirs.to_str().unwrap()];
    let dry = gateway.ok(&[&import[..], &["--dry-run"]].concat());
    assert!(dry.contains("model = \"mystery\"") && !dry.contains("gpt-5.1-codex"), "{dry}");
    assert_eq!(check().0, Some(3), "a dry run changes nothing");
    gateway.ok(&import);
    assert_eq!(check().0, Some(0), "{}", check().1);

    // What is wrong with a table is said with its line.
    let wrong = gateway.folder.path().join("wrong.toml");
    std::fs::write(&wrong, "[[price]]\nmodel = \"x\"\n").unwrap();
    let output = gateway.run(&["prices", "check", wrong.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("line 1: `input` is missing"), "{said}");
    simulator.stop().await;
}
