//! Secrets are marked in the tests' texts: `‹` stands before one and `›` behind it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::restore::Restorer;

use super::*;

pub(crate) const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END PRIVATE KEY-----";

pub(crate) fn masks() -> Masks {
    Masks::new(MaskKey::new([7; 32]))
}

/// A text without its marks, and the spans that were marked.
pub(crate) fn unmarked(text: &str) -> (String, Vec<Range<usize>>) {
    let (mut plain, mut spans) = (String::new(), Vec::new());
    for (index, piece) in text.split(['‹', '›']).enumerate() {
        if index % 2 == 1 {
            spans.push(plain.len()..plain.len() + piece.len());
        }
        plain.push_str(piece);
    }
    (plain, spans)
}

/// Masks what is marked.
pub(crate) fn masked(masks: &mut Masks, marked: &str) -> String {
    let (text, spans) = unmarked(marked);
    let body = masks.mask(&label, text.as_bytes(), &spans).map(|masked| masked.body);
    String::from_utf8(body.unwrap_or(text.into_bytes())).unwrap()
}

/// A label as a rule would give it: by how the value begins.
fn label(value: &[u8]) -> String {
    if value.starts_with(b"-----BEGIN") { "private-key".to_owned() } else { String::new() }
}

/// The mask of a value in the conversation of these tests.
fn mask_of(value: &str) -> String {
    masked(&mut masks(), &format!("‹{value}›"))
}

fn restored(masks: &Masks, text: &str) -> String {
    let (mut restorer, mut out) = (Restorer::document(masks.known()), Vec::new());
    restorer.feed(text.as_bytes(), &mut out);
    restorer.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_mask_names_its_rule_and_tells_nothing_of_the_value() {
    assert_eq!(mask_of("hunter2hunter2"), "[secret:value:840309522c15]");
    assert_eq!(mask_of(PEM).split_at(20).0, "[secret:private-key:");
    let mut others = Masks::new(MaskKey::new([8; 32]));
    assert_ne!(masked(&mut others, "‹hunter2hunter2›"), mask_of("hunter2hunter2"));
    assert_eq!(format!("{others:?} {:?}", others.known()), "Masks(1 values) Known(1 masks)");
}

#[test]
fn a_value_is_masked_wherever_else_it_stands() {
    let body = json!({ "input": [
        { "content": "export TOKEN=‹tok_123456789›" },
        { "arguments": json!({ "cmd": "curl -u tok_123456789:x" }).to_string() },
    ]});
    let (body, spans) = unmarked(&body.to_string());
    let found = masks().mask(&label, body.as_bytes(), &spans).unwrap();
    let mask = mask_of("tok_123456789");
    let expected = body.replace("tok_123456789", &mask);
    assert_eq!(String::from_utf8(found.body).unwrap(), expected);
    let again = body.rfind("tok_123456789").unwrap();
    assert_eq!(found.recurrences, vec![Range { start: again, end: again + 13 }]);
    assert_eq!(found.spans, [spans[0].clone(), again..again + 13]);
}

#[test]
fn a_private_key_is_one_value_at_every_depth_and_comes_back_as_it_stood() {
    let arguments = json!({ "cmd": ["cat", PEM] }).to_string();
    let nested = json!({ "output": arguments }).to_string();
    let body = json!({ "a": format!("x ‹{PEM}› y"), "b": arguments, "c": nested }).to_string();
    let mut masks = masks();
    let text = masked(&mut masks, &body);
    assert_eq!(text.matches(&mask_of(PEM)).count(), 3);
    assert!(!text.contains("MIGHAgEAMBMGByqGSM49"));
    assert_eq!(restored(&masks, &text), unmarked(&body).0);
}

#[test]
fn a_key_that_stands_escaped_in_plain_text_is_another_value_and_comes_back_so() {
    let body = json!({ "a": format!("‹{PEM}›"), "b": format!("KEY={PEM:?}") }).to_string();
    let mut masks = masks();
    let text = masked(&mut masks, &body);
    assert_eq!(shape::find(text.as_bytes()).len(), 2);
    assert_eq!(text.matches(&mask_of(PEM)).count(), 1);
    assert_eq!(restored(&masks, &text), unmarked(&body).0);
}

#[test]
fn a_value_that_begins_like_json_does_not_change_how_others_behind_it_are_read() {
    let body = json!({ "a": "‹[\"begin123› then ‹pa\\tword1›" }).to_string();
    let mut masks = masks();
    let text = masked(&mut masks, &body);
    assert!(text.contains(&mask_of("pa\\tword1")));
    assert_eq!(restored(&masks, &text), unmarked(&body).0);
}

#[test]
fn texts_that_are_not_json_are_masked_as_well() {
    let text = "X-Key: ‹pass\"word\\1›; again pass\"word\\1";
    let mut masks = masks();
    let masked = masked(&mut masks, text);
    let mask = mask_of("pass\"word\\1");
    assert_eq!(masked, format!("X-Key: {mask}; again {mask}"));
    assert_eq!(restored(&masks, &masked), unmarked(text).0);
}

#[test]
fn a_number_among_names_and_brackets_stays_since_the_body_must_remain_json() {
    let body = "{\"seed\":‹1234567890›,\"text\":\"pin ‹1234567890›\"}";
    let expected = format!("{{\"seed\":1234567890,\"text\":\"pin {}\"}}", mask_of("1234567890"));
    assert_eq!(masked(&mut masks(), body), expected);
}

#[test]
fn words_and_short_values_are_masked_only_where_they_were_found() {
    let body =
        "{\"type\":\"input_text\",\"a\":\"pw=‹input_text›\",\"b\":\"pin=‹a1b2›\",\"c\":\"a1b2\"}";
    let text = masked(&mut masks(), body);
    let (word, short) = (mask_of("input_text"), mask_of("a1b2"));
    let expected = format!(
        "{{\"type\":\"input_text\",\"a\":\"pw={word}\",\"b\":\"pin={short}\",\"c\":\"a1b2\"}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn what_is_masked_is_left_alone() {
    let mut masks = masks();
    let once = masked(&mut masks, "‹secret:v› and ‹tok_123456789›");
    assert_eq!(masks.mask(&label, once.as_bytes(), &[3..20, 4..9]), None);
    let all = shape::find(once.as_bytes());
    assert_eq!(masks.mask(&label, once.as_bytes(), &all), None);
    assert!(masks.find(once.as_bytes()).is_empty());
}

#[test]
fn spans_that_overlap_or_lie_beyond_the_end_do_no_harm() {
    let mut masks = masks();
    let whole = mask_of("abcdefgh1234");
    let spans = [4..12, 0..8, 30..40, 5..5];
    let masked = masks.mask(&label, b"abcdefgh1234 rest", &spans).unwrap();
    assert_eq!(String::from_utf8(masked.body).unwrap(), format!("{whole} rest"));
}

#[test]
fn a_known_value_is_masked_whole_though_only_a_part_was_pointed_at() {
    let mut masks = masks();
    masked(&mut masks, "‹tok_123456789›");
    assert_eq!(masked(&mut masks, "x tok_‹123456789›"), format!("x {}", mask_of("tok_123456789")));
}

#[test]
fn the_longest_of_known_values_is_masked() {
    let mut masks = masks();
    masked(&mut masks, "‹tok_1234› ‹tok_123456789› ‹tok_12345›");
    let expected = format!("{} {}6", mask_of("tok_123456789"), mask_of("tok_12345"));
    assert_eq!(masked(&mut masks, "tok_123456789 tok_123456"), expected);
}

#[test]
fn an_escaped_slash_hides_nothing() {
    let mut masks = masks();
    masked(&mut masks, "‹abc/def+1234=›");
    let text = masked(&mut masks, r#"{"a":"abc\/def+1234=","b":"{\"c\":\"abc\\/def+1234=\"}"}"#);
    let mask = mask_of("abc/def+1234=");
    assert_eq!(text, format!(r#"{{"a":"{mask}","b":"{{\"c\":\"{mask}\"}}"}}"#));
}

#[test]
fn more_values_than_are_remembered_are_masked_all_the_same() {
    let values: Vec<String> = (0..6000).map(|n| format!("‹token-{n:06}›")).collect();
    let mut masks = masks();
    let text = masked(&mut masks, &values.join(" "));
    assert_eq!(shape::find(text.as_bytes()).len(), 6000);
    assert_eq!(masks.known().len(), MOST_VALUES);
    let next = masked(&mut masks, "‹token-newest›");
    assert_eq!(restored(&masks, &next), "token-newest");
    assert!(masks.known().len() <= MOST_VALUES);
}

pub(crate) fn plain_value() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_/+=-]{8,24}"
}

pub(crate) fn awkward_value() -> impl Strategy<Value = String> {
    prop_oneof![Just(PEM.to_owned()), "[a-z\"\\\\\n\t'{}\u{1b}é]{8,20}"]
}

fn awkward_or_plain() -> impl Strategy<Value = String> {
    prop_oneof![plain_value(), awkward_value()]
}

/// A text with marked values, of which some recur unmarked.
pub(crate) fn marked_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("is [".to_owned()),
        Just("[secret:".to_owned()),
        Just("[secret:value:0123456789ab]".to_owned()),
        Just("\n\t\"quoted\" \\ ".to_owned()),
        "[a-zé \u{1F600}]{0,9}",
    ];
    let value = prop_oneof![
        3 => word,
        2 => awkward_or_plain().prop_map(|value| format!("‹{value}›")),
    ];
    prop::collection::vec(value, 0..6).prop_map(|pieces| format!("text {}", pieces.concat()))
}

/// A body that has such texts at several depths.
fn marked_body() -> impl Strategy<Value = String> {
    let texts = [marked_text(), marked_text(), marked_text()];
    (texts, awkward_or_plain()).prop_map(|([text, inner, deepest], again)| {
        let call = json!({ "cmd": ["bash", inner], "n": 1, "key": again }).to_string();
        let nested = json!([{ "call": call, "text": deepest }]).to_string();
        let key = format!("again ‹{again}› and {again}");
        json!({ "input": [text, { "arguments": call }], "output": nested, "key": key }).to_string()
    })
}

proptest! {
    #[test]
    fn what_was_masked_comes_back_byte_for_byte(body in marked_body()) {
        let mut masks = masks();
        let text = masked(&mut masks, &body);
        serde_json::from_str::<Value>(&text).unwrap();
        prop_assert_eq!(restored(&masks, &text), unmarked(&body).0);
    }

    #[test]
    fn masking_twice_changes_nothing(body in marked_body()) {
        let mut masks = masks();
        let once = masked(&mut masks, &body);
        prop_assert_eq!(masks.mask(&label, once.as_bytes(), &[]), None);
        prop_assert!(masks.find(once.as_bytes()).is_empty());
    }

    #[test]
    fn a_mask_does_not_depend_on_what_came_before(first in marked_body(), second in marked_body()) {
        let (mut one, mut other) = (masks(), masks());
        for body in [&first, &second] {
            masked(&mut one, body);
        }
        for body in [&second, &first, &second] {
            masked(&mut other, body);
        }
        prop_assert_eq!(masked(&mut one, &first), masked(&mut other, &first));
        prop_assert_eq!(masked(&mut one, &second), masked(&mut other, &second));
    }

    #[test]
    fn plain_values_come_back_from_any_bytes(
        before in prop::collection::vec(any::<u8>(), 0..40),
        value in plain_value(),
        after in "[\\[\\]{}\",:\\\\a-z0-9]{0,40}",
    ) {
        let body = [&before[..], b" ", value.as_bytes(), after.as_bytes()].concat();
        let start = before.len() + 1;
        let mut masks = masks();
        let span = Range { start, end: start + value.len() };
        let masked = masks.mask(&label, &body, &[span]);
        let text = masked.map_or_else(|| body.clone(), |masked| masked.body);
        let (mut restorer, mut out) = (Restorer::document(masks.known()), Vec::new());
        restorer.feed(&text, &mut out);
        restorer.finish(&mut out);
        prop_assert_eq!(out, body);
    }

    #[test]
    fn any_spans_of_any_bytes_are_masked_without_panic(
        body in "([a-z\\[\\]{}\",:\\\\]|\\[secret:a:0123456789ab\\]){0,60}",
        spans in prop::collection::vec((0usize..80, 0usize..80), 0..6),
    ) {
        let spans: Vec<_> = spans.into_iter().map(|(start, end)| start..end).collect();
        let mut masks = masks();
        if let Some(masked) = masks.mask(&label, body.as_bytes(), &spans) {
            prop_assert_eq!(masks.mask(&label, &masked.body, &[]), None);
        }
    }
}

#[test]
fn no_escape_is_cut_in_two() {
    // What stands behind `\u` are the digits of a character, not the value.
    let (text, spans) = unmarked(r#"{"a":"‹0000abcd1234›","b":"\u0000abcd1234 0000abcd1234"}"#);
    let masked = masks().mask(&|_| String::new(), text.as_bytes(), &spans).unwrap();
    assert_eq!(masked.spans.len(), 2);
    serde_json::from_slice::<Value>(&masked.body).unwrap();
}
