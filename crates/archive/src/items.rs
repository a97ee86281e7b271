//! Finds in a body what other bodies of its conversation repeat.
//!
//! Codex sends the whole conversation with each request, answers echo a part of it, and what a model
//! has written comes back with the next request. An item is one such piece, exactly as its bytes
//! stand: `instructions`, `tools`, the elements of `input` or `messages`; in answers `tools` and long
//! texts. Bodies are cut by places alone, so that the pieces in order are the body, whatever it is;
//! what cannot be read is merely not cut.

mod json;

use std::ops::Range;

use memchr::memchr;

use crate::frame::Side;

/// Shorter pieces cost more to name than to repeat.
pub(crate) const SHORTEST: usize = 128;
/// So do shorter texts of an answer, which may come back once.
const LONG_TEXT: usize = 512;
/// Elements of a run are grouped by so many on average, and by four times as many at most.
const GROUP: usize = 8;

/// A place where a body is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// An item.
    Item(Range<usize>),
    /// Elements of an array, in order. The next request has them again, and more behind them.
    Run(Vec<Range<usize>>),
}

/// Where to cut a body, in order: one or more JSON documents, or events.
pub(crate) fn cuts(side: Side, text: &[u8]) -> Vec<Cut> {
    let mut found = Vec::new();
    let begin = json::skip_space(text, 0);
    if text.get(begin) == Some(&b'{') {
        documents(side, text, begin, &mut found);
    } else if side == Side::Response {
        events(text, &mut found);
    }
    found
}

/// Where to cut a request that is known up to here, the end of an element of a run.
pub(crate) fn cuts_behind(text: &[u8], at: usize) -> Vec<Cut> {
    let mut found = Vec::new();
    if let Some(end) = json::behind_element(text, at, &mut found) {
        documents(Side::Request, text, json::skip_space(text, end), &mut found);
    }
    found
}

/// The long texts of an element, some of which an answer may have had before.
pub(crate) fn texts(element: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // What is not whole has texts all the same.
    let _ = json::answer(element, 0, &mut found);
    let range = |cut| match cut {
        Cut::Item(range) => Some(range),
        Cut::Run(_) => None,
    };
    found.into_iter().filter_map(range).collect()
}

/// Groups the elements of a run, so that a long one is named by few names. Groups end where the
/// elements say so, thus at the same places in the next request; those of the rest, which may grow,
/// are given one by one.
pub(crate) fn groups<'r>(body: &[u8], mut run: &'r [Range<usize>]) -> Vec<&'r [Range<usize>]> {
    let ends = |range: &Range<usize>| {
        let sum = crc32fast::hash(body.get(range.clone()).unwrap_or_default());
        (sum as usize).is_multiple_of(GROUP)
    };
    let mut groups = Vec::new();
    while let Some(end) = run.iter().take(4 * GROUP).position(ends).or(full(run)) {
        let (group, rest) = run.split_at(end + 1);
        groups.push(group);
        run = rest;
    }
    groups.extend(run.chunks(1));
    groups
}

/// The last element of a group that has no end in itself.
fn full(run: &[Range<usize>]) -> Option<usize> {
    (run.len() >= 4 * GROUP).then_some(4 * GROUP - 1)
}

/// One document after the other, as messages of a WebSocket are kept.
fn documents(side: Side, text: &[u8], mut at: usize, found: &mut Vec<Cut>) {
    let read = match side {
        Side::Request => json::request,
        Side::Response => json::answer,
    };
    while text.get(at) == Some(&b'{') {
        let Some(end) = read(text, at, found) else { return };
        at = json::skip_space(text, end);
    }
}

/// The `data:` lines of server-sent events (HTML Living Standard, 9.2).
fn events(text: &[u8], found: &mut Vec<Cut>) {
    let mut begin = 0;
    while let Some(rest) = text.get(begin..).filter(|rest| !rest.is_empty()) {
        let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let end = begin + length;
        if length >= LONG_TEXT && rest.starts_with(b"data:") {
            let line = text.get(..end).unwrap_or_default();
            let at = json::skip_space(line, begin + b"data:".len());
            if line.get(at) == Some(&b'{') {
                // What is not whole has items all the same.
                let _ = json::answer(line, at, found);
            }
        }
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::{Cut, GROUP, LONG_TEXT, SHORTEST, cuts, groups, texts};
    use crate::frame::Side;

    /// What is cut out; the elements of a run each.
    fn cut(side: Side, body: &str) -> Vec<&str> {
        let ranges = cuts(side, body.as_bytes()).into_iter().flat_map(|cut| match cut {
            Cut::Item(range) => vec![range],
            Cut::Run(run) => run,
        });
        ranges.map(|range| body.get(range).unwrap()).collect()
    }

    fn long(name: &str) -> String {
        format!("{{\"name\":\"{name}\",\"text\":\"a \\\"word\\\" ]}} {}\"}}", "x".repeat(SHORTEST))
    }

    #[test]
    fn what_a_request_repeats_is_found() {
        let (one, two) = (long("one"), long("two"));
        let words = format!("\"{}\"", "w".repeat(200));
        let body = format!(
            " {{\"model\":\"m\" , \"instructions\": {words},\"input\":[{one} , 1,{two}],\
             \"n\":-1.5e3,\"tools\":[{one},{two}],\"metadata\":{{\"input\":[{one}]}}}}\n"
        );
        let tools = format!("[{one},{two}]");
        assert_eq!(cut(Side::Request, &body), [&words, &one, "1", &two, &tools]);
        let chat = format!("{{\"messages\":[{one},{two}]}}");
        assert_eq!(cut(Side::Request, &chat), [&one, &two]);
    }

    #[test]
    fn what_an_answer_echoes_or_tells_is_found_in_events_and_in_messages() {
        let words = format!("\"{}\"", "w".repeat(LONG_TEXT));
        let tools = format!("[{{\"n\":\"{}\"}}]", "t".repeat(SHORTEST));
        let event = format!(
            "{{\"type\":\"response.created\",\"response\":{{\"id\":\"tools\",\"output\":[{words}],\"tools\": {tools}}}}}"
        );
        let stream = format!("event: e\ndata: {event}\n\ndata:{event}\r\n\r\ndata: [DONE]\n\n");
        let expected = [&words, &tools, &words, &tools];
        assert_eq!(cut(Side::Response, &stream), expected);
        assert_eq!(cut(Side::Response, &format!("{event}\n{event}\n")), expected);
    }

    #[test]
    fn what_an_answer_told_is_found_in_the_element_that_comes_back() {
        let words = format!("\"{}\"", "w".repeat(LONG_TEXT));
        let element =
            format!("{{\"type\":\"reasoning\",\"encrypted_content\":{words},\"id\":\"x\"}}");
        let found = texts(element.as_bytes());
        assert_eq!(
            found.iter().map(|at| element.get(at.clone())).collect::<Vec<_>>(),
            [Some(&*words)]
        );
    }

    #[test]
    fn a_body_that_breaks_off_has_the_items_before_the_break() {
        let (one, two) = (long("one"), long("two"));
        let body = format!("{{\"input\":[{one},{two}");
        assert_eq!(cut(Side::Request, &body), [&one, &two]);
        let body = body.strip_suffix('}').unwrap();
        assert_eq!(cut(Side::Request, body), [&one]);
    }

    #[test]
    fn groups_stay_the_same_when_a_run_grows() {
        let body: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        let run: Vec<Range<usize>> = (0..1000).map(|at| 4 * at..4 * at + 4).collect();
        let all = groups(&body, &run);
        assert!(all.iter().all(|group| group.len() <= 4 * GROUP) && all.len() < 300);
        let some = groups(&body, &run[..500]);
        let closed = some.iter().filter(|group| group.len() > 1).count();
        assert!(closed > 10);
        assert_eq!(some[..closed], all[..closed]);
        assert_eq!(all.concat(), run);
    }

    proptest! {
        #[test]
        fn cuts_are_apart_and_in_order_whatever_a_body_is(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", "\"", "\\", ",", ":", "\"input\":", "\"tools\":", "data: ", "\n",
                "\"response\":", "ä", " ", "1", "null", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            ]), 0..300),
            side in prop::sample::select(vec![Side::Request, Side::Response]),
        ) {
            let body = pieces.concat();
            let mut last = 0;
            for piece in cut(side, &body) {
                let begin = piece.as_ptr() as usize - body.as_ptr() as usize;
                prop_assert!(begin >= last);
                last = begin + piece.len();
            }
        }
    }
}
