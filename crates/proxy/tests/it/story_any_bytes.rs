//! Whatever passes, in whatever pieces, passes as it is: bodies of both directions, in every
//! framing, cut anywhere, over real sockets.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::client::Raw;
use crate::harness::{Gateway, until};

/// A seed to go through again, as a failure told it.
const SEED: Option<u64> = None;
/// How many exchanges, and how many at once.
const EXCHANGES: usize = 240;
const AT_ONCE: usize = 6;

/// Numbers that look random and follow from a seed.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Mostly short, now and then long.
    fn length(&mut self) -> usize {
        let bound = [2, 40, 3000, 60_000, 400_000][self.below(5)];
        self.below(bound)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.length();
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// Text that any reader of streams has to stop at.
    fn stream(&mut self) -> Vec<u8> {
        let parts = [
            "event: response.output_text.delta\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"usage\":null}}\n",
            "data: [DONE]\n",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            ": comment\n",
            "data",
            ":",
            "\u{feff}",
            "{\"",
            "retry: 7\n",
        ];
        let count = self.below(400);
        (0..count).map(|_| self.pick(&parts)).collect::<String>().into_bytes()
    }

    fn json(&mut self) -> Vec<u8> {
        let text: String = self.bytes().iter().map(|byte| char::from(byte % 90 + 32)).collect();
        let stream = self.below(2) == 0;
        let body = serde_json::json!({"model": "gpt-5.5", "stream": stream, "input": text});
        if self.below(2) == 0 { body.to_string() } else { format!("{body:#}") }.into_bytes()
    }

    /// Cuts bytes into pieces.
    fn pieces(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let most = [1, 7, 1000, 50_000][self.below(4)].max(bytes.len() / 200);
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((self.below(most) + 1).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }
}

/// How a body says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

/// A body, and what is said about it.
#[derive(Debug, Clone)]
struct Message {
    kind: &'static str,
    coding: &'static str,
    framing: Framing,
    body: Vec<u8>,
}

/// One exchange, thought out beforehand.
#[derive(Debug, Clone)]
struct Plan {
    path: &'static str,
    request: Message,
    answer: Message,
    chance: Chance,
}

fn plan(seed: u64, index: usize) -> Plan {
    let mut chance = Chance(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let asks = chance.below(2) == 0;
    let path = if asks { "/v1/responses" } else { "/v1/files" };
    let kind = if asks { "application/json" } else { "application/octet-stream" };
    let body = if asks { chance.json() } else { chance.bytes() };
    let framing = [Framing::Length, Framing::Chunked][chance.below(2)];
    // A coding must be one where the gateway looks inside; elsewhere anything may be said.
    let request = coded(&mut chance, Message { kind, coding: "", framing, body });
    let framing = [Framing::Length, Framing::Chunked, Framing::Close][chance.below(3)];
    let (kind, body) = match chance.below(4) {
        0 | 1 => ("text/event-stream", chance.stream()),
        2 => ("application/json", chance.json()),
        _ => ("application/octet-stream", chance.bytes()),
    };
    let mut answer = coded(&mut chance, Message { kind, coding: "", framing, body });
    if chance.below(6) == 0 {
        // Said to be coded, and it is not.
        answer.coding = chance.pick(&["gzip", "zstd", "br", "deflate", "unheard-of"]);
    }
    Plan { path, request, answer, chance }
}

fn coded(chance: &mut Chance, message: Message) -> Message {
    if chance.below(3) != 0 {
        return message;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&message.body).unwrap();
    Message { coding: "gzip", body: encoder.finish().unwrap(), ..message }
}

impl Message {
    /// The lines about it.
    fn headers(&self) -> String {
        let coding = match self.coding {
            "" => String::new(),
            coding => format!("Content-Encoding: {coding}\r\n"),
        };
        let length = match self.framing {
            Framing::Length => format!("Content-Length: {}\r\n", self.body.len()),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::Close => "Connection: close\r\n".to_owned(),
        };
        format!("Content-Type: {}\r\n{coding}{length}\r\n", self.kind)
    }

    /// Its bytes on the wire, in chunks that are no pieces of anything.
    fn wire(&self, chance: &mut Chance) -> Vec<u8> {
        if self.framing != Framing::Chunked {
            return self.body.clone();
        }
        let mut wire = Vec::new();
        for piece in chance.pieces(&self.body) {
            wire.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            wire.extend(piece);
            wire.extend(b"\r\n");
        }
        [wire, b"0\r\n\r\n".to_vec()].concat()
    }
}

/// Sends bytes in pieces, each on its own.
async fn send(stream: &mut TcpStream, pieces: Vec<Vec<u8>>) {
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What the upstream was sent, by exchange.
type Seen = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

/// An upstream that goes by the plans.
async fn upstream(plans: Arc<Vec<Plan>>, seen: Seen) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            connections.spawn(serve(stream, plans.clone(), seen.clone()));
        }
    });
    (address, tasks)
}

async fn serve(mut stream: TcpStream, plans: Arc<Vec<Plan>>, seen: Seen) {
    let mut read = Vec::new();
    while let Some((index, body)) = request(&mut stream, &mut read).await {
        seen.lock().unwrap()[index] = Some(body);
        let plan = &plans[index];
        let mut chance = plan.chance.clone();
        let head = format!("HTTP/1.1 200 OK\r\n{}", plan.answer.headers());
        let wire = [head.into_bytes(), plan.answer.wire(&mut chance)].concat();
        send(&mut stream, chance.pieces(&wire)).await;
        if plan.answer.framing == Framing::Close {
            return;
        }
    }
}

/// Reads one request: which exchange it is, and its body.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(usize, Vec<u8>)> {
    let end = loop {
        match read.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(stream, read).await?,
        }
    };
    let head = String::from_utf8(read.drain(..end).collect()).unwrap().to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let index = value("x-exchange:").unwrap().parse().unwrap();
    let Some(length) = value("content-length:") else {
        return Some((index, chunks(stream, read).await?));
    };
    let length = length.parse().unwrap();
    while read.len() < length {
        more(stream, read).await?;
    }
    Some((index, read.drain(..length).collect()))
}

async fn chunks(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = read.windows(2).position(|window| window == b"\r\n") else {
            more(stream, read).await?;
            continue;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&read[..end]).unwrap(), 16).unwrap();
        while read.len() < end + 2 + size + 2 {
            more(stream, read).await?;
        }
        body.extend(&read[end + 2..end + 2 + size]);
        read.drain(..end + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(read).await.ok()? > 0).then_some(())
}

/// Goes through one exchange as its client; its id.
async fn exchange(
    gateway: SocketAddr,
    key: &str,
    plans: &[Plan],
    index: usize,
    seed: u64,
) -> String {
    let plan = &plans[index];
    let mut chance = Chance(plan.chance.0.rotate_left(9) | 1);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {key}\r\n\
         X-Exchange: {index}\r\n{}",
        plan.path,
        plan.request.headers()
    );
    let wire = [head.into_bytes(), plan.request.wire(&mut chance)].concat();
    let mut client = Raw::connect(gateway).await;
    for piece in chance.pieces(&wire) {
        client.send(&piece).await;
        tokio::task::yield_now().await;
    }
    let answer = client.answer().await;
    let place = format!("exchange {index} of seed {seed}: {:?}", shape(plan));
    assert_eq!((answer.status, answer.broken), (200, false), "{place}: {}", answer.text());
    assert!(answer.body == plan.answer.body, "the answer of {place}");
    assert_eq!(answer.header("content-type"), Some(plan.answer.kind), "{place}");
    answer.header("x-codex-proxy-id").unwrap().to_owned()
}

impl Plan {
    fn is_plain(&self) -> bool {
        self.request.coding.is_empty() && self.answer.coding.is_empty()
    }
}

/// What a plan is, without its bytes.
fn shape(plan: &Plan) -> [(&str, Framing, usize); 2] {
    [&plan.request, &plan.answer].map(|said| (said.coding, said.framing, said.body.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_bytes_cut_anywhere_pass_and_are_kept_as_they_are() {
    let seed = SEED.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let plans: Arc<Vec<Plan>> = Arc::new((0..EXCHANGES).map(|index| plan(seed, index)).collect());
    let came: Seen = Arc::new(Mutex::new(vec![None; EXCHANGES]));
    let (address, _upstream) = upstream(plans.clone(), came.clone()).await;
    // Among any letters some look like a password that is given to a name.
    let off = [("CODEX_PROXY_SCREEN_ACTION", "off")];
    let gateway = Gateway::start_with(&format!("http://{address}/v1"), &off);
    let key = gateway.key("ada@example.com").value;

    let mut clients = JoinSet::new();
    for first in 0..AT_ONCE {
        let (plans, key, gateway) = (plans.clone(), key.clone(), gateway.address);
        clients.spawn(async move {
            let mut ids = Vec::new();
            for index in (first..EXCHANGES).step_by(AT_ONCE) {
                ids.push((index, exchange(gateway, &key, &plans, index, seed).await));
            }
            ids
        });
    }
    let ids: BTreeMap<usize, String> = clients.join_all().await.into_iter().flatten().collect();

    for (index, body) in came.lock().unwrap().iter().enumerate() {
        let place = format!("exchange {index} of seed {seed}: {:?}", shape(&plans[index]));
        assert!(body.as_ref() == Some(&plans[index].request.body), "the request of {place}");
    }
    until("a record of each", || gateway.records().len() == EXCHANGES).await;
    // Bodies in the archive are what passed. A few, since each takes a command; and plain ones,
    // since of a coded answer the archive has what it says.
    let plain = plans.iter().enumerate().filter(|(_, plan)| plan.is_plain());
    for (index, plan) in plain.take(6) {
        let [request, answer] = ["request", "response"].map(|part| gateway.raw(&ids[&index], part));
        let place = format!("exchange {index} of seed {seed}: {:?}", shape(plan));
        assert!(request == plan.request.body, "the request in the archive, {place}");
        assert!(answer == plan.answer.body, "the answer in the archive, {place}");
    }
}
