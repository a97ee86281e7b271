//! The body of a request as it arrives, and what becomes of it when nobody wants it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// How long, and how many bytes of, an unwanted body are read and thrown away.
const PATIENCE: Duration = Duration::from_secs(2);
const UNWANTED_BYTES: usize = 128 << 20;

/// The body of a request. Dropped before its end, it hands the rest back.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Option<Incoming>,
    touched: Touched,
    back: Option<oneshot::Sender<(Incoming, Touched)>>,
}

/// Whether anybody began to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touched {
    Yes,
    No,
}

/// The rest of a body that nobody read.
pub struct Unread {
    rest: oneshot::Receiver<(Incoming, Touched)>,
    /// The client waits to be told to send (RFC 9110 §10.1.1).
    waits: bool,
}

impl ClientBody {
    /// A body, and where its rest comes back to.
    pub fn new(head: &HeaderMap, incoming: Incoming) -> (Self, Unread) {
        let (back, rest) = oneshot::channel();
        let body = Self { incoming: Some(incoming), touched: Touched::No, back: Some(back) };
        (body, Unread { rest, waits: head.contains_key(header::EXPECT) })
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let (Some(incoming), Some(back)) = (self.incoming.take(), self.back.take()) {
            let _ = back.send((incoming, self.touched));
        }
    }
}

impl Unread {
    /// Reads and throws away what the client is still sending. A refusal that is answered before
    /// would be lost with the connection: closing a socket with unread bytes resets it
    /// (RFC 9112 §9.6).
    pub async fn discard(self) {
        // Whoever holds the body, as a connection to the upstream may, lets go of it any moment.
        let rest = tokio::time::timeout(PATIENCE, self.rest).await;
        let Ok(Ok((mut incoming, touched))) = rest else { return };
        if self.waits && touched == Touched::No {
            return;
        }
        let mut left = UNWANTED_BYTES;
        let all = async {
            while let Some(Ok(frame)) = incoming.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(length);
                if left == 0 {
                    return;
                }
            }
        };
        // Out of patience: then the connection is closed as it is.
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.touched = Touched::Yes;
        match &mut this.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}
