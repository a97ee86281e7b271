//! A frame: some JSON lines about one exchange, as one zstd frame with a checksum.
//!
//! The first line says what the frame is.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::record::Record;

/// Bodies are cut into parts of at most this many bytes, a line each.
pub const PART_BYTES: usize = 1 << 20;

/// One line of a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// An exchange begins.
    Open(Box<Opening>),
    /// A piece of a body.
    Body(Part),
    /// An exchange has ended.
    Close(Box<Closing>),
}

/// What is known when an exchange opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The record as it would stand were this the end: failed, by the proxy.
    pub record: Record,
    /// What was asked, without the body.
    pub request: RequestHead,
}

/// What is known when it has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// The record.
    pub record: Record,
    /// What was answered, without the body; absent where nothing was.
    pub response: Option<ResponseHead>,
    /// The frames of this exchange before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Place>,
}

/// A request without its body. Credentials and cookies are left out of the headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// HTTP method.
    pub method: String,
    /// Path and query as the client asked.
    pub target: String,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
}

/// An answer without its body. Cookies are left out of the headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// HTTP status.
    pub status: u16,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
}

/// Which body a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The request's.
    Request,
    /// The answer's.
    Response,
}

/// A piece of a body: the parts of a side in order are the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The exchange.
    pub id: String,
    /// Which of its bodies.
    pub side: Side,
    /// The bytes.
    #[serde(flatten)]
    pub bytes: PartBytes,
}

/// The bytes of a part: as text where they are UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartBytes {
    /// Exactly these characters.
    Text(String),
    /// Anything else.
    Base64(String),
}

/// Where a frame lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment's name.
    pub segment: String,
    /// Where the frame begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Part {
    /// Cuts a body into parts, between characters where it is text.
    pub fn cut(id: &str, side: Side, mut body: &[u8]) -> Vec<Self> {
        let mut parts = Vec::new();
        while !body.is_empty() {
            let (now, rest) = body.split_at(cut_point(body));
            let bytes = match std::str::from_utf8(now) {
                Ok(text) => PartBytes::Text(text.to_owned()),
                Err(_) => PartBytes::Base64(BASE64.encode(now)),
            };
            parts.push(Self { id: id.to_owned(), side, bytes });
            body = rest;
        }
        parts
    }

    /// Appends the bytes to `body`; what is no base64 is left out.
    pub fn append_to(&self, body: &mut Vec<u8>) {
        match &self.bytes {
            PartBytes::Text(text) => body.extend_from_slice(text.as_bytes()),
            PartBytes::Base64(text) => body.extend(BASE64.decode(text).unwrap_or_default()),
        }
    }
}

/// Where to cut off the first part: after [`PART_BYTES`], or up to three bytes before, so that
/// no character is cut in two.
fn cut_point(body: &[u8]) -> usize {
    if body.len() <= PART_BYTES {
        return body.len();
    }
    let starts_character = |at: &usize| body.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    (PART_BYTES - 3..=PART_BYTES).rev().find(starts_character).unwrap_or(PART_BYTES)
}

/// Makes frames; keeps zstd's tables between them.
pub struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    lines: Vec<u8>,
}

impl Encoder {
    /// Level 1: most of the gain is had already, at a third of the next levels' work.
    pub fn new() -> std::io::Result<Self> {
        let mut zstd = zstd::bulk::Compressor::new(1)?;
        zstd.include_checksum(true)?;
        Ok(Self { zstd, lines: Vec::new() })
    }

    /// Appends one frame of these lines to `out`.
    pub fn encode(&mut self, lines: &[Line], out: &mut Vec<u8>) -> std::io::Result<()> {
        self.lines.clear();
        for line in lines {
            serde_json::to_writer(&mut self.lines, line)?;
            self.lines.push(b'\n');
        }
        let frame = self.zstd.compress(&self.lines)?;
        out.extend_from_slice(&frame);
        // A rare giant body must not be kept in memory for ever.
        self.lines.shrink_to(4 * PART_BYTES);
        Ok(())
    }
}

/// Reads all lines of a frame; fails where its checksum does not agree.
pub fn lines(frame: &[u8]) -> std::io::Result<Vec<Line>> {
    let mut text = Vec::new();
    zstd::Decoder::with_buffer(frame)?.single_frame().read_to_end(&mut text)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Encoder, Line, PART_BYTES, Part, Side, lines};

    fn joined(parts: &[Part]) -> Vec<u8> {
        let mut body = Vec::new();
        for part in parts {
            part.append_to(&mut body);
        }
        body
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let body = "a".repeat(PART_BYTES - 1) + "äöü";
        let parts = Part::cut("x", Side::Request, body.as_bytes());
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| matches!(part.bytes, super::PartBytes::Text(_))));
        assert_eq!(joined(&parts), body.as_bytes());
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut frame = Vec::new();
        let line = Line::Body(Part::cut("x", Side::Response, b"some longer text, here").remove(0));
        Encoder::new().unwrap().encode(&[line], &mut frame).unwrap();
        let at = frame.len() - 6;
        frame[at] ^= 1;
        assert!(lines(&frame).is_err());
    }

    proptest! {
        #[test]
        fn every_body_is_read_back(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let parts = Part::cut("x", Side::Request, &body);
            let written: Vec<Line> = parts.into_iter().map(Line::Body).collect();
            let mut frame = Vec::new();
            Encoder::new().unwrap().encode(&written, &mut frame).unwrap();
            let read = lines(&frame).unwrap();
            prop_assert_eq!(&read, &written);
            let parts: Vec<Part> = read.into_iter().filter_map(|line| match line {
                Line::Body(part) => Some(part),
                Line::Open(_) | Line::Close(_) => None,
            }).collect();
            prop_assert_eq!(joined(&parts), body);
        }
    }
}
