//! The body of an upstream's answer: all that is ready in one piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::transport::{Idle, Link};

/// Pieces up to this length are gathered; a longer one goes as it is, uncopied.
const SMALL: usize = 4 << 10;
/// So much at most is gathered.
const GATHERED: usize = 64 << 10;
/// What is first reserved for it.
const FIRST: usize = 8 << 10;

/// An answer's body, and the connection on which it comes.
pub struct UpstreamBody {
    incoming: Incoming,
    /// Until the body has ended: then it goes back to those that wait.
    link: Option<Box<Link>>,
    idle: Arc<Idle>,
    /// What came behind the gathered pieces.
    next: Option<Next>,
}

type Next = Option<Result<Frame<Bytes>, hyper::Error>>;

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, link: Box<Link>, idle: Arc<Idle>) -> Self {
        Self { incoming, link: Some(link), idle, next: None }
    }

    /// One piece as hyper gives it, which is one chunk of a chunked body.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(link) = &mut self.link {
            let _ = link.drive(cx);
        }
        let piece = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(None) = piece {
            self.give_back();
        }
        piece
    }

    /// More small pieces behind a small one, as far as they are ready.
    fn gather(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut all = Gathered::One(first);
        while all.len() < GATHERED {
            let Poll::Ready(next) = self.poll_piece(cx) else { break };
            match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) if piece.len() <= SMALL => all = all.and(&piece),
                Some(Ok(Ok(piece))) => return self.before(all, Some(Ok(Frame::data(piece)))),
                Some(Ok(Err(trailers))) => return self.before(all, Some(Ok(trailers))),
                Some(Err(error)) => return self.before(all, Some(Err(error))),
                None => return self.before(all, None),
            }
        }
        all.whole()
    }

    /// Keeps what comes behind the gathered pieces.
    fn before(&mut self, all: Gathered, next: Next) -> Bytes {
        self.next = Some(next);
        all.whole()
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.idle.put(link);
        }
    }
}

/// Pieces that become one; the first is copied only when there is a second.
enum Gathered {
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn len(&self) -> usize {
        match self {
            Self::One(piece) => piece.len(),
            Self::Many(pieces) => pieces.len(),
        }
    }

    fn and(self, piece: &Bytes) -> Self {
        let mut pieces = match self {
            Self::Many(pieces) => pieces,
            Self::One(first) => {
                let mut pieces = BytesMut::with_capacity(FIRST);
                pieces.extend_from_slice(&first);
                pieces
            }
        };
        pieces.extend_from_slice(piece);
        Self::Many(pieces)
    }

    fn whole(self) -> Bytes {
        match self {
            Self::One(piece) => piece,
            Self::Many(pieces) => pieces.freeze(),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let this = self.get_mut();
        let piece = match this.next.take() {
            Some(next) => Poll::Ready(next),
            None => this.poll_piece(cx),
        };
        let Poll::Ready(Some(Ok(frame))) = piece else { return piece };
        match frame.into_data() {
            Ok(data) if data.len() <= SMALL => {
                let all = this.gather(data, cx);
                Poll::Ready(Some(Ok(Frame::data(all))))
            }
            Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before anything was taken.
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}
