//! Server-sent events: WHATWG HTML, section "Interpreting an event stream".
//!
//! Lines end with LF, CR or CRLF; a blank line ends an event; only `data` fields matter to us, since
//! the `OpenAI` API repeats the event's name as `type` inside the data.

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Shows the data of each event of a stream that is there as far as it came. An event that has not
/// ended counts as none, as the standard has it.
pub fn each_data(stream: &[u8], each: &mut dyn FnMut(&[u8])) {
    let (mut events, mut data, mut rest) = (Events::new(), Vec::new(), stream);
    while !rest.is_empty() {
        let (used, token) = events.step(rest);
        match token {
            Token::Nothing => {}
            Token::Data(more) => data.extend_from_slice(more),
            Token::End => {
                each(&data);
                data.clear();
            }
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// What a step over the stream has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Nothing of interest.
    Nothing,
    /// A piece of the event's data.
    Data(&'a [u8]),
    /// The event has ended, and it had data.
    End,
}

/// A place in a stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    line: Line,
    after_carriage_return: bool,
    in_event: bool,
    has_data: bool,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// At the start of the stream, so many bytes into a byte order mark.
    Mark(usize),
    /// At the start of a line.
    Start,
    /// So many bytes into a line that may become `data`.
    Name(usize),
    /// Behind `data:`, where one space may stand.
    Space,
    /// In the value of a `data` field.
    Data,
    /// In a line of no interest.
    Other,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// Stands at the start of a stream.
    pub(crate) fn new() -> Self {
        Self { line: Line::Mark(0), after_carriage_return: false, in_event: false, has_data: false }
    }

    /// Tells whether bytes have come since the last blank line.
    pub(crate) fn in_event(&self) -> bool {
        self.in_event
    }

    /// Takes the next step, and says how many bytes of `rest` it took: at least one, if there is one.
    /// No step takes bytes both before an event and of it.
    pub(crate) fn step<'a>(&mut self, rest: &'a [u8]) -> (usize, Token<'a>) {
        let Some(&byte) = rest.first() else { return (0, Token::Nothing) };
        if std::mem::take(&mut self.after_carriage_return) && byte == b'\n' {
            return (1, Token::Nothing);
        }
        if let Line::Mark(seen) = self.line {
            self.line = after_mark(seen, byte);
            if matches!(self.line, Line::Mark(_)) {
                return (1, Token::Nothing);
            }
        }
        if matches!(byte, b'\n' | b'\r') {
            return (1, self.end_line(byte));
        }
        self.in_event = true;
        match self.line {
            // As nearly all have it: at once.
            Line::Start if rest.starts_with(b"data: ") => {
                return (b"data: ".len(), self.begin_data(Line::Data));
            }
            Line::Space if byte != b' ' => self.line = Line::Data,
            Line::Start | Line::Name(_) | Line::Space | Line::Mark(_) => {
                return (1, self.field(byte));
            }
            Line::Data | Line::Other => {}
        }
        self.rest_of_line(rest)
    }

    /// Takes one byte of a line whose field is not known yet, or the space before its value.
    fn field(&mut self, byte: u8) -> Token<'static> {
        self.line = match (self.line, byte) {
            (Line::Start, b'd') => Line::Name(1),
            (Line::Name(1), b'a') => Line::Name(2),
            (Line::Name(2), b't') => Line::Name(3),
            (Line::Name(3), b'a') => Line::Name(4),
            (Line::Name(4), b':') => return self.begin_data(Line::Space),
            (Line::Space, _) => Line::Data,
            _ => Line::Other,
        };
        Token::Nothing
    }

    /// Begins a `data` field; the lines of several are joined by a line feed.
    fn begin_data(&mut self, line: Line) -> Token<'static> {
        self.line = line;
        if std::mem::replace(&mut self.has_data, true) {
            Token::Data(b"\n")
        } else {
            Token::Nothing
        }
    }

    fn rest_of_line<'a>(&self, rest: &'a [u8]) -> (usize, Token<'a>) {
        let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        match self.line {
            Line::Data => (length, Token::Data(rest.get(..length).unwrap_or(rest))),
            _ => (length, Token::Nothing),
        }
    }

    fn end_line(&mut self, byte: u8) -> Token<'static> {
        self.after_carriage_return = byte == b'\r';
        let token = match self.line {
            Line::Start => self.end_event(),
            // A field name without a colon is a field with an empty value.
            Line::Name(4) => self.begin_data(Line::Start),
            _ => Token::Nothing,
        };
        self.line = Line::Start;
        token
    }

    fn end_event(&mut self) -> Token<'static> {
        self.in_event = false;
        if std::mem::take(&mut self.has_data) { Token::End } else { Token::Nothing }
    }
}

/// Where the stream stands when, behind so many bytes of a byte order mark, this byte comes.
fn after_mark(seen: usize, byte: u8) -> Line {
    match BYTE_ORDER_MARK.get(seen) {
        Some(expected) if *expected == byte => Line::Mark(seen + 1),
        _ if seen == 0 || seen == BYTE_ORDER_MARK.len() => Line::Start,
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of each event, with the place where the event begins, of a stream cut like this.
    fn check(pieces: &[&[u8]]) -> Vec<(usize, String)> {
        let (mut events, mut found) = (Events::new(), Vec::new());
        let (mut data, mut begin, mut at) = (Vec::new(), 0, 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                if !events.in_event() {
                    begin = at;
                }
                let (used, token) = events.step(rest);
                match token {
                    Token::Nothing => {}
                    Token::Data(more) => data.extend_from_slice(more),
                    Token::End => found.push((begin, take_text(&mut data))),
                }
                rest = &rest[used..];
                at += used;
            }
        }
        found
    }

    fn take_text(data: &mut Vec<u8>) -> String {
        String::from_utf8_lossy(&std::mem::take(data)).into_owned()
    }

    fn event(begin: usize, data: &str) -> (usize, String) {
        (begin, data.to_owned())
    }

    #[test]
    fn every_line_end_is_understood() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = "event: a|data: 1||data: 2|data:3||".replace('|', end);
            let second = stream.find("data: 2").unwrap();
            assert_eq!(check(&[stream.as_bytes()]), [event(0, "1"), event(second, "2\n3")]);
        }
    }

    #[test]
    fn only_one_space_is_dropped_before_data() {
        assert_eq!(check(&[b"data:  x\n\ndata:y\n\n"]), [event(0, " x"), event(10, "y")]);
    }

    #[test]
    fn comments_other_fields_and_blank_lines_are_no_data() {
        let stream = b": hi\n\n\nid: 7\ndatas: no\ndat: no\n\nretry: 1\ndata\n\n";
        assert_eq!(check(&[stream]), [event(32, "")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_event() {
        assert_eq!(check(&[b"\xEF\xBB\xBFdata: 1\n\n"]), [event(3, "1")]);
    }

    #[test]
    fn a_whole_stream_is_read_as_one_in_pieces() {
        let mut seen = Vec::new();
        each_data(b"event: a\r\ndata: 1\r\ndata: 2\r\n\r\ndata: 3\n\ndata: half", &mut |data| {
            seen.push(String::from_utf8_lossy(data).into_owned());
        });
        assert_eq!(seen, ["1\n2", "3"]);
    }

    #[test]
    fn an_event_without_its_blank_line_has_not_ended() {
        assert_eq!(check(&[b"data: 1\n"]), []);
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_the_stream_is_cut(
            stream in "(data|:|: |\\[x\\]|\r|\n|\r\n|event|\u{FEFF}){0,40}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = stream.as_bytes();
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<_> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let single: Vec<_> = bytes.chunks(1).collect();
            prop_assert_eq!(check(&pieces), check(&[bytes]));
            prop_assert_eq!(check(&single), check(&[bytes]));
        }
    }
}
