//! One process takes over from another, and no client can tell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::harness::client::{Answer, ask, contains, metric, post, request};
use crate::harness::recording::{self, Step};
use crate::harness::socket::{Upstream, asks, open, read_frame, read_text, says};
use crate::harness::{Gateway, Raw, Recording, simulator, until, url};

const SETTINGS: [(&str, &str); 1] = [("CODEX_PROXY_DRAIN_TIMEOUT", "10s")];

const HELLO: &[u8] = b"{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"hello\"}";

/// What asks without a pause until it is told to stop.
#[derive(Clone)]
struct Load {
    address: SocketAddr,
    key: String,
    enough: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
}

impl Load {
    fn question(&self, input: &str) -> String {
        let body = format!("{{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":\"{input}\"}}");
        let authorization = format!("Bearer {}", self.key);
        request("POST", "/v1/responses", &[("authorization", &authorization)], &body)
    }

    async fn ask(&self, client: &mut Raw, input: &str) -> Answer {
        client.send(self.question(input).as_bytes()).await;
        let answer = client.answer().await;
        let whole = (answer.status, answer.broken, answer.text().contains("response.completed"));
        assert_eq!(whole, (200, false, true), "{}", answer.text());
        self.ended.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Each on a connection of its own; the ids.
    async fn anew(self, input: &'static str) -> Vec<String> {
        let mut ids = Vec::new();
        while !self.enough.load(Ordering::Relaxed) {
            let mut client = Raw::connect(self.address).await;
            ids.push(id(&self.ask(&mut client, input).await));
        }
        ids
    }

    /// On one connection, as long as it is not said to end; the ids.
    async fn kept(self, input: &'static str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut client = Raw::connect(self.address).await;
        while !self.enough.load(Ordering::Relaxed) {
            let answer = self.ask(&mut client, input).await;
            ids.push(id(&answer));
            if answer.header("connection") == Some("close") {
                assert_eq!(client.piece().await, b"", "more came after the last answer");
                client = Raw::connect(self.address).await;
            }
        }
        ids
    }

    /// Over HTTP/2, on one connection as long as it takes more; the ids.
    async fn over_http2(self) -> Vec<String> {
        let (mut ids, mut tasks) = (Vec::new(), JoinSet::new());
        while !self.enough.load(Ordering::Relaxed) {
            let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
            let (mut sender, connection) = handshake.await.unwrap();
            tasks.spawn(connection);
            while !self.enough.load(Ordering::Relaxed) {
                let request = http::Request::post(format!("http://{}/v1/responses", self.address))
                    .header("authorization", format!("Bearer {}", self.key))
                    .body(Full::new(Bytes::from_static(HELLO)));
                // What the connection does not take any more was not sent.
                let Ok(answer) = sender.send_request(request.unwrap()).await else { break };
                ids.push(answer.headers()["x-codex-proxy-id"].to_str().unwrap().to_owned());
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert!(contains(&body, b"response.completed"));
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
        ids
    }

    /// Waits until so many more have ended.
    async fn more(&self, count: usize) {
        let now = self.ended.load(Ordering::Relaxed);
        until("more exchanges", || self.ended.load(Ordering::Relaxed) >= now + count).await;
    }
}

fn id(answer: &Answer) -> String {
    answer.header("x-codex-proxy-id").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_takeovers_in_a_row_fail_no_exchange_and_lose_no_count() {
    let simulator = simulator().await;
    let mut gateway = Gateway::start_with(&url(&simulator), &SETTINGS);
    let (address, key) = (gateway.address, gateway.key("ada@example.com").value);
    let disabled = gateway.key("eve@example.com");
    gateway.ok(&["key", "disable", "eve@example.com"]);
    let (enough, ended) = (Arc::default(), Arc::default());
    let load = Load { address, key, enough, ended };
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(load.clone().anew("sim:pace=30ms hello"));
        clients.spawn(load.clone().kept("sim:pace=30ms hello"));
        clients.spawn(load.clone().anew("hello"));
        clients.spawn(load.clone().kept("hello"));
        clients.spawn(load.clone().over_http2());
    }

    let (mut ids, mut refused) = (Vec::new(), 0);
    for _ in 0..3 {
        load.more(20).await;
        let mut quiet = Raw::connect(address).await;
        ids.push(id(&load.ask(&mut quiet, "hello").await));
        let successor = tokio::task::block_in_place(|| {
            gateway.take_over(&url(&simulator), &SETTINGS, &[]).unwrap()
        });
        let before = std::mem::replace(&mut gateway, successor);
        assert_eq!(gateway.address, address);
        assert_eq!(post(address, "/v1/responses", &disabled.value, "{}").await.status, 401);
        refused += 1;
        // A connection that was quiet all the while has one more answer.
        let last = load.ask(&mut quiet, "hello").await;
        assert_eq!(last.header("connection"), Some("close"));
        ids.push(id(&last));
        load.more(20).await;
        let (well, said) = tokio::task::block_in_place(|| before.ended());
        assert!(well && said.contains("taken over by process"), "{said}");
    }
    load.enough.store(true, Ordering::Relaxed);
    ids.extend(clients.join_all().await.concat());

    let mut recorded: Vec<(String, Value)> = gateway
        .records()
        .iter()
        .map(|record| (record["id"].as_str().unwrap().to_owned(), record["outcome"].clone()))
        .collect();
    recorded.sort_by(|one, other| one.0.cmp(&other.0));
    ids.sort();
    let complete: Vec<_> = ids.iter().map(|id| (id.clone(), Value::from("complete"))).collect();
    assert!(recorded == complete, "{} records of {} exchanges", recorded.len(), complete.len());
    assert_eq!(simulator.bill().exchanges.len(), ids.len());

    // What each process counted is counted on.
    let all = format!("codex_proxy_exchanges_total{{outcome=\"complete\"}} {}", ids.len());
    metric(address, &all).await;
    metric(address, &format!("codex_proxy_refusals_total{{word=\"key_disabled\"}} {refused}"))
        .await;
    until("the counts of a key", || {
        let shown = gateway.ok(&["key", "show", &disabled.id, "--format", "json"]);
        shown.contains(&format!("\"count\": {refused}"))
    })
    .await;
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    let left = std::fs::read_dir(folder.path().join("data/spool")).unwrap();
    assert!(left.flatten().all(|entry| entry.path().is_file()), "no folder of a writer is left");
    simulator.stop().await;
}

#[tokio::test]
async fn a_socket_ends_between_two_exchanges_and_the_next_one_finds_the_successor() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start_with(&upstream.url(), &SETTINGS);
    let key = gateway.key("ada@example.com").value;
    let (mut idle, _idle_server) = open(&gateway, &upstream, &key).await;
    let (mut busy, mut server) = open(&gateway, &upstream, &key).await;
    let question = json!({ "type": "response.create", "model": "gpt-5.5", "input": "hello" });
    busy.send(&asks(&question)).await;
    read_frame(&mut server).await.unwrap();

    let successor = gateway.take_over(&upstream.url(), &SETTINGS, &[]).unwrap();
    assert_eq!(read_text(&mut idle).await, "close 1012 This proxy is stopping.");
    let usage = json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 });
    let end = json!({ "type": "response.completed", "response": {
        "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.5",
        "usage": usage,
    } });
    server.send(&says(&end)).await;
    assert_eq!(read_text(&mut busy).await, end.to_string());
    assert_eq!(read_text(&mut busy).await, "close 1012 This proxy is stopping.");

    let (mut next, mut server) = open(&successor, &upstream, &key).await;
    next.send(&asks(&question)).await;
    read_frame(&mut server).await.unwrap();
    server.send(&says(&end)).await;
    assert_eq!(read_text(&mut next).await, end.to_string());
    drop((idle, busy, next));
    let (well, said) = gateway.ended();
    assert!(well, "{said}");
    let ends: Vec<_> = successor.records().iter().map(|r| r["outcome"].clone()).collect();
    assert_eq!(ends, ["complete", "complete"]);
}

#[tokio::test]
async fn what_a_killed_predecessor_left_open_is_closed_by_its_successor() {
    let steps = vec![recording::stream_head(), recording::chunk("event: a\n\n"), Step::Wait];
    let upstream = Recording::start(steps).await;
    let mut gateway = Gateway::start_with(&upstream.url(), &SETTINGS);
    let key = gateway.key("ada@example.com").value;
    let mut client = Raw::asking(gateway.address, &key, std::str::from_utf8(HELLO).unwrap()).await;
    client.read_until("event: a").await;
    let successor = gateway.take_over(&upstream.url(), &SETTINGS, &[]).unwrap();
    assert_eq!(successor.records().len(), 0);

    drop(gateway.kill());
    until("the record", || successor.records().len() == 1).await;
    let record = successor.records().remove(0);
    assert_eq!((&record["outcome"], &record["source"]), (&json!("failed"), &json!("proxy")));
}

#[tokio::test]
async fn a_successor_that_does_not_come_up_changes_nothing() {
    let simulator = simulator().await;
    let mut gateway = Gateway::start(&url(&simulator));
    let prices = [("CODEX_PROXY_PRICES", "nowhere.toml")];
    let said = gateway.take_over(&url(&simulator), &prices, &[]).err().unwrap();
    assert!(said.contains("the price table nowhere.toml"), "{said}");
    // One that fails later, when it has the sockets already.
    let spool = [("CODEX_PROXY_SPOOL", "codex-proxy.spool")];
    std::fs::write(gateway.folder.path().join("codex-proxy.spool"), "no folder").unwrap();
    let said = gateway.take_over(&url(&simulator), &spool, &[]).err().unwrap();
    assert!(said.contains("codex-proxy.spool"), "{said}");

    // Who is left there is told that it ends, whoever comes in finds the next one ready.
    let mut quiet = Raw::connect(gateway.address).await;
    let ready = request("GET", "/readyz", &[], "");
    quiet.send(ready.as_bytes()).await;
    assert_eq!(quiet.answer().await.text(), "ready\n");
    let mut successor = gateway.take_over(&url(&simulator), &[], &[]).unwrap();
    assert_eq!(ask(gateway.address, "GET", "/readyz", &[], "").await.text(), "ready\n");
    quiet.send(ready.as_bytes()).await;
    assert_eq!(quiet.answer().await.text(), "draining\n");
    let (well, said) = gateway.ended();
    assert!(well && said.contains("nobody has taken over, this one serves on"), "{said}");
    assert!(!successor.has_ended());
    simulator.stop().await;
}

#[tokio::test]
async fn places_to_listen_may_come_and_go_with_a_takeover() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let more = ["unix:one.sock", "127.0.0.1:0"];
    let mut gateway = Gateway::listening(folder, &url(&simulator), &[], &more).ok().unwrap();
    let more = ["unix:one.sock", "unix:two.sock"];
    let successor = gateway.take_over(&url(&simulator), &[], &more).unwrap();
    let (well, said) = gateway.ended();
    assert!(well, "{said}");
    for name in ["one.sock", "two.sock"] {
        let stream = UnixStream::connect(successor.folder.path().join(name)).await.unwrap();
        let mut client = Raw::over(stream);
        client.send(request("GET", "/healthz", &[], "").as_bytes()).await;
        assert_eq!(client.answer().await.text(), "alive\n");
    }
    let (folder, well, said) = successor.stop();
    assert!(well && said.matches("listens on").count() == 3, "{said}");
    let left = ["one.sock", "two.sock", "data/serve.sock"].map(|name| folder.path().join(name));
    assert!(left.iter().all(|file| !file.exists()));
    simulator.stop().await;
}

#[tokio::test]
async fn where_nobody_runs_there_is_nothing_to_take_over() {
    let simulator = simulator().await;
    let mut first = Gateway::start(&url(&simulator));
    let folder = std::mem::replace(&mut first.folder, tempfile::tempdir().unwrap());
    // Without being asked to, nobody takes over.
    let (folder, said) = Gateway::try_launch(folder, &url(&simulator), &[], &[]).err().unwrap();
    assert!(said.contains("another `codex-proxy serve` uses the data folder"), "{said}");
    first.kill();
    first = Gateway::start(&url(&simulator));
    first.folder = folder;
    let successor = first.take_over(&url(&simulator), &[], &[]).unwrap();
    assert_ne!(successor.address, first.address);
    let (_, well, said) = successor.stop();
    assert!(well && said.contains("there is nothing to take over"), "{said}");
    simulator.stop().await;
}
