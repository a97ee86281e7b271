//! What the spool promises, tried with files as a crash would leave them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::date;
use object_store::memory::InMemory;
use tokio::sync::oneshot;

use super::folders::list_all;
use super::{Command, Options, Spool, Sync};
use crate::frame::{Closing, Line, Opening, Part, RequestHead, ResponseHead, Side};
use crate::read::{Exchange, Found, Reader};
use crate::record::{Outcome, Record, Source};

const ID: &str = "019a0000-0000-7000-8000-00000000000";

fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        node: "cafe0001".to_owned(),
        sync: Sync::Always,
        seal_after: Duration::from_hours(1),
        seal_bytes: 16 << 20,
        queue: 16,
        clock: || "2025-10-20T12:00:00Z".parse().unwrap(),
    }
}

fn record(number: u8, outcome: Outcome) -> Record {
    let json = serde_json::json!({
        "id": format!("{ID}{number}"), "time": "2025-10-20T11:59:58.5Z", "key_id": "k",
        "user": "ada@example.com", "endpoint": "POST /v1/responses", "transport": "http",
        "request_kind": "turn", "outcome": outcome, "source": Source::Proxy, "altered": "none",
        "input_tokens": 0, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 0,
        "reasoning_tokens": 0, "total_tokens": 0, "usage": "none", "priced": true, "took_ms": 0,
        "request_bytes": 0, "response_bytes": 0, "tags": {}, "findings": [], "node": "cafe0001",
    });
    serde_json::from_value(json).unwrap()
}

async fn open(spool: &Spool, number: u8, body: &[u8]) {
    let headers = vec![("accept".to_owned(), "*/*".to_owned())];
    let request =
        RequestHead { method: "POST".to_owned(), target: "/v1/responses".to_owned(), headers };
    let record = record(number, Outcome::Failed);
    let parts = Part::cut(&record.id, Side::Request, body);
    let opening = Opening { record, request, frames: Vec::new() };
    let (ack, done) = oneshot::channel();
    spool.inbox().send(Command::Open(Box::new(opening), parts, ack)).await.unwrap();
    done.await.unwrap().unwrap();
}

async fn close(spool: &Spool, number: u8, body: &[u8]) {
    let record = record(number, Outcome::Complete);
    let rest = Part::cut(&record.id, Side::Response, body).into_iter().map(Line::Body).collect();
    let response = Some(ResponseHead { status: 200, headers: Vec::new() });
    let (ack, done) = oneshot::channel();
    let closing = Closing { record, response, frames: Vec::new() };
    spool.inbox().send(Command::Close(Box::new(closing), rest, Some(ack))).await.unwrap();
    done.await.unwrap().unwrap();
}

async fn closed(spool: Spool) {
    tokio::task::spawn_blocking(move || spool.close()).await.unwrap();
}

async fn all(reader: &Reader) -> Vec<Found> {
    let mut all = Vec::new();
    let days = (date(2025, 10, 1), date(2025, 10, 31));
    reader.records(days, &mut |found| all.push(found)).await.unwrap();
    all.sort_by(|one, other| one.record.id.cmp(&other.record.id));
    all
}

async fn outcomes(reader: &Reader) -> Vec<(String, Outcome)> {
    let ends = all(reader).await.into_iter();
    ends.map(|found| (found.record.id.replace(ID, ""), found.record.outcome)).collect()
}

#[tokio::test]
async fn an_exchange_is_read_back_whole_before_and_after_publishing() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    let spool = Spool::open(options(folder.path())).unwrap();
    open(&spool, 1, b"{\"model\":\"m\"}").await;
    let piece = vec![0xFFu8; 3_000_000];
    let parts = Part::cut(&format!("{ID}1"), Side::Response, &piece);
    spool.inbox().send(Command::Body(parts, None)).await.unwrap();
    assert_eq!(outcomes(&reader).await, [], "an open exchange has no record yet");
    close(&spool, 1, b"the end").await;

    let live = all(&reader).await;
    let before = reader.exchange(&live[0]).await.unwrap();
    closed(spool).await;
    crate::publish::publish_sealed(folder.path(), &*objects).await.unwrap();
    let after = reader.find(&live[0].record.id).await.unwrap().unwrap();

    assert_eq!(live, std::slice::from_ref(&after));
    assert_eq!(live, all(&reader).await, "each once");
    assert_eq!(reader.view().unwrap().days().await.unwrap(), [date(2025, 10, 20)]);
    let expected = Exchange {
        request: Some(RequestHead {
            method: "POST".to_owned(),
            target: "/v1/responses".to_owned(),
            headers: vec![("accept".to_owned(), "*/*".to_owned())],
        }),
        request_body: b"{\"model\":\"m\"}".to_vec(),
        response: Some(ResponseHead { status: 200, headers: Vec::new() }),
        response_body: [piece.as_slice(), b"the end"].concat(),
    };
    assert!(before == expected && reader.exchange(&after).await.unwrap() == expected);
}

#[tokio::test]
async fn whatever_a_crash_leaves_every_opened_exchange_has_one_record() {
    // Given two exchanges that ended and one under way, as one file of known bytes.
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(options(folder.path())).unwrap();
    open(&spool, 1, b"one").await;
    open(&spool, 2, b"two").await;
    close(&spool, 1, b"answer one").await;
    open(&spool, 3, b"three").await;
    close(&spool, 2, b"answer two").await;
    let (name, path) =
        list_all(folder.path(), &[super::super::segment::GROWING]).unwrap().remove(0);
    let bytes = std::fs::read(path).unwrap();
    let frames = crate::frame::split(&bytes);
    let ends: Vec<u64> = frames.iter().map(|(at, frame)| at + frame.len() as u64).collect();
    assert_eq!(ends.len(), 5);

    // When the file is cut anywhere, then exactly what had a whole opening frame has a record,
    // complete where its closing frame is whole too; a second recovery changes nothing.
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();
        let expected: &[(&str, Outcome)] = match whole {
            0 => &[],
            1 => &[("1", Outcome::Failed)],
            2 => &[("1", Outcome::Failed), ("2", Outcome::Failed)],
            3 => &[("1", Outcome::Complete), ("2", Outcome::Failed)],
            4 => &[("1", Outcome::Complete), ("2", Outcome::Failed), ("3", Outcome::Failed)],
            _ => &[("1", Outcome::Complete), ("2", Outcome::Complete), ("3", Outcome::Failed)],
        };
        let crashed = tempfile::tempdir().unwrap();
        let file = format!("{name}{}", crate::segment::GROWING);
        std::fs::write(crashed.path().join(file), &bytes[..cut]).unwrap();
        let objects = Arc::new(InMemory::new());
        let reader = Reader::new(crashed.path().to_owned(), objects.clone());
        for _ in 0..2 {
            super::recover::recover(crashed.path(), "cafe0001", options(crashed.path()).clock)
                .unwrap();
            let found = outcomes(&reader).await;
            let found: Vec<_> = found.iter().map(|(id, outcome)| (id.as_str(), *outcome)).collect();
            assert_eq!(found, expected, "cut at {cut}");
        }
        crate::publish::publish_sealed(crashed.path(), &*objects).await.unwrap();
        assert_eq!(outcomes(&reader).await.len(), expected.len());
    }
}

#[tokio::test]
async fn an_exchange_under_way_outlives_its_first_segment() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    // Every frame fills its segment.
    let spool = Spool::open(Options { seal_bytes: 1, ..options(folder.path()) }).unwrap();
    open(&spool, 1, b"one").await;
    open(&spool, 2, b"two").await;
    spool.state().sealed.notified().await;
    spool.state().sealed.notified().await;
    crate::publish::publish_sealed(folder.path(), &*objects).await.unwrap();
    close(&spool, 1, b"answer").await;
    // The second is never closed: the process ends, the next one finds it.
    closed(spool).await;
    let spool = Spool::open(options(folder.path())).unwrap();
    closed(spool).await;

    let found = all(&reader).await;
    let expected = [("1", Outcome::Complete), ("2", Outcome::Failed)]
        .map(|(id, outcome)| (id.to_owned(), outcome));
    assert_eq!(outcomes(&reader).await, expected);
    assert_eq!(found[1].record.took_ms, 1500);
    assert_eq!(reader.exchange(&found[0]).await.unwrap().request_body, b"one");
    assert_eq!(reader.exchange(&found[1]).await.unwrap().request_body, b"two");
}

/// Folders and files in the spool, of all writers.
fn left(root: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn writers_share_a_spool_each_in_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    let first = Spool::open(options(folder.path())).unwrap();
    open(&first, 1, b"one").await;
    open(&first, 2, b"two").await;

    // The second leaves alone what the first has under way, and both are read.
    let second = Spool::open(options(folder.path())).unwrap();
    open(&second, 3, b"three").await;
    close(&second, 3, b"answer three").await;
    close(&first, 1, b"answer one").await;
    assert_eq!(left(folder.path()), ["cafe0001w0", "cafe0001w1"]);
    let end = |id: &str, outcome| (id.to_owned(), outcome);
    let ends = [end("1", Outcome::Complete), end("3", Outcome::Complete)];
    assert_eq!(outcomes(&reader).await, ends);
    let found = all(&reader).await;
    assert_eq!(reader.exchange(&found[1]).await.unwrap().request_body, b"three");

    // The first goes and leaves one open: whoever is still there brings it to an end.
    closed(first).await;
    let state = second.state().clone();
    state.folders.recover_left().unwrap();
    crate::publish::publish_sealed(folder.path(), &*objects).await.unwrap();
    state.folders.remove_empty().unwrap();
    let ends = [ends[0].clone(), end("2", Outcome::Failed), ends[1].clone()];
    assert_eq!(outcomes(&reader).await, ends);
    assert_eq!(left(folder.path()), ["cafe0001w1"]);

    closed(second).await;
    crate::publish::publish_sealed(folder.path(), &*objects).await.unwrap();
    state.folders.remove_empty().unwrap();
    assert_eq!(outcomes(&reader).await, ends);
    assert_eq!(left(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn segments_in_the_folder_of_all_are_brought_to_an_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(options(folder.path())).unwrap();
    open(&spool, 1, b"one").await;
    let (name, path) =
        list_all(folder.path(), &[super::super::segment::GROWING]).unwrap().remove(0);
    let earlier = tempfile::tempdir().unwrap();
    std::fs::copy(path, earlier.path().join(format!("{name}.growing"))).unwrap();

    closed(Spool::open(options(earlier.path())).unwrap()).await;
    let reader = Reader::new(earlier.path().to_owned(), Arc::new(InMemory::new()));
    assert_eq!(outcomes(&reader).await, [("1".to_owned(), Outcome::Failed)]);
    closed(spool).await;
}
