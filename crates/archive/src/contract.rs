//! The suite that every object store passes, as [`open`](crate::open) gives it: what the archive
//! builds on, a promise a function.

use futures_util::TryStreamExt;
use jiff::civil::date;
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use crate::hold::Holds;
use crate::retain::{Doing, Keep, Old, probe, prune};

/// More than goes in one piece, and no multiple of a part.
const LARGE: usize = (20 << 20) + 17;

/// Runs the whole suite on one store, which must be empty at first, and is so again.
///
/// # Panics
/// Where the store breaks a promise.
#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
pub async fn all(objects: &dyn ObjectStore) {
    assert_eq!(paths(objects, "").await, [""; 0], "the suite wants an empty store");
    what_is_not_there_is_told_apart(objects).await;
    what_is_put_is_read_back_whole_and_in_pieces(objects).await;
    nothing_is_overwritten(objects).await;
    of_two_writers_one_wins(objects).await;
    only_the_version_that_was_read_is_replaced(objects).await;
    large_objects_go_in_parts(objects).await;
    a_folder_lists_what_is_below_it(objects).await;
    old_days_go_and_others_stay(objects).await;
    probe(objects, "suite").await.unwrap();
    assert_eq!(paths(objects, "").await, [""; 0], "the suite leaves nothing behind");
}

fn path(text: &str) -> Path {
    Path::from(text)
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn put(objects: &dyn ObjectStore, name: &str, bytes: &[u8]) {
    objects.put(&path(name), PutPayload::from(bytes.to_vec())).await.unwrap();
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn bytes(objects: &dyn ObjectStore, name: &str) -> Vec<u8> {
    objects.get(&path(name)).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Everything below a folder, in order.
#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn paths(objects: &dyn ObjectStore, folder: &str) -> Vec<String> {
    let listed: Vec<_> = objects.list(Some(&path(folder))).try_collect().await.unwrap();
    let mut paths: Vec<_> = listed.iter().map(|object| object.location.to_string()).collect();
    paths.sort_unstable();
    paths
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn remove(objects: &dyn ObjectStore, names: &[&str]) {
    for name in names {
        objects.delete(&path(name)).await.unwrap();
    }
}

async fn what_is_not_there_is_told_apart(objects: &dyn ObjectStore) {
    let absent = path("bodies/absent");
    let found = [
        objects.get(&absent).await.err(),
        objects.head(&absent).await.err(),
        objects.get_range(&absent, 0..1).await.err(),
    ];
    for error in found {
        assert!(matches!(error, Some(Error::NotFound { .. })), "{error:?}");
    }
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn what_is_put_is_read_back_whole_and_in_pieces(objects: &dyn ObjectStore) {
    let name = "bodies/year=2026/month=11/day=22/a1-20261122T000000000-000000.jsonl.zst";
    let whole: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    put(objects, name, &whole).await;
    assert_eq!(bytes(objects, name).await, whole);
    for range in [0..1, 17..4_000, 9_999..10_000] {
        let piece = objects.get_range(&path(name), range.clone()).await.unwrap();
        let (from, to) =
            (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert_eq!(piece, whole.get(from..to).unwrap());
    }
    let beyond = objects.get_range(&path(name), 20_000..20_001).await;
    assert!(beyond.is_err(), "what is behind the end cannot be read");
    remove(objects, &[name]).await;
}

async fn nothing_is_overwritten(objects: &dyn ObjectStore) {
    put(objects, "bodies/once", b"as it was").await;
    // A writer that crashed after its put does it again.
    put(objects, "bodies/once", b"as it was").await;
    for other in [&b"as it is!"[..], b"longer than it was", b""] {
        let put = objects.put(&path("bodies/once"), PutPayload::from(other.to_vec())).await;
        let named =
            matches!(&put, Err(Error::AlreadyExists { path, .. }) if path.ends_with("bodies/once"));
        assert!(named, "{put:?}");
    }
    assert_eq!(bytes(objects, "bodies/once").await, b"as it was");
    remove(objects, &["bodies/once"]).await;
}

async fn of_two_writers_one_wins(objects: &dyn ObjectStore) {
    let name = path("bodies/raced");
    let put = |bytes: &'static [u8]| objects.put(&name, PutPayload::from_static(bytes));
    let (one, other) = tokio::join!(put(b"one"), put(b"other"));
    assert_eq!(one.is_ok(), other.is_err(), "{one:?}, {other:?}");
    let winner: &[u8] = if one.is_ok() { b"one" } else { b"other" };
    assert_eq!(bytes(objects, "bodies/raced").await, winner);
    remove(objects, &["bodies/raced"]).await;
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn only_the_version_that_was_read_is_replaced(objects: &dyn ObjectStore) {
    let name = path("bodies/replaced");
    put(objects, "bodies/replaced", b"as it was").await;
    let meta = objects.head(&name).await.unwrap();
    let version = UpdateVersion { e_tag: meta.e_tag, version: meta.version };
    let replace = |bytes: &'static [u8]| {
        let options = PutOptions::from(PutMode::Update(version.clone()));
        objects.put_opts(&name, PutPayload::from_static(bytes), options)
    };
    replace(b"as it is now").await.unwrap();
    assert_eq!(bytes(objects, "bodies/replaced").await, b"as it is now");
    let late = replace(b"as it is too late").await;
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    assert_eq!(bytes(objects, "bodies/replaced").await, b"as it is now");
    remove(objects, &["bodies/replaced"]).await;
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn large_objects_go_in_parts(objects: &dyn ObjectStore) {
    let whole: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    put(objects, "bodies/large", &whole).await;
    put(objects, "bodies/large", &whole).await;
    assert!(bytes(objects, "bodies/large").await == whole, "it is as it was put");
    // Over the place where one part ends and the next begins.
    let seam =
        objects.get_range(&path("bodies/large"), (8 << 20) - 3..(8 << 20) + 3).await.unwrap();
    assert_eq!(seam, whole.get((8 << 20) - 3..(8 << 20) + 3).unwrap());
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    let put = objects.put(&path("bodies/large"), PutPayload::from(other)).await;
    assert!(matches!(put, Err(Error::AlreadyExists { .. })), "{put:?}");
    assert!(bytes(objects, "bodies/large").await == whole, "it is as it was put");
    remove(objects, &["bodies/large"]).await;
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn a_folder_lists_what_is_below_it(objects: &dyn ObjectStore) {
    let names = ["records/day=1/a", "records/day=1/b", "records/day=10/c", "records/day=2/d"];
    for name in names {
        put(objects, name, b"x").await;
    }
    assert_eq!(paths(objects, "records").await, names);
    assert_eq!(paths(objects, "records/day=1").await, ["records/day=1/a", "records/day=1/b"]);
    let folders = objects.list_with_delimiter(Some(&path("records"))).await.unwrap();
    let mut folders: Vec<_> = folders.common_prefixes.iter().map(AsRef::as_ref).collect();
    folders.sort_unstable();
    assert_eq!(folders, ["records/day=1", "records/day=10", "records/day=2"]);
    remove(objects, &names).await;
}

#[expect(clippy::unwrap_used, reason = "a test suite: a failure is a panic")]
async fn old_days_go_and_others_stay(objects: &dyn ObjectStore) {
    let in_day = |kind: &str, day: &str| format!("{kind}/year=2026/month=11/day={day}/a");
    for day in ["01", "02", "03"] {
        put(objects, &in_day("bodies", day), b"body").await;
        put(objects, &in_day("records", day), b"record").await;
    }
    put(objects, "bodies/notes", b"not ours").await;
    let keep = Keep { bodies_days: 1, records_days: 2 };
    let old = |kind, day, bytes| Old {
        kind,
        day: date(2026, 11, day),
        objects: 1,
        bytes,
        held: None,
        refused: None,
    };
    let holds = Holds::default();
    let expected = [old("bodies", 1, 4), old("bodies", 2, 4), old("records", 1, 6)];
    let today = date(2026, 11, 4);
    let told = prune(objects, keep, today, (Doing::Tell, &holds)).await.unwrap();
    assert_eq!(told, expected);
    assert_eq!(paths(objects, "").await.len(), 7, "what is told is still there");

    // Two nodes may be at it at once.
    let node = || prune(objects, keep, today, (Doing::Delete, &holds));
    let (one, other) = tokio::join!(node(), node());
    assert_eq!((one.is_ok(), other.is_ok()), (true, true), "{one:?} {other:?}");
    let kept = [
        "bodies/notes".to_owned(),
        in_day("bodies", "03"),
        in_day("records", "02"),
        in_day("records", "03"),
    ];
    assert_eq!(paths(objects, "").await, kept);
    // Whoever keeps for longer than there are days keeps everything.
    let keep = Keep { bodies_days: u64::MAX, records_days: 1_000_000 };
    assert_eq!(prune(objects, keep, today, (Doing::Delete, &holds)).await.unwrap(), []);
    remove(objects, &kept.each_ref().map(String::as_str)).await;
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::all;
    use crate::objects::Access;
    use crate::objects::once::{Once, Parts};
    use crate::seal::Keys;

    #[tokio::test]
    async fn memory_passes() {
        all(&Once::whole(InMemory::new())).await;
    }

    #[tokio::test]
    async fn memory_passes_in_parts() {
        all(&Once::in_parts(InMemory::new(), Parts { above: 1 << 20, size: 1 << 20 })).await;
    }

    #[tokio::test]
    async fn a_folder_passes() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().join("archive").display());
        all(&*crate::open(&url, &Access::default(), Keys::default()).unwrap()).await;
    }
}
