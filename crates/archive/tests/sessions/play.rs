//! Plays recorded sessions into an archive, interleaved, and reads them back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use archive::frame::{RequestHead, ResponseHead};
use archive::journal::{Draft, Entry};
use archive::objects::Access;
use archive::publish::Publisher;
use archive::read::{Found, Reader};
use archive::record::Record;
use archive::sign::Signer;
use archive::spool::{Options, Spool, Sync};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Builder;

/// 22 November 2026, noon, in milliseconds since 1970.
const NOON: i64 = 1_795_348_800_000;
const DAY: i64 = 86_400_000;

/// What time it is: a millisecond later at each look.
static NOW: AtomicI64 = AtomicI64::new(NOON);

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW.fetch_add(1, Ordering::Relaxed)).unwrap()
}

/// One exchange that was recorded.
pub(crate) struct Recorded {
    pub(crate) record: Record,
    pub(crate) request: Bytes,
    pub(crate) response: Bytes,
}

/// The exchanges below a folder, of all sessions by turns.
pub(crate) fn recorded(folder: &Path) -> Vec<Recorded> {
    let mut sessions: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    sessions.retain(|path| path.join("meta.json").exists());
    sessions.sort();
    let mut all = Vec::new();
    for turn in 0.. {
        let before = all.len();
        for session in &sessions {
            let request = session.join(format!("r{turn:03}.req"));
            let response = session.join(format!("r{turn:03}.resp"));
            if request.exists() {
                let meta = std::fs::read(session.join("meta.json")).unwrap();
                let meta = serde_json::from_slice(&meta).unwrap();
                let request = Bytes::from(std::fs::read(request).unwrap());
                let response = Bytes::from(std::fs::read(response).unwrap());
                all.push(Recorded { record: record(&meta, turn), request, response });
            }
        }
        if all.len() == before {
            break;
        }
    }
    all
}

fn record(meta: &Value, turn: u32) -> Record {
    let id = uuid::Uuid::now_v7();
    let json = json!({
        "id": id, "time": "2026-11-22T12:00:00Z", "key_id": format!("key-{}", meta["user"]),
        "user": meta["user"], "team": "blue", "endpoint": "POST /v1/responses", "transport": "sse",
        "request_kind": "turn", "model": "gpt-5.3-codex", "upstream_model": "gpt-5.3-codex",
        "status": 200, "outcome": "complete", "source": "upstream", "altered": "none",
        "input_tokens": 70_000 + turn, "cached_input_tokens": 1000,
        "cache_write_tokens": 0, "output_tokens": 700 + turn, "reasoning_tokens": 128,
        "total_tokens": 1700 + turn, "usage": "exact", "cost_usd": "0.012345", "priced": true,
        "took_ms": 1000 + turn, "first_byte_ms": 300 + turn, "request_bytes": 1, "response_bytes": 1,
        "session_id": meta["session"], "thread_id": meta["session"],
        "turn_id": uuid::Uuid::now_v7(), "response_id": format!("resp_{}", uuid::Uuid::now_v7().simple()),
        "client": "codex_cli_rs", "client_version": "0.99.0", "tags": {}, "findings": [],
        "node": "cafe0001",
    });
    serde_json::from_value(json).unwrap()
}

/// An archive with its spool, below one folder.
pub(crate) struct House {
    pub(crate) folder: PathBuf,
}

impl House {
    fn options(&self) -> Options {
        Options {
            folder: self.folder.join("spool"),
            node: "cafe0001".to_owned(),
            sync: Sync::Os,
            seal_after: Duration::from_hours(1),
            seal_bytes: 16 << 20,
            clock: now,
        }
    }

    fn objects(&self) -> Arc<dyn object_store::ObjectStore> {
        let url = format!("file:{}", self.folder.join("archive").display());
        archive::open(&url, &Access::default()).unwrap()
    }

    /// One life of a process that records these exchanges.
    pub(crate) fn live(&self, exchanges: &mut [Recorded]) {
        let spool = Spool::open(self.options()).unwrap();
        let (folder, signer) = (self.folder.join("spool"), Signer::new(&[7; 32]));
        let publisher = Publisher::start(folder, self.objects(), signer, spool.state().clone());
        let runtime = Builder::new_current_thread().build().unwrap();
        for one in exchanges {
            one.record.time = now();
            runtime.block_on(append(&spool, one));
            self.wait_for_publisher(2);
        }
        self.wait_for_publisher(0);
        spool.close();
        publisher.unwrap().finish();
    }

    /// A restart after half of the exchanges, midnight after three quarters.
    pub(crate) fn live_through_all(&self, exchanges: &mut [Recorded]) {
        let (first, rest) = exchanges.split_at_mut(exchanges.len() / 2);
        let (second, third) = rest.split_at_mut(rest.len() / 2);
        self.live(first);
        self.live(second);
        NOW.fetch_add(DAY, Ordering::Relaxed);
        self.live(third);
    }

    /// As time would: a journal is made a segment while the next one grows.
    fn wait_for_publisher(&self, waiting: usize) {
        let sealed = || {
            let writers =
                paths(&self.folder.join("spool")).into_iter().filter(|path| path.is_dir());
            let files = writers.flat_map(|writer| paths(&writer));
            files.filter(|path| path.extension().is_some_and(|ending| ending == "full")).count()
        };
        while sealed() > waiting {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What reads it.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.folder.join("spool"), self.objects())
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        bytes(&self.folder)
    }
}

async fn append(spool: &Spool, one: &Recorded) {
    let headers: Vec<(String, String)> = [
        ("accept", "text/event-stream"),
        ("content-type", "application/json"),
        ("originator", "codex_cli_rs"),
        ("user-agent", "codex_cli_rs/0.99.0 (Debian 12; x86_64) xterm"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let request = RequestHead {
        method: "POST".to_owned(),
        target: "/v1/responses".to_owned(),
        headers: headers.clone(),
        wire: None,
    };
    let record = &one.record;
    let mut draft = Draft::default();
    draft.push(&Entry::Open { record, request: &request }, one.request.clone());
    spool.desk().append(&draft).await.unwrap();
    let response = ResponseHead { status: 200, headers, wire: None };
    let mut draft = Draft::default();
    let closing = Entry::Close { record, response: Some(&response) };
    draft.push(&closing, one.response.clone());
    spool.desk().append(&draft).await.unwrap();
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Bytes of a file, or of all files below a folder.
pub(crate) fn bytes(path: &Path) -> u64 {
    let Ok(found) = std::fs::metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| bytes(&entry.unwrap().path())).sum()
}

/// Every record with its place, by id.
pub(crate) async fn all(reader: &Reader) -> HashMap<String, Found> {
    let days = (jiff::civil::date(2026, 11, 22), jiff::civil::date(2026, 11, 23));
    let mut all = HashMap::new();
    let mut keep = |found: Found| {
        let twice = all.insert(found.record.id.clone(), found);
        assert!(twice.is_none(), "each once");
    };
    reader.records(days, &mut keep).await.unwrap();
    all
}
