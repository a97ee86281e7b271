//! What a hold keeps, and what becomes of one that cannot be read.

use jiff::Timestamp;
use jiff::civil::date;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::{Held, Hold, Holds, add, place, remove};
use crate::Error;
use crate::retain::{Doing, Keep, Old, prune};
use crate::sign::{PublicKey, Signer};

fn signer() -> Signer {
    Signer::new(&[7; 32])
}

fn keys() -> Vec<PublicKey> {
    vec![signer().public_key()]
}

fn hold(id: &str, held: Held) -> Hold {
    let time: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    Hold { id: id.to_owned(), time, held, reason: Some("a lawsuit".to_owned()) }
}

/// Lays lines into a day of the archive.
async fn lay(objects: &InMemory, kind: &str, day: u8, lines: &str) {
    let path = format!("{kind}/year=2026/month=01/day={day:02}/a.jsonl.zst");
    let bytes = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    objects.put(&path.as_str().into(), bytes.into()).await.unwrap();
}

/// What is pruned in the days of January: what becomes of each folder.
async fn pruned(objects: &InMemory) -> Vec<(String, String)> {
    let holds = Holds::load(objects, &keys()).await.unwrap();
    let keep = Keep { bodies_days: 10, records_days: 10 };
    let old = prune(objects, keep, date(2026, 11, 22), (Doing::Delete, &holds)).await.unwrap();
    let outcome = |old: Old| {
        let said = old.held.or(old.refused).unwrap_or_else(|| "gone".to_owned());
        (format!("{} {}", old.kind, old.day.day()), said)
    };
    old.into_iter().map(outcome).collect()
}

#[tokio::test]
async fn a_day_with_something_held_stays_whole_until_the_hold_is_removed() {
    let objects = InMemory::new();
    let item = "{\"kind\":\"item\",\"id\":\"not looked at\"}\n";
    let item = item.replace("not looked at", &"0".repeat(64));
    let exchange = "{\"kind\":\"exchange\",\"user\":\"ada@example.com\",\"session_id\":null}\n";
    lay(&objects, "bodies", 1, &(item + exchange)).await;
    lay(&objects, "bodies", 2, "{\"kind\":\"exchange\",\"user\":\"bob@example.com\"}\n").await;
    lay(&objects, "records", 3, "{\"user\":\"eve\"}\n{\"user\":\"bob\",\"thread_id\":\"t\"}\n")
        .await;
    lay(&objects, "records", 4, "{\"user\":\"eve\",\"session_id\":\"other\"}\n").await;
    add(&objects, &hold("h1", Held::User("ada@example.com".to_owned())), &signer()).await.unwrap();
    add(&objects, &hold("h2", Held::Session("t".to_owned())), &signer()).await.unwrap();

    let said = |folder: &str, said: &str| (folder.to_owned(), said.to_owned());
    let ada = said("bodies 1", "hold h1 on user ada@example.com");
    let session = said("records 3", "hold h2 on session t");
    let expected =
        [ada.clone(), said("bodies 2", "gone"), session.clone(), said("records 4", "gone")];
    assert_eq!(pruned(&objects).await, expected);
    assert_eq!(pruned(&objects).await, [ada, session], "they are still there");

    assert!(remove(&objects, "h1").await.unwrap());
    assert!(!remove(&objects, "h1").await.unwrap(), "it is gone");
    assert_eq!(pruned(&objects).await[0], said("bodies 1", "gone"));
}

#[tokio::test]
async fn what_cannot_be_read_stays_where_there_are_holds() {
    let objects = InMemory::new();
    objects
        .put(&"records/year=2026/month=01/day=01/a".into(), b"no zstd".to_vec().into())
        .await
        .unwrap();
    add(&objects, &hold("h1", Held::User("ada".to_owned())), &signer()).await.unwrap();
    let said = pruned(&objects).await.remove(0).1;
    assert!(said.starts_with("whether something in it is held cannot be told"), "{said}");
    remove(&objects, "h1").await.unwrap();
    assert_eq!(pruned(&objects).await, [("records 1".to_owned(), "gone".to_owned())]);
}

#[tokio::test]
async fn a_hold_that_cannot_be_read_is_named_and_not_passed_over() {
    let ours = hold("h1", Held::User("ada".to_owned()));
    let sealed = crate::sealed::seal(&ours, &signer()).unwrap();
    let cases = [
        ("h1", sealed.replace("ada", "eve"), "it was edited, or is signed with another key"),
        ("h2", sealed.clone(), "it is hold h1, moved or copied"),
        ("h1", "{}".to_owned(), "it has one line, where two belong"),
        (
            "h1",
            crate::sealed::seal(&ours, &Signer::new(&[8; 32])).unwrap(),
            "it was edited, or is signed with another key",
        ),
    ];
    for (id, text, expected) in cases {
        let objects = InMemory::new();
        objects.put(&place(id), text.into()).await.unwrap();
        match Holds::load(&objects, &keys()).await {
            Err(Error::Damaged(path, why)) => {
                assert_eq!((path, why.as_str()), (format!("holds/{id}.json"), expected));
            }
            other => panic!("{other:?}"),
        }
        assert!(remove(&objects, id).await.unwrap(), "it can be removed all the same");
        assert_eq!(Holds::load(&objects, &keys()).await.unwrap().all(), []);
    }
}
