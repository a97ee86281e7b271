//! What is found, and whose it is said to be.

use std::sync::Arc;

use jiff::civil::date;
use object_store::memory::InMemory;
use serde_json::json;

use super::Seek;
use crate::read::Reader;
use crate::spool::Spool;
use crate::spool::tests::{close, closed, open, options, publish};

/// A conversation: each exchange asks all that was asked before, and more.
fn question(texts: &[&str]) -> Vec<u8> {
    let padding = "and some more to say ".repeat(10);
    let items =
        texts.iter().map(|text| json!({"role": "user", "content": format!("{text} {padding}")}));
    json!({"model": "m", "input": items.collect::<Vec<_>>()}).to_string().into_bytes()
}

/// The number of each exchange in which it is found, the side, and what `find` gave.
async fn found(needle: &str, hints: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let spool = Spool::open(options(folder.path())).unwrap();
    let texts = ["first \"quoted\"", "second ünïcode", "third"];
    for number in 1..=3 {
        open(&spool, number, &question(&texts[..number.into()])).await;
        let answer = format!("{{\"said\":\"answer {number}\"}}");
        close(&spool, number, answer.as_bytes()).await;
    }
    // No text at all, and yet there is one in it.
    open(&spool, 4, b"\xFF\xFEraw bytes").await;
    close(&spool, 4, b"").await;
    closed(spool).await;
    publish(folder.path(), &objects).await;

    let reader = Reader::new(folder.path().to_owned(), objects);
    let view = reader.view().unwrap();
    let find =
        |text: &[u8]| memchr::memmem::find(text, needle.as_bytes()).map(|_| needle.to_owned());
    let mut places = Vec::new();
    let mut each = |hit: super::Hit| {
        let number = hit.found.record.id.chars().last().unwrap();
        places.push(format!("{number} {:?}", hit.side));
    };
    let looked = view.search(date(2025, 10, 20), &Seek::new(hints, &find), &mut each).await;
    assert!(looked.unwrap() > 1500, "all bodies are counted, those stored once too");
    places
}

async fn check(needle: &str, expected: &[&str]) {
    assert_eq!(found(needle, &[]).await, expected, "{needle}");
    assert_eq!(found(needle, &[needle]).await, expected, "{needle}, with a hint");
}

#[tokio::test]
async fn what_is_said_again_with_every_turn_is_found_where_it_was_said_first() {
    check("first", &["1 Request"]).await;
    check("second ünïcode", &["2 Request"]).await;
    check("third", &["3 Request"]).await;
    check("first \\\"quoted\\\"", &["1 Request"]).await;
    check("answer 2", &["2 Response"]).await;
    check("\"model\":", &["1 Request", "2 Request", "3 Request"]).await;
    check("raw bytes", &["4 Request"]).await;
    check("nowhere", &[]).await;
}
