//! Erasures by hand: what is left, what is not, and who notices.

mod failing;
mod masking;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::date;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Done, ERASED, Eraser, Stopped, statement};
use crate::frame::{RequestHead, ResponseHead};
use crate::hold::{self, Held, Hold, Holds};
use crate::journal::Entry;
use crate::known::Known;
use crate::publish::Work;
use crate::read::{Exchange, Left, Reader};
use crate::record::Record;
use crate::retain::{Doing, Kept};
use crate::sealed::{seal, unseal};
use crate::sign::{PublicKey, Signer};
use crate::spool::Spool;
use crate::spool::tests::{append, closed, options};
use crate::verify::{Verdict, Verifier};
use failing::Failing;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// An archive, and the spool that feeds it.
struct Case {
    objects: Arc<Failing>,
    spool: tempfile::TempDir,
    work: Work,
    signer: Signer,
    keys: Vec<PublicKey>,
    next: u8,
}

fn record(number: u8, user: &str, outcome: &str) -> Record {
    let name = user.split('@').next().unwrap();
    let json = serde_json::json!({
        "id": format!("019a0000-0000-7000-8000-0000000000{number:02}"),
        "time": "2025-10-20T11:59:58.5Z", "key_id": format!("key_{name}"), "user": user,
        "endpoint": "POST /v1/responses", "transport": "http", "request_kind": "turn",
        "outcome": outcome, "source": "upstream", "altered": "none", "input_tokens": 5,
        "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 2,
        "reasoning_tokens": 0, "total_tokens": 7, "usage": "exact", "priced": true, "took_ms": 0,
        "request_bytes": 0, "response_bytes": 0, "session_id": format!("session-{name}"),
        "tags": {"who": name}, "findings": [], "node": "cafe0001",
    });
    serde_json::from_value(json).unwrap()
}

/// A request that repeats a conversation of so many turns.
fn body(user: &str, turns: u8) -> Vec<u8> {
    let words = |turn| format!("{user} says {}", blake3::hash(&[turn]).to_hex()).repeat(4);
    let input = (0..turns).map(|turn| serde_json::json!({"role": "user", "content": words(turn)}));
    let input: Vec<_> = input.collect();
    serde_json::to_vec(&serde_json::json!({"model": "m", "input": input})).unwrap()
}

impl Case {
    fn new() -> Self {
        let spool = tempfile::tempdir().unwrap();
        let objects = Arc::new(Failing::default());
        let signer = Signer::new(&[7; 32]);
        let keys = vec![signer.public_key()];
        let work = Self::work(&spool, &objects);
        Self { objects, spool, work, signer, keys, next: 0 }
    }

    fn work(spool: &tempfile::TempDir, objects: &Arc<Failing>) -> Work {
        let signer = Signer::new(&[7; 32]);
        Work::new(spool.path().to_owned(), objects.clone(), signer).unwrap()
    }

    /// Two segments: in each an exchange of Ada's between two of Bob's, all going on from those
    /// before.
    async fn of_two() -> Self {
        let mut case = Self::new();
        case.write(&[BOB, ADA, BOB]).await;
        case.write(&[BOB, ADA, BOB]).await;
        case
    }

    /// One more segment, an exchange for each of these.
    async fn write(&mut self, users: &[&str]) {
        // One later each time, or names would be the same.
        let clock: fn() -> Timestamp = match self.next {
            0 => || "2025-10-20T12:00:00Z".parse().unwrap(),
            1..=3 => || "2025-10-20T12:01:00Z".parse().unwrap(),
            4..=6 => || "2025-10-20T12:02:00Z".parse().unwrap(),
            _ => || "2025-10-20T12:03:00Z".parse().unwrap(),
        };
        let spool = Spool::open(crate::spool::Options { clock, ..options(self.spool.path()) });
        let spool = spool.unwrap();
        for user in users {
            let (method, target) = ("POST".to_owned(), "/v1/responses".to_owned());
            let request = RequestHead { method, target, headers: Vec::new(), wire: None };
            let opening = record(self.next, user, "failed");
            let asked = body(user, self.next + 2);
            append(&spool, &Entry::Open { record: &opening, request: &request }, &asked).await;
            let response = ResponseHead { status: 200, headers: Vec::new(), wire: None };
            let closing = record(self.next, user, "complete");
            let close = Entry::Close { record: &closing, response: Some(&response) };
            append(&spool, &close, format!("an answer to {user}").as_bytes()).await;
            self.next += 1;
        }
        let folders = spool.state().folders.clone();
        closed(spool).await;
        self.work.publish_sealed().await.unwrap();
        folders.remove_empty().unwrap();
    }

    async fn erase(&self, user: &str) -> Done {
        self.try_erase(user).await.unwrap()
    }

    async fn try_erase(&self, user: &str) -> Result<Done, Stopped> {
        let holds = Holds::load(&*self.objects, &self.keys).await.unwrap();
        let eraser = Eraser {
            objects: &*self.objects,
            signer: &self.signer,
            keys: &self.keys,
            holds: &holds,
            user,
            now: "2025-10-21T08:00:00Z".parse().unwrap(),
        };
        eraser.erase(Doing::Delete, &mut |_| {}).await
    }

    async fn verify(&self) -> Verdict {
        let spool = Some(self.spool.path());
        let verifier =
            Verifier { objects: &*self.objects, keys: &self.keys, spool, kept: Kept::ALL };
        verifier.verify((None, None), &mut |_| {}).await.unwrap()
    }

    async fn wrong(&self) -> String {
        self.verify().await.wrong.expect("nothing is wrong").to_string()
    }

    /// Every exchange, by its record.
    async fn read(&self) -> Vec<(Record, Exchange)> {
        let reader = Reader::new(self.spool.path().to_owned(), self.objects.clone());
        let (mut found, day) = (Vec::new(), date(2025, 10, 20));
        reader.records((day, day), &mut |one| found.push(one)).await.unwrap();
        found.sort_by(|one, other| one.record.id.cmp(&other.record.id));
        let mut read = Vec::new();
        for one in found {
            let exchange = reader.exchange(&one).await.unwrap();
            read.push((one.record, exchange));
        }
        read
    }

    /// All objects by their paths.
    async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let listed: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for object in listed {
            objects.insert(object.location.to_string(), self.get(&object.location).await);
        }
        objects
    }

    async fn get(&self, path: &ObjectPath) -> Vec<u8> {
        self.objects.get(path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// What somebody else does who can write.
    async fn overwrite(&self, path: &ObjectPath, bytes: Vec<u8>) {
        let options = PutOptions::from(PutMode::Overwrite);
        self.objects.inner.put_opts(path, bytes.into(), options).await.unwrap();
    }

    /// The first object of a kind.
    async fn first(&self, kind: &str) -> ObjectPath {
        let objects = self.objects().await;
        let first = objects.keys().find(|path| path.starts_with(kind)).unwrap();
        first.as_str().into()
    }

    /// Whether a text is anywhere in the archive.
    async fn has(&self, text: &str) -> bool {
        let is_in = |bytes: &[u8]| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        self.objects().await.values().any(|bytes| match zstd::decode_all(&**bytes) {
            Ok(bytes) => is_in(&bytes),
            Err(_) => is_in(bytes),
        })
    }
}

#[tokio::test]
async fn of_one_who_is_erased_only_numbers_are_left_and_others_have_everything() {
    let case = Case::of_two().await;
    let (before, objects) = (case.read().await, case.objects().await);
    let whole = case.verify().await;
    assert!(case.has(ADA).await && case.has("session-ada").await);

    let done = case.erase(ADA).await;
    assert_eq!(done, Done { exchanges: 2, records: 2, files: 4, refused: Vec::new() });
    assert!(!case.has(ADA).await && !case.has("session-ada").await && !case.has("key_ada").await);
    for (was, is) in before.iter().zip(case.read().await) {
        let is_bob = was.0.user == BOB;
        let sums = (was.0.id.clone(), was.0.total_tokens);
        assert_eq!((is.0.id.clone(), is.0.total_tokens), sums);
        let nothing = Exchange { left: Left::Erased, ..Exchange::default() };
        let expected = if is_bob { was.clone() } else { (is.0.clone(), nothing) };
        assert_eq!(is, expected);
        assert_eq!(is.0.user, if is_bob { BOB } else { ERASED });
    }
    let verdict = case.verify().await;
    assert_eq!(verdict, Verdict { erased: 2, ..whole });
    // Manifests stay as they are.
    let manifests = |objects: BTreeMap<String, Vec<u8>>| {
        objects.into_iter().filter(|(path, _)| path.starts_with("manifests")).collect::<Vec<_>>()
    };
    assert_eq!(manifests(case.objects().await), manifests(objects));

    // Again it finds nothing to do; another person's erasure goes on from there.
    assert_eq!(case.erase(ADA).await, Done::default());
    assert_eq!(case.erase(BOB).await.exchanges, 4);
    let verdict = case.verify().await;
    assert_eq!((verdict.erased, verdict.wrong), (6, None));
    assert!(!case.has(BOB).await);
}

#[tokio::test]
async fn what_a_conversation_says_after_an_erasure_is_read_back() {
    let mut case = Case::new();
    case.write(&[BOB, ADA, BOB]).await;
    // What is known is kept for the next process.
    case.work.remember(Known::save);
    case.erase(ADA).await;
    case.write(&[ADA, BOB, ADA]).await;
    let read = case.read().await;
    let asked: Vec<_> = read.iter().map(|(_, exchange)| exchange.request_body.clone()).collect();
    let expected =
        [body(BOB, 2), Vec::new(), body(BOB, 4), body(ADA, 5), body(BOB, 6), body(ADA, 7)];
    assert_eq!(asked, expected);

    // Also by a process that starts with what was known before.
    case.work = Case::work(&case.spool, &case.objects);
    case.write(&[ADA]).await;
    assert_eq!(case.read().await[6].1.request_body, body(ADA, 8));
    assert_eq!(case.erase(ADA).await.exchanges, 3);
    assert!(!case.has(ADA).await);
}

#[tokio::test]
async fn where_the_records_are_gone_bodies_are_looked_at_all_the_same() {
    let case = Case::of_two().await;
    let records = case.first("records").await;
    case.objects.delete(&records).await.unwrap();
    let done = case.erase(ADA).await;
    assert_eq!(done, Done { exchanges: 2, records: 1, files: 3, refused: Vec::new() });
    assert!(!case.has(ADA).await);
    let wrong = case.wrong().await;
    assert_eq!(wrong, format!("{records}: it is missing"), "nothing else is");
}

#[tokio::test]
async fn wherever_it_is_cut_off_it_is_no_damage_and_the_next_try_ends_it() {
    let puts = 6;
    for allowed in 0..=puts {
        let case = Case::of_two().await;
        case.objects.allow(allowed);
        let refused = case.erase(ADA).await.refused;
        assert_eq!(refused.is_empty(), allowed == puts, "{allowed}: {refused:?}");
        case.objects.allow(usize::MAX);
        let verdict = case.verify().await;
        assert_eq!(verdict.wrong, None, "after {allowed} puts");
        // A file that is stated, and not replaced yet.
        let late = [0, 2, 1, 0, 2, 1, 0][allowed];
        assert_eq!(verdict.unfinished, late, "after {allowed} puts");
        assert_eq!(case.read().await.len(), 6);

        // Whoever comes between leaves it alone.
        let others = case.erase(BOB).await.refused;
        assert_eq!(others.is_empty(), late == 0, "after {allowed} puts: {others:?}");
        let case = Case::of_two().await;
        case.objects.allow(allowed);
        case.erase(ADA).await;
        case.objects.allow(usize::MAX);
        assert_eq!(case.erase(ADA).await.refused, []);
        assert!(!case.has(ADA).await, "after {allowed} puts");
        let verdict = case.verify().await;
        assert_eq!((verdict.erased, verdict.unfinished, verdict.wrong), (2, 0, None));
        // Nothing is stated twice.
        let objects = case.objects().await.into_keys();
        assert_eq!(objects.filter(|path| path.starts_with("erasures/")).count(), 2);
    }
}

#[tokio::test]
async fn who_is_held_is_not_erased() {
    for held in [Held::User(ADA.to_owned()), Held::Session("session-ada".to_owned())] {
        let case = Case::of_two().await;
        let time = Timestamp::UNIX_EPOCH;
        let hold = Hold { id: "h1".to_owned(), time, held, reason: None };
        hold::add(&*case.objects, &hold, &case.signer).await.unwrap();
        let before = case.objects().await;
        let stopped = case.try_erase(ADA).await.unwrap_err().to_string();
        assert_eq!(stopped, format!("{hold} must stay: nothing was erased"));
        assert_eq!(case.objects().await, before);
        assert_eq!(case.erase(BOB).await.exchanges, 4);
    }
}

#[tokio::test]
async fn whoever_changes_what_was_erased_or_forges_that_it_was_is_found_out() {
    // What is left is edited.
    let case = Case::of_two().await;
    case.erase(ADA).await;
    let path = case.first("bodies").await;
    let text = String::from_utf8(zstd::decode_all(&*case.get(&path).await).unwrap()).unwrap();
    let text = text.replace(&format!("an answer to {BOB}"), &format!("no answer to {BOB}"));
    case.overwrite(&path, zstd::encode_all(text.as_bytes(), 3).unwrap()).await;
    let wrong = case.wrong().await;
    assert!(wrong.starts_with(path.as_ref()) && wrong.contains("it was edited"), "{wrong}");

    // Its statement is gone.
    let case = Case::of_two().await;
    case.erase(ADA).await;
    let path = case.first("erasures").await;
    case.objects.delete(&path).await.unwrap();
    let wrong = case.wrong().await;
    assert!(wrong.starts_with("bodies/") && wrong.contains("was edited"), "{wrong}");

    // Somebody without the key erases, and states that.
    let mut case = Case::of_two().await;
    case.signer = Signer::new(&[8; 32]);
    case.erase(ADA).await;
    let path = case.first("erasures").await;
    let expected = format!("{path}: it was edited, or is signed with another key");
    assert_eq!(case.wrong().await, expected);
}

#[tokio::test]
async fn a_statement_that_is_moved_copied_or_of_nothing_is_named() {
    let case = Case::of_two().await;
    case.erase(ADA).await;
    let path = case.first("erasures").await;
    let text = case.get(&path).await;
    let copy = path.to_string().replace(".1.json", ".2.json");
    case.overwrite(&copy.as_str().into(), text.clone()).await;
    let wrong = case.wrong().await;
    assert!(wrong.starts_with(&copy) && wrong.ends_with("moved or copied"), "{wrong}");
    // Before more is erased there, it is told too.
    let refused = case.erase(BOB).await.refused;
    let named: Vec<_> = refused.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(named, [copy.as_str()]);
    case.objects.delete(&copy.as_str().into()).await.unwrap();

    // One of another manifest, with the right signature.
    let mut other: statement::Statement = unseal("erasure", &text, &case.keys).unwrap();
    other.previous = "0".repeat(64);
    case.overwrite(&path, seal(&other, &case.signer).unwrap().into_bytes()).await;
    assert!(case.wrong().await.contains("it does not go on from the manifest"));

    // One of a segment that was never there.
    other.name = "cafe0001w0-20251020T130000000-000000".to_owned();
    let sealed = seal(&other, &case.signer).unwrap().into_bytes();
    case.overwrite(&path, text).await;
    let stray = "erasures/year=2025/month=10/day=20/cafe0001w0-20251020T130000000-000000.1.json";
    case.overwrite(&stray.into(), sealed).await;
    assert!(case.wrong().await.ends_with("it has no manifest"), "{}", case.wrong().await);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_written_is_left_alone() {
    let case = Case::of_two().await;
    let path = case.first("bodies").await;
    let text = String::from_utf8(zstd::decode_all(&*case.get(&path).await).unwrap()).unwrap();
    let edited = zstd::encode_all(text.replace("says", "said").as_bytes(), 3).unwrap();
    case.overwrite(&path, edited.clone()).await;
    let done = case.erase(ADA).await;
    assert_eq!((done.exchanges, done.files), (1, 2), "the other segment is done");
    let told: Vec<_> = done.refused.iter().map(ToString::to_string).collect();
    let expected = "it is not what was written: see `codex-proxy audit verify`";
    assert_eq!(told, [format!("{path}: {expected}")]);
    assert_eq!(case.get(&path).await, edited);
}
