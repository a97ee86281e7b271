//! Any bytes: what is found lies within them, in order, apart, and on character boundaries.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use redact::rule::Rules;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::builtin);

fuzz_target!(|bytes: &[u8]| {
    let mut last = 0;
    for one in RULES.scan(bytes) {
        assert!(last <= one.span.start && one.span.start < one.span.end);
        assert!(one.span.end <= bytes.len());
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert!(text.get(one.span.clone()).is_some());
        }
        last = one.span.end;
    }
});
