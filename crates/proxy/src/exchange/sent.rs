//! The body of a request on its way to the upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use super::arrived::ClientBody;
use super::screen::ScreenedBody;
use super::screen::intake::Buffered;
use super::upstream::BoxError;
use crate::ledger::recorder::copier::Copier;

/// What is sent upstream.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why the body of a request could not be sent on whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Over `max_body`.
    #[error("the request's body is larger than this proxy takes")]
    TooLarge,
    /// The client left or sent rubbish.
    #[error("the client's upload broke off")]
    Client(#[source] hyper::Error),
}

/// An inspected body as it is sent.
pub fn body(body: ScreenedBody) -> RequestBody {
    match body {
        ScreenedBody::Whole(body) if body.bytes.is_empty() => {
            Empty::new().map_err(BoxError::from).boxed_unsync()
        }
        ScreenedBody::Whole(body) => {
            let held = Held { body: Full::new(body.bytes.clone()), _memory: body };
            held.map_err(BoxError::from).boxed_unsync()
        }
        ScreenedBody::Streamed { body, limit, copier } => {
            Upload { body, left: limit, copier }.boxed_unsync()
        }
    }
}

/// A body with the memory it was granted.
struct Held {
    body: Full<Bytes>,
    _memory: Buffered,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A body that is passed on as it comes, within its limit, while a copy is kept.
struct Upload {
    body: ClientBody,
    left: u64,
    copier: Option<Copier>,
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Client(error).into()))),
            None => return Poll::Ready(None),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        match this.left.checked_sub(data.len() as u64) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(BodyError::TooLarge.into()))),
        }
        if let Some(copier) = &mut this.copier {
            copier.copy(&data);
        }
        Poll::Ready(Some(Ok(hyper::body::Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
