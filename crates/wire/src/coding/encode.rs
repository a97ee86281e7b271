//! The other direction: what was changed on its way is coded again as it came.

use std::io::Write;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Codes a body piece by piece; what was fed can be decoded from what came out.
pub struct Encoder(Kind);

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// Between speed and size, where the coder is asked in passing.
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 22;
const ZSTD_LEVEL: i32 = 3;

impl Encoder {
    /// A coder for one coding of a `content-encoding` header; nothing for one that is unknown.
    pub fn new(coding: &str) -> Option<Self> {
        let fast = Compression::fast();
        let kind = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Kind::Gzip(GzEncoder::new(Vec::new(), fast)),
            "deflate" => Kind::Deflate(ZlibEncoder::new(Vec::new(), fast)),
            "br" => Kind::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                16 << 10,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            "zstd" => Kind::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?),
            _ => return None,
        };
        Some(Self(kind))
    }

    /// The next piece, coded.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let _ = match &mut self.0 {
            Kind::Gzip(encoder) => write(encoder, piece),
            Kind::Deflate(encoder) => write(encoder, piece),
            Kind::Brotli(encoder) => write(encoder, piece),
            Kind::Zstd(encoder) => write(encoder, piece),
        };
        std::mem::take(match &mut self.0 {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Deflate(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// What is left to say at the end.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            Kind::Gzip(encoder) => encoder.finish().unwrap_or_default(),
            Kind::Deflate(encoder) => encoder.finish().unwrap_or_default(),
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish().unwrap_or_default(),
        }
    }
}

/// A whole body in the codings that a `content-encoding` header lists, in their order (RFC 9110
/// §8.4); nothing where one is not known.
pub fn whole(codings: &str, body: Vec<u8>) -> Option<Vec<u8>> {
    let names = codings.split(',').map(str::trim);
    let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    names.try_fold(body, |body, name| {
        let mut encoder = Encoder::new(name)?;
        let mut coded = encoder.feed(&body);
        coded.extend(encoder.finish());
        Some(coded)
    })
}

/// Writing to memory cannot fail; what is told is dropped by the caller.
fn write(encoder: &mut impl Write, piece: &[u8]) -> std::io::Result<()> {
    encoder.write_all(piece)?;
    encoder.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Encoder, whole};
    use crate::coding::Decoder;
    use crate::coding::whole::Decoding;

    #[test]
    fn codings_are_applied_in_their_order() {
        let text = b"{\"model\":\"gpt-5.5\"}".repeat(9);
        for codings in ["gzip", "deflate", "br", "zstd", "identity", "gzip, br", "zstd,GZIP"] {
            let coded = whole(codings, text.clone()).unwrap();
            let mut copy = Vec::new();
            match Decoding::new(codings, &coded, 1 << 20).unwrap() {
                Some(mut decoding) => while decoding.step(&mut copy).unwrap() > 0 {},
                None => copy.clone_from(&coded),
            }
            assert_eq!(copy, text, "{codings}");
        }
        assert_eq!(whole("compress", text), None);
    }

    proptest! {
        #[test]
        fn each_piece_can_be_decoded_when_it_came(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..9),
        ) {
            for coding in ["gzip", "deflate", "br", "zstd"] {
                let (mut encoder, mut decoder) =
                    (Encoder::new(coding).unwrap(), Decoder::new(coding).unwrap());
                for piece in &pieces {
                    let coded = encoder.feed(piece);
                    prop_assert_eq!(&decoder.feed(&coded).unwrap(), piece, "{}", coding);
                }
                prop_assert_eq!(decoder.feed(&encoder.finish()).unwrap(), b"");
            }
        }
    }
}
