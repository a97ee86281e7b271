//! The same script for strict mode and for OpenAI's own program: what differs stands in a file, each
//! difference with its reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::client::{Answer, Raw, lossy};
use crate::harness::recording::{Recording, Step, chunk, stream_head, whole};
use crate::harness::strict::{KEY, Strict, Twin};

/// What was seen: by case and aspect.
type Seen = BTreeMap<String, String>;

/// Longest wait for what may never come.
const PATIENCE: Duration = Duration::from_secs(1);

/// Requests that a client may send, each on a connection of its own: a name, the line and headers,
/// and the body.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("plain", "POST /v1/responses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("no body", "POST /v1/responses HTTP/1.1\nHost: h\nContent-Length: 0", ""),
    ("old version", "POST /v1/responses HTTP/1.0\nHost: h\nContent-Length: 2", "{}"),
    ("no host", "POST /v1/responses HTTP/1.1\nContent-Length: 2", "{}"),
    ("two hosts", "POST /v1/responses HTTP/1.1\nHost: h\nHost: i\nContent-Length: 2", "{}"),
    ("whole address", "POST http://h/v1/responses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("query", "POST /v1/responses?a=b HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("empty query", "POST /v1/responses? HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("slash", "POST /v1/responses/ HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("encoded", "POST /v1/%72esponses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("short", "POST /responses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("compact", "POST /v1/responses/compact HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("small method", "post /v1/responses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("get", "GET /v1/responses HTTP/1.1\nHost: h", ""),
    ("put", "PUT /v1/responses HTTP/1.1\nHost: h\nContent-Length: 2", "{}"),
    ("options", "OPTIONS /v1/responses HTTP/1.1\nHost: h\nOrigin: http://a", ""),
    ("models", "GET /v1/models HTTP/1.1\nHost: h", ""),
    ("health", "GET /healthz HTTP/1.1\nHost: h", ""),
    ("post to shutdown", "POST /shutdown HTTP/1.1\nHost: h\nContent-Length: 0", ""),
    ("shutdown with a query", "GET /shutdown?a HTTP/1.1\nHost: h", ""),
    (
        "odd headers",
        "POST /v1/responses HTTP/1.1\nHost: h\nAUTHORIZATION: Bearer theirs\nX-Upper: A\nx-twice: 1\n\
         x-twice: 2\nx-empty:\nuser-agent: u\naccept: */*\norigin: http://a\nopenai-beta: b\n\
         x-codex-turn-state: s\nContent-Length: 2",
        "{}",
    ),
    (
        "headers that end here",
        "POST /v1/responses HTTP/1.1\nHost: h\nConnection: x-mine, keep-alive\nx-mine: 1\n\
         keep-alive: 5\nte: trailers\nproxy-connection: a\nContent-Length: 2",
        "{}",
    ),
    (
        "headers that must not leave",
        "POST /v1/responses HTTP/1.1\nHost: h\nCookie: a=b\nProxy-Authorization: Basic eA==\n\
         api-key: theirs\nset-cookie: a=b\nx-codex-proxy-key: k\nContent-Length: 2",
        "{}",
    ),
    (
        "chunked",
        "POST /v1/responses HTTP/1.1\nHost: h\nTransfer-Encoding: chunked",
        "2\r\n{}\r\n0\r\n\r\n",
    ),
    ("rubbish", "HELO example.com", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_from_the_original_is_known_and_has_a_reason() {
    let (original, ours) = (seen(Twin::Original).await, seen(Twin::Ours).await);
    let differing = |case: &String| original.get(case) != ours.get(case);
    let cases: Vec<&String> = original.keys().filter(|case| differing(case)).collect();
    assert_eq!(original.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    let shown = |seen: &Seen, case: &String| match seen[case].as_str() {
        "" => "nothing".to_owned(),
        // It is what both have to show.
        known => known.replace(KEY, "KEY"),
    };
    let lines = cases.iter().map(|case| {
        format!(
            "{case}\n  original: {}\n  ours:     {}\n",
            shown(&original, case),
            shown(&ours, case)
        )
    });
    let found = lines.collect::<Vec<_>>().join("\n");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/strict/differences.txt");
    let known = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = known.trim().split("\n\n").collect();
    let without_reason = |block: &&str| {
        let lines = block.lines().filter(|line| !line.starts_with("# "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let bare: Vec<String> = blocks.iter().map(without_reason).filter(|b| !b.is_empty()).collect();
    assert_eq!(found.trim(), bare.join("\n\n"), "\n\nfound:\n{found}");
    assert!(blocks.iter().all(|block| block.starts_with("# ")), "a difference has no reason");
    // Most of it is the same.
    assert!(original.len() > cases.len() * 2, "{} of {} differ", cases.len(), original.len());
}

async fn seen(twin: Twin) -> Seen {
    let mut seen = Seen::new();
    requests(twin, &mut seen).await;
    many(twin, &mut seen).await;
    answers(twin, &mut seen).await;
    streams(twin, &mut seen).await;
    starts(twin, &mut seen);
    seen
}

async fn requests(twin: Twin, seen: &mut Seen) {
    let upstream = Recording::start(vec![whole("application/json", "{\"id\":\"r\"}")]).await;
    let proxy = Strict::start(twin, &upstream.url(), &[]);
    for (name, head, body) in REQUESTS {
        let before = upstream.requests().len();
        let mut client = Raw::connect(proxy.address).await;
        let bytes = format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"));
        client.send(bytes.as_bytes()).await;
        let answer = tokio::time::timeout(PATIENCE, client.try_answer()).await.ok().flatten();
        told(seen, name, answer.as_ref());
        let forwarded = &upstream.requests()[before..];
        let forwarded = forwarded.iter().map(|one| forwarded_as(name, one, upstream.address));
        let forwarded = forwarded.collect::<Vec<_>>().join(" AND ");
        seen.insert(format!("{name}: upstream gets"), forwarded);
    }
    let kept = keeps_connection(&proxy).await;
    seen.insert("two on one connection".to_owned(), kept);
}

async fn keeps_connection(proxy: &Strict) -> String {
    let mut client = Raw::connect(proxy.address).await;
    let mut statuses = Vec::new();
    for body in ["{}", "[]"] {
        let head = "POST /v1/responses HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n";
        client.send((head.to_owned() + body).as_bytes()).await;
        statuses.push(status(&mut client).await);
    }
    format!("{statuses:?}")
}

/// Large bodies, and several at once.
async fn many(twin: Twin, seen: &mut Seen) {
    let upstream = Recording::start(vec![whole("application/json", "{\"id\":\"r\"}")]).await;
    let proxy = Strict::start(twin, &upstream.url(), &[]);
    // Each leaves when it has its answer: in a burst the original lets some wait for others to go.
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let address = proxy.address;
        clients.spawn(async move {
            let mut client = Raw::connect(address).await;
            client.send(post(1 << 20).as_bytes()).await;
            status(&mut client).await
        });
    }
    let statuses = clients.join_all().await;
    seen.insert("16 at once, 1 MiB each".to_owned(), format!("{statuses:?}"));
    let mut client = Raw::connect(proxy.address).await;
    client.send(post(60 << 20).as_bytes()).await;
    let status = status(&mut client).await;
    let length = upstream.requests().last().unwrap().len() >> 20;
    seen.insert("a body of 60 MiB".to_owned(), format!("{status}, {length} MiB arrive"));
}

/// The status of an answer, or zero where none comes.
async fn status(client: &mut Raw) -> u16 {
    let answer = tokio::time::timeout(PATIENCE * 20, client.try_answer()).await.ok().flatten();
    answer.map_or(0, |answer| answer.status)
}

fn post(length: usize) -> String {
    let body = format!("{{\"input\":\"{}\"}}", "x".repeat(length));
    let length = body.len();
    format!("POST /v1/responses HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// What the upstream may say.
async fn answers(twin: Twin, seen: &mut Seen) {
    let limited = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nset-cookie: a=b\r\n\
         content-type: application/json\r\nx-request-id: r\r\ncontent-length: 12\r\n\r\n{\"error\":{}}";
    let moved =
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let cases = [
        ("an error of the upstream", vec![Step::Send(limited.into())]),
        ("a redirect", vec![Step::Send(moved.into()), Step::Close]),
        ("an upstream that hangs up", vec![Step::Close]),
        ("an answer that breaks off", vec![stream_head(), chunk("data: 1\n\n"), Step::Close]),
    ];
    for (name, steps) in cases {
        let upstream = Recording::start(steps).await;
        let proxy = Strict::start(twin, &upstream.url(), &[]);
        let mut client = Raw::connect(proxy.address).await;
        client.send(post(1).as_bytes()).await;
        let answer = tokio::time::timeout(PATIENCE * 5, client.try_answer()).await.ok().flatten();
        told(seen, name, answer.as_ref());
    }
    let proxy = Strict::start(twin, "http://127.0.0.1:9/responses", &[]);
    let mut client = Raw::connect(proxy.address).await;
    client.send(post(1).as_bytes()).await;
    let answer = tokio::time::timeout(PATIENCE * 5, client.try_answer()).await.ok().flatten();
    told(seen, "an upstream that is not there", answer.as_ref());
}

/// When bytes pass, and when the upstream hears that the client has left.
async fn streams(twin: Twin, seen: &mut Seen) {
    let steps =
        vec![stream_head(), chunk("data: 1\n\n"), Step::Wait, chunk("data: 2\n\n"), chunk("")];
    let mut upstream = Recording::start(steps).await;
    let proxy = Strict::start(twin, &upstream.url(), &[]);
    let mut client = Raw::connect(proxy.address).await;
    client.send(post(1).as_bytes()).await;
    let first = tokio::time::timeout(PATIENCE, client.read_until("data: 1\n\n")).await.is_ok();
    seen.insert("an event passes before the next".to_owned(), first.to_string());
    let mut client = Raw::connect(proxy.address).await;
    client.send(post(1).as_bytes()).await;
    let all = async {
        while upstream.requests().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    // The original may let the second wait for the first.
    let _ = tokio::time::timeout(PATIENCE * 2, all).await;
    drop(client);
    let left = tokio::time::timeout(PATIENCE, upstream.left.recv()).await.is_ok();
    seen.insert("the upstream hears at once that a client has left".to_owned(), left.to_string());
}

/// What it says of keys and flags that it does not take.
fn starts(twin: Twin, seen: &mut Seen) {
    let long = |length: usize| "k".repeat(length).into_bytes();
    let identity = ["--github-oidc", "--oidc-audience", "a", "--identity-provider-id", "i"];
    let account = ["--service-account-id", "s", "--github-oidc-request-url"];
    let oidc =
        |url: &'static str, more: &[&'static str]| [&identity[..], &account, &[url], more].concat();
    let cases: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        ("an empty key", vec![], vec![]),
        ("a key with a space", b"a b".to_vec(), vec![]),
        ("a key with a dot", b"a.b\n".to_vec(), vec![]),
        ("a key with a zero", b"a\0b\n".to_vec(), vec![]),
        ("a key of 1017", long(1017), vec![]),
        ("a key of 4000", long(4000), vec![]),
        ("a relative address", b"k".to_vec(), vec!["--upstream-url", "nonsense"]),
        ("an address without a host", b"k".to_vec(), vec!["--upstream-url", "unix:/x"]),
        ("a wrong port", b"k".to_vec(), vec!["--port", "x"]),
        ("a privileged folder", b"k".to_vec(), vec!["--dump-dir", "/proc/x"]),
        ("half an identity", b"k".to_vec(), vec!["--github-oidc", "--oidc-audience", "a"]),
        ("a plain address of GitHub", b"k".to_vec(), oidc("http://a/", &[])),
        (
            "an identity elsewhere",
            b"k".to_vec(),
            oidc("https://a/", &["--upstream-url", "http://a/"]),
        ),
        ("an identity without a token", vec![], oidc("https://a/", &[])),
        ("a GitHub that is not there", b"t".to_vec(), oidc("https://127.0.0.1:9/", &[])),
    ];
    for (name, stdin, arguments) in cases {
        let (code, said) = twin.fails(&stdin, &arguments);
        // Of the program that it is a part of, about something else.
        let is_about_it = |line: &&str| !line.starts_with("WARNING: proceeding, even though");
        let said = said.lines().filter(is_about_it).collect::<Vec<_>>().join("\n");
        let line = said.split("\n\n").next().unwrap();
        let line = line.replace("codex responses-api-proxy", "PROGRAM");
        let line = line.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        seen.insert(format!("start with {name}"), format!("{code:?} {line}"));
    }
}

fn told(seen: &mut Seen, case: &str, answer: Option<&Answer>) {
    let told = answer.map_or("nothing".to_owned(), |answer| {
        let whole = if answer.broken { "broken" } else { "whole" };
        format!("{} {:?} {whole}", answer.status, answer.text())
    });
    seen.insert(format!("{case}: client gets"), told);
    let headers = answer.map(|answer| {
        let known = answer.headers.iter().filter(|(name, value)| {
            // What every answer has is told once.
            let everywhere = value == "tiny-http (Rust)" || name == "x-codex-proxy-id";
            name != "date" && name != "Date" && (!everywhere || case == "plain")
        });
        let known = known.map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "x-codex-proxy-id" => format!("{name}: *"),
                _ => format!("{name}: {value}"),
            }
        });
        let mut known: Vec<String> = known.collect();
        known.sort();
        known.join("; ")
    });
    seen.insert(format!("{case}: headers"), headers.unwrap_or_default());
}

/// A request as the upstream got it: headers in lower case and sorted, since their order and case
/// mean nothing.
fn forwarded_as(case: &str, request: &[u8], upstream: SocketAddr) -> String {
    let text = lossy(request).replace(&upstream.to_string(), "UPSTREAM");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let lower = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        format!("{}: {}", name.to_ascii_lowercase(), value.trim())
    };
    // The original adds it everywhere, which is told once.
    let is_told = |line: &String| line != "accept: */*" || case == "plain";
    let mut headers: Vec<String> = lines.map(lower).filter(is_told).collect();
    headers.sort();
    format!("{line} [{}] {body:?}", headers.join("; "))
}
