//! The archive under load and under faults of all kinds: what was promised is what is stored.
//!
//! Clients ask and note what they saw. Meanwhile the upstream fails, clients leave, the object store
//! cannot be written, and the process is stopped, killed, frozen and taken over from. In the end each
//! answer that came to its end has a record that says so, and both its bodies, byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use archive::objects::Access;
use archive::read::{Found, Reader};
use archive::record::Outcome;
use archive::seal::Keys;
use jiff::civil::Date;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::client::{Raw, request};
use crate::harness::{Gateway, simulator, url};

/// Clients that ask at once.
const CLIENTS: u64 = 4;
/// An upstream that stalls is given up soon.
const SETTINGS: [(&str, &str); 1] = [("CODEX_PROXY_UPSTREAM_IDLE_TIMEOUT", "2s")];
/// Between two exchanges of a client.
const PACE: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread")]
async fn three_minutes_of_faults_leave_what_was_promised() {
    println!("{}", soak(Duration::from_mins(3)).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour: make soak"]
async fn an_hour_of_faults_leaves_what_was_promised() {
    let report = soak(Duration::from_hours(1)).await;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.md");
    std::fs::write(target, report).unwrap();
}

/// What a client saw of an exchange.
struct Seen {
    id: String,
    asked: String,
    got: Vec<u8>,
    status: u16,
    whole: bool,
}

/// How often each thing was done.
type Faults = BTreeMap<&'static str, u64>;

async fn soak(lasting: Duration) -> String {
    let simulator = simulator().await;
    let upstream = url(&simulator);
    let gateway = Gateway::start_with(&upstream, &SETTINGS);
    let key = gateway.key("ada@example.com").value;
    let (address, listening) = watch::channel(gateway.address);
    let end = Instant::now() + lasting;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, key.clone(), listening.clone(), end));
    }
    let (folder, faults) = inflict(gateway, &upstream, &address, end).await;
    let seen: Vec<Seen> = clients.join_all().await.into_iter().flatten().collect();
    // A last life, in which nothing is in the way: it publishes what is left.
    let (folder, well, said) = Gateway::start_in(folder, &upstream, &SETTINGS).stop();
    assert!(well, "{said}");
    let billed = simulator.bill().exchanges.len();
    simulator.stop().await;
    report(&check(&folder.path().join("data"), &seen, billed).await, &faults)
}

/// Asks one thing after the other in a conversation that grows, and begins another now and then.
async fn client(
    number: u64,
    key: String,
    mut listening: watch::Receiver<SocketAddr>,
    end: Instant,
) -> Vec<Seen> {
    let (mut seen, mut chance) = (Vec::new(), Chance::new(number));
    let (mut thread, mut items) = (0, Vec::new());
    while Instant::now() < end {
        if items.len() > 12 || chance.one_of(40) == 0 {
            (thread, items) = (thread + 1, Vec::new());
        }
        items.push(item(&mut chance));
        let asked = format!(
            "{{\"model\":\"gpt-5.5\",\"stream\":{},\"input\":[{}]}}",
            chance.one_of(3) > 0,
            items.join(",")
        );
        let patience = if chance.one_of(12) == 0 { chance.one_of(60) } else { 20_000 };
        let session = format!("soak-{number}-{thread}");
        let asking = ask(*listening.borrow_and_update(), [&key, &session], asked);
        match tokio::time::timeout(Duration::from_millis(patience), asking).await {
            Ok(Some(one)) => seen.push(one),
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tokio::time::sleep(PACE).await;
    }
    seen
}

/// A message: mostly small, sometimes large; what the upstream shall do stands in the last one.
fn item(chance: &mut Chance) -> String {
    let words = match chance.one_of(16) {
        0 => "sim:cut=4",
        1 => "sim:status=500",
        2 => "sim:huge=300KiB",
        3 => "sim:words=60 sim:pace=10ms",
        4 => "sim:drop",
        5 => "sim:fail=server_error",
        6 => "sim:stall=3 sim:pace=1ms",
        _ => "go on",
    };
    let length = if chance.one_of(20) == 0 { 40_000 } else { 20 + chance.one_of(3_000) };
    let words_of_it = (0..length / 8).map(|_| format!("{:07x}", chance.one_of(1 << 28)));
    let text = words_of_it.collect::<Vec<_>>().join(" ");
    format!(
        "{{\"type\":\"message\",\"role\":\"user\",\"content\":\
         [{{\"type\":\"input_text\",\"text\":\"{text} {words}\"}}]}}"
    )
}

async fn ask(to: SocketAddr, [key, session]: [&str; 2], asked: String) -> Option<Seen> {
    let mut line = Raw::over(TcpStream::connect(to).await.ok()?);
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("thread-id", session)];
    let sent = request("POST", "/v1/responses", &headers, &asked);
    line.try_send(sent.as_bytes()).await.ok()?;
    let answer = line.try_answer().await?;
    let id = answer.header("x-codex-proxy-id")?.to_owned();
    Some(Seen { id, asked, got: answer.body, status: answer.status, whole: !answer.broken })
}

/// Does one thing after the other to the gateway, until the end; gives its folder.
async fn inflict(
    mut gateway: Gateway,
    upstream: &str,
    address: &watch::Sender<SocketAddr>,
    end: Instant,
) -> (TempDir, Faults) {
    let (mut faults, mut chance) = (Faults::new(), Chance::new(99));
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(2_000 + chance.one_of(3_000))).await;
        let (name, next) = match chance.one_of(5) {
            0 => ("killed", Gateway::start_in(gateway.kill(), upstream, &SETTINGS)),
            1 => ("stopped", Gateway::start_in(stopped(gateway).await, upstream, &SETTINGS)),
            2 => ("taken over from", taken_over(gateway, upstream, address).await),
            3 => ("frozen for a second", frozen(gateway).await),
            _ => ("without its archive", without_archive(gateway).await),
        };
        *faults.entry(name).or_default() += 1;
        gateway = next;
        let _ = address.send(gateway.address);
    }
    (stopped(gateway).await, faults)
}

async fn stopped(gateway: Gateway) -> TempDir {
    let stop = tokio::task::spawn_blocking(|| gateway.stop());
    let (folder, well, said) = stop.await.unwrap();
    assert!(well, "{said}");
    folder
}

async fn taken_over(
    mut gateway: Gateway,
    upstream: &str,
    address: &watch::Sender<SocketAddr>,
) -> Gateway {
    let next = gateway.take_over(upstream, &SETTINGS, &[]).unwrap_or_else(|said| panic!("{said}"));
    let _ = address.send(next.address);
    // Until it has drained the folder is its own, too.
    let (well, said) = tokio::task::spawn_blocking(|| gateway.ended()).await.unwrap();
    assert!(well, "{said}");
    next
}

async fn frozen(gateway: Gateway) -> Gateway {
    gateway.signal(libc::SIGSTOP);
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.signal(libc::SIGCONT);
    gateway
}

/// The object store refuses: where its folder was, there is a file.
async fn without_archive(gateway: Gateway) -> Gateway {
    let folder = gateway.folder.path().join("data");
    let (there, aside) = (folder.join("archive"), folder.join("aside"));
    std::fs::rename(&there, &aside).unwrap();
    std::fs::write(&there, "").unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&aside, &there).unwrap();
    gateway
}

/// What was compared.
#[derive(Default)]
struct Compared {
    records: usize,
    whole: usize,
    broken: usize,
    bytes: usize,
}

async fn check(folder: &Path, seen: &[Seen], billed: usize) -> Compared {
    let objects = archive::open(
        &format!("file:{}", folder.join("archive").display()),
        &Access::default(),
        Keys::default(),
    )
    .unwrap();
    let reader = Reader::new(folder.join("spool"), objects);
    let mut records: HashMap<String, Found> = HashMap::new();
    let mut each = |found: Found| {
        let twice = records.insert(found.record.id.clone(), found);
        assert!(twice.is_none(), "twice: {twice:?}");
    };
    let ever = (Date::constant(2026, 1, 1), Date::constant(2100, 1, 1));
    reader.records(ever, &mut each).await.unwrap();
    let mut compared = Compared { records: records.len(), ..Compared::default() };
    assert!(records.len() >= billed, "{} records, {billed} billed", records.len());
    for one in seen.iter().filter(|one| one.status != 503) {
        let found = records.get(&one.id).unwrap_or_else(|| panic!("{} has no record", one.id));
        let stored = reader.exchange(found).await.unwrap();
        let record = &found.record;
        assert!(stored.request_body == one.asked.as_bytes(), "another question: {record:?}");
        compared.bytes += one.asked.len() + one.got.len();
        // Where we ended it, the client saw that besides.
        if one.whole && one.status == 200 && record.refusal.is_none() {
            let ended = record.outcome == Outcome::Complete || has_failed(&one.got);
            assert!(ended, "it came to its end: {record:?}");
            assert!(stored.response_body == one.got, "another answer: {record:?}");
            compared.whole += 1;
        } else {
            let (long, short) = in_order(&stored.response_body, &one.got);
            assert!(one.status != 200 || long.starts_with(short), "another answer: {record:?}");
            compared.broken += 1;
        }
    }
    compared
}

/// Whether the answer says itself that it failed, by the upstream or by the gateway.
fn has_failed(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    text.contains("response.failed") || text.contains("\"status\":\"failed\"")
}

fn in_order<'a>(one: &'a [u8], other: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if one.len() > other.len() { (one, other) } else { (other, one) }
}

fn report(compared: &Compared, faults: &Faults) -> String {
    let Compared { records, whole, broken, bytes } = compared;
    let mut lines = vec![
        format!("- records: {records}, each once"),
        format!("- answers that came to their end: {whole}, all stored complete and byte for byte"),
        format!("- others of which a client saw something: {broken}, all on record"),
        format!("- bytes compared: {bytes}"),
    ];
    lines.extend(faults.iter().map(|(name, count)| format!("- {name}: {count} times")));
    lines.join("\n") + "\n"
}

/// Chances that are the same in each run.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `most`: xorshift64 (Marsaglia 2003).
    fn one_of(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}
