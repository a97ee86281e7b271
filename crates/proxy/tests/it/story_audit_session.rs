//! `audit session`: what the real Codex CLI did, as people read it.

use serde_json::{Value, json};

use crate::harness::client::post;
use crate::harness::codex::Codex;
use crate::harness::gateway::Key;
use crate::harness::recording::whole;
use crate::harness::sdk::Finished;
use crate::harness::{Gateway, Recording, Simulator, simulator, url};

/// A developer with Codex behind a gateway.
struct Desk {
    simulator: Simulator,
    gateway: Gateway,
    key: Key,
    codex: Codex,
}

impl Desk {
    async fn new() -> Self {
        let simulator = simulator().await;
        let gateway = Gateway::start(&url(&simulator));
        let key = gateway.key("ada@example.com");
        Self { simulator, gateway, key, codex: Codex::new() }
    }

    fn base(&self) -> String {
        format!("http://{}/v1", self.gateway.address)
    }

    async fn exec(&self, arguments: &[&str]) -> Finished {
        let done = self.codex.exec(&self.base(), &self.key.value, arguments).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done
    }

    /// The conversation, as JSON.
    fn session(&self, id: &str) -> Value {
        let text = self.gateway.ok(&["audit", "session", id, "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    }
}

/// What was said and done in a turn, in a line each; what every conversation begins with left out.
fn steps(turn: &Value) -> Vec<String> {
    let line = |step: &Value| {
        let text = |name: &str| step[name].as_str().map(|text| text.trim().to_owned());
        let words = ["text", "command", "message", "name"].into_iter().find_map(text);
        let output = text("output")
            .map(|output| format!(" -> {}", output.lines().last().unwrap_or_default()));
        format!(
            "{}: {}{}",
            step["kind"].as_str().unwrap(),
            words.unwrap_or_default(),
            output.unwrap_or_default()
        )
    };
    let begins = |line: &String| line.starts_with("instructions") || line.starts_with("context");
    let steps = turn["steps"].as_array().unwrap();
    steps.iter().map(line).filter(|line| !begins(line)).collect()
}

#[tokio::test]
async fn a_resumed_conversation_is_one_and_repeats_nothing() {
    let desk = Desk::new().await;
    let first = "sim:shell=\"echo lit\" please";
    let second = "sim:status=500 sim:times=1 and now";

    let session = desk.exec(&[first]).await.session().to_owned();
    desk.exec(&["resume", &session, second]).await;

    let shown = desk.session(&session);
    let threads = shown["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 1);
    let turns = threads[0]["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 2, "{shown:#}");
    let records = desk.gateway.records();
    assert_eq!(shown["sums"]["exchanges"], records.len());
    let said = steps(&turns[0]);
    assert_eq!(said[0], format!("said: {first}"));
    assert_eq!(said[1], "command: echo lit -> lit");
    assert!(said[2].starts_with("answered: ") && said.len() == 3, "{said:?}");
    let said = steps(&turns[1]);
    assert_eq!(said[0], format!("said: {second}"));
    assert!(said[1].starts_with("failed: ") && said[2].starts_with("answered: "), "{said:?}");
    assert_eq!((turns[1]["steps"][1]["tried_again"].clone(), said.len()), (true.into(), 3));

    // So do an exchange of it, and the beginning of its name.
    let id = records[0]["id"].as_str().unwrap();
    assert_eq!(desk.session(id), shown);
    assert_eq!(desk.session(&session[..30]), shown);
    desk.simulator.stop().await;
}

#[tokio::test]
async fn a_conversation_in_a_socket_reads_like_one_over_http() {
    let desk = Desk::new().await;
    let words = "sim:shell=\"echo lit\" please";

    let done = desk.codex.exec_in_socket(&desk.base(), &desk.key.value, &[words]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);

    let records = desk.gateway.records();
    assert!(records.iter().all(|record| record["transport"] == "ws"), "{records:#?}");
    let shown = desk.session(done.session());
    let turns = shown["threads"][0]["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 1, "{shown:#}");
    let said = steps(&turns[0]);
    assert_eq!(said[0], format!("said: {words}"));
    assert_eq!(said[1], "command: echo lit -> lit");
    assert!(said[2].starts_with("answered: ") && said.len() == 3, "{said:?}");
    desk.simulator.stop().await;
}

#[tokio::test]
async fn a_compaction_is_one_step() {
    let desk = Desk::new().await;
    let words = "sim:shell=\"echo long\" sim:input_tokens=150000 sim:times=1 please";
    let limit = "model_auto_compact_token_limit=100000";

    let done = desk.exec(&["-c", limit, words]).await;

    let shown = desk.session(done.session());
    let turns = shown["threads"][0]["turns"].as_array().unwrap();
    let said: Vec<String> = turns.iter().flat_map(steps).collect();
    assert_eq!(turns.len(), 1, "{shown:#}");
    assert_eq!(said[..2], [format!("said: {words}"), "command: echo long -> long".to_owned()]);
    assert!(said[2].starts_with("compacted: ") && said[3].starts_with("answered: "), "{said:?}");
    assert_eq!(said.len(), 4, "{said:?}");
    desk.simulator.stop().await;
}

#[tokio::test]
async fn a_sub_agent_has_a_thread_of_its_own() {
    let desk = Desk::new().await;
    std::fs::write(desk.codex.repository().join("lamp.txt"), "lit").unwrap();

    let done = desk.exec(&["review", "--uncommitted"]).await;

    let shown = desk.session(done.session());
    let threads = shown["threads"].as_array().unwrap();
    let agent = threads.iter().find(|thread| thread["subagent"] == "review").unwrap();
    assert_eq!(agent["parent"], done.session());
    let said = steps(&agent["turns"][0]);
    assert!(said[0].starts_with("said: Review the current code changes"), "{said:?}");
    assert!(said[1].starts_with("answered: ") && said.len() == 2, "{said:?}");
    desk.simulator.stop().await;
}

#[tokio::test]
async fn a_conversation_without_a_name_is_found_by_the_answers_it_goes_on_from() {
    let answers = |id: &str| {
        let item = json!({ "type": "message", "role": "assistant", "content": format!("to {id}") });
        let answer = json!({ "id": id, "status": "completed", "output": [item] });
        whole("application/json", &answer.to_string())
    };
    let upstreams = [
        Recording::start(vec![answers("resp_1")]).await,
        Recording::start(vec![answers("resp_2")]).await,
    ];
    let mut gateway = Gateway::start(&upstreams[0].url());
    let key = gateway.key("ada@example.com");
    let other = gateway.key("grace@example.com");
    let first = json!({ "model": "gpt-5.5", "input": "yes" }).to_string();
    let next =
        json!({ "model": "gpt-5.5", "input": "yes", "previous_response_id": "resp_1" }).to_string();

    post(gateway.address, "/v1/responses", &key.value, &first).await;
    let (folder, _, _) = gateway.stop();
    gateway = Gateway::start_in(folder, &upstreams[1].url(), &[]);
    post(gateway.address, "/v1/responses", &key.value, &next).await;
    post(gateway.address, "/v1/responses", &other.value, &next).await;

    let records = gateway.records();
    for record in &records[..2] {
        let id = record["id"].as_str().unwrap();
        let text = gateway.ok(&["audit", "session", id, "--format", "json"]);
        let shown: Value = serde_json::from_str(&text).unwrap();
        let turns = shown["threads"][0]["turns"].as_array().unwrap();
        let said: Vec<String> = turns.iter().flat_map(steps).collect();
        assert_eq!(said, ["said: yes", "answered: to resp_1", "said: yes", "answered: to resp_2"]);
    }
}

#[tokio::test]
async fn a_conversation_is_written_for_terminals_documents_and_browsers() {
    let desk = Desk::new().await;
    let done = desk.exec(&["sim:say=\"<b>Well</b>\" please"]).await;

    let form =
        |form: &str| desk.gateway.ok(&["audit", "session", done.session(), "--format", form]);

    assert!(form("text").contains("\nmodel:\n  <b>Well</b>\n"), "{}", form("text"));
    assert!(form("markdown").contains("\n**model**\n\n```text\n<b>Well</b>\n```\n"));
    let page = form("html");
    assert!(page.contains("<h4>model</h4><pre>&lt;b&gt;Well&lt;/b&gt;</pre>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>"));
    desk.simulator.stop().await;
}
