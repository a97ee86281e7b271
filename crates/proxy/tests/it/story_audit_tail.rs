//! `audit tail`: records as they come.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::post;
use crate::harness::gateway::signal;
use crate::harness::{Gateway, simulator, url};

fn asking(words: &str) -> String {
    json!({ "model": "gpt-5.5", "input": words }).to_string()
}

#[tokio::test]
async fn records_are_followed_as_they_come_until_told_to_stop() {
    let simulator = simulator().await;
    let seal = [("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1s")];
    let gateway = Gateway::start_with(&url(&simulator), &seal);
    let key = gateway.key("ada@example.com");
    let ask = async |words: &str| {
        post(gateway.address, "/v1/responses", &key.value, &asking(words)).await.status
    };
    ask("sim:say=before").await;

    let mut tail = gateway.begin(&["audit", "tail", "--format", "json", "--status", "200"]);
    let mut ready = String::new();
    BufReader::new(tail.stderr.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "Waiting for exchanges to end; Ctrl-C stops.\n");
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };

    // What was there before, and what does not pass the filter, is not shown.
    assert_eq!((ask("sim:say=one").await, ask("sim:status=500").await), (200, 500));
    let mut shown = vec![next()];
    // What is published meanwhile is not shown twice.
    let segments = gateway.folder.path().join("data/archive/records");
    crate::harness::until("a segment", || segments.exists()).await;
    assert_eq!(ask("sim:say=two").await, 200);
    shown.push(next());
    let passed: Vec<Value> = gateway.records().into_iter().filter(|r| r["status"] == 200).collect();
    assert_eq!(shown, passed[1..]);

    let asked = Instant::now();
    signal(tail.id(), libc::SIGINT);
    assert_eq!(tail.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(1));
    simulator.stop().await;
}
