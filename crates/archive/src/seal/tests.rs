//! Whatever is done to a sealed object is noticed; whatever is read of it is the text.

use std::ops::Range;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use proptest::prelude::{ProptestConfig, any, proptest};
use zeroize::Zeroizing;

use super::format::{CHUNK, HEADER};
use super::reseal::{Doing, Newest, Resealed, newest, reseal};
use super::service::{Kept, KeyService, Made};
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
    let old = old.iter().map(|digit| key(digit)).collect();
    Keys { current: Some(key(current)), old, ..Keys::default() }
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
    let old = Keys { old: vec![key("a")], ..Keys::default() };
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
    let unsealed: Path = "records/unsealed".into();
    case.stored.put(&unsealed, b"as it is".to_vec().into()).await.unwrap();
    let strange = "records/strange".into();
    case.with(keys("f", &[])).put(&strange, b"strange".to_vec().into()).await.unwrap();
    let before = case.bytes().await;

    let both = keys("b", &["a"]);
    let run = async |doing| reseal(&case.stored, &both, doing, &mut |_| {}).await.unwrap();
    let closed_objects = [(key("f").id(), 1)].into();
    let mut expected = Resealed { current: 0, resealed: 1, sealed: 1, closed: closed_objects };
    assert_eq!(run(Doing::Tell).await, expected);
    assert_eq!(case.bytes().await, before);
    assert_eq!(run(Doing::Reseal).await, expected);
    let after = case.bytes().await;
    assert!(after[HEADER..] == before[HEADER..] && after[..HEADER] != before[..HEADER]);
    assert!(case.read(keys("b", &[])).await.unwrap() == long);
    assert!(case.read(keys("a", &[])).await.is_err());
    let read = case.with(keys("b", &[])).get(&unsealed).await.unwrap().bytes().await.unwrap();
    assert_eq!(&*read, b"as it is");
    assert!(case.stored.head(&unsealed).await.is_err(), "only sealed");
    (expected.current, expected.resealed, expected.sealed) = (2, 0, 0);
    assert_eq!(run(Doing::Reseal).await, expected, "again there is nothing to do");
}

#[tokio::test]
async fn what_is_sealed_afterwards_is_there_once_wherever_that_broke_off() {
    let case = Case::new();
    let sealed = case.with(keys("a", &[]));
    sealed.put(&NAME.into(), b"a text".to_vec().into()).await.unwrap();
    let both = async |text: &[u8]| {
        case.stored.put(&NAME.into(), text.to_vec().into()).await.unwrap();
    };
    both(b"a text").await;
    let run = async || reseal(&case.stored, &keys("a", &[]), Doing::Reseal, &mut |_| {}).await;
    let expected = Resealed { current: 1, sealed: 1, ..Resealed::default() };
    assert_eq!(run().await.unwrap(), expected);
    assert!(case.stored.head(&NAME.into()).await.is_err(), "only sealed");

    both(b"a lie").await;
    assert!(matches!(run().await, Err(crate::Error::Damaged(name, _)) if name == NAME));
    sealed.delete(&NAME.into()).await.unwrap();
    for name in [NAME.into(), Case::place()] {
        assert!(case.stored.head(&name).await.is_err(), "both are gone");
    }
}

/// A service in memory: keys that it has encrypted are numbers, and it knows which they are.
#[derive(Debug, Default)]
struct Memory {
    name: String,
    made: std::sync::Mutex<Vec<[u8; 32]>>,
    opened: std::sync::atomic::AtomicUsize,
}

impl Memory {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ..Self::default() })
    }
}

#[async_trait::async_trait]
impl KeyService for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn make(&self) -> Result<Made, String> {
        let mut made = self.made.lock().unwrap();
        let number = u8::try_from(made.len()).unwrap();
        let key = [self.name.as_bytes()[0] ^ number; 32];
        made.push(key);
        let key = Zeroizing::new(key.to_vec());
        Ok(Made { key, kms: self.name.clone(), encrypted: number.to_string() })
    }

    async fn open(&self, kept: &Kept) -> Result<Zeroizing<Vec<u8>>, String> {
        if kept.kms != self.name {
            return Err(format!("{} is no key of mine", kept.kms));
        }
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let made = self.made.lock().unwrap();
        Ok(Zeroizing::new(made[kept.encrypted.parse::<usize>().unwrap()].to_vec()))
    }
}

fn by(service: &Arc<Memory>) -> Keys {
    Keys { service: Some(service.clone()), ..Keys::default() }
}

#[tokio::test]
async fn a_service_is_asked_once_and_whoever_may_ask_it_reads() {
    let (case, service) = (Case::new(), Memory::new("a"));
    let objects = case.with(by(&service));
    let names: Vec<Path> = (0..20).map(|number| format!("bodies/{number}").into()).collect();
    for name in &names {
        objects.put(name, b"a text".to_vec().into()).await.unwrap();
        assert_eq!(&*objects.get(name).await.unwrap().bytes().await.unwrap(), b"a text");
    }
    let asked = || {
        let opened = service.opened.load(std::sync::atomic::Ordering::Relaxed);
        (service.made.lock().unwrap().len(), opened)
    };
    assert_eq!(asked(), (1, 0));
    // Another process; one that only reads; one without the service.
    let next = case.with(by(&service));
    next.put(&NAME.into(), b"a text".to_vec().into()).await.unwrap();
    assert_eq!(asked(), (2, 0), "each process has keys of its own");
    let reads = case.with(Keys { old_services: vec![service.clone()], ..keys("f", &[]) });
    for name in &names {
        assert_eq!(&*reads.get(name).await.unwrap().bytes().await.unwrap(), b"a text");
    }
    assert_eq!(asked(), (2, 1));
    let without = closed(case.read(Keys::default()).await.unwrap_err());
    assert!(matches!(without, Closed::ServiceWanted { kms, .. } if kms == "a"));
    let other = closed(case.read(by(&Memory::new("b"))).await.unwrap_err());
    assert_eq!(other, Closed::Service("a is no key of mine".to_owned()));
}

#[tokio::test]
async fn objects_go_over_to_the_key_of_a_service_and_away_from_it() {
    let (case, service) = (Case::new(), Memory::new("a"));
    case.put(keys("1", &[]), b"a text").await.unwrap();
    let run = async |keys: Keys| {
        let seen = reseal(&case.stored, &keys, Doing::Reseal, &mut |_| {}).await.unwrap();
        (seen.current, seen.resealed)
    };
    let to_service = || Keys { old: vec![key("1")], ..by(&service) };
    assert_eq!(run(to_service()).await, (0, 1));
    assert_eq!(run(to_service()).await, (1, 0), "another key of the same service is as good");
    assert_eq!(case.read(by(&service)).await.unwrap(), b"a text");
    assert_eq!(run(Keys { old_services: vec![service], ..keys("2", &[]) }).await, (0, 1));
    assert_eq!(case.read(keys("2", &[])).await.unwrap(), b"a text");
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
