//! A body that is there whole, decoded step by step within limits.

use std::io::{ErrorKind, Read};

use brotli::Decompressor;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// However short a body is, it may decode to so many bytes: honest ones of one repeated line do.
pub const FLOOR: u64 = 8 << 20;
/// Beyond [`FLOOR`], how many times its length a body may decode to. Honest JSON rarely reaches
/// a tenth of this; deflate can reach a thousand, the others a million.
pub const RATIO: u64 = 100;
/// More codings on top of each other are no honest body.
const MOST_CODINGS: usize = 4;
/// RFC 9659 §3: a zstd content coding needs no larger window than 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Decoded bytes between two looks at the limits.
const STEP: usize = 64 << 10;

/// Why there is no decoded copy of a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A coding that is not known here.
    #[error("its content coding `{0}` is not known here")]
    Unknown(String),
    /// The bytes are not what their coding says.
    #[error("it is not what its content coding `{0}` says")]
    Broken(String),
    /// It decodes to more than the limits allow.
    #[error("it decodes to more than {0} bytes")]
    TooLarge(u64),
}

/// A body on its way to its decoded form.
pub struct Decoding<'b> {
    layers: Box<dyn Read + Send + 'b>,
    codings: &'b str,
    limit: u64,
    decoded: u64,
}

impl<'b> Decoding<'b> {
    /// Prepares to undo the codings that a `content-encoding` header lists (RFC 9110 §8.4);
    /// nothing where there is nothing to undo. At most `most` bytes come out.
    pub fn new(codings: &'b str, body: &'b [u8], most: u64) -> Result<Option<Self>, Undecodable> {
        let names = codings.split(',').map(str::trim);
        let names: Vec<&str> =
            names.filter(|name| !name.is_empty() && !is(name, "identity")).collect();
        if names.is_empty() || body.is_empty() {
            return Ok(None);
        }
        if names.len() > MOST_CODINGS {
            return Err(Undecodable::Unknown(shortened(codings)));
        }
        // They are listed in the order in which they were applied: the last is undone first.
        let limit = most.min(FLOOR.max(RATIO.saturating_mul(body.len() as u64)));
        let (mut layers, mut first): (Box<dyn Read + Send + 'b>, _) = (Box::new(body), Some(body));
        for name in names.into_iter().rev() {
            if first.is_none() {
                // What lies between two codings may be long and yet decode to nothing.
                layers = Box::new(layers.take(limit));
            }
            layers = undo(name, layers, first.take())
                .ok_or_else(|| Undecodable::Unknown(shortened(name)))?;
        }
        Ok(Some(Self { layers, codings, limit, decoded: 0 }))
    }

    /// Appends the next bytes to `copy`; tells how many, none at the end.
    pub fn step(&mut self, copy: &mut Vec<u8>) -> Result<usize, Undecodable> {
        let before = copy.len();
        copy.resize(before + STEP, 0);
        let space = copy.get_mut(before..).unwrap_or_default();
        let read = loop {
            match self.layers.read(space) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        copy.truncate(before + read.as_ref().map_or(0, |length| *length));
        let length = read.map_err(|_| Undecodable::Broken(shortened(self.codings)))?;
        self.decoded += length as u64;
        if self.decoded > self.limit {
            return Err(Undecodable::TooLarge(self.limit));
        }
        Ok(length)
    }
}

/// One coding undone; `start` are the coded bytes where they can be looked at.
fn undo<'b>(
    name: &str,
    coded: Box<dyn Read + Send + 'b>,
    start: Option<&[u8]>,
) -> Option<Box<dyn Read + Send + 'b>> {
    if is(name, "gzip") || is(name, "x-gzip") {
        return Some(Box::new(MultiGzDecoder::new(coded)));
    }
    if is(name, "deflate") {
        if start.is_some_and(|start| !is_zlib(start)) {
            return Some(Box::new(DeflateDecoder::new(coded)));
        }
        return Some(Box::new(ZlibDecoder::new(coded)));
    }
    if is(name, "br") {
        return Some(Box::new(Decompressor::new(coded, 16 << 10)));
    }
    if is(name, "zstd") {
        let mut decoder = zstd::stream::read::Decoder::new(coded).ok()?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
        return Some(Box::new(decoder));
    }
    None
}

/// Whether a deflated body has the head that the standard asks for (RFC 1950 §2.2): many senders
/// leave it out (RFC 9110 §8.4.1.2).
fn is_zlib(body: &[u8]) -> bool {
    let (Some(method), Some(flags)) = (body.first(), body.get(1)) else { return false };
    method & 15 == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
}

fn is(name: &str, coding: &str) -> bool {
    name.eq_ignore_ascii_case(coding)
}

/// What a client wrote, as far as it is worth repeating.
fn shortened(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::{Decoding, FLOOR, Undecodable};

    fn coded(coding: &str, text: &[u8]) -> Vec<u8> {
        let fast = Compression::fast();
        match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), fast);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), fast);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            "deflate without its head" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), fast);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(text, 3).unwrap(),
        }
    }

    fn decoded(codings: &str, body: &[u8], most: u64) -> Result<Option<Vec<u8>>, Undecodable> {
        let Some(mut decoding) = Decoding::new(codings, body, most)? else { return Ok(None) };
        let mut copy = Vec::new();
        while decoding.step(&mut copy)? > 0 {}
        Ok(Some(copy))
    }

    const MOST: u64 = 64 << 20;

    #[test]
    fn codings_are_undone_from_the_last_to_the_first() {
        let text = b"{\"model\":\"gpt-5.5\"}".repeat(9);
        let twice = coded("zstd", &coded("gzip", &text));
        assert_eq!(decoded("gzip, ZSTD", &twice, MOST), Ok(Some(text.clone())));
        assert_eq!(decoded("identity,gzip,", &coded("gzip", &text), MOST), Ok(Some(text.clone())));
        let bare = coded("deflate without its head", &text);
        assert_eq!(decoded("deflate", &bare, MOST), Ok(Some(text.clone())));
        // Members one after the other are one body (RFC 1952 §2.2).
        let members = [coded("gzip", &text), coded("gzip", &text)].concat();
        assert_eq!(decoded("x-gzip", &members, MOST), Ok(Some(text.repeat(2))));
        // A meta-block of literal bytes between its head and its end (RFC 7932 §9.2).
        let text = b"data: {\"type\":\"response.completed\"}\n\n";
        let body = [&[0x0b, 0x12, 0x80], &text[..], &[0x03]].concat();
        assert_eq!(decoded("br", &body, MOST), Ok(Some(text.to_vec())));
    }

    #[test]
    fn nothing_to_undo_is_no_copy() {
        assert_eq!(decoded("", b"x", MOST), Ok(None));
        assert_eq!(decoded(" identity ", b"x", MOST), Ok(None));
        assert_eq!(decoded("gzip", b"", MOST), Ok(None));
    }

    #[test]
    fn what_cannot_be_decoded_is_told() {
        let unknown = |name: &str| Err(Undecodable::Unknown(name.to_owned()));
        assert_eq!(decoded("compress", b"x", MOST), unknown("compress"));
        assert_eq!(
            decoded("gzip,gzip,gzip,gzip,br", b"x", MOST),
            unknown("gzip,gzip,gzip,gzip,br")
        );
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let broken = Err(Undecodable::Broken(coding.to_owned()));
            assert_eq!(decoded(coding, b"\x8bthis is no such coding at all", MOST), broken);
        }
        for coding in ["gzip", "deflate", "zstd"] {
            let whole = coded(coding, &b"a text that breaks off".repeat(99));
            let cut = whole.split_last_chunk::<9>().unwrap().0;
            assert_eq!(decoded(coding, cut, MOST), Err(Undecodable::Broken(coding.to_owned())));
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        // A small body may repeat itself; a large one may not do so without end.
        let line = vec![b' '; 8 << 20];
        assert_eq!(decoded("zstd", &coded("zstd", &line), MOST), Ok(Some(line.clone())));
        let bomb = vec![0; 20 << 20];
        for coding in ["gzip", "deflate", "zstd"] {
            let limit = FLOOR.max(coded(coding, &bomb).len() as u64 * 100);
            let over = Err(Undecodable::TooLarge(limit));
            assert_eq!(decoded(coding, &coded(coding, &bomb), MOST), over, "{coding}");
        }
        assert_eq!(decoded("gzip", &coded("gzip", &line), 99), Err(Undecodable::TooLarge(99)));
        let layers = coded("gzip", &coded("gzip", &coded("zstd", &bomb)));
        let over = Err(Undecodable::TooLarge(FLOOR));
        assert_eq!(decoded("zstd,gzip,gzip", &layers, MOST), over);
    }

    #[test]
    fn a_window_beyond_the_standards_is_broken() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&vec![7; 20 << 20]).unwrap();
        let body = encoder.finish().unwrap();
        assert_eq!(decoded("zstd", &body, MOST), Err(Undecodable::Broken("zstd".to_owned())));
    }

    proptest! {
        #[test]
        fn what_was_coded_comes_back(text in proptest::collection::vec(any::<u8>(), 1..200_000)) {
            for coding in ["gzip", "deflate", "zstd"] {
                prop_assert_eq!(decoded(coding, &coded(coding, &text), MOST), Ok(Some(text.clone())));
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            for coding in ["gzip", "deflate", "br", "zstd"] {
                let _ = decoded(coding, &bytes, MOST);
            }
        }
    }
}
