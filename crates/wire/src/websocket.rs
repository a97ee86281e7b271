//! WebSocket frames (RFC 6455 §5) as they pass: where they begin and end, and what they carry.

mod deflate;
mod follow;

pub use deflate::{Agreement, Forgets, offered};
pub use follow::{Follower, Part, Step};

/// The longest head: two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;
/// What a control frame may carry (RFC 6455 §5.5).
pub const CONTROL_LIMIT: usize = 125;

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before it.
    Continuation,
    /// A message of text begins.
    Text,
    /// A message of bytes begins.
    Binary,
    /// One side wants to end.
    Close,
    /// A question whether the other side is there.
    Ping,
    /// The answer to it.
    Pong,
    /// Not defined.
    Reserved(u8),
}

impl Opcode {
    fn of(first: u8) -> Self {
        match first & 0x0F {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    /// Whether it may stand between the frames of a message.
    pub fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
            Self::Reserved(number) => number >= 8,
        }
    }
}

/// The head of a frame, with the bytes that it came as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether the message ends with it.
    pub is_last: bool,
    /// Whether the message that begins with it is compressed (RFC 7692 §6).
    pub is_compressed: bool,
    /// What its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// Bytes of its payload.
    pub length: u64,
    bytes: [u8; LONGEST_HEAD],
    own_length: usize,
}

impl Head {
    /// Reads a head; nothing while bytes are missing.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (length, after) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let is_masked = second & 0x80 != 0;
        let mask = if is_masked { Some(*bytes.get(after..)?.first_chunk()?) } else { None };
        let own_length = after + if is_masked { 4 } else { 0 };
        let mut kept = [0; LONGEST_HEAD];
        kept.get_mut(..own_length)?.copy_from_slice(bytes.get(..own_length)?);
        Some(Self {
            opcode: Opcode::of(first),
            is_last: first & 0x80 != 0,
            is_compressed: first & 0x40 != 0,
            mask,
            length,
            bytes: kept,
            own_length,
        })
    }

    /// As it came.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.own_length).unwrap_or_default()
    }
}

/// A whole message of text as one frame, as a server sends it.
pub fn text(message: &[u8]) -> Vec<u8> {
    frame(0x81, message)
}

/// A whole message of bytes as one frame, as a server sends it.
pub fn binary(message: &[u8]) -> Vec<u8> {
    frame(0x82, message)
}

/// A closing frame as a server sends it; the reason is cut to what may stand there.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut length = reason.len().min(CONTROL_LIMIT - 2);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    let payload = [&code.to_be_bytes(), reason.as_bytes().get(..length).unwrap_or_default()];
    frame(0x88, &payload.concat())
}

/// A whole message as one frame, as a client sends it: hidden from proxies that do not know WebSocket
/// by a mask of the sender's choice (RFC 6455 §5.3). Of bytes where that is said, else of text.
pub fn masked(opcode: Opcode, message: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let first = if opcode == Opcode::Binary { 0x82 } else { 0x81 };
    let mut frame = head(first, 0x80, message.len());
    frame.extend(mask);
    let begin = frame.len();
    frame.extend_from_slice(message);
    follow::unmask(frame.get_mut(begin..).unwrap_or_default(), mask, 0);
    frame
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// A head whose second byte has these flags beside the length.
fn head(first: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => head.push(flags | short),
        (_, Ok(middle)) => {
            head.push(flags | 0x7E);
            head.extend(middle.to_be_bytes());
        }
        _ => {
            head.push(flags | 0x7F);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests;
