//! What the spool promises, tried with files as a crash would leave them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::folders::list_all;
use super::{Options, Spool, Sync};
use crate::frame::{RequestHead, ResponseHead, Side};
use crate::journal::{Draft, Entry};
use crate::publish::Work;
use crate::read::{Exchange, Found, Left, Reader};
use crate::record::{Outcome, Record, Source};
use crate::segment::{FULL, GROWING};
use crate::sign::Signer;
use bytes::Bytes;
use jiff::civil::date;
use object_store::memory::InMemory;

pub(crate) const ID: &str = "019a0000-0000-7000-8000-00000000000";

pub(crate) fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        node: "cafe0001".to_owned(),
        sync: Sync::Always,
        seal_after: Duration::from_hours(1),
        seal_bytes: 16 << 20,
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

pub(crate) async fn append(spool: &Spool, entry: &Entry<'_>, body: &[u8]) {
    let mut draft = Draft::default();
    draft.push(entry, Bytes::copy_from_slice(body));
    spool.desk().append(&draft).await.unwrap();
}

pub(crate) async fn open(spool: &Spool, number: u8, body: &[u8]) {
    let headers = vec![("accept".to_owned(), "*/*".to_owned())];
    let request = RequestHead {
        method: "POST".to_owned(),
        target: "/v1/responses".to_owned(),
        headers,
        wire: None,
    };
    let record = record(number, Outcome::Failed);
    append(spool, &Entry::Open { record: &record, request: &request }, body).await;
}

pub(crate) async fn close(spool: &Spool, number: u8, body: &[u8]) {
    let record = record(number, Outcome::Complete);
    let response = ResponseHead { status: 200, headers: Vec::new(), wire: None };
    append(spool, &Entry::Close { record: &record, response: Some(&response) }, body).await;
}

pub(crate) async fn publish(folder: &Path, objects: &Arc<InMemory>) {
    let work = Work::new(folder.to_owned(), objects.clone(), Signer::new(&[7; 32]));
    work.unwrap().publish_sealed().await.unwrap();
}

/// A spool of a process that has brought to an end what others left.
fn opened(options: Options) -> Spool {
    let spool = Spool::open(options).unwrap();
    spool.state().folders.recover_left().unwrap();
    spool
}

pub(crate) async fn closed(spool: Spool) {
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
    let spool = opened(options(folder.path()));
    open(&spool, 1, b"{\"model\":\"m\"}").await;
    let piece = vec![0xFFu8; 3_000_000];
    let id = format!("{ID}1");
    append(&spool, &Entry::Body { id: &id, side: Side::Response }, &piece).await;
    assert_eq!(outcomes(&reader).await, [], "an open exchange has no record yet");
    close(&spool, 1, b"the end").await;

    let live = all(&reader).await;
    let before = reader.exchange(&live[0]).await.unwrap();
    closed(spool).await;
    publish(folder.path(), &objects).await;
    let after = reader.find(&live[0].record.id).await.unwrap().unwrap();

    assert_eq!(live[0].record, after.record);
    assert_eq!(all(&reader).await, std::slice::from_ref(&after), "each once");
    assert_eq!(reader.view().unwrap().days().await.unwrap(), [date(2025, 10, 20)]);
    let expected = Exchange {
        request: Some(RequestHead {
            method: "POST".to_owned(),
            target: "/v1/responses".to_owned(),
            headers: vec![("accept".to_owned(), "*/*".to_owned())],
            wire: None,
        }),
        request_body: b"{\"model\":\"m\"}".to_vec(),
        response: Some(ResponseHead { status: 200, headers: Vec::new(), wire: None }),
        response_body: [piece.as_slice(), b"the end"].concat(),
        left: Left::All,
    };
    assert!(before == expected && reader.exchange(&after).await.unwrap() == expected);
    // Found before it was published, read after it.
    assert!(reader.exchange(&live[0]).await.unwrap() == expected);
}

#[tokio::test]
async fn whatever_a_crash_leaves_every_opened_exchange_has_one_record() {
    // Given two exchanges that ended and one under way, as one file of known bytes.
    let folder = tempfile::tempdir().unwrap();
    let spool = opened(options(folder.path()));
    open(&spool, 1, b"one").await;
    open(&spool, 2, b"two").await;
    close(&spool, 1, b"answer one").await;
    open(&spool, 3, b"three").await;
    close(&spool, 2, b"answer two").await;
    let (name, path) = list_all(folder.path(), &[GROWING]).unwrap().remove(0);
    let bytes = std::fs::read(path).unwrap();
    let entries = crate::journal::split(&bytes);
    let ends: Vec<u64> = entries.iter().map(|entry| entry.offset + entry.length()).collect();
    assert_eq!(ends.len(), 5);

    // When the file is cut anywhere, then exactly what had a whole opening has a record,
    // complete where its closing is whole too; a second recovery changes nothing.
    let near = |cut: &usize| ends.iter().any(|end| end.abs_diff(*cut as u64) < 3);
    for cut in (0..=bytes.len()).filter(|cut| cut % 97 == 0 || near(cut)) {
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
        let writer = crashed.path().join("cafe0001w0");
        std::fs::create_dir(&writer).unwrap();
        std::fs::write(writer.join(format!("{name}{GROWING}")), &bytes[..cut]).unwrap();
        let objects = Arc::new(InMemory::new());
        let reader = Reader::new(crashed.path().to_owned(), objects.clone());
        for _ in 0..2 {
            super::recover::recover(&writer, "cafe0001w0", options(crashed.path()).clock).unwrap();
            let found = outcomes(&reader).await;
            let found: Vec<_> = found.iter().map(|(id, outcome)| (id.as_str(), *outcome)).collect();
            assert_eq!(found, expected, "cut at {cut}");
        }
        publish(crashed.path(), &objects).await;
        assert_eq!(outcomes(&reader).await.len(), expected.len());
    }
}

#[tokio::test]
async fn an_exchange_under_way_outlives_its_first_segment() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    // Every entry fills its journal.
    let spool = opened(Options { seal_bytes: 1, ..options(folder.path()) });
    open(&spool, 1, b"one").await;
    sealed(&spool, folder.path()).await;
    open(&spool, 2, b"two").await;
    sealed(&spool, folder.path()).await;
    publish(folder.path(), &objects).await;
    assert_eq!(outcomes(&reader).await, []);
    close(&spool, 1, b"answer").await;
    let live = all(&reader).await;
    assert_eq!(reader.exchange(&live[0]).await.unwrap().request_body, b"one");
    // The second is never closed: the process ends, the next one finds it.
    closed(spool).await;
    let spool = opened(options(folder.path()));
    closed(spool).await;

    // Before and after the rest is published.
    for _ in 0..2 {
        let found = all(&reader).await;
        let expected = [("1", Outcome::Complete), ("2", Outcome::Failed)]
            .map(|(id, outcome)| (id.to_owned(), outcome));
        assert_eq!(outcomes(&reader).await, expected);
        assert_eq!(found[1].record.took_ms, 1500);
        assert_eq!(reader.exchange(&found[0]).await.unwrap().request_body, b"one");
        assert_eq!(reader.exchange(&found[1]).await.unwrap().request_body, b"two");
        publish(folder.path(), &objects).await;
    }
}

/// Waits until what was appended is sealed.
pub(crate) async fn sealed(spool: &Spool, folder: &Path) {
    while list_all(folder, &[GROWING])
        .unwrap()
        .iter()
        .any(|(_, path)| std::fs::metadata(path).is_ok_and(|growing| growing.len() > 0))
    {
        spool.state().sealed.notified().await;
    }
}

#[tokio::test]
async fn a_journal_that_was_published_and_is_still_there_is_not_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let spool = opened(Options { seal_bytes: 1, ..options(folder.path()) });
    open(&spool, 1, b"one").await;
    open(&spool, 2, b"two").await;
    sealed(&spool, folder.path()).await;
    close(&spool, 1, b"answer").await;
    closed(spool).await;
    let journals = list_all(folder.path(), &[FULL]).unwrap();
    assert!(journals.len() >= 2);
    let (_, last) = journals.last().unwrap();
    let bytes = std::fs::read(last).unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    publish(folder.path(), &objects).await;
    // The crash was before its removal.
    std::fs::write(last, bytes).unwrap();
    closed(opened(options(folder.path()))).await;
    publish(folder.path(), &objects).await;

    let expected = [("1", Outcome::Complete), ("2", Outcome::Failed)]
        .map(|(id, outcome)| (id.to_owned(), outcome));
    assert_eq!(outcomes(&reader).await, expected);
    let found = all(&reader).await;
    assert_eq!(reader.exchange(&found[0]).await.unwrap().request_body, b"one");
    assert_eq!(reader.exchange(&found[0]).await.unwrap().response_body, b"answer");
    assert_eq!(reader.exchange(&found[1]).await.unwrap().request_body, b"two");
}

#[tokio::test]
async fn entries_of_many_threads_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let sync = Options { sync: Sync::Group, ..options(folder.path()) };
    let spool = Arc::new(Spool::open(Options { seal_bytes: 20_000, ..sync }).unwrap());
    let many = async |number: u8, spool: Arc<Spool>| {
        for _ in 0..50 {
            open(&spool, number, &[number; 1000]).await;
            close(&spool, number, &[number; 1000]).await;
        }
    };
    let threads = (0..8).map(|number| {
        let spool = spool.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::spawn(move || runtime.block_on(many(number, spool)))
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    closed(Arc::into_inner(spool).unwrap()).await;
    let reader = Reader::new(folder.path().to_owned(), Arc::new(InMemory::new()));
    let found = all(&reader).await;
    assert_eq!(found.len(), 400);
    for found in &found {
        let exchange = reader.exchange(found).await.unwrap();
        assert_eq!((exchange.request_body.len(), exchange.response_body.len()), (1000, 1000));
    }
}

/// Folders in the spool, of all writers.
fn left(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = folders.map(|entry| entry.file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn writers_share_a_spool_each_in_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let reader = Reader::new(folder.path().to_owned(), objects.clone());
    let first = opened(options(folder.path()));
    open(&first, 1, b"one").await;
    open(&first, 2, b"two").await;

    // The second leaves alone what the first has under way, and both are read.
    let second = opened(options(folder.path()));
    open(&second, 3, b"three").await;
    close(&second, 3, b"answer three").await;
    close(&first, 1, b"answer one").await;
    assert_eq!(left(folder.path()).len(), 2);
    let end = |id: &str, outcome| (id.to_owned(), outcome);
    let ends = [end("1", Outcome::Complete), end("3", Outcome::Complete)];
    assert_eq!(outcomes(&reader).await, ends);
    let found = all(&reader).await;
    assert_eq!(reader.exchange(&found[1]).await.unwrap().request_body, b"three");

    // The first goes and leaves one open: whoever is still there brings it to an end.
    closed(first).await;
    let state = second.state().clone();
    state.folders.recover_left().unwrap();
    publish(folder.path(), &objects).await;
    state.folders.remove_empty().unwrap();
    let ends = [ends[0].clone(), end("2", Outcome::Failed), ends[1].clone()];
    assert_eq!(outcomes(&reader).await, ends);
    assert_eq!(left(folder.path()).len(), 1);

    closed(second).await;
    publish(folder.path(), &objects).await;
    state.folders.remove_empty().unwrap();
    assert_eq!(outcomes(&reader).await, ends);
    assert_eq!(left(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn entries_of_one_moment_are_written_by_whoever_goes_on_first() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(Options { sync: Sync::Os, ..options(folder.path()) }).unwrap();
    let reader = Reader::new(folder.path().to_owned(), Arc::new(InMemory::new()));
    let drafts = [1, 2, 3].map(|number| {
        let mut draft = Draft::default();
        let record = record(number, Outcome::Complete);
        draft.push(&Entry::Close { record: &record, response: None }, Bytes::new());
        draft
    });
    let [first, second, dropped] = drafts.each_ref().map(|draft| spool.desk().append(draft));
    assert_eq!(outcomes(&reader).await, [], "they wait for one another");
    first.await.unwrap();
    assert_eq!(outcomes(&reader).await.len(), 3, "one has written for all");
    second.await.unwrap();
    drop(dropped);
    // Nobody waits for this one, and yet it is written.
    drop(spool.desk().append(&drafts[0]));
    let lengths = [0, 1, 2, 0].map(|draft: usize| drafts[draft].length());
    assert_eq!(spool.desk().growing_file().unwrap().1, lengths.iter().sum::<u64>());
    closed(spool).await;
}
