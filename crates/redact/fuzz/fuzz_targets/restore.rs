//! What was masked comes back as it was, however the answer is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redact::depth::Depth;
use redact::mask::{MaskKey, Masks};
use redact::restore::Restorer;

fuzz_target!(|data: (u8, String, String, String)| {
    let (cut, before, value, after) = data;
    let text = serde_json::json!({ "text": format!("{before}{value}{after}") }).to_string();
    let written = |text: &str| serde_json::Value::from(text).to_string().len() - 2;
    let (start, length) = (r#"{"text":""#.len() + written(&before), written(&value));
    // A control character as it is in a string of JSON in JSON, which then is none: the mask hides that,
    // and it comes back escaped.
    let mut place = Depth::new();
    place.feed(&text.as_bytes()[..start]);
    let is_no_json = place.depth() > 1 && value.contains(|one| one < ' ');
    // A mask that stands there already is taken for one.
    let has_mask = text.contains("[secret:");
    if length < 8 || has_mask || is_no_json {
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
    let same = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(same(&restored), same(text.as_bytes()));
});
