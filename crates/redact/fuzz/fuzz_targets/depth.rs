//! One of our keys in any text: found in a JSON string as in the text itself.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use redact::own_key;
use redact::rule::Rules;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::builtin);

fuzz_target!(|parts: (&str, &str)| {
    let key = own_key::build([11; own_key::RANDOM_CHARACTERS]);
    let mut text = format!("{}\n{key}\n{}", parts.0, parts.1);
    for _ in 0..3 {
        let at = text.find(&key).unwrap();
        let found = RULES.scan(text.as_bytes());
        let over = |span: &std::ops::Range<usize>| span.start <= at && at + key.len() <= span.end;
        assert!(found.iter().any(|one| over(&one.span)));
        text = format!("{{\"text\":{}}}", escaped(&text));
    }
});

fn escaped(text: &str) -> String {
    let mut escaped = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            other if other < ' ' => escaped.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => escaped.push(other),
        }
    }
    escaped.push('"');
    escaped
}
