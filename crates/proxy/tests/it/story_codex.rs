//! The real Codex CLI: what the developer sees, what the upstream saw, what the record says.

use serde_json::{Value, json};

use crate::harness::client::{ask, contains};
use crate::harness::codex::{Codex, REPOSITORY};
use crate::harness::gateway::Key;
use crate::harness::recording::{Relay, chunk, lasting, stream_head, unchunked};
use crate::harness::sdk::{COUNTED, Finished, bill, counted, installed, script};
use crate::harness::{Gateway, ORGANISATION_KEY, Recording, Simulator, simulator, until, url};

/// A developer with a key, a gateway, and the simulated upstream behind it.
struct Team {
    simulator: Simulator,
    gateway: Gateway,
    key: Key,
    codex: Codex,
}

impl Team {
    async fn new() -> Self {
        let simulator = simulator().await;
        let gateway = Gateway::start(&url(&simulator));
        let key = gateway.key("ada@example.com");
        Self { simulator, gateway, key, codex: Codex::new() }
    }

    /// Runs Codex through the gateway.
    async fn exec(&self, arguments: &[&str]) -> Finished {
        self.codex.exec(&base(&self.gateway), &self.key.value, arguments).await
    }

    /// The record of an exchange of a session of Codex, whose entry on the bill has this number.
    /// What the bill tells too is taken from there; `changes` are laid over it.
    fn record(&self, number: usize, session: &str, changes: &Value) -> Value {
        let billed = bill(&self.simulator).remove(number);
        let mut record = json!({
            "id": null, "time": null, "key_id": self.key.id, "user": "ada@example.com",
            "team": null, "endpoint": "POST /v1/responses", "transport": "sse",
            "request_kind": "turn", "model": "gpt-5.5", "upstream_model": billed["model"],
            "outcome": "complete", "source": "upstream", "refusal": null, "altered": "none",
            "usage": "exact", "cost_usd": null, "priced": true, "took_ms": null,
            "first_byte_ms": null, "request_bytes": null, "response_bytes": null,
        });
        let of_the_session = json!({
            "content_encoding": null, "session_id": session, "thread_id": session,
            "turn_id": null, "parent_thread_id": null, "previous_response_id": null,
            "connection_id": null, "subagent": null, "repo": REPOSITORY,
            "commit": self.codex.commit(), "client": "codex_exec", "client_version": "0.169.0",
            "tags": {}, "findings": [], "node": null,
        });
        for (name, value) in of_the_session.as_object().unwrap() {
            record[name] = value.clone();
        }
        for name in COUNTED {
            record[name] = billed[name].clone();
        }
        for (name, value) in changes.as_object().unwrap() {
            record[name] = value.clone();
        }
        record
    }

    /// All records, without what is checked otherwise or differs from run to run.
    fn records(&self) -> Vec<Value> {
        let differing =
            "id time took_ms first_byte_ms node turn_id cost_usd request_bytes response_bytes";
        let mut records = self.gateway.records();
        for record in &mut records {
            differing.split(' ').for_each(|name| record[name] = Value::Null);
        }
        records
    }
}

/// The base address of a gateway.
fn base(gateway: &Gateway) -> String {
    format!("http://{}/v1", gateway.address)
}

/// The requests that the simulated upstream saw.
async fn seen(simulator: &Simulator) -> Vec<Value> {
    let answer = ask(simulator.address(), "GET", "/simulate/requests", &[], "").await;
    let all: Vec<Value> = serde_json::from_value(answer.json()).unwrap();
    all.into_iter().filter(|request| request["path"] != "/simulate/requests").collect()
}

/// The value of a header of such a request.
fn header(request: &Value, name: &str) -> String {
    let headers: Vec<(String, String)> =
        serde_json::from_value(request["headers"].clone()).unwrap();
    let found = headers.into_iter().find(|(spelt, _)| spelt == name);
    found.unwrap_or_else(|| panic!("no header {name}")).1
}

#[tokio::test]
async fn a_turn_is_streamed_to_the_developer_and_recorded_with_its_session_and_repository() {
    let team = Team::new().await;

    let done = team.exec(&["sim:say=\"All is well.\" please"]).await;

    // The developer reads the answer.
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "All is well.\n"));

    // The upstream saw one request, with the organisation's key and nothing of ours.
    let seen = seen(&team.simulator).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(header(&seen[0], "authorization"), format!("Bearer {ORGANISATION_KEY}"));
    assert_eq!(header(&seen[0], "host"), team.simulator.address().to_string());
    assert_eq!(header(&seen[0], "session-id"), done.session());

    // The record tells who, where and how much.
    assert_eq!(team.records(), [team.record(0, done.session(), &json!({}))]);
    let record = team.gateway.records().remove(0);
    assert_eq!(record["request_bytes"], seen[0]["body_length"]);
    let turn: Value = serde_json::from_str(&header(&seen[0], "x-codex-turn-metadata")).unwrap();
    assert_eq!(record["turn_id"], turn["turn_id"]);
    assert_eq!(counted(&team.gateway.records()), counted(&bill(&team.simulator)));
    team.simulator.stop().await;
}

#[tokio::test]
async fn a_tool_call_writes_a_file_and_makes_two_exchanges_of_one_thread() {
    let team = Team::new().await;

    let done = team.exec(&["sim:shell=\"echo lit > lamp.txt\" please"]).await;

    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lamp = std::fs::read_to_string(team.codex.repository().join("lamp.txt")).unwrap();
    assert_eq!(lamp, "lit\n");
    let seen = seen(&team.simulator).await;
    let threads: Vec<String> = seen.iter().map(|request| header(request, "thread-id")).collect();
    assert_eq!(threads, [done.session(), done.session()]);
    let expected = [0, 1].map(|number| team.record(number, done.session(), &json!({})));
    assert_eq!(team.records(), expected);
    let records = team.gateway.records();
    assert_eq!(records[0]["turn_id"], records[1]["turn_id"]);
    team.simulator.stop().await;
}

#[tokio::test]
async fn an_image_passes_whole() {
    let team = Team::new().await;
    let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let file = script("pixel.png");

    let image = format!("--image={}", file.display());
    let done = team.exec(&[&image, "sim:say=\"A pixel.\" what is this"]).await;

    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "A pixel.\n"), "{}", done.stderr);
    assert_eq!(team.records(), [team.record(0, done.session(), &json!({}))]);
    let record = team.gateway.records().remove(0);
    let request = team.gateway.raw(record["id"].as_str().unwrap(), "request");
    assert!(contains(&request, format!("data:image/png;base64,{pixel}").as_bytes()));
    let seen = seen(&team.simulator).await;
    assert_eq!((seen.len(), &seen[0]["body_length"]), (1, &json!(request.len())));
    team.simulator.stop().await;
}

#[tokio::test]
async fn a_tool_of_an_mcp_server_is_called_by_the_newest_models_too() {
    let team = Team::new().await;
    let program = format!("mcp_servers.tickets.command={:?}", installed("python/bin/python"));
    let arguments = format!("mcp_servers.tickets.args=[{:?}]", script("tickets.py"));
    let call = "const r = await tools.mcp__tickets__look_up({number: 7}); text(r.content[0].text);";
    let prompt = format!("sim:custom=exec sim:input={call:?} please");

    let model = "gpt-6.1-sol";
    let done = team.exec(&["-c", &program, "-c", &arguments, "--model", model, &prompt]).await;

    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("ticket 7 is open"), "{}", done.stdout);
    let changes = json!({ "model": model });
    let expected = [0, 1].map(|number| team.record(number, done.session(), &changes));
    assert_eq!(team.records(), expected);
    assert_eq!(seen(&team.simulator).await.len(), 2);
    team.simulator.stop().await;
}

#[tokio::test]
async fn the_report_is_the_upstreams_bill() {
    let team = Team::new().await;

    team.exec(&["hello"]).await;
    team.exec(&["sim:shell=\"ls\" please"]).await;
    team.exec(&["sim:input_tokens=5000 sim:cached=3000 sim:cache_write=500 sim:reasoning=70"])
        .await;

    let billed = bill(&team.simulator);
    assert_eq!(billed.len(), 4);
    assert_eq!(counted(&team.gateway.records()), counted(&billed));
    let report: Vec<Value> =
        serde_json::from_str(&team.gateway.ok(&["report", "--format", "json"])).unwrap();
    let sum = |name: &str| billed.iter().map(|entry| entry[name].as_u64().unwrap()).sum::<u64>();
    let cost = report[0]["cost_usd"].clone();
    let expected = json!([{
        "user": "ada@example.com", "requests": 4, "errors": 0,
        "input_tokens": sum("input_tokens"), "cached_input_tokens": sum("cached_input_tokens"),
        "output_tokens": sum("output_tokens"), "reasoning_tokens": sum("reasoning_tokens"),
        "total_tokens": sum("total_tokens"), "cost_usd": cost, "unpriced_requests": 0,
        "models": "gpt-5.5:4",
    }]);
    assert_eq!(json!(report), expected);
    team.simulator.stop().await;
}

/// Runs the same prompt without and with the gateway: the developer must not see a difference.
async fn fails_as_without_the_gateway(prompt: &str, requests: usize, status: &Value) {
    let alone = simulator().await;
    let team = Team::new().await;

    let direct = team.codex.exec(&url(&alone), ORGANISATION_KEY, &[prompt]).await;
    let through = team.exec(&[prompt]).await;

    assert_eq!((through.code, direct.code), (Some(1), Some(1)));
    assert!(!direct.errors().is_empty(), "{}", direct.stderr);
    assert_eq!(through.errors(), direct.errors());
    assert_eq!((seen(&team.simulator).await.len(), seen(&alone).await.len()), (requests, requests));
    until("a record of each attempt", || team.gateway.records().len() == requests).await;
    let records = team.gateway.records();
    let ends: Vec<[&Value; 4]> = records
        .iter()
        .map(|record| ["status", "outcome", "source", "session_id"].map(|name| &record[name]))
        .collect();
    let end = [status, &json!("failed"), &json!("upstream"), &json!(through.session())];
    assert_eq!(ends, vec![end; requests]);
    team.simulator.stop().await;
    alone.stop().await;
}

#[tokio::test]
async fn a_rate_limit_of_the_upstream_looks_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:status=429 sim:message=\"Slow down.\"", 1, &json!(429)).await;
}

#[tokio::test]
async fn a_rate_limit_with_a_time_is_waited_for_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:status=429 sim:retry_after=1", 2, &json!(429)).await;
}

#[tokio::test]
async fn an_error_of_the_upstream_looks_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:status=500", 4, &json!(500)).await;
}

#[tokio::test]
async fn an_outage_of_the_upstream_looks_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:status=503 sim:message=\"No room.\"", 4, &json!(503)).await;
}

#[tokio::test]
async fn a_cut_stream_looks_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:cut=4", 2, &json!(200)).await;
}

#[tokio::test]
async fn a_response_that_fails_looks_as_without_the_gateway() {
    fails_as_without_the_gateway("sim:fail=server_error", 2, &json!(200)).await;
}

#[tokio::test]
async fn a_disabled_key_is_told_so_by_codex() {
    let team = Team::new().await;
    assert_eq!(team.exec(&["hello"]).await.code, Some(0));

    team.gateway.ok(&["key", "disable", &team.key.id]);
    let refused = team.exec(&["hello"]).await;

    assert_eq!(refused.code, Some(1));
    let told = "ERROR: unexpected status 401 Unauthorized: This key is disabled., url: URL";
    assert_eq!(refused.errors(), ["ERROR: Reconnecting... 1/1", told, told]);
    assert_eq!(seen(&team.simulator).await.len(), 1, "only the first reached the upstream");
    assert_eq!(team.gateway.records().len(), 1, "who proved no key leaves no record");
    team.simulator.stop().await;
}

#[tokio::test]
async fn a_model_that_is_not_allowed_is_refused_once_and_word_for_word() {
    let team = Team::new().await;
    let key = team.gateway.key_with("grace@example.com", &["--models", "gpt-4.1*"]);

    let refused = team.codex.exec(&base(&team.gateway), &key.value, &["hello"]).await;

    assert_eq!(refused.code, Some(1));
    let told = "ERROR: This key may not ask the model gpt-5.5, only gpt-4.1*.";
    assert_eq!(refused.errors(), [told, told], "Codex tells its last error twice");
    assert_eq!(seen(&team.simulator).await, Vec::<Value>::new());
    let records = team.gateway.records();
    let ends: Vec<[&Value; 6]> = records
        .iter()
        .map(|record| {
            ["status", "outcome", "source", "refusal", "user", "session_id"]
                .map(|name| &record[name])
        })
        .collect();
    let expected = json!([
        400,
        "refused",
        "proxy",
        "model_not_allowed",
        "grace@example.com",
        refused.session()
    ]);
    assert_eq!(json!(ends), json!([expected]));
    team.simulator.stop().await;
}

/// A complete streamed answer, in pieces that are no whole events.
const ANSWER: [&str; 3] = [
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n: a comment\n\nevent: response.out",
    "put_item.done\ndata: {\"type\":\"response.output_item.done\",  \"item\":{\"type\":\"message\",\"role\":\"assistant\",\"id\":\"msg_1\",\"content\":[{\"type\":\"output_text\",\"text\":\"Gr\u{fc}\\u00df dich.\"}]}}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":{\"input_tokens\":9,\"output_tokens\":3,\"total_tokens\":12}}}\n\n",
];

#[tokio::test]
async fn the_bytes_of_codex_and_of_the_upstream_pass_unchanged() {
    let steps = [vec![stream_head()], ANSWER.map(chunk).to_vec(), vec![chunk("")]].concat();
    let upstream = Recording::start(steps).await;
    let gateway = Gateway::start(&upstream.url());
    let relay = Relay::start(gateway.address).await;
    let key = gateway.key("ada@example.com");

    let url = format!("http://{}/v1", relay.address);
    let done = Codex::new().exec(&url, &key.value, &["hello"]).await;

    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "Gr\u{fc}\u{df} dich.\n"));
    let (passed, seen) = (relay.passed(), upstream.requests());
    assert_eq!((passed.len(), seen.len()), (1, 1));
    assert_eq!(lasting(&passed[0].sent), lasting(&seen[0]));
    assert_eq!(unchunked(&passed[0].received), ANSWER.concat());
    let id = gateway.records()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.raw(&id, "request"), lasting(&passed[0].sent).1);
    assert_eq!(gateway.raw(&id, "response"), ANSWER.concat().as_bytes());
}
