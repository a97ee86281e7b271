//! Reading a request's body, whatever its content coding.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{answer::Failure, problem::Problem, route::Route};

/// A body, read to its end.
pub(crate) struct Received {
    /// Its bytes without a content coding; of an uploaded file only the first.
    pub(crate) bytes: Bytes,
    /// How long it was as it came.
    pub(crate) length: u64,
}

/// No body is longer.
const LIMIT: u64 = 256 << 20;
/// What is kept of an uploaded file.
const FILE_START: u64 = 4096;

/// Reads a body. A file may be of any length, since it is not kept.
pub(crate) async fn receive(
    route: Route<'_>,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Received, Failure> {
    let (kept, limit) = if route == Route::Files { (FILE_START, u64::MAX) } else { (LIMIT, LIMIT) };
    let (mut bytes, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Dropped)?.into_data() else { continue };
        length += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if length > limit {
            return Err(Problem::too_large().into());
        }
        if length <= kept || bytes.is_empty() {
            bytes.extend_from_slice(&data);
        }
    }
    let mut bytes = bytes.freeze();
    if route != Route::Files {
        for value in headers.get_all(header::CONTENT_ENCODING).iter().rev() {
            let codings = value.to_str().unwrap_or_default().split(',');
            for coding in codings.rev() {
                bytes = decoded(&coding.trim().to_ascii_lowercase(), bytes)?;
            }
        }
    }
    Ok(Received { bytes, length })
}

/// A body without one of its codings.
fn decoded(coding: &str, bytes: Bytes) -> Result<Bytes, Problem> {
    let body = bytes.as_ref();
    let reader: Box<dyn Read + '_> = match coding {
        "identity" | "" => return Ok(bytes),
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4096)),
        "zstd" => match zstd::stream::read::Decoder::new(body) {
            Ok(decoder) => Box::new(decoder),
            Err(_) => return Err(undecodable(coding)),
        },
        _ => return Err(undecodable(coding)),
    };
    let mut text = Vec::new();
    let read = reader.take(LIMIT).read_to_end(&mut text);
    read.map_err(|_| undecodable(coding))?;
    Ok(text.into())
}

fn undecodable(coding: &str) -> Problem {
    let message = format!("The content encoding {coding:?} of the body could not be decoded.");
    Problem::new(StatusCode::BAD_REQUEST, message).code("invalid_content_encoding")
}
