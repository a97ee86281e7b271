//! Where server-sent events end: WHATWG HTML, section "Interpreting an event stream".
//!
//! Lines end with LF, CR or CRLF; a blank line ends an event.

use memchr::memchr2;

/// A place in a stream, within the event that has not ended.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Whether bytes of the line have come.
    in_line: bool,
    /// Whether the last byte was a CR, to which an LF would belong.
    after_carriage_return: bool,
}

impl Splitter {
    /// Reads on, and says where the event ends if it does. A CR ends it at once: nobody knows
    /// whether an LF follows, and one that does is read as a blank line of its own.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let is_second = std::mem::take(&mut self.after_carriage_return) && *byte == b'\n';
            at += 1;
            match byte {
                b'\n' | b'\r' if is_second => {}
                b'\n' | b'\r' if !self.in_line => {
                    if *byte == b'\r' && bytes.get(at) == Some(&b'\n') {
                        at += 1;
                    }
                    return Some(at);
                }
                b'\n' | b'\r' => {
                    self.in_line = false;
                    self.after_carriage_return = *byte == b'\r';
                }
                _ => {
                    self.in_line = true;
                    let rest = bytes.get(at..).unwrap_or_default();
                    at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
            }
        }
        None
    }
}
