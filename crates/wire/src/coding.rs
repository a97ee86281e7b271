//! Content codings (RFC 9110 §8.4.1): a decoded copy of a body that passes coded.

pub mod encode;
pub mod whole;

use std::io::Write;

use brotli::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// What one piece may decode to, in bytes.
const PIECE_BOUND: usize = 4 << 20;

/// The coded bytes are not what their coding says, or decode to more than is sensible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coded body is broken")]
pub struct Broken;

/// Decodes a body piece by piece, in whatever pieces it comes.
pub struct Decoder(Kind);

enum Kind {
    Gzip(MultiGzDecoder<Capped>),
    Deflate(ZlibDecoder<Capped>),
    Brotli(Box<DecompressorWriter<Capped>>),
    Zstd(zstd::stream::write::Decoder<'static, Capped>),
}

impl Decoder {
    /// A decoder for the value of a `content-encoding` header; `None` for codings that are unknown
    /// or several on top of each other.
    pub fn new(coding: &str) -> Option<Self> {
        let kind = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Kind::Gzip(MultiGzDecoder::new(Capped::default())),
            "deflate" => Kind::Deflate(ZlibDecoder::new(Capped::default())),
            "br" => Kind::Brotli(Box::new(DecompressorWriter::new(Capped::default(), 16 << 10))),
            "zstd" => Kind::Zstd(zstd::stream::write::Decoder::new(Capped::default()).ok()?),
            _ => return None,
        };
        Some(Self(kind))
    }

    /// What the next piece decodes to, as far as it can be told yet.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<u8>, Broken> {
        let written = match &mut self.0 {
            Kind::Gzip(decoder) => write(decoder, piece),
            Kind::Deflate(decoder) => write(decoder, piece),
            Kind::Brotli(decoder) => write(decoder, piece),
            Kind::Zstd(decoder) => write(decoder, piece),
        };
        let decoded = match &mut self.0 {
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Deflate(decoder) => decoder.get_mut(),
            Kind::Brotli(decoder) => decoder.get_mut(),
            Kind::Zstd(decoder) => decoder.get_mut(),
        };
        let decoded = std::mem::take(&mut decoded.0);
        written.map(|()| decoded).map_err(|_| Broken)
    }
}

/// Takes what is decoded, up to a bound: a few bytes may decode to gigabytes.
#[derive(Default)]
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, decoded: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + decoded.len() > PIECE_BOUND {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(decoded);
        Ok(decoded.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes and flushes: what can be decoded must not wait for the next piece.
fn write(decoder: &mut impl Write, piece: &[u8]) -> std::io::Result<()> {
    decoder.write_all(piece)?;
    decoder.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::{Broken, Decoder};

    fn coded(coding: &str, text: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(text, 3).unwrap(),
        }
    }

    fn decoded(coding: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, Broken> {
        let mut decoder = Decoder::new(coding).unwrap();
        let mut text = Vec::new();
        for piece in pieces {
            text.extend(decoder.feed(piece)?);
        }
        Ok(text)
    }

    #[test]
    fn brotli_is_decoded() {
        // A meta-block of literal bytes between its head and its end (RFC 7932 §9.2).
        let text = b"data: {\"type\":\"response.completed\"}\n\n";
        let body = [&[0x0b, 0x12, 0x80], &text[..], &[0x03]].concat();
        for cut in 1..body.len() {
            let (one, other) = body.split_at(cut);
            assert_eq!(decoded("br", &[one, other]).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_such_coding_is_told() {
        assert!(Decoder::new("gzip, br").is_none());
        assert!(Decoder::new("identity").is_none());
        assert_eq!(decoded("gzip", &[b"this is no gzip at all"]), Err(Broken));
        let bomb = coded("zstd", &vec![0; 100 << 20]);
        assert_eq!(decoded("zstd", &[&bomb]), Err(Broken));
    }

    proptest! {
        #[test]
        fn the_copy_is_the_same_however_the_body_is_cut(
            text in proptest::collection::vec(any::<u8>(), 0..5000),
            cut in 1usize..200,
        ) {
            for coding in ["gzip", "deflate", "zstd"] {
                let body = coded(coding, &text);
                let pieces: Vec<&[u8]> = body.chunks(cut).collect();
                prop_assert_eq!(decoded(coding, &pieces).unwrap(), &text[..]);
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            for coding in ["gzip", "deflate", "br", "zstd"] {
                let _ = decoded(coding, &[&bytes]);
            }
        }
    }
}
