//! Values that an answer tells bit by bit: no event has them whole.

use std::collections::BTreeMap;
use std::ops::Range;

use memchr::memmem;
use redact::mask::Masks;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The member with the next bit of a text.
const DELTA: &[u8] = b"\"delta\":";

/// What of an event says where its bit belongs.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    delta: &'a RawValue,
    #[serde(default)]
    item_id: Option<&'a str>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    content_index: Option<u64>,
}

/// A bit of a text: where it stands among the events, in its quotes, and where in the text.
struct Bit {
    place: Range<usize>,
    span: Range<usize>,
}

/// A text that comes in bits.
#[derive(Default)]
struct Told {
    text: String,
    bits: Vec<Bit>,
}

/// Events in which each known value that is cut over several of them stands whole in the first of
/// these. None where there is no such value.
pub(super) fn joined(masks: &Masks, events: &[u8]) -> Option<Vec<u8>> {
    if masks.is_empty() || memmem::find(events, DELTA).is_none() {
        return None;
    }
    let mut changes = Vec::new();
    for told in told(events).into_values() {
        told.join(&masks.find(told.text.as_bytes()), &mut changes);
    }
    if changes.is_empty() {
        return None;
    }
    changes.sort_by_key(|(place, _): &(Range<usize>, Vec<u8>)| place.start);
    let (mut anew, mut at) = (Vec::with_capacity(events.len()), 0);
    for (place, text) in changes {
        anew.extend_from_slice(events.get(at..place.start)?);
        anew.extend(text);
        at = place.end;
    }
    anew.extend_from_slice(events.get(at..)?);
    Some(anew)
}

/// The texts that come in bits, by where they belong.
fn told(events: &[u8]) -> BTreeMap<String, Told> {
    let (mut all, mut begin): (BTreeMap<String, Told>, _) = (BTreeMap::new(), 0);
    for line in events.split_inclusive(|byte| *byte == b'\n') {
        if let Some((name, place, text)) = bit(line) {
            let told = all.entry(name).or_default();
            let span = told.text.len()..told.text.len() + text.len();
            told.bits.push(Bit { place: begin + place.start..begin + place.end, span });
            told.text.push_str(&text);
        }
        begin += line.len();
    }
    all
}

/// Of an event, where its bit belongs, where it stands, and what it is.
fn bit(line: &[u8]) -> Option<(String, Range<usize>, String)> {
    let start = memmem::find(line, DELTA)? + DELTA.len();
    // An event of a stream, or a message of a WebSocket.
    let json = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
    let event: Event<'_> = serde_json::from_slice(json).ok()?;
    let raw = event.delta.get();
    let behind = line.get(start..)?;
    let start = start + behind.len() - behind.trim_ascii_start().len();
    let place = start..start + raw.len();
    if line.get(place.clone())? != raw.as_bytes() {
        return None;
    }
    let text = serde_json::from_str(raw).ok()?;
    let Event { kind, item_id, output_index, content_index, .. } = event;
    Some((format!("{kind} {item_id:?} {output_index:?} {content_index:?}"), place, text))
}

impl Told {
    /// Notes which bits become others, as they stand in their quotes.
    fn join(&self, spans: &[Range<usize>], changes: &mut Vec<(Range<usize>, Vec<u8>)>) {
        for bit in &self.bits {
            let (mut text, mut at) = (String::new(), bit.span.start);
            for span in spans {
                if span.end <= at || span.start >= bit.span.end {
                    continue;
                }
                if span.start >= bit.span.start {
                    text.push_str(self.text.get(at..span.end).unwrap_or_default());
                }
                at = span.end;
            }
            text.push_str(self.text.get(at.min(bit.span.end)..bit.span.end).unwrap_or_default());
            let is_same = self.text.get(bit.span.clone()) == Some(text.as_str());
            if !is_same && let Ok(text) = serde_json::to_vec(&text) {
                changes.push((bit.place.clone(), text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redact::mask::{MaskKey, Masks};

    use super::joined;

    fn masks(value: &str) -> Masks {
        let mut masks = Masks::new(MaskKey::new([7; 32]));
        let label = |_: &[u8]| "value".to_owned();
        masks.mask(&label, value.as_bytes(), std::slice::from_ref(&(0..value.len())));
        masks
    }

    fn events(bits: &[(&str, &str)]) -> String {
        let event = |(item, bit): &(&str, &str)| {
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\
                 \"item_id\":\"{item}\",\"delta\":{}}}\n\n",
                serde_json::to_string(bit).unwrap()
            )
        };
        bits.iter().map(event).collect()
    }

    #[test]
    fn a_value_that_is_cut_stands_whole_where_it_begins() {
        let masks = masks("correct-h0rse-battery");
        let cut = events(&[
            ("a", "say \"corr"),
            ("b", "other"),
            ("a", "ect-h0rse"),
            ("a", "-battery\" and correct-"),
            ("a", "h0rse-battery."),
        ]);
        let expected = events(&[
            ("a", "say \"correct-h0rse-battery"),
            ("b", "other"),
            ("a", ""),
            ("a", "\" and correct-h0rse-battery"),
            ("a", "."),
        ]);
        let anew = joined(&masks, cut.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(anew).unwrap(), expected);
        assert_eq!(joined(&masks, expected.as_bytes()), None);
    }

    #[test]
    fn bits_of_different_texts_are_not_put_together() {
        let cut = events(&[("a", "correct-h0rse"), ("b", "-battery")]);
        assert_eq!(joined(&masks("correct-h0rse-battery"), cut.as_bytes()), None);
    }
}
