//! Reading a request's body.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{answer::Failure, problem::Problem, route::Route};

/// A body, read to its end.
pub(crate) struct Received {
    /// Its bytes; of an uploaded file only the first.
    pub(crate) bytes: Bytes,
    /// How long it was.
    pub(crate) length: u64,
}

/// No body is longer.
const LIMIT: u64 = 256 << 20;
/// What is kept of an uploaded file.
const FILE_START: u64 = 4096;

/// Reads a body. A file may be of any length, since it is not kept.
pub(crate) async fn receive(route: Route<'_>, mut body: Incoming) -> Result<Received, Failure> {
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
    Ok(Received { bytes: bytes.freeze(), length })
}
