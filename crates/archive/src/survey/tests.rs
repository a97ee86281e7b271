//! What is handed out, and how often.

use std::sync::Arc;

use jiff::civil::date;
use object_store::memory::InMemory;
use serde_json::json;

use super::each_text;
use crate::read::Reader;
use crate::spool::Spool;
use crate::spool::tests::{close, closed, open, options, publish};

#[tokio::test]
async fn what_a_conversation_repeats_is_handed_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let spool = Spool::open(options(folder.path())).unwrap();
    let padding = "and some more to say ".repeat(10);
    for number in 1..=3_u8 {
        let item = |n| json!({"role": "user", "content": format!("say {n} of all {padding}")});
        let input: Vec<_> = (1..=number).map(item).collect();
        open(&spool, number, json!({"input": input}).to_string().as_bytes()).await;
        close(&spool, number, format!("answer {number} of all").as_bytes()).await;
    }
    closed(spool).await;
    publish(folder.path(), &objects).await;

    let reader = Reader::new(folder.path().to_owned(), objects);
    let view = reader.view().unwrap();
    let names = view.segments(date(2025, 10, 20)).await.unwrap();
    let (mut told, mut bytes) = (Vec::new(), 0);
    for name in names {
        let segment = view.segment(&name).await.unwrap().unwrap();
        let looked = each_text(&name, &segment, &mut |text| {
            bytes += text.bytes.len() as u64;
            let words = String::from_utf8_lossy(text.bytes).into_owned();
            let all = (1..=3).flat_map(|n| ["say", "answer"].map(|what| format!("{what} {n}")));
            let said = all.filter(|what| words.contains(&format!("{what} of all")));
            told.extend(said.map(|what| format!("{what} by {}", text.record.id)));
        });
        assert_eq!(looked.unwrap(), std::mem::take(&mut bytes));
    }
    let id = |told: &String| told.split_once(" by ").unwrap().0.to_owned();
    let mut once: Vec<String> = told.iter().map(id).collect();
    once.sort();
    assert_eq!(once, ["answer 1", "answer 2", "answer 3", "say 1", "say 2", "say 3"]);
    // Whoever said it first brought it.
    let by = |what: &str| told.iter().find(|one| one.starts_with(what)).unwrap().clone();
    for n in 1..=3 {
        let brought =
            |what: &str| by(&format!("{what} {n}")).split_once(" by ").unwrap().1.to_owned();
        assert_eq!(brought("say"), brought("answer"));
    }
}
