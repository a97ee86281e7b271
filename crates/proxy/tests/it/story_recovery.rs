//! A start over a large spool: whoever asks is served at once, what was left is tidied up beside.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use archive::frame::RequestHead;
use archive::journal::{Draft, Entry};
use archive::record::Record;
use archive::spool::{Options, Spool, Sync};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::harness::client::{Raw, contains, post};
use crate::harness::recording::{Step, chunk, stream_head};
use crate::harness::{Gateway, Recording, simulator, until, url};

/// So many bodies of so many bytes: a gibibyte.
const BODIES: u32 = 64;
const BODY: usize = 16 << 20;
/// So soon the first exchange has been served.
const START: Duration = Duration::from_secs(2);

#[tokio::test]
async fn over_a_spool_of_a_gibibyte_it_is_ready_in_two_seconds() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key("ada@example.com").value;
    let (folder, ..) = gateway.stop();
    let left = tokio::task::spawn_blocking({
        let spool = folder.path().join("data/spool");
        move || fill(&spool)
    });
    let left = left.await.unwrap();

    // Of three tries, since much else runs beside this.
    let (mut folder, mut gateway) = (Some(folder), None);
    let mut took = Vec::new();
    while took.last().is_none_or(|took| *took >= START) {
        assert!(took.len() < 3, "it took {took:?}");
        let folder = folder.take().or_else(|| gateway.take().map(Gateway::kill)).unwrap();
        let started = Instant::now();
        let next = Gateway::start_in(folder, &url(&simulator), &[]);
        let body = r#"{"model":"gpt-5.5","input":"hello"}"#;
        assert_eq!(post(next.address, "/v1/responses", &key, body).await.status, 200);
        took.push(started.elapsed());
        gateway = Some(next);
    }
    let gateway = gateway.unwrap();

    // And what was open has its end.
    let outcome = || {
        let records = gateway.records();
        let found = records.iter().find(|record| record["id"] == left.as_str());
        found.map(|record| record["outcome"].clone())
    };
    until("what was left open ends", || outcome() == Some(json!("failed"))).await;
    // What is left to publish is left behind with the folder.
    gateway.kill();
    simulator.stop().await;
}

#[tokio::test]
async fn what_came_before_a_silence_outlives_a_kill() {
    // Given a stream that has said something, and then nothing for long.
    let event = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"said once\"}\n\n";
    let upstream = Recording::start(vec![stream_head(), chunk(event), Step::Wait]).await;
    let gateway = Gateway::start(&upstream.url());
    let key = gateway.key("ada@example.com").value;
    let body = r#"{"model":"gpt-5.5","stream":true}"#;
    let mut client = Raw::asking(gateway.address, &key, body).await;
    client.read_until("said once").await;
    let spool = gateway.folder.path().join("data/spool");
    until("it is in the spool", || contains(&written(&spool), b"said once")).await;

    // When the process is killed, then its record has that.
    let gateway = Gateway::start_in(gateway.kill(), &upstream.url(), &[]);
    until("the exchange is on record", || gateway.records().len() == 1).await;
    let record = gateway.records().remove(0);
    assert_eq!((&record["outcome"], &record["source"]), (&json!("failed"), &json!("proxy")));
    let kept = gateway.raw(record["id"].as_str().unwrap(), "response");
    assert_eq!(String::from_utf8(kept).unwrap(), event);
}

/// All that is in the files below a folder.
fn written(folder: &Path) -> Vec<u8> {
    let below =
        |path: PathBuf| if path.is_dir() { written(&path) } else { std::fs::read(path).unwrap() };
    std::fs::read_dir(folder).unwrap().flat_map(|entry| below(entry.unwrap().path())).collect()
}

/// Leaves journals as a process does that could not publish them, and one exchange open. Its id.
fn fill(spool: &Path) -> String {
    let options = Options {
        folder: spool.to_owned(),
        node: "cafe0001".to_owned(),
        sync: Sync::Os,
        seal_after: Duration::from_hours(1),
        seal_bytes: BODY as u64,
        clock: Timestamp::now,
    };
    let spool = Spool::open(options).unwrap();
    let body = Bytes::from(vec![b'x'; BODY]);
    let open = record();
    for number in 0..BODIES {
        let record = if number == 0 { open.clone() } else { record() };
        let mut draft = Draft::default();
        let request = RequestHead {
            method: "POST".to_owned(),
            target: "/v1/responses".to_owned(),
            headers: Vec::new(),
            wire: None,
        };
        draft.push(&Entry::Open { record: &record, request: &request }, body.clone());
        if number > 0 {
            draft.push(&Entry::Close { record: &record, response: None }, Bytes::new());
        }
        spool.desk().append_now(&draft).unwrap();
    }
    spool.close();
    open.id
}

fn record() -> Record {
    let mut record = Record::blank(Uuid::now_v7().to_string(), Timestamp::now(), "cafe0001");
    "ada@example.com".clone_into(&mut record.user);
    record
}
