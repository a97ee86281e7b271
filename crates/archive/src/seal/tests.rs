//! Whatever is done to a sealed object is noticed; whatever is read of it is the text.

use std::ops::Range;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use proptest::prelude::{ProptestConfig, any, proptest};

use super::format::{CHUNK, HEADER};
use super::reseal::{Doing, Newest, Resealed, newest, reseal};
use super::store::Sealing;
use super::{Closed, Key, Keys};
use crate::contract;
use crate::objects::Access;
use crate::objects::once::{Once, Parts};

const NAME: &str = "bodies/year=2026/month=11/day=22/a1w0-20261122T000000000-000000.jsonl.zst";
const STORED: usize = CHUNK + 16;

fn key(digit: &str) -> Key {
    Key::parse(&digit.repeat(64)).unwrap()
}

fn keys(current: &str, old: &[&str]) -> Keys {
    Keys { current: Some(key(current)), old: old.iter().map(|digit| key(digit)).collect() }
}

/// An object store as it is stored, and the same with these keys.
struct Case {
    stored: Arc<dyn ObjectStore>,
}

impl Case {
    fn new() -> Self {
        Self { stored: Arc::new(Once::whole(InMemory::new())) }
    }

    fn with(&self, keys: Keys) -> Sealing {
        Sealing::new(self.stored.clone(), keys)
    }

    async fn put(&self, keys: Keys, bytes: &[u8]) -> Result<(), Error> {
        self.with(keys).put(&NAME.into(), bytes.to_vec().into()).await.map(drop)
    }

    async fn read(&self, keys: Keys) -> Result<Vec<u8>, Error> {
        Ok(self.with(keys).get(&NAME.into()).await?.bytes().await?.to_vec())
    }

    fn place() -> Path {
        format!("{NAME}.sealed").into()
    }

    async fn bytes(&self) -> Vec<u8> {
        self.stored.get(&Self::place()).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// Puts other bytes where the sealed object is.
    async fn forge(&self, bytes: Vec<u8>) {
        self.stored.delete(&Self::place()).await.unwrap();
        self.stored.put(&Self::place(), PutPayload::from(bytes)).await.unwrap();
    }
}

/// A text in which no two chunks are the same.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect()
}

fn closed(error: Error) -> Closed {
    match crate::Error::from(error) {
        crate::Error::Closed(closed) => closed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sealed_memory_passes() {
    for keys in [keys("a", &[]), Keys::default()] {
        let parts = Parts { above: 1 << 20, size: 1 << 20 };
        let stored = Arc::new(Once::in_parts(InMemory::new(), parts));
        contract::all(&Sealing::new(stored, keys)).await;
    }
}

#[tokio::test]
async fn a_sealed_folder_passes() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("archive").display());
    contract::all(&*crate::open(&url, &Access::default(), keys("a", &[])).unwrap()).await;
}

#[tokio::test]
async fn names_and_lengths_are_those_of_the_text() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let case = Case::new();
        case.put(keys("a", &[]), &text(length)).await.unwrap();
        assert!(case.read(keys("a", &[])).await.unwrap() == text(length), "{length}");
        let chunks = length.div_ceil(CHUNK).max(1);
        let sealed = case.bytes().await;
        assert_eq!(sealed.len(), HEADER + length + 16 * chunks);

        let objects = case.with(Keys::default());
        let head = objects.head(&NAME.into()).await.unwrap();
        let listed: Vec<_> =
            futures_util::TryStreamExt::try_collect(objects.list(None)).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&head));
        assert_eq!((head.location.as_ref(), head.size), (NAME, length as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_ranges_are_those_of_the_text(
        length in 0..4 * CHUNK + 2,
        ranges in proptest::collection::vec((any::<u32>(), any::<u32>()), 1..6),
        suffix in 0..5 * CHUNK as u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ranges_agree(length, &ranges, suffix));
    }
}

async fn ranges_agree(length: usize, ranges: &[(u32, u32)], suffix: u64) {
    let (case, text, keys) = (Case::new(), text(length), keys("a", &[]));
    let (sealed, plain) = (case.with(keys.clone()), InMemory::new());
    case.put(keys, &text).await.unwrap();
    plain.put(&NAME.into(), text.into()).await.unwrap();

    let end = length as u64 + 1;
    let ranges: Vec<Range<u64>> = ranges
        .iter()
        .map(|(one, other)| (u64::from(*one) % end, u64::from(*other) % end))
        .map(|(one, other)| one.min(other)..one.max(other))
        .filter(|range| !range.is_empty())
        .collect();
    let name = NAME.into();
    let both = (sealed.get_ranges(&name, &ranges).await, plain.get_ranges(&name, &ranges).await);
    assert_eq!(both.0.unwrap(), both.1.unwrap());
    let begin = ranges.first().map_or(0, |range| range.start);
    let beyond = begin..end + 10;
    for range in [GetRange::Suffix(suffix), GetRange::Offset(begin), GetRange::Bounded(beyond)] {
        let read = async |objects: &dyn ObjectStore| {
            let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
            let got = objects.get_opts(&name, options).await.ok()?;
            Some((got.range.clone(), got.meta.size, got.bytes().await.unwrap()))
        };
        assert_eq!(read(&sealed).await, read(&plain).await, "{range}");
    }
}

#[tokio::test]
async fn whatever_is_done_to_an_object_is_noticed() {
    let case = Case::new();
    case.put(keys("a", &[]), &text(2 * CHUNK + 100)).await.unwrap();
    let sealed = case.bytes().await;
    let first = HEADER + STORED;
    let mut forged = Vec::new();
    // Every byte of the header, and some of each chunk and of what proves it.
    let bodies = [HEADER, HEADER + 77, first - 16, first - 1, first, first + 9, sealed.len() - 1];
    for at in (0..HEADER).chain(bodies) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        forged.push((format!("byte {at} flipped"), flipped));
    }
    for length in [0, 8, HEADER, HEADER + 16, first, first + STORED, sealed.len() - 1] {
        forged.push((format!("cut to {length}"), sealed[..length].to_vec()));
    }
    let swapped =
        [&sealed[..HEADER], &sealed[first..first + STORED], &sealed[HEADER..first]].concat();
    let swapped = [&swapped, &sealed[first + STORED..]].concat();
    forged.push(("chunks swapped".to_owned(), swapped));
    forged.push(("longer".to_owned(), [&sealed[..], &[0; 40]].concat()));
    forged.push(("a chunk twice".to_owned(), [&sealed[..first], &sealed[HEADER..]].concat()));
    let other = Case::new();
    other.put(keys("a", &[]), &text(2 * CHUNK + 100)).await.unwrap();
    let other = other.bytes().await;
    assert_ne!(other, sealed, "each object has a key of its own");
    forged.push(("another's header".to_owned(), [&other[..HEADER], &sealed[HEADER..]].concat()));
    forged.push(("another's chunk".to_owned(), [&sealed[..first], &other[first..]].concat()));
    for (what, bytes) in forged {
        case.forge(bytes).await;
        let error = case.read(keys("a", &[])).await.err().unwrap_or_else(|| panic!("{what}"));
        assert!(closed(error).to_string().starts_with("bodies/"), "{what}");
    }
    case.forge(sealed).await;
    assert!(case.read(keys("a", &[])).await.is_ok());
}

#[tokio::test]
async fn without_its_key_an_object_says_which_it_wants() {
    let case = Case::new();
    case.put(keys("a", &[]), b"a text").await.unwrap();
    let id = key("a").id();
    for without in [Keys::default(), keys("b", &[]), keys("b", &["c"])] {
        let wanted = Closed::KeyWanted { path: NAME.to_owned(), key: id };
        assert_eq!(closed(case.read(without).await.unwrap_err()), wanted);
    }
    assert_eq!(case.read(keys("b", &["c", "a"])).await.unwrap(), b"a text");
    assert_eq!(Key::parse("abc").map(|key| key.id()), None);
    assert_eq!(Key::parse(&"a".repeat(66)).map(|key| key.id()), None);
}

#[tokio::test]
async fn another_try_with_other_settings_counts_as_put() {
    let (sealed, plain) = (Case::new(), Case::new());
    sealed.put(keys("a", &[]), b"a text").await.unwrap();
    plain.put(Keys::default(), b"a text").await.unwrap();
    let old = Keys { current: None, old: vec![key("a")] };
    for keys in [keys("a", &[]), keys("b", &["a"]), old] {
        for case in [&sealed, &plain] {
            case.put(keys.clone(), b"a text").await.unwrap();
            let other = case.put(keys.clone(), b"a lie").await;
            assert!(matches!(other, Err(Error::AlreadyExists { path, .. }) if path == NAME));
            assert_eq!(case.read(keys.clone()).await.unwrap(), b"a text");
        }
    }
    // Whether it is the same text cannot be told without the key.
    assert!(sealed.put(keys("b", &[]), b"a text").await.is_err());
    assert!(plain.stored.head(&Case::place()).await.is_err(), "no object is there twice");
    assert!(sealed.stored.head(&NAME.into()).await.is_err());
}

#[tokio::test]
async fn a_key_is_changed_and_the_old_one_is_not_needed_any_more() {
    let case = Case::new();
    let long = text(2 * CHUNK);
    case.put(keys("a", &[]), &long).await.unwrap();
    case.stored.put(&"records/unsealed".into(), b"as it is".to_vec().into()).await.unwrap();
    let strange = "records/strange".into();
    case.with(keys("f", &[])).put(&strange, b"strange".to_vec().into()).await.unwrap();
    let before = case.bytes().await;

    let both = keys("b", &["a"]);
    let run = async |doing| {
        let current = key("b");
        reseal(&*case.stored, (&both, &current), doing, &mut |_| {}).await.unwrap()
    };
    let closed_objects = [(key("f").id(), 1)].into();
    let mut expected = Resealed { current: 0, resealed: 1, unsealed: 1, closed: closed_objects };
    assert_eq!(run(Doing::Tell).await, expected);
    assert_eq!(case.bytes().await, before);
    assert_eq!(run(Doing::Reseal).await, expected);
    let after = case.bytes().await;
    assert!(after[HEADER..] == before[HEADER..] && after[..HEADER] != before[..HEADER]);
    assert!(case.read(keys("b", &[])).await.unwrap() == long);
    assert!(case.read(keys("a", &[])).await.is_err());
    (expected.current, expected.resealed) = (1, 0);
    assert_eq!(run(Doing::Reseal).await, expected, "again there is nothing to do");
}

#[tokio::test]
async fn the_newest_records_tell_whether_the_key_is_right() {
    let case = Case::new();
    let ask = async |keys: &Keys| newest(&case.stored, keys).await;
    assert_eq!(ask(&keys("a", &[])).await.unwrap(), Newest::None);
    let name = NAME.replace("bodies", "records");
    case.with(keys("a", &[])).put(&name.as_str().into(), b"x".to_vec().into()).await.unwrap();
    let opens = Newest::Opens(name.clone(), key("a").id());
    assert_eq!(ask(&keys("b", &["a"])).await.unwrap(), opens);
    assert!(matches!(ask(&keys("b", &[])).await, Err(crate::Error::Closed(_))));
    let later = name.replace("day=22", "day=23");
    case.stored.put(&later.as_str().into(), b"x".to_vec().into()).await.unwrap();
    assert_eq!(ask(&Keys::default()).await.unwrap(), Newest::Unsealed(later));
}
