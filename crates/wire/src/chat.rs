//! Usage of streamed chat completions: the API tells it only where that was asked for.
//!
//! It is asked for in the request's `stream_options`, and told in a chunk of its own at the end, which
//! a client that did not ask for it need not see.

use std::ops::{ControlFlow, Range};

use serde_json::{Map, Value};

use crate::pick::{Member, Picker, text};
use crate::sse::{Events, Token};

const OPTIONS: &str = "stream_options";
const INCLUDE: &str = "include_usage";
/// Options are far shorter.
const OPTIONS_LIMIT: usize = 16 * 1024;
/// The chunk with the usage is far shorter: what is longer passes as it comes.
const CHUNK_LIMIT: usize = 64 * 1024;

/// The body of a chat request with the wish for usage in it; nothing where it is there already, or
/// the body is not what the API takes. Only `stream_options` changes.
pub fn asking_usage(body: &[u8]) -> Option<Vec<u8>> {
    const MEMBERS: &[Member<()>] = &[text((), OPTIONS, OPTIONS_LIMIT)];
    let mut found: Option<Range<usize>> = None;
    let mut picker = Picker::new(MEMBERS);
    picker.feed(body, &mut |(), value| {
        // Of a repeated key the last counts.
        found = Some(value.begin..value.end);
        ControlFlow::Continue(())
    });
    picker.read_whole_object().then_some(())?;
    let Some(span) = found else {
        let end = body.iter().rposition(|byte| *byte == b'}')?;
        let before = body.get(..end)?.trim_ascii_end();
        let comma = if before.ends_with(b"{") { "" } else { "," };
        let added = format!("{comma}\"{OPTIONS}\":{}", wish(Map::new()));
        return replaced(body, end..end, &added);
    };
    let options = match serde_json::from_slice(body.get(span.clone())?).ok()? {
        Value::Null => Map::new(),
        Value::Object(options) if options.get(INCLUDE) == Some(&Value::Bool(true)) => return None,
        Value::Object(options) => options,
        // The upstream will say that it is wrong.
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    replaced(body, span, &wish(options))
}

fn wish(mut options: Map<String, Value>) -> String {
    options.insert(INCLUDE.to_owned(), Value::Bool(true));
    Value::Object(options).to_string()
}

fn replaced(body: &[u8], span: Range<usize>, with: &str) -> Option<Vec<u8>> {
    let parts = [body.get(..span.start)?, with.as_bytes(), body.get(span.end..)?];
    Some(parts.concat())
}

/// Takes the chunk with the usage out of a stream; all else passes byte for byte, a whole event at a
/// time.
#[derive(Debug, Default)]
pub struct Without {
    events: Events,
    /// The event that is passing, as far as it came; nothing once it is known to pass.
    held: Vec<u8>,
    data: Vec<u8>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between events, or in one that may be the chunk.
    #[default]
    Holding,
    /// In an event that is too long to be the chunk.
    Passing,
    /// Behind the chunk, whose last line a line feed may still end.
    Dropped,
}

impl Without {
    /// Takes the next piece of the stream, and appends what may pass on.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() {
            let was_in_event = self.events.in_event();
            let (used, token) = self.events.step(rest);
            let (bytes, after) = rest.split_at(used.min(rest.len()));
            rest = after;
            let is_end = was_in_event && !self.events.in_event();
            if self.state == State::Dropped {
                self.state = State::Holding;
                if bytes == b"\n" && !self.events.in_event() {
                    continue;
                }
            }
            if let Token::Data(data) = token
                && self.state == State::Holding
            {
                self.data.extend_from_slice(data);
            }
            self.held.extend_from_slice(bytes);
            if is_end {
                self.end_event(bytes, out);
            } else if self.state == State::Passing || !self.events.in_event() {
                out.append(&mut self.held);
            } else if self.held.len() > CHUNK_LIMIT {
                self.state = State::Passing;
                out.append(&mut self.held);
            }
        }
    }

    /// Ends the stream, and appends what is left of it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn end_event(&mut self, last: &[u8], out: &mut Vec<u8>) {
        let is_chunk = self.state == State::Holding && is_usage(&self.data);
        self.data.clear();
        self.state = State::Holding;
        if is_chunk {
            self.held.clear();
            if last == b"\r" {
                self.state = State::Dropped;
            }
        }
        out.append(&mut self.held);
    }
}

/// Whether a chunk has usage and nothing else: no choices.
fn is_usage(data: &[u8]) -> bool {
    #[derive(Clone, Copy)]
    enum Place {
        Choices,
        Usage,
    }
    const MEMBERS: &[Member<Place>] =
        &[text(Place::Choices, "choices", 64), text(Place::Usage, "usage", CHUNK_LIMIT)];
    let (mut is_empty, mut has_usage) = (false, false);
    let mut picker = Picker::new(MEMBERS);
    picker.feed(data, &mut |place, value| {
        match place {
            Place::Choices => {
                let inner = value.raw.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]"));
                is_empty = inner.is_some_and(|inner| inner.trim_ascii().is_empty());
            }
            Place::Usage => has_usage = value.raw.starts_with(b"{"),
        }
        ControlFlow::Continue(())
    });
    picker.read_whole_object() && is_empty && has_usage
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(body: &str, expected: Option<&str>) {
        let asking = asking_usage(body.as_bytes());
        assert_eq!(asking.map(|body| String::from_utf8(body).unwrap()).as_deref(), expected);
    }

    #[test]
    fn usage_is_asked_for_where_it_is_not() {
        check(
            r#"{"model":"m", "stream":true }"#,
            Some(r#"{"model":"m", "stream":true ,"stream_options":{"include_usage":true}}"#),
        );
        check(
            r#"{"stream_options": null,"a":1}"#,
            Some(r#"{"stream_options": {"include_usage":true},"a":1}"#),
        );
        check(
            r#"{"stream_options":{"include_usage":false, "include_obfuscation":false},"a":1} "#,
            Some(r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"a":1} "#),
        );
        check("{ }", Some(r#"{ "stream_options":{"include_usage":true}}"#));
    }

    #[test]
    fn what_asks_for_it_or_is_wrong_stays() {
        for body in [
            r#"{"stream_options":{"include_usage":true}}"#,
            r#"{"stream_options":7}"#,
            r#"{"stream_options":{"include_usage":true}"#,
            "[]",
            "",
        ] {
            check(body, None);
        }
    }

    const CHUNK: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#;

    fn without(pieces: &[&str]) -> String {
        let (mut without, mut out) = (Without::default(), Vec::new());
        for piece in pieces {
            without.feed(piece.as_bytes(), &mut out);
        }
        without.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_chunk_with_the_usage_is_taken_out() {
        for line in ["\n", "\r\n", "\r"] {
            let text = "data: {\"choices\":[{\"delta\":{}}],\"usage\":null}";
            let [text, chunk, done] =
                [text, CHUNK, "data: [DONE]"].map(|event| format!("{event}{line}{line}"));
            assert_eq!(
                without(&[": hello", line, line, &text, &chunk, &done]),
                format!(": hello{line}{line}{text}{done}")
            );
        }
    }

    #[test]
    fn what_only_resembles_it_passes() {
        for event in [
            r#"data: {"choices":[],"usage":null}"#,
            r#"data: {"choices":[{"index":0}],"usage":{"prompt_tokens":1}}"#,
            r#"data: {"usage":{"prompt_tokens":1}}"#,
            "event: x",
            "data: {\"choices\":[],",
        ] {
            assert_eq!(without(&[event, "\n\n"]), format!("{event}\n\n"));
        }
        assert_eq!(without(&[CHUNK]), CHUNK, "it has not ended");
        let long = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "y".repeat(CHUNK_LIMIT));
        assert_eq!(without(&[&long, CHUNK, "\n\n", &long]), format!("{long}{long}"));
    }

    #[test]
    fn an_event_passes_with_its_last_byte() {
        let (mut without, mut out) = (Without::default(), Vec::new());
        without.feed(b"data: {}\n", &mut out);
        assert_eq!(out, b"");
        without.feed(b"\n", &mut out);
        assert_eq!(out, b"data: {}\n\n");
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_the_stream_is_cut(
            events in prop::collection::vec(prop::sample::select(vec![
                CHUNK, "data: {\"choices\":[1]}", ": comment", "data: [DONE]", "", "data",
            ]), 0..12),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r"]), 12),
        ) {
            let whole: String =
                events.iter().zip(&ends).flat_map(|(event, end)| [*event, *end, *end]).collect();
            let letters: Vec<String> = whole.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            prop_assert_eq!(without(&letters), without(&[&whole]));
            if !events.contains(&CHUNK) {
                prop_assert_eq!(without(&[&whole]), whole);
            }
        }
    }
}
