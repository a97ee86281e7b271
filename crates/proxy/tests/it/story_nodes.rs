//! Several nodes over one PostgreSQL.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::contract::server::Server;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::client::{ask, post, request};
use crate::harness::gateway::Key;
use crate::harness::{Gateway, Raw, simulator, until, url};

const BODY: &str = r#"{"model":"gpt-6-luna","input":"hi","max_output_tokens":10}"#;

/// A folder of a node: all of an installation have the same secret.
fn folder(store: &str, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let secret = "0123456789abcdef0123456789abcdef";
    let path = folder.path().join("secret.key");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = format!("secret = \"file:secret.key\"\n{more}\n[store]\nurl = \"{store}\"\n");
    std::fs::write(folder.path().join("codex-proxy.toml"), config).unwrap();
    folder
}

fn node(server: &Server, upstream: &str) -> Gateway {
    Gateway::start_in(folder(&server.url(), ""), upstream, &[])
}

async fn status(gateway: &Gateway, key: &Key) -> (u16, Option<String>) {
    let answer = post(gateway.address, "/v1/responses", &key.value, BODY).await;
    (answer.status, answer.refusal().map(str::to_owned))
}

/// Asks until the answer is this one, within the second in which every node hears of a change.
async fn within_a_second(gateway: &Gateway, key: &Key, expected: (u16, Option<&str>)) {
    let since = Instant::now();
    loop {
        let (status, word) = status(gateway, key).await;
        if (status, word.as_deref()) == expected {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(1), "still {status} {word:?}");
    }
}

fn spent(gateway: &Gateway) -> (String, String) {
    let listed = gateway.ok(&["budget", "list", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = |name: &str| listed[0][name].as_str().unwrap().to_owned();
    (text("spent"), text("reserved"))
}

#[tokio::test]
async fn what_is_switched_on_one_node_is_switched_on_all_within_a_second() {
    let (server, simulator) = (Server::start(), simulator().await);
    let nodes = [(); 3].map(|()| node(&server, &url(&simulator)));
    let key = nodes[0].key("ada@example.com");
    for node in &nodes {
        within_a_second(node, &key, (200, None)).await;
    }

    // Given a stream that is open on the third.
    let stream = r#"{"model":"gpt-6-luna","stream":true,"input":"sim:words=100000 sim:pace=20ms"}"#;
    let mut open = Raw::asking(nodes[2].address, &key.value, stream).await;
    open.read_until("response.output_text.delta").await;

    // When the key is switched off on the first.
    nodes[0].ok(&["key", "disable", &key.id]);
    let since = Instant::now();
    for node in &nodes {
        within_a_second(node, &key, (401, Some("key_disabled"))).await;
    }
    let rest = tokio::time::timeout(Duration::from_secs(1), open.read_until("0\r\n\r\n")).await;
    let rest = String::from_utf8(rest.expect("the stream goes on")).unwrap();
    assert!(rest.contains("invalid_api_key"), "{rest}");
    assert!(since.elapsed() < Duration::from_millis(1500), "{:?}", since.elapsed());

    // What was refused on each is told of the key on any.
    until("the refusals of all nodes", || {
        let shown = nodes[1].ok(&["key", "show", &key.id, "--format", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown[0]["refusals"][0]["count"].as_u64() >= Some(3)
    })
    .await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_at_the_edge_of_a_budget_do_not_overshoot() {
    let (server, simulator) = (Server::start(), simulator().await);
    let nodes = [(); 3].map(|()| node(&server, &url(&simulator)));
    let words = "sim:delay=9s sim:output_tokens=1000 sim:input_tokens=100";
    let body = json!({ "model": "gpt-6-luna", "input": words, "max_output_tokens": 1000 });
    let body = body.to_string();
    // Room for 150 at their bound: 0.125 dollars a million input tokens, 0.5 for output.
    let bound = body.len() as u64 * 125 + 1000 * 500;
    let budget = format!("0.{:09}usd/month", 150 * bound + 3);
    let key = nodes[0].key_with("ada@example.com", &["--budget", &budget]);
    for node in &nodes {
        until_known(node, &key).await;
    }

    let asked =
        (0..240).map(|number| post(nodes[number % 3].address, "/v1/responses", &key.value, &body));
    let answers = futures_util::future::join_all(asked).await;

    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let waited = |answer: &&crate::harness::client::Answer| {
        (answer.status, answer.refusal()) == (429, Some("too_many_requests"))
    };
    assert_eq!((passed, answers.iter().filter(waited).count()), (150, 90));
    assert_eq!(simulator.bill().exchanges.len(), 150);
    // Each of them has cost 100 input and 1,000 output tokens.
    let cost = 150 * (100 * 100 + 1000 * 500);
    let cost = format!("0.{cost:09}").trim_end_matches('0').to_owned();
    until("all is told", || spent(&nodes[1]) == (cost.clone(), "0.00".to_owned())).await;
    simulator.stop().await;
}

/// Waits until a node knows a key, without asking for anything that costs.
async fn until_known(node: &Gateway, key: &Key) {
    let bearer = format!("Bearer {}", key.value);
    let deadline = Instant::now() + Duration::from_secs(2);
    while ask(node.address, "GET", "/v1/models", &[("authorization", &bearer)], "").await.status
        != 200
    {
        assert!(Instant::now() < deadline, "the key is not known");
    }
}

// The cable is carried while the test waits for a node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_goes_on_with_what_it_knows() {
    let (server, simulator) = (Server::start(), simulator().await);
    let mut cable = Cable::to(server.port()).await;
    let through = server.url_by(cable.address.port());
    let here = node(&server, &url(&simulator));
    let known = Gateway::start_in(folder(&through, ""), &url(&simulator), &[]);
    let strict = "when_store_lost = \"refuse\"";
    let refusing = Gateway::start_in(folder(&through, strict), &url(&simulator), &[]);
    let key = here.key_with("ada@example.com", &["--budget", "1usd/month"]);
    for node in [&known, &refusing] {
        within_a_second(node, &key, (200, None)).await;
    }

    // When both are cut off, one goes on and the other says that it cannot.
    cable.cut().await;
    let passed_before = until_word(&refusing, &key, "busy").await;
    let ready = ask(refusing.address, "GET", "/readyz", &[], "").await;
    assert_eq!((ready.status, ready.text()), (503, "the store cannot be reached\n".to_owned()));
    for _ in 0..5 {
        assert_eq!(status(&known, &key).await, (200, None));
    }
    assert_eq!(ask(known.address, "GET", "/readyz", &[], "").await.status, 200);

    // What is switched off meanwhile is off as soon as they are back; what was spent is counted.
    here.ok(&["key", "disable", &key.id]);
    cable.mend().await;
    let mut passed = 0;
    for node in [&known, &refusing] {
        passed += until_word(node, &key, "key_disabled").await;
    }
    let records = known.records();
    let cost = |record: &Value| record["cost_usd"].as_str().unwrap().parse::<f64>().unwrap();
    let costs: f64 = records.iter().chain(&refusing.records()).map(cost).sum();
    assert_eq!(
        records.len() + refusing.records().len(),
        7 + passed_before + passed,
        "nothing is lost"
    );
    until("all is told", || (spent(&here).0.parse::<f64>().unwrap() - costs).abs() < 1e-12).await;
    simulator.stop().await;
}

/// Asks until it is refused so; tells how often it was served before.
async fn until_word(node: &Gateway, key: &Key, expected: &str) -> usize {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut served = 0;
    loop {
        let (status, word) = status(node, key).await;
        if word.as_deref() == Some(expected) {
            return served;
        }
        served += usize::from(status == 200);
        assert!(Instant::now() < deadline, "not refused with {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_killed_node_had_reserved_is_free_when_it_is_back() {
    let (server, simulator) = (Server::start(), simulator().await);
    let [first, second] = [(); 2].map(|()| node(&server, &url(&simulator)));
    let key = first.key_with("ada@example.com", &["--budget", "1000tokens/month"]);
    until_known(&first, &key).await;
    let held = json!({ "model": "gpt-6-luna", "input": "sim:delay=60s", "max_output_tokens": 800 });
    let _open = Raw::asking(first.address, &key.value, &held.to_string()).await;
    until("it is reserved", || spent(&second).1 != "0").await;
    let more = json!({ "model": "gpt-6-luna", "input": "sim:output_tokens=200 sim:input_tokens=0", "max_output_tokens": 800 });
    let more = more.to_string();
    let answer = post(second.address, "/v1/responses", &key.value, &more).await;
    assert_eq!((answer.status, answer.refusal()), (429, Some("too_many_requests")));

    let folder = first.kill();
    let first = Gateway::start_in(folder, &url(&simulator), &[]);
    let answer = post(second.address, "/v1/responses", &key.value, &more).await;
    assert_eq!(answer.status, 200);
    until("it is counted", || spent(&first).0 == "200").await;
}

/// What the records of these nodes have cost together, nano-dollars.
fn costs(nodes: &[&Gateway]) -> u64 {
    let records = nodes.iter().flat_map(|node| node.records());
    let costs = records.filter_map(|record| record["cost_usd"].as_str().map(wire::price::nanos));
    costs.sum()
}

/// Asks again and again, until it is refused or nobody is there any more.
async fn ask_on(address: SocketAddr, key: Key, body: String) {
    let bearer = format!("Bearer {}", key.value);
    let sent = request("POST", "/v1/responses", &[("authorization", &bearer)], &body);
    loop {
        let Ok(stream) = TcpStream::connect(address).await else { return };
        let mut client = Raw::over(stream);
        let is_sent = client.try_send(sent.as_bytes()).await.is_ok();
        let answer = if is_sent { client.try_answer().await } else { None };
        if answer.is_none_or(|answer| answer.status != 200) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_under_load_loses_no_count_and_overshoots_nothing() {
    let (server, simulator) = (Server::start(), simulator().await);
    let [first, second] = [(); 2].map(|()| node(&server, &url(&simulator)));
    let words = "sim:output_tokens=1000 sim:input_tokens=100";
    let body = json!({ "model": "gpt-6-luna", "input": words, "max_output_tokens": 1000 });
    let body = body.to_string();
    let bound = body.len() as u64 * 125 + 1000 * 500;
    let budget = 400 * bound;
    let key = first.key_with("ada@example.com", &["--budget", &format!("0.{budget:09}usd/month")]);
    for node in [&first, &second] {
        until_known(node, &key).await;
    }

    // Many ask both until they are refused; the first is killed in the middle of it.
    let (one, other, pid) = (first.address, second.address, first.pid());
    let mut asking = JoinSet::new();
    for number in 0..24 {
        let address = if number % 2 == 0 { one } else { other };
        asking.spawn(ask_on(address, key.clone(), body.clone()));
    }
    until("it is under load", || simulator.bill().exchanges.len() > 60).await;
    crate::harness::gateway::signal(pid, 9);
    asking.join_all().await;

    // What it had told, and what it had not, is counted when it is back: as its records say.
    let folder = first.kill();
    let first = Gateway::start_in(folder, &url(&simulator), &[]);
    let both = [&first, &second];
    until("all is told", || {
        let (spent, reserved) = spent(&second);
        wire::price::nanos(&spent) >= costs(&both) && reserved == "0.00"
    })
    .await;
    let (counted, recorded) = (wire::price::nanos(&spent(&second).0), costs(&both));
    // Of what ended within five milliseconds of its last report nobody knows whether that told it.
    let one_cost = 100 * 100 + 1000 * 500;
    assert!(counted - recorded <= 24 * one_cost, "{counted} counted, {recorded} on record");
    // It came back before its leases lapsed: what it had spent was kept from the other. Only what may
    // be counted twice may go beyond the budget.
    assert!(recorded <= budget, "{recorded} of {budget}, {counted} counted");
    assert_eq!(counted % one_cost, 0, "each exchange counts whole");
    simulator.stop().await;
}

#[tokio::test]
async fn a_store_moves_to_another_engine() {
    let (server, simulator) = (Server::start(), simulator().await);
    // Given an installation on one machine, which has spent something.
    let alone = folder("sqlite:store.db", "");
    let gateway = Gateway::start_in(alone, &url(&simulator), &[]);
    let key =
        gateway.key_with("ada@example.com", &["--team", "blue", "--budget", "900tokens/month"]);
    let body = r#"{"model":"gpt-6-luna","input":"sim:output_tokens=500 sim:input_tokens=0","max_output_tokens":500}"#;
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, body).await.status, 200);
    let (alone, ended, said) = gateway.stop();
    assert!(ended, "{said}");

    // When its store is copied, twice, since somebody may try again.
    let copy = ["store", "copy", "sqlite:store.db", &server.url(), "--format", "json"];
    let run = |more: &[&str]| {
        let output = crate::harness::gateway::run(alone.path(), &[&copy[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let rows = |known: u64| {
        let row = |what: &str| json!({ "what": what, "found": 1, "known": known });
        json!([row("keys"), row("budgets"), row("counts")])
    };
    assert_eq!(run(&["--dry-run"]), rows(0));
    assert_eq!(run(&[]), rows(0));
    assert_eq!(run(&[]), rows(1));

    // Then a node there knows the key, and what was spent.
    let moved = node(&server, &url(&simulator));
    assert_eq!(spent(&moved).0, "500");
    let answer = post(moved.address, "/v1/responses", &key.value, body).await;
    assert_eq!((answer.status, answer.refusal()), (400, Some("budget_exceeded")));
    simulator.stop().await;
}

/// A connection to a database that can be cut.
struct Cable {
    address: SocketAddr,
    port: u16,
    carrying: JoinSet<()>,
}

impl Cable {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut cable = Self { address, port, carrying: JoinSet::new() };
        cable.carry(listener);
        cable
    }

    async fn cut(&mut self) {
        self.carrying.shutdown().await;
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carry(listener);
    }

    fn carry(&mut self, listener: TcpListener) {
        let port = self.port;
        self.carrying.spawn(async move {
            let mut joined = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                joined.spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    }
}
