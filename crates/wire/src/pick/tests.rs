use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

type Pick = (&'static str, String, u64);

const LIMIT: usize = 24;
const WANTED: &[Member<&str>] = &[
    text("type", "type", LIMIT),
    text("delta", "delta", 0),
    elements("items", "items"),
    inside(
        "response",
        &[
            text("response.id", "id", LIMIT),
            text("response.text", "text", 0),
            inside("usage", &[text("response.usage.type", "type", LIMIT)]),
        ],
    ),
];

/// What is picked from a document in these pieces, and whether it was a whole object.
fn check(pieces: &[&[u8]]) -> (Vec<Pick>, bool) {
    let (mut picker, mut picks) = (Picker::new(WANTED), Vec::new());
    let document = pieces.concat();
    for piece in pieces {
        picker.feed(piece, &mut |place, value| {
            let raw = if place == "items" { &document[value.begin..value.end] } else { value.raw };
            let raw = String::from_utf8_lossy(raw).into_owned();
            picks.push((place, raw, value.string_bytes));
            ControlFlow::Continue(())
        });
    }
    (picks, picker.read_whole_object())
}

/// The members of an object in their order, repeated ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// What `serde_json` finds in the same document.
fn expected(wanted: &'static [Member<&'static str>], object: &str, picks: &mut Vec<Pick>) {
    let Ok(Members(members)) = serde_json::from_str(object) else { return };
    for (key, value) in members {
        let raw = value.get();
        let length = if raw.starts_with('"') { raw.len() as u64 - 2 } else { 0 };
        match wanted.iter().find(|member| member.key == key).map(|member| member.want) {
            Some(Want::Text(place, limit)) if raw.len() <= limit => {
                picks.push((place, raw.to_owned(), length));
            }
            Some(Want::Text(place, _)) => picks.push((place, String::new(), length)),
            Some(Want::Inside(wanted)) => {
                each_object(raw, |object| expected(wanted, object, picks));
            }
            Some(Want::Elements(place)) => each_object(raw, |element| {
                let length = if element.starts_with('"') { element.len() as u64 - 2 } else { 0 };
                picks.push((place, element.to_owned(), length));
            }),
            Some(Want::Place(_)) | None => {}
        }
    }
}

fn each_object(raw: &str, mut visit: impl FnMut(&str)) {
    match serde_json::from_str::<Vec<Box<RawValue>>>(raw) {
        Ok(elements) => elements.iter().for_each(|element| visit(element.get())),
        Err(_) => visit(raw),
    }
}

fn any_string() -> impl Strategy<Value = String> {
    let pieces = r#"(a|\\"|\\\\|\\u0041|\\n|\{|\[|,|:|é|\}){0,8}"#;
    pieces.prop_map(|inner| format!("\"{inner}\""))
}

fn any_key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        r#""type""#,
        r#""\u0074ype""#,
        r#""delta""#,
        r#""response""#,
        r#""respons\u0065""#,
        r#""id""#,
        r#""text""#,
        r#""usage""#,
        r#""items""#,
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any_string()]
}

fn any_blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => prop::sample::select(vec![" ", "\n", "\t \r"])]
}

fn any_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any_string(),
        prop::sample::select(vec!["null", "true", "-1.5e3", "0", "12345678901234567890123456"])
            .prop_map(str::to_owned),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let element =
            (any_blank(), inner.clone()).prop_map(|(blank, value)| blank.to_owned() + &value);
        prop_oneof![
            3 => any_object(inner).boxed(),
            1 => prop::collection::vec(element, 0..4)
                .prop_map(|elements| format!("[{}]", elements.join(",")))
                .boxed(),
        ]
    })
}

fn any_object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member =
        (any_blank(), any_key(), any_blank(), value).prop_map(|(before, key, after, value)| {
            format!("{before}{key}{after}:{after}{value}{before}")
        });
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn picks_are_those_of_a_parser_however_the_document_is_cut(
        document in any_object(any_value()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut picks = Vec::new();
        expected(WANTED, &document, &mut picks);
        let whole = (picks, true);
        let cut = cut(document.as_bytes(), &cuts);
        let pieces: Vec<_> = cut.iter().map(Vec::as_slice).collect();
        let single: Vec<_> = document.as_bytes().chunks(1).collect();
        prop_assert_eq!(&check(&[document.as_bytes()]), &whole);
        prop_assert_eq!(&check(&pieces), &whole);
        prop_assert_eq!(&check(&single), &whole);
    }

    #[test]
    fn of_a_truncated_document_the_first_picks_are_found(
        document in any_object(any_value()),
        end in any::<prop::sample::Index>(),
    ) {
        let mut picks = Vec::new();
        expected(WANTED, &document, &mut picks);
        let (found, whole) = check(&[&document.as_bytes()[..end.index(document.len())]]);
        prop_assert!(picks.starts_with(&found), "{:?} is no start of {:?}", found, picks);
        prop_assert!(!whole);
    }

    #[test]
    fn no_bytes_make_the_picker_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        likely in r#"(\{|\}|\[|\]|"|:|,|"type"|"response"|\\|1| ){0,60}"#,
    ) {
        check(&[&bytes]);
        check(&[likely.as_bytes()]);
    }
}

#[test]
fn deep_nesting_needs_no_memory() {
    let deep =
        format!(r#"{{"response":{}1{},"type":"t"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let picks = vec![("type", "\"t\"".to_owned(), 1)];
    assert_eq!(check(&[deep.as_bytes()]), (picks, true));
}

#[test]
fn a_receiver_that_has_seen_enough_is_left_alone() {
    let mut seen = Vec::new();
    Picker::new(WANTED).feed(br#"{"type":1,"delta":"x","type":2}"#, &mut |place, _| {
        seen.push(place);
        if place == "delta" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, ["type", "delta"]);
}
