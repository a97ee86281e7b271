//! Each thing that somebody may do to an archive, done by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::civil::date;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::{Verdict, Verifier};
use crate::hold::Holds;
use crate::manifest::{Chain, Filed, Manifest};
use crate::retain::{Doing, Keep, Kept, prune};
use crate::sign::{PublicKey, Signer};
use crate::spool::tests::{ID, close, closed, open, options, publish, sealed};
use crate::spool::{Options, Spool};

/// A clock that is a second later at each look.
fn later() -> Timestamp {
    static SECONDS: AtomicI64 = AtomicI64::new(1_760_961_600);
    Timestamp::from_second(SECONDS.fetch_add(1, Ordering::Relaxed)).unwrap()
}

/// An archive of three segments with two exchanges each, and what it was made of.
struct Case {
    objects: Arc<InMemory>,
    spool: tempfile::TempDir,
    keys: Vec<PublicKey>,
}

impl Case {
    async fn new() -> Self {
        let spool = tempfile::tempdir().unwrap();
        let objects = Arc::new(InMemory::new());
        let keys = vec![Signer::new(&[7; 32]).public_key()];
        let case = Self { objects, spool, keys };
        for number in [0, 2, 4] {
            case.write(number).await;
        }
        case
    }

    fn folder(&self) -> &Path {
        self.spool.path()
    }

    /// Names have the time in them.
    fn options(&self) -> Options {
        Options { clock: later, ..options(self.folder()) }
    }

    /// One more segment, of two exchanges.
    async fn write(&self, number: u8) {
        let spool = Spool::open(self.options()).unwrap();
        for number in [number, number + 1] {
            open(&spool, number, b"a question").await;
            close(&spool, number, b"an answer").await;
        }
        let folders = spool.state().folders.clone();
        closed(spool).await;
        publish(self.folder(), &self.objects).await;
        // So the next one is of the same writer.
        folders.remove_empty().unwrap();
    }

    async fn verify(&self) -> Verdict {
        self.verify_kept(Kept::ALL).await
    }

    async fn verify_kept(&self, kept: Kept) -> Verdict {
        let spool = Some(self.folder());
        let verifier = Verifier { objects: &*self.objects, keys: &self.keys, spool, kept };
        verifier.verify((None, None), &mut |_| {}).await.unwrap()
    }

    /// What is wrong, and where; the folders of the day left out.
    async fn wrong(&self) -> String {
        let wrong = self.verify().await.wrong.expect("nothing is wrong");
        format!("{}: {}", short(&wrong.path), wrong.what)
    }

    /// The paths of a kind, in order.
    async fn paths(&self, kind: &str) -> Vec<ObjectPath> {
        use futures_util::TryStreamExt;
        let listed = self.objects.list(Some(&kind.into()));
        let mut paths: Vec<_> = listed.map_ok(|file| file.location).try_collect().await.unwrap();
        // By the time in their names.
        paths.sort_by_key(|path| path.as_ref().rsplit('-').nth(1).map(str::to_owned));
        paths
    }

    async fn get(&self, path: &ObjectPath) -> Vec<u8> {
        self.objects.get(path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    async fn put(&self, path: &ObjectPath, bytes: Vec<u8>) {
        self.objects.put(path, PutPayload::from(bytes)).await.unwrap();
    }

    /// Writes a segment anew with its lines changed.
    async fn edit(&self, path: &ObjectPath, change: impl Fn(&str) -> String) {
        let text = zstd::decode_all(&*self.get(path).await).unwrap();
        let text = change(std::str::from_utf8(&text).unwrap());
        self.put(path, zstd::encode_all(text.as_bytes(), 3).unwrap()).await;
    }
}

/// `kind/…/NUMBER` of a path, by the end of the name.
fn short(path: &str) -> String {
    let kind = path.split('/').next().unwrap();
    format!("{kind} {}", path.rsplit('/').next().unwrap().split('.').next().unwrap())
}

#[tokio::test]
async fn an_untouched_archive_is_complete_also_while_it_is_written() {
    let case = Case::new().await;
    let bytes = case.verify().await.bytes;
    let expected = Verdict { manifests: 3, files: 6, bytes, exchanges: 6, ..Verdict::default() };
    assert_eq!(case.verify().await, expected);

    // With an exchange in the spool, and a segment that was put without its manifest so far.
    let spool = Spool::open(Options { seal_bytes: 1, ..case.options() }).unwrap();
    open(&spool, 7, b"a question").await;
    sealed(&spool, case.folder()).await;
    let name = crate::spool::folders::list_all(case.folder(), &[crate::segment::FULL]).unwrap();
    case.put(&crate::segment::object_path(&name[0].0), b"half of it".to_vec()).await;
    assert_eq!(case.verify().await, Verdict { waiting: 1, ..expected });
    closed(spool).await;
}

#[tokio::test]
async fn what_is_kept_no_longer_is_not_missed_and_its_manifest_is() {
    let case = Case::new().await;
    let whole = case.verify().await;
    // The segments are of the 20th of October 2025, the records of the day in their ids.
    let keep = Keep { bodies_days: 90, records_days: 100_000 };
    let today = date(2026, 11, 22);
    let old = prune(&*case.objects, keep, today, (Doing::Delete, &Holds::default())).await.unwrap();
    assert_eq!(old.iter().map(|old| (old.kind, old.objects)).collect::<Vec<_>>(), [("bodies", 3)]);
    let verdict = case.verify_kept(keep.on(today)).await;
    assert_eq!(verdict, Verdict { gone: 3, ..whole });
    assert!(case.wrong().await.ends_with("it is missing"), "where they are to be kept");

    case.objects.delete(&case.paths("manifests").await.remove(1)).await.unwrap();
    let wrong = case.verify_kept(keep.on(today)).await.wrong.unwrap();
    assert!(wrong.what.ends_with("is missing"), "{wrong}");
}

#[tokio::test]
async fn whatever_is_missing_is_named() {
    for (kind, what) in [("bodies", "it is missing"), ("records", "it is missing")] {
        let case = Case::new().await;
        let path = case.paths(kind).await.remove(1);
        case.objects.delete(&path).await.unwrap();
        assert_eq!(case.wrong().await, format!("{}: {what}", short(path.as_ref())));
    }
    // Segment, records and manifest together: from the beginning, the middle, the end.
    for (at, what) in
        [(0, "before it are missing"), (1, "is missing"), (2, "this machine has put it there")]
    {
        let case = Case::new().await;
        let named = case.paths("manifests").await;
        for kind in ["bodies", "records", "manifests"] {
            let path = case.paths(kind).await.remove(at);
            case.objects.delete(&path).await.unwrap();
        }
        let wrong = case.wrong().await;
        let told = short(named[if at == 2 { 2 } else { at + 1 }].as_ref());
        assert!(wrong.starts_with(&told) && wrong.ends_with(what), "{wrong}");
    }
}

#[tokio::test]
async fn whatever_was_added_is_named() {
    for kind in ["bodies", "records"] {
        let case = Case::new().await;
        let bytes = case.get(&case.paths(kind).await[0]).await;
        let path = case.paths(kind).await[0].to_string().replace("-000000.", "-000009.");
        case.put(&path.as_str().into(), bytes).await;
        let expected = format!("{}: it was added: no manifest names it", short(&path));
        assert_eq!(case.wrong().await, expected);
    }
    // Under whichever name, and wherever it lies.
    for kind in ["bodies", "records"] {
        let case = Case::new().await;
        let beside = case.paths(kind).await[0].to_string();
        let (folder, _) = beside.rsplit_once('/').unwrap();
        let belongs = "it was added: nothing belongs there";
        for (path, what) in [
            (format!("{folder}/x.txt"), "it was added: no manifest names it"),
            (format!("{beside}.bak"), "it was added: no manifest names it"),
            (format!("{kind}/x.jsonl.zst"), belongs),
            (format!("{kind}/year=2025/spare/day=01/x"), belongs),
        ] {
            let path = ObjectPath::from(path);
            case.put(&path, b"added".to_vec()).await;
            assert_eq!(case.wrong().await, format!("{}: {what}", short(path.as_ref())));
            case.objects.delete(&path).await.unwrap();
        }
    }
    let case = Case::new().await;
    let first = case.paths("manifests").await.remove(0);
    let copy = first.to_string().replace("-000000.", "-000009.");
    case.put(&copy.as_str().into(), case.get(&first).await).await;
    let wrong = case.wrong().await;
    assert!(wrong.starts_with(&short(&copy)) && wrong.contains("moved or copied"), "{wrong}");
}

#[tokio::test]
async fn whatever_was_edited_is_named() {
    let second = format!("{ID}3");
    for (change, what) in [
        (("an answer", "no answer"), format!("at or right behind exchange {second}")),
        (("\"link\":\"", "\"link\":\"0"), format!("at or right behind exchange {ID}2")),
        (("{\"kind\":\"exchange\"", "{\"kind\":\"exchange"), "at its first exchange".to_owned()),
    ] {
        let case = Case::new().await;
        let path = case.paths("bodies").await.remove(1);
        case.edit(&path, |text| text.replace(change.0, change.1)).await;
        let wrong = case.wrong().await;
        assert!(wrong.starts_with(&short(path.as_ref())), "{wrong}");
        // The first of the two answers was edited too: what is behind it no longer follows.
        let what = if change.0 == "an answer" { what.replace('3', "2") } else { what };
        assert!(wrong.ends_with(&what), "{wrong}");
    }
    let case = Case::new().await;
    let path = case.paths("records").await.remove(2);
    case.edit(&path, |text| text.replace("ada@", "eve@")).await;
    assert_eq!(case.wrong().await, format!("{}: it was edited", short(path.as_ref())));
    let case = Case::new().await;
    let path = case.paths("manifests").await.remove(2);
    let text = String::from_utf8(case.get(&path).await).unwrap();
    case.put(&path, text.replace("\"lines\":2", "\"lines\":1").into_bytes()).await;
    let expected = "it was edited, or is signed with another key";
    assert_eq!(case.wrong().await, format!("{}: {expected}", short(path.as_ref())));
    // The line of the signature too, which no signature covers.
    for (from, to) in [("\"key\":\"", "\"key\":\"0"), ("}\n", "} \n"), ("\"key\"", " \"key\"")] {
        let (line, seal) = text.split_once('\n').unwrap();
        let edited = format!("{line}\n{}", seal.replace(from, to));
        case.put(&path, edited.into_bytes()).await;
        let expected = "the line of its signature was edited";
        assert_eq!(case.wrong().await, format!("{}: {expected}", short(path.as_ref())), "{to}");
    }
}

#[tokio::test]
async fn exchanges_in_another_order_are_noticed() {
    let case = Case::new().await;
    let path = case.paths("bodies").await.remove(0);
    case.edit(&path, |text| text.split_inclusive('\n').rev().collect()).await;
    let wrong = case.wrong().await;
    assert!(wrong.contains("lines do not follow each other, at its first exchange"), "{wrong}");

    // Two segments in each other's place.
    let case = Case::new().await;
    let paths = case.paths("bodies").await;
    let (one, other) = (case.get(&paths[0]).await, case.get(&paths[1]).await);
    case.put(&paths[0], other).await;
    case.put(&paths[1], one).await;
    assert!(case.wrong().await.starts_with(&short(paths[0].as_ref())));
}

#[tokio::test]
async fn whoever_rebuilds_all_later_hashes_needs_the_key() {
    let case = Case::new().await;
    let (bodies, manifests) = (case.paths("bodies").await, case.paths("manifests").await);
    case.edit(&bodies[1], |text| text.replace("an answer", "no answer")).await;
    let forger = Signer::new(&[8; 32]);
    let mut last: Option<Chain> = None;
    for at in 0..3 {
        let text = case.get(&manifests[at]).await;
        let Manifest { name, mut files, .. } = Manifest::read(&text, &case.keys).unwrap();
        let bytes = case.get(&bodies[at]).await;
        files[0] = Filed { link: None, ..Filed::of(&bodies[at], &bytes, 2) };
        let mut chain = Chain::and(last.as_ref(), &name, files, &forger).unwrap();
        if at == 0 {
            // It needed no change, so that its signature is the right one.
            chain.manifest = String::from_utf8(text).unwrap();
        }
        case.put(&manifests[at], chain.manifest.clone().into_bytes()).await;
        last = Some(chain);
    }
    let expected = "it was edited, or is signed with another key";
    assert_eq!(case.wrong().await, format!("{}: {expected}", short(manifests[1].as_ref())));
}

#[tokio::test]
async fn some_days_can_be_asked_with_the_objects_and_the_key_alone() {
    let case = Case::new().await;
    let verifier =
        Verifier { objects: &*case.objects, keys: &case.keys, spool: None, kept: Kept::ALL };
    let day = Some(date(2025, 10, 20));
    let verdict = verifier.verify((day, day), &mut |_| {}).await.unwrap();
    assert_eq!((verdict.manifests, verdict.wrong), (3, None));
    let later = Some(date(2025, 10, 21));
    let verdict = verifier.verify((later, None), &mut |_| {}).await.unwrap();
    assert_eq!((verdict.manifests, verdict.wrong), (0, None));
}
