//! Maskings by hand: what is gone, what is left, and who notices.

use super::{ADA, BOB, Case, body};
use crate::erase::mask::{Done, Masker};
use crate::erase::masked::{Masked, Room, STORED};
use crate::hold::{self, Held, Hold, Holds};
use crate::record::Finding;
use crate::survey::Text;
use crate::verify::Verdict;

const MASK: &str = "[secret:phrase:0123456789ab]";

/// What must go: Bob has said it first in the first segment, and in the second.
fn secrets() -> [String; 2] {
    [1, 6].map(|turn: u8| format!("{BOB} says {}", blake3::hash(&[turn]).to_hex()))
}

fn without(text: &str) -> String {
    secrets().iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

fn mask(text: Text<'_>, room: Room) -> Option<Masked> {
    assert_eq!(room, Room::Enough);
    let words = std::str::from_utf8(text.bytes).unwrap();
    let count = secrets().iter().map(|secret| words.matches(secret).count() as u64).sum();
    let (rule, tier) = ("phrase".to_owned(), "likely".to_owned());
    let findings = vec![Finding { rule, tier, action: STORED.to_owned(), count }];
    (count > 0).then(|| Masked { bytes: without(words).into_bytes(), findings })
}

impl Case {
    async fn mask(&self) -> Done {
        let holds = Holds::load(&*self.objects, &self.keys).await.unwrap();
        let masker = Masker {
            objects: &*self.objects,
            signer: &self.signer,
            keys: &self.keys,
            holds: &holds,
            now: "2025-10-21T08:00:00Z".parse().unwrap(),
        };
        let mut done = Done::default();
        let objects = self.objects().await;
        let names = objects.keys().filter_map(|path| path.strip_prefix("manifests/"));
        for name in names.map(|path| path.rsplit('/').next().unwrap().replace(".json", "")) {
            masker.segment(&name, &mut mask, &mut done).await;
        }
        done
    }

    async fn has_any(&self) -> bool {
        let [first, second] = secrets();
        self.has(&first).await || self.has(&second).await
    }

    /// Every request as it can be read.
    async fn asked(&self) -> Vec<String> {
        let read = self.read().await.into_iter();
        read.map(|(_, exchange)| String::from_utf8(exchange.request_body).unwrap()).collect()
    }
}

fn masked(user: &str, turns: u8) -> String {
    without(&String::from_utf8(body(user, turns)).unwrap())
}

#[tokio::test]
async fn what_is_masked_is_gone_and_everything_else_is_read_as_before() {
    let case = Case::of_two().await;
    let (whole, before) = (case.verify().await, case.objects().await);
    assert!(case.has_any().await);

    let done = case.mask().await;
    assert_eq!(done, Done { exchanges: 2, files: 4, held: 0, refused: Vec::new() });
    assert!(!case.has_any().await);
    let said = [(BOB, 2), (ADA, 3), (BOB, 4), (BOB, 5), (ADA, 6), (BOB, 7)];
    assert_eq!(case.asked().await, said.map(|(user, turns)| masked(user, turns)));
    let verdict = case.verify().await;
    assert_eq!(verdict, Verdict { masked: 2, ..whole });
    // Files keep their lengths but for records, and manifests all of their bytes.
    let lengths = |objects: std::collections::BTreeMap<String, Vec<u8>>| {
        let bodies = objects.into_iter().filter(|(path, _)| path.starts_with("bodies"));
        bodies.map(|(path, bytes)| (path, bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(lengths(case.objects().await), lengths(before));
    let findings: Vec<u64> = case
        .read()
        .await
        .iter()
        .map(|(record, _)| record.findings.iter().map(|finding| finding.count).sum())
        .collect();
    // Each says it four times, and brings it into the conversation once.
    assert_eq!(findings, [4, 0, 0, 0, 0, 4]);

    assert_eq!(case.mask().await, Done::default(), "again it finds nothing to do");
    // Who is erased after that leaves a chain that closes.
    assert_eq!(case.erase(BOB).await.exchanges, 4);
    let verdict = case.verify().await;
    assert_eq!((verdict.wrong, verdict.erased, verdict.unfinished), (None, 4, 0));
}

#[tokio::test]
async fn wherever_a_masking_is_cut_off_it_is_no_damage_and_the_next_try_ends_it() {
    let puts = 6;
    for allowed in 0..=puts {
        let case = Case::of_two().await;
        case.objects.allow(allowed);
        let refused = case.mask().await.refused;
        assert_eq!(refused.is_empty(), allowed == puts, "{allowed}: {refused:?}");
        case.objects.allow(usize::MAX);
        let verdict = case.verify().await;
        assert_eq!(verdict.wrong, None, "after {allowed} puts");
        let late = [0, 2, 1, 0, 2, 1, 0][allowed];
        assert_eq!(verdict.unfinished, late, "after {allowed} puts");
        assert_eq!(case.read().await.len(), 6);

        assert_eq!(case.mask().await.refused, []);
        assert!(!case.has_any().await, "after {allowed} puts");
        let verdict = case.verify().await;
        assert_eq!((verdict.unfinished, verdict.wrong), (0, None));
        // Nothing is stated or counted twice.
        let objects = case.objects().await.into_keys();
        assert_eq!(objects.filter(|path| path.starts_with("erasures/")).count(), 2);
        let first = &case.read().await[0].0;
        assert_eq!(first.findings[0].count, 4, "after {allowed} puts");
    }
}

#[tokio::test]
async fn what_is_said_after_a_masking_is_read_back_as_it_was() {
    let mut case = Case::new();
    case.write(&[BOB]).await;
    case.mask().await;
    case.write(&[BOB]).await;
    let whole = String::from_utf8(body(BOB, 3)).unwrap();
    assert_eq!(case.asked().await, [masked(BOB, 2), whole]);
    case.mask().await;
    assert_eq!(case.asked().await, [masked(BOB, 2), masked(BOB, 3)]);
    assert_eq!(case.verify().await.wrong, None);
}

#[tokio::test]
async fn what_is_held_stays_as_it_is() {
    let case = Case::of_two().await;
    let order = Hold {
        id: "h1".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH,
        held: Held::User(BOB.to_owned()),
        reason: None,
    };
    hold::add(&*case.objects, &order, &case.signer).await.unwrap();
    let before = case.objects().await;
    assert_eq!(case.mask().await, Done { held: 2, ..Done::default() });
    assert_eq!(case.objects().await, before);
}

#[tokio::test]
async fn whoever_edits_what_was_masked_is_found_out() {
    let case = Case::of_two().await;
    case.mask().await;
    let path = case.first("bodies").await;
    let text = String::from_utf8(zstd::decode_all(&*case.get(&path).await).unwrap()).unwrap();
    let text = text.replace(&format!("an answer to {BOB}"), &format!("no answer to {BOB}"));
    case.overwrite(&path, zstd::encode_all(text.as_bytes(), 3).unwrap()).await;
    let wrong = case.wrong().await;
    assert!(wrong.starts_with(path.as_ref()) && wrong.contains("it was edited"), "{wrong}");
}
