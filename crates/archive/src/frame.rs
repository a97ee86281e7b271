//! A frame: one exchange as JSON lines, compressed as one, with a checksum.
//!
//! First come the items that this exchange is the first to have, then the exchange itself. Its
//! bodies are lists of parts: a text, or the name of an item. In order they are the body.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Error, Result};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::record::Record;

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
    /// Its body as it passed, where another form of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
}

/// An answer without its body. Cookies are left out of the headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// HTTP status.
    pub status: u16,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    /// Its body as it passed, where another form of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
}

/// What is kept of a body that passed with a content coding and is kept without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// The content coding.
    pub coding: String,
    /// How many bytes passed.
    pub bytes: u64,
    /// BLAKE3 of them, hexadecimal.
    pub blake3: String,
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

/// Where a frame or an entry lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The segment's or the journal's name.
    pub(crate) segment: String,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// An item's line: what stands in bodies at its name.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "item")]
pub(crate) struct ItemLine<'a> {
    /// Its name.
    pub(crate) id: &'a str,
    /// The conversation that it belongs to, and to no other.
    pub(crate) session: &'a str,
    /// Whose that is.
    pub(crate) user: &'a str,
    /// Whether something in it was masked.
    #[serde(skip_serializing_if = "is_not")]
    pub(crate) masked: bool,
    /// What it is.
    #[serde(flatten)]
    pub(crate) content: Content<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_not(flag: &bool) -> bool {
    !*flag
}

/// An exchange's line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "exchange")]
pub(crate) struct ExchangeLine<'a> {
    /// BLAKE3 of the exchange's line before it in this segment, hexadecimal; none for the first.
    pub(crate) link: Option<&'a str>,
    /// BLAKE3 of the line before something in it was masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) was: Option<&'a str>,
    /// The record's fields.
    #[serde(flatten)]
    pub(crate) record: &'a Record,
    /// The conversation whose items it has.
    pub(crate) session: &'a str,
    /// What was asked.
    pub(crate) request: Half<'a, RequestHead>,
    /// What was answered; none where nothing was.
    pub(crate) response: Option<Half<'a, ResponseHead>>,
    /// Other frames that hold items of it.
    pub(crate) needs: Vec<Needs>,
}

/// One side of an exchange: its head and its body.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Half<'a, H> {
    /// The head; none where it is lost, or never came to be written.
    #[serde(flatten)]
    pub(crate) head: Option<H>,
    /// The body.
    #[serde(borrow)]
    pub(crate) body: Body<'a>,
}

/// A body, in parts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Body<'a> {
    /// Its length.
    pub(crate) bytes: u64,
    /// BLAKE3 of it, hexadecimal.
    pub(crate) blake3: String,
    /// Whether something in it was masked: then it is not as long, and has no hash.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) masked: bool,
    /// In order they are the body.
    #[serde(borrow)]
    pub(crate) parts: Vec<Part<'a>>,
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part<'a> {
    /// Exactly these characters.
    #[serde(borrow)]
    Text(Cow<'a, str>),
    /// Bytes that are no text.
    Base64(String),
    /// The item of this name.
    Item(String),
}

/// What an item is: text where it is UTF-8.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content<'a> {
    /// Exactly these characters.
    Text(Cow<'a, str>),
    /// Anything else.
    Base64(String),
    /// In order they are the item.
    Parts(Vec<Part<'a>>),
}

/// Frames of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needs {
    /// The segment's name.
    pub(crate) segment: String,
    /// Where each begins, and its length, in bytes.
    pub(crate) frames: Vec<(u64, u64)>,
}

impl<'a> Part<'a> {
    /// As text where it is.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Cow::Borrowed(text)),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    /// The same, kept for later.
    pub(crate) fn to_static(&self) -> Part<'static> {
        match self {
            Self::Text(text) => Part::Text(Cow::Owned(text.to_string())),
            Self::Base64(text) => Part::Base64(text.clone()),
            Self::Item(name) => Part::Item(name.clone()),
        }
    }
}

impl<'a> Content<'a> {
    /// As text where it is.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Cow::Borrowed(text)),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }
}

/// What is read of an item.
#[derive(Debug, Deserialize)]
pub(crate) struct StoredItem<'a> {
    #[serde(default)]
    pub(crate) masked: bool,
    #[serde(borrow)]
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) base64: Option<String>,
    #[serde(borrow)]
    pub(crate) parts: Option<Vec<Part<'a>>>,
}

/// What is read of an exchange, besides its record.
#[derive(Debug, Deserialize)]
pub(crate) struct StoredExchange<'a> {
    pub(crate) id: String,
    #[serde(borrow)]
    pub(crate) request: Half<'a, RequestHead>,
    #[serde(borrow)]
    pub(crate) response: Option<Half<'a, ResponseHead>>,
    pub(crate) needs: Vec<Needs>,
}

/// The name of an item, if this is its line. Without reading the line: whoever writes puts it
/// first.
pub(crate) fn item_id(line: &[u8]) -> Option<&str> {
    let id = line.strip_prefix(b"{\"kind\":\"item\",\"id\":\"")?;
    std::str::from_utf8(id.get(..memchr::memchr(b'"', id)?)?).ok()
}

/// Whether a line stands where an exchange was erased.
pub(crate) fn is_erased(line: &[u8]) -> bool {
    line.starts_with(b"{\"kind\":\"erased\",")
}

/// The first frame of a segment, and what is behind it.
pub(crate) fn split_frame(segment: &[u8]) -> Result<(&[u8], &[u8])> {
    let length = zstd::zstd_safe::find_frame_compressed_size(segment)
        .ok()
        .filter(|length| (1..=segment.len()).contains(length))
        .ok_or_else(|| Error::other("it is cut off"))?;
    Ok(segment.split_at(length))
}

/// Reads the lines of a frame, one after the other, until `each` breaks; fails where the frame is
/// damaged.
pub(crate) fn read_lines(
    frame: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut text = BufReader::new(zstd::Decoder::with_buffer(frame)?.single_frame());
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        if each(line.strip_suffix(b"\n").unwrap_or(&line))?.is_break() {
            return Ok(());
        }
        line.clear();
    }
    Ok(())
}
