//! What was masked comes back as it was, however the answer is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redact::mask::{MaskKey, Masks};
use redact::restore::Restorer;
use serde_json::Value;

fuzz_target!(|data: (u8, String, String, String)| {
    let (cut, before, value, after) = data;
    let text = serde_json::json!({ "text": format!("{before}{value}{after}") }).to_string();
    let written = |text: &str| serde_json::Value::from(text).to_string().len() - 2;
    let (start, length) = (r#"{"text":""#.len() + written(&before), written(&value));
    // A mask that stands there already is taken for one.
    let has_mask = text.contains("[secret:");
    if length < 8 || has_mask || !stands_in_a_string(&before, &value, &after) {
        return;
    }
    let mut masks = Masks::new(MaskKey::new([7; 32]));
    let label = |_: &[u8]| String::from("fuzz");
    let Some(masked) = masks.mask(&label, text.as_bytes(), &[start..start + length]) else {
        return;
    };
    let mut restorer = Restorer::document(masks.known());
    let mut restored = Vec::new();
    for piece in masked.body.chunks(usize::from(cut).max(1)) {
        restorer.feed(piece, &mut restored);
    }
    restorer.finish(&mut restored);
    let same = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(same(&restored), same(text.as_bytes()));
});

/// Whether a value stands whole in one string, where it stands in JSON. A text that begins as JSON and is
/// none may have a quote or a line break there as it is; the mask hides that, and it comes back escaped.
fn stands_in_a_string(before: &str, value: &str, after: &str) -> bool {
    let is_escaped = |one: char| one < ' ' || matches!(one, '"' | '\\');
    if !value.contains(is_escaped) || !begins_as_json(&format!("{before}{value}{after}")) {
        return true;
    }
    let parsed = |value: &str| serde_json::from_str(&format!("{before}{value}{after}")).ok();
    let is_one_string = serde_json::from_str::<String>(&format!("\"{value}\"")).is_ok();
    is_one_string && [value, "x"].iter().all(|value| parsed(value).is_some_and(|all| is_last(&all)))
}

/// Whether no string in it begins as JSON once more.
fn is_last(value: &Value) -> bool {
    match value {
        Value::String(text) => !begins_as_json(text),
        Value::Array(values) => values.iter().all(is_last),
        Value::Object(members) => {
            members.iter().all(|(name, value)| !begins_as_json(name) && is_last(value))
        }
        _ => true,
    }
}

fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['[', '{'])
}
