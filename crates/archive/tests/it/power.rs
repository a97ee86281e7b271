//! The power fails: at any moment, with any of what was not synced lost.
//!
//! A process writes an archive while `strace` notes what it does to the disk. Each beginning of that
//! is then laid out as a crash could leave it, and recovered: what had been promised by then must be
//! there, once.

mod disk;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use archive::frame::{RequestHead, ResponseHead, Side};
use archive::journal::{Draft, Entry};
use archive::objects::Access;
use archive::publish::Publisher;
use archive::read::{Found, Reader};
use archive::record::{Outcome, Record};
use archive::retain::Kept;
use archive::sign::Signer;
use archive::spool::{Options, Spool, Sync};
use archive::verify::Verifier;
use bytes::Bytes;
use disk::{Disk, Loss};
use jiff::civil::date;
use trace::Event;

/// Says that this test program was started to be watched.
const STAGE: &str = "stage";
/// Exchanges of each of the two lives; the last of each is left open.
const EXCHANGES: [std::ops::Range<u8>; 2] = [0..9, 9..16];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_power_failure_leaves_what_was_promised_is_there_once() {
    let stage = tempfile::tempdir().unwrap();
    std::fs::write(stage.path().join(STAGE), "").unwrap();
    let events = watched(stage.path());
    let (mut disk, mut promised) = (Disk::new(stage.path()), Promised::default());
    let (mut tried, mut seen) = (0, HashSet::new());
    for event in &events {
        if let Event::Said(word) = event {
            promised.take(word);
        }
        for state in disk.states_around(event) {
            // The same as before, of which no more is promised.
            if seen.insert((state.digest(), promised.clone())) {
                tried += 1;
                let folder = tempfile::tempdir_in(fast_folder()).unwrap();
                state.lay_out(folder.path());
                check(folder.path(), &promised, state.loss, tried).await;
            }
        }
    }
    assert_eq!(promised.closed.len(), 14, "the whole play was watched");
    assert!(tried > 200, "only {tried} states were tried");
}

/// Recovery syncs much, which on a disk takes its time.
fn fast_folder() -> std::path::PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

/// What the process has said to be safe.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Promised {
    opened: BTreeSet<u8>,
    closed: BTreeSet<u8>,
}

impl Promised {
    fn take(&mut self, word: &str) {
        let (verb, number) = word.trim().split_once(' ').unwrap();
        let number = number.parse().unwrap();
        match verb {
            "opened" => self.opened.insert(number),
            "closed" => self.closed.insert(number),
            _ => panic!("{word}"),
        };
    }
}

async fn check(folder: &Path, promised: &Promised, loss: Loss, state: usize) {
    let case = format!("state {state}, {loss:?}, {promised:?}");
    let (spool, archive) = (folder.join("spool"), folder.join("archive"));
    let objects =
        archive::open(&format!("file:{}", archive.display()), &Access::default()).unwrap();
    let options = options(&spool);
    let recovered = tokio::task::spawn_blocking({
        let objects = objects.clone();
        move || recover(options, objects)
    });
    recovered.await.unwrap().unwrap_or_else(|error| panic!("{case}: {error}"));

    let (keys, some_spool) = ([signer().public_key()], Some(spool.as_path()));
    let verifier = Verifier { objects: &*objects, keys: &keys, spool: some_spool, kept: Kept::ALL };
    let verdict = verifier.verify((None, None), &mut |_| {}).await;
    assert_eq!(verdict.unwrap_or_else(|error| panic!("{case}: {error}")).wrong, None, "{case}");
    let reader = Reader::new(spool, objects);
    let mut found = BTreeMap::<String, Found>::new();
    let days = (date(2025, 10, 20), date(2025, 10, 20));
    let mut each = |one: Found| {
        let twice = found.insert(one.record.id.clone(), one);
        assert!(twice.is_none(), "{case}: twice {twice:?}");
    };
    reader.records(days, &mut each).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    for number in &promised.opened {
        let one = found.get(&id(*number)).unwrap_or_else(|| panic!("{case}: {number} is lost"));
        let whole = reader.exchange(one).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(whole.request_body == question(*number), "{case}: {number} asks something else");
        let ended = one.record.outcome == Outcome::Complete;
        assert!(ended || !promised.closed.contains(number), "{case}: the end of {number} is lost");
        assert!(!ended || whole.response_body == answer(*number), "{case}: answer of {number}");
    }
}

fn signer() -> Signer {
    Signer::new(&[7; 32])
}

/// What the next start does, and the end of that process.
fn recover(
    options: Options,
    objects: Arc<dyn object_store::ObjectStore>,
) -> Result<(), archive::Error> {
    let folder = options.folder.clone();
    let spool = Spool::open(options)?;
    let publisher = Publisher::start(folder, objects, signer(), spool.state().clone())?;
    spool.close();
    publisher.finish();
    Ok(())
}

/// Runs [`play`] in a process of its own, and gives what it did.
fn watched(stage: &Path) -> Vec<Event> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let calls = "trace=openat,write,writev,ftruncate,rename,renameat,renameat2,link,linkat,unlink,\
                 unlinkat,fsync,fdatasync,mkdir,mkdirat,rmdir,lseek";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-v", "-xx", "-s", "10000000", "-e", calls, "-o"]);
    strace.arg(log.path()).arg(std::env::current_exe().unwrap());
    strace.args(["--ignored", "--exact", "power::play", "--nocapture", "--test-threads", "1"]);
    strace.current_dir(stage).stdout(Stdio::null());
    let ran = strace.status().expect("strace is missing: apt-get install strace");
    assert!(ran.success());
    trace::events(&std::fs::read_to_string(log.path()).unwrap(), stage)
}

/// Writes an archive in the folder where it is started, in two lives, and says what is safe.
#[test]
#[ignore = "played by the test above, in a folder of its own"]
fn play() {
    let stage = std::env::current_dir().unwrap();
    if !stage.join(STAGE).exists() {
        return;
    }
    let (spool, archive) = (stage.join("spool"), stage.join("archive"));
    for numbers in EXCHANGES {
        let objects =
            archive::open(&format!("file:{}", archive.display()), &Access::default()).unwrap();
        let desk = Spool::open(options(&spool)).unwrap();
        let others = desk.state().clone();
        let publisher = Publisher::start(spool.clone(), objects, signer(), others).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live(&desk, numbers));
        desk.close();
        publisher.finish();
    }
}

async fn live(spool: &Spool, numbers: std::ops::Range<u8>) {
    let last = numbers.end - 1;
    for number in numbers {
        let record = record(number, Outcome::Failed);
        let request = RequestHead {
            method: "POST".to_owned(),
            target: "/v1/responses".to_owned(),
            headers: Vec::new(),
            wire: None,
        };
        append(spool, &Entry::Open { record: &record, request: &request }, question(number)).await;
        say(&format!("opened {number}"));
        let (piece, rest) = (answer(number)[..1000].to_vec(), answer(number)[1000..].to_vec());
        append(spool, &Entry::Body { id: &record.id, side: Side::Response }, piece).await;
        if number == last {
            continue;
        }
        let record = self::record(number, Outcome::Complete);
        let response = ResponseHead { status: 200, headers: Vec::new(), wire: None };
        append(spool, &Entry::Close { record: &record, response: Some(&response) }, rest).await;
        say(&format!("closed {number}"));
    }
}

fn say(word: &str) {
    std::io::stdout().write_all(format!("{}{word}\n", trace::SAYS).as_bytes()).unwrap();
}

async fn append(spool: &Spool, entry: &Entry<'_>, body: Vec<u8>) {
    let mut draft = Draft::default();
    draft.push(entry, Bytes::from(body));
    spool.desk().append(&draft).await.unwrap();
}

fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        node: "cafe0001".to_owned(),
        sync: Sync::Always,
        seal_after: Duration::from_hours(1),
        seal_bytes: 20_000,
        clock: || "2025-10-20T12:00:00Z".parse().unwrap(),
    }
}

fn id(number: u8) -> String {
    // A UUIDv7 of that day.
    format!("019a0186-d8c0-7000-8000-0000000000{number:02}")
}

fn record(number: u8, outcome: Outcome) -> Record {
    let time = "2025-10-20T12:00:00Z".parse().unwrap();
    let record = Record::blank(id(number), time, "cafe0001");
    Record { thread_id: Some("one".to_owned()), outcome, ..record }
}

/// A conversation that grows: each asks what the one before asked, and more.
fn question(number: u8) -> Vec<u8> {
    let items = (0..=number).map(|one| {
        let text = format!("item {one} ").repeat(60);
        serde_json::json!({"type": "message", "role": "user", "content": text})
    });
    let input: Vec<_> = items.collect();
    serde_json::json!({"model": "m", "input": input}).to_string().into_bytes()
}

fn answer(number: u8) -> Vec<u8> {
    format!("{{\"answer\":\"{}\"}}", format!("to {number} ").repeat(400)).into_bytes()
}
