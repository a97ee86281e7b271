//! A message of a client that is held until it is whole.

use wire::websocket::{Opcode, Part};

use crate::exchange::screen::message::Collected;

/// A message that is held.
pub(super) struct Held {
    pub(super) collected: Collected,
    pub(super) opcode: Opcode,
    /// So much of its text is blank.
    pub(super) blank: usize,
    /// It is held only to be looked through.
    pub(super) asks_nothing: bool,
    pub(super) form: Form,
}

/// How a message came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Plain,
    Compressed,
}

impl Held {
    /// A message that begins so.
    pub(super) fn begin(part: &Part) -> Self {
        let head = if let Part::Head(head) = part { Some(head) } else { None };
        let is_compressed = head.is_some_and(|head| head.is_compressed);
        Self {
            collected: Collected::default(),
            opcode: head.map_or(Opcode::Text, |head| head.opcode),
            blank: 0,
            asks_nothing: false,
            form: if is_compressed { Form::Compressed } else { Form::Plain },
        }
    }

    /// Whether it surely asks nothing: it begins as nothing that could be read as JSON with
    /// something in it. A byte order mark and wider characters are reckoned with: who stands
    /// behind us might.
    pub(super) fn surely_asks_nothing(&mut self) -> bool {
        let text = self.collected.text.get(self.blank..).unwrap_or_default();
        let start = text.trim_ascii_start();
        self.blank += text.len() - start.len();
        start.first().is_some_and(|first| !b"{[\"\0\xEF\xFE\xFF".contains(first))
    }
}

#[cfg(test)]
mod tests {
    use wire::websocket::Part;

    use super::Held;

    #[test]
    fn what_could_be_read_as_json_is_held() {
        let check = |pieces: &[&[u8]]| {
            let mut held = Held::begin(&Part::Payload);
            let tell = |piece: &&[u8]| {
                held.collected.text.extend_from_slice(piece);
                held.surely_asks_nothing()
            };
            pieces.iter().map(tell).next_back()
        };
        let mut held: Vec<&[u8]> = vec![b"", b" \r\n\t", b"{", b"  {\"a\"", b"[", b"\"{", b"\0{"];
        held.extend([&b"\xEF\xBB\xBF{"[..], b"\xFF\xFE{\0"]);
        for text in held {
            assert_eq!(check(&[text]), Some(false), "{text:?}");
        }
        assert_eq!(check(&[b"  ", b" ", b"{"]), Some(false));
        for text in [&b" x"[..], b"HELLO", b"7", b"true", b"\xC3\xA9"] {
            assert_eq!(check(&[text]), Some(true), "{text:?}");
        }
    }
}
