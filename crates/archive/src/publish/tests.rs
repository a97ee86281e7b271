//! Conversations of which each request begins as the one before, or not quite.

use std::sync::Arc;

use object_store::memory::InMemory;
use proptest::prelude::{ProptestConfig, any, prop_oneof, proptest};
use proptest::sample::Index;
use proptest::strategy::{Just, Strategy};
use serde_json::json;

use super::Work;
use crate::read::Reader;
use crate::sign::Signer;
use crate::spool::Spool;
use crate::spool::tests::{ID, close, closed, open, options};

/// What becomes of a conversation between two requests.
#[derive(Debug, Clone)]
enum Turn {
    /// More is said.
    Grow(u16),
    /// Something that was said is not what it was.
    Edit(Index),
    /// It is compacted: only the end is left.
    Forget(Index),
    /// The request breaks off here.
    Break(Index),
    /// Something that is no JSON stands in it.
    Damage(Index),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        5 => (0..30_u16).prop_map(Turn::Grow),
        1 => any::<Index>().prop_map(Turn::Edit),
        1 => any::<Index>().prop_map(Turn::Forget),
        1 => any::<Index>().prop_map(Turn::Break),
        1 => any::<Index>().prop_map(Turn::Damage),
        1 => Just(Turn::Grow(0)),
    ]
}

/// What was said, by numbers; the request of a turn.
#[derive(Default)]
struct Talk(Vec<usize>);

impl Talk {
    fn request(&mut self, turn: &Turn) -> Vec<u8> {
        let said = &mut self.0;
        let before = said.len();
        match turn {
            Turn::Grow(by) => said.extend(before..before + usize::from(*by)),
            Turn::Edit(at) if before > 0 => said[at.index(before)] += 1_000_000,
            Turn::Forget(at) if before > 0 => drop(said.drain(..at.index(before))),
            Turn::Edit(_) | Turn::Forget(_) | Turn::Break(_) | Turn::Damage(_) => {}
        }
        let element = |said: &usize| json!({ "said": said, "more": "again and again ".repeat(12) });
        let input: Vec<_> = self.0.iter().map(element).collect();
        let asked = json!({ "model": "m", "instructions": "be nice ".repeat(30), "input": input,
            "tools": ["x".repeat(200)], "stream": true });
        let mut body = asked.to_string().into_bytes();
        match turn {
            Turn::Break(at) => body.truncate(at.index(body.len())),
            Turn::Damage(at) => {
                let at = at.index(body.len());
                body[at] = 0xFF;
            }
            Turn::Grow(_) | Turn::Edit(_) | Turn::Forget(_) => {}
        }
        body
    }
}

/// Publishes three journals of three exchanges each, and reads all of them back.
async fn check(turns: &[Turn]) {
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let signer = Signer::new(&[7; 32]);
    let mut work = Work::new(folder.path().to_owned(), objects.clone(), signer).unwrap();
    let (mut talk, mut asked) = (Talk::default(), Vec::new());
    for (life, turns) in (0_u8..).zip(turns.chunks(3)) {
        let spool = Spool::open(options(folder.path())).unwrap();
        for (turn, number) in turns.iter().zip(3 * life..) {
            let body = talk.request(turn);
            open(&spool, number, &body).await;
            close(&spool, number, b"").await;
            asked.push((number, body));
        }
        closed(spool).await;
        work.publish_sealed().await.unwrap();
    }
    let reader = Reader::new(folder.path().to_owned(), objects);
    for (number, body) in asked {
        let found = reader.find(&format!("{ID}{number}")).await.unwrap().unwrap();
        assert!(reader.exchange(&found).await.unwrap().request_body == body, "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_a_conversation_its_requests_are_read_back(
        turns in proptest::collection::vec(turn(), 9),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&turns));
    }
}
