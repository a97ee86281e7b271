//! The data of one event, and where it stands in the event's bytes.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The places of an event's data: what follows each `data:`.
pub(super) struct Data(Vec<Range<usize>>);

impl Data {
    /// The data of a server-sent event.
    pub(super) fn of_event(raw: &[u8]) -> Self {
        let mut at = if raw.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut lines = Vec::with_capacity(1);
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            if let Some(value) = line.strip_prefix(b"data:") {
                let space = usize::from(value.starts_with(b" "));
                lines.push(at + 5 + space..at + length);
            }
            at += length + 1;
        }
        Self(lines)
    }

    /// A message is data from its first byte to its last.
    pub(super) fn of_message(raw: &[u8]) -> Self {
        Self(vec![Range { start: 0, end: raw.len() }])
    }

    /// The places, in order.
    pub(super) fn lines(&self) -> &[Range<usize>] {
        &self.0
    }

    /// The data as one text: its lines are joined by line feeds.
    pub(super) fn text<'r>(&self, raw: &'r [u8]) -> Cow<'r, [u8]> {
        let line = |span: &Range<usize>| raw.get(span.clone()).unwrap_or_default();
        match self.0.as_slice() {
            [] => Cow::Borrowed(&[]),
            [only] => Cow::Borrowed(line(only)),
            several => {
                let lines: Vec<_> = several.iter().map(line).collect();
                Cow::Owned(lines.join(&b'\n'))
            }
        }
    }

    /// Where a span of the text stands in the event's bytes. No string of JSON has a line feed in
    /// it, so that one that does is none: `None`.
    pub(super) fn place(&self, span: &Range<usize>) -> Option<Range<usize>> {
        let mut begin = 0;
        for line in &self.0 {
            let end = begin + line.len();
            if span.start >= begin && span.end <= end {
                let from = line.start + span.start - begin;
                return Some(from..from + span.len());
            }
            begin = end + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_among_other_fields() {
        let raw = b"event: a\r\ndata: {\"x\":\r\n: hi\r\ndata:\"yz\"}\r\n\r\n";
        let data = Data::of_event(raw);
        assert_eq!(data.text(raw), &b"{\"x\":\n\"yz\"}"[..]);
        let place = data.place(&(7..9)).unwrap();
        assert_eq!(&raw[place], b"yz");
        assert_eq!(data.place(&(3..8)), None);
    }

    #[test]
    fn a_byte_order_mark_and_an_event_without_data_do_not_matter() {
        let raw = b"\xEF\xBB\xBFdata: 1\n\n";
        assert_eq!(Data::of_event(raw).text(raw), &b"1"[..]);
        assert_eq!(Data::of_event(b": ping\n\n").text(b": ping\n\n"), &b""[..]);
    }
}
