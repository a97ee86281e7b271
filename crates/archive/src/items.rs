//! Finds in a body what other bodies of its conversation repeat: its items.
//!
//! Codex sends the whole conversation with each request, and answers echo a part of it. An item is
//! one such piece, exactly as its bytes stand: `instructions`, `tools`, each element of `input` or
//! `messages`. Bodies are cut by places alone, so that the pieces in order are the body, whatever it
//! is; what cannot be read is merely not cut.

mod json;

use std::ops::Range;

use memchr::memchr;

/// Shorter pieces cost more to name than to repeat.
const SHORTEST: usize = 128;
/// Shorter events have no item worth naming.
const SHORTEST_EVENT: usize = 512;

/// The places of the items in a body, in order: of one or more JSON documents, or of events.
pub(crate) fn items(body: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let text = body.as_bytes();
    let begin = json::skip_space(text, 0);
    if text.get(begin) == Some(&b'{') {
        documents(text, begin, &mut found);
    } else {
        events(text, &mut found);
    }
    found
}

/// One document after the other, as messages of a WebSocket are kept.
fn documents(text: &[u8], mut at: usize, found: &mut Vec<Range<usize>>) {
    while text.get(at) == Some(&b'{') {
        let Some(end) = json::items_of_object(text, at, found) else { return };
        at = json::skip_space(text, end);
    }
}

/// The `data:` lines of server-sent events (HTML Living Standard, 9.2).
fn events(text: &[u8], found: &mut Vec<Range<usize>>) {
    let mut begin = 0;
    while let Some(rest) = text.get(begin..).filter(|rest| !rest.is_empty()) {
        let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let end = begin + length;
        if length >= SHORTEST_EVENT && rest.starts_with(b"data:") {
            let line = text.get(..end).unwrap_or_default();
            let at = json::skip_space(line, begin + b"data:".len());
            if line.get(at) == Some(&b'{') {
                // What is not whole has items all the same.
                let _ = json::items_of_object(line, at, found);
            }
        }
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SHORTEST, items};

    fn cut(body: &str) -> Vec<&str> {
        items(body).into_iter().map(|range| &body[range]).collect()
    }

    fn long(name: &str) -> String {
        format!("{{\"name\":\"{name}\",\"text\":\"a \\\"word\\\" ]}} {}\"}}", "x".repeat(SHORTEST))
    }

    #[test]
    fn what_a_request_repeats_is_found() {
        let (one, two) = (long("one"), long("two"));
        let words = format!("\"{}\"", "w".repeat(200));
        let body = format!(
            " {{\"model\":\"m\" , \"instructions\": {words},\"input\":[{one} , {{\"short\":1}},{two}],\
             \"n\":-1.5e3,\"tools\":[{one},{two}],\"metadata\":{{\"input\":[{one}]}}}}\n"
        );
        let tools = format!("[{one},{two}]");
        assert_eq!(cut(&body), [&words, &one, &two, &tools]);
        let chat = format!("{{\"messages\":[{one},{two}]}}");
        assert_eq!(cut(&chat), [&one, &two]);
    }

    #[test]
    fn what_an_answer_echoes_is_found_in_events_and_in_messages() {
        let words = format!("\"{}\"", "w".repeat(600));
        let created = format!(
            "{{\"type\":\"response.created\",\"response\":{{\"id\":\"r\",\"instructions\":{words},\"tools\":{words}}}}}"
        );
        let stream = format!(
            "event: response.created\ndata: {created}\n\ndata:{created}\r\n\r\ndata: [DONE]\n\n"
        );
        assert_eq!(cut(&stream), [&words; 4]);
        let messages = format!("{created}\n{created}\n");
        assert_eq!(cut(&messages), [&words; 4]);
        assert_eq!(cut(&format!("{{\"id\":\"r\",\"tools\":{words}}}")), [&words]);
    }

    #[test]
    fn a_body_that_breaks_off_has_the_items_before_the_break() {
        let (one, two) = (long("one"), long("two"));
        let body = format!("{{\"input\":[{one},{two}");
        assert_eq!(cut(&body), [&one, &two]);
        assert_eq!(cut(&body[..body.len() - 1]), [&one]);
    }

    proptest! {
        #[test]
        fn items_are_apart_and_in_order_whatever_a_body_is(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", "\"", "\\", ",", ":", "\"input\":", "\"tools\":", "data: ", "\n",
                "\"response\":", "ä", " ", "1", "null", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            ]), 0..300),
        ) {
            let body = pieces.concat();
            let mut last = 0;
            for range in items(&body) {
                prop_assert!(range.start >= last && range.len() >= SHORTEST);
                prop_assert!(body.get(range.clone()).is_some(), "between characters");
                last = range.end;
            }
        }
    }
}
