//! The answer to a request that was changed: the client gets its own values back where they were
//! masked, and not what only we asked for. It stands behind the tap, so that what is recorded is what
//! the upstream said. An answer to anything else passes without it.

mod changes;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use hyper::body::{Body as _, Frame};
use redact::mask::Known;
use tokio::time::Sleep;
use wire::coding::Decoder;
use wire::coding::encode::Encoder;

use super::endpoint::Operation;
use super::headers::{DIGESTS, without};
use super::screen::Extra;
use super::tap::Body;
use super::upstream::BoxError;
use crate::ledger::account::Expected;
use changes::Changes;

/// How long the beginning of a mask waits for its rest: tokens of one word come closely together.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A tapped answer on its way through what changes it.
pub struct Restored {
    tapped: Body,
    changes: Changes,
    /// Where the answer has a content coding: what undoes it, and what does it again.
    coding: Option<(Decoder, Encoder)>,
    /// Nothing has passed yet.
    is_fresh: bool,
    /// It cannot be read: then it passes as it is.
    is_unread: bool,
    /// How it broke off, once what came before that has left.
    broken: Option<BoxError>,
    /// What comes after the end of the data.
    trailers: Option<Frame<Bytes>>,
    /// Runs while something is held that may become a mask.
    patience: Option<Pin<Box<Sleep>>>,
    has_ended: bool,
}

/// The answer with values in the place of their masks, without what the client did not ask for.
pub fn over(
    response: Response<Body>,
    request: (Option<Arc<Known>>, Extra),
    asked: (Operation, Expected),
) -> Response<Body> {
    let is_same = request.0.is_none() && request.1 == Extra::Nothing;
    if is_same || !matches!(response.body(), Body::Tapped(_)) {
        return response;
    }
    let changes = Changes::new(response.headers(), request, asked);
    let Some(changes) = changes else { return response };
    let coding = match coding(response.headers()) {
        None => None,
        Some(name) => match (Decoder::new(name), Encoder::new(name)) {
            (Some(decoder), Some(encoder)) => Some((decoder, encoder)),
            _ => return response,
        },
    };
    let (mut head, tapped) = response.into_parts();
    // Values are not as long as their masks.
    head.headers = without(&head.headers, &[&DIGESTS[..], &[header::CONTENT_LENGTH]].concat());
    let over = Restored {
        tapped,
        changes,
        coding,
        is_fresh: true,
        is_unread: false,
        broken: None,
        trailers: None,
        patience: None,
        has_ended: false,
    };
    Response::from_parts(head, Body::Restored(Box::new(over)))
}

fn coding(headers: &HeaderMap) -> Option<&str> {
    let coding = headers.get(header::CONTENT_ENCODING)?.to_str().ok()?;
    Some(coding).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
}

impl Restored {
    /// The next frame, as the client gets it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.has_ended {
                let last = self.broken.take().map(Err);
                return Poll::Ready(last.or_else(|| self.trailers.take().map(Ok)));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.tapped).poll_frame(cx) else {
                return self.wait(cx);
            };
            let piece = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.take(&data),
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        continue;
                    }
                },
                Some(Err(error)) => {
                    self.broken = Some(error);
                    Ok(self.broken_off(cx))
                }
                None => Ok(self.end()),
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Waits for more; what is held for it waits only so long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.changes.is_holding() {
            self.patience = None;
            return Poll::Pending;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        ready!(patience.as_mut().poll(cx));
        self.patience = None;
        let mut out = Vec::new();
        self.changes.release(&mut out);
        Poll::Ready(Some(Ok(Frame::data(self.coded(out).into()))))
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        self.has_ended && self.trailers.is_none() && self.broken.is_none()
    }

    fn take(&mut self, data: &[u8]) -> Result<Vec<u8>, BoxError> {
        let mut out = Vec::with_capacity(data.len());
        self.patience = None;
        if self.is_unread {
            return Ok(data.to_vec());
        }
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        let Some((decoder, _)) = &mut self.coding else {
            self.changes.feed(data, &mut out);
            return Ok(out);
        };
        let text = match decoder.feed(data) {
            Ok(text) => text,
            Err(_) if is_fresh => {
                // Failing to understand an answer never fails it.
                (self.is_unread, self.coding) = (true, None);
                return Ok(data.to_vec());
            }
            Err(_) => return Err("the answer is not what its coding says".into()),
        };
        self.changes.feed(&text, &mut out);
        Ok(self.coded(out))
    }

    fn coded(&mut self, text: Vec<u8>) -> Vec<u8> {
        match &mut self.coding {
            Some((_, encoder)) if !text.is_empty() => encoder.feed(&text),
            _ => text,
        }
    }

    /// What is held leaves before the error does: hyper would throw it away with that.
    fn broken_off(&mut self, cx: &mut Context<'_>) -> Vec<u8> {
        cx.waker().wake_by_ref();
        self.has_ended = true;
        let mut out = Vec::new();
        self.changes.break_off(&mut out);
        self.coded(out)
    }

    fn end(&mut self) -> Vec<u8> {
        self.has_ended = true;
        let mut out = Vec::new();
        self.changes.finish(&mut out);
        let Some((_, mut encoder)) = self.coding.take() else { return out };
        let mut coded = encoder.feed(&out);
        coded.extend(encoder.finish());
        coded
    }
}
