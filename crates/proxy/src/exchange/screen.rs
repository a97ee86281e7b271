//! Reads what is asked, within bounds.
//!
//! Secrets are not looked for yet; the proof that a request came through here is what `forward`
//! takes already.

pub mod message;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::ask::Ask;

use super::arrived::ClientBody;
use super::endpoint::{Endpoint, Operation};
use super::refusal::{Refusal, Word};
use crate::ledger::recorder::Copier;

/// Memory for bodies is given out in pieces of this many bytes, as they arrive: a length that is
/// only announced holds nothing.
const GRAIN: usize = 64 << 10;

/// Inspects requests before they leave.
#[derive(Clone)]
pub struct Screen {
    max_body: u64,
    grains: usize,
    buffers: Arc<Semaphore>,
    body_timeout: Duration,
}

/// A request that was inspected. Made only here.
#[derive(Debug)]
pub struct Screened {
    /// Path below `/v1`.
    pub path: String,
    /// Method, address, headers as the client sent them.
    pub head: Parts,
    /// The body.
    pub body: ScreenedBody,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    _made_here: Proof,
}

#[derive(Debug)]
struct Proof;

/// The body of an inspected request.
#[derive(Debug)]
pub enum ScreenedBody {
    /// Read whole.
    Whole(Buffered),
    /// Passed on as it comes.
    Streamed {
        /// The client's bytes.
        body: ClientBody,
        /// How many there may be.
        limit: u64,
        /// Who keeps a copy of them.
        copier: Option<Copier>,
    },
}

/// Bytes with the memory they were granted, which is given back when the last copy goes.
#[derive(Debug, Clone, Default)]
pub struct Buffered {
    /// The bytes.
    pub bytes: Bytes,
    _memory: Option<Arc<OwnedSemaphorePermit>>,
}

impl Screen {
    /// One body of at most `max_body` bytes, all of them together of at most `max_buffered`.
    pub fn new(max_body: u64, max_buffered: u64, body_timeout: Duration) -> Self {
        let grains = usize::try_from(max_buffered).unwrap_or(usize::MAX).div_ceil(GRAIN);
        let grains = grains.min(Semaphore::MAX_PERMITS);
        Self { max_body, grains, buffers: Arc::new(Semaphore::new(grains)), body_timeout }
    }

    /// The same memory for bodies under other bounds of a single one.
    #[must_use]
    pub fn with(&self, max_body: u64, body_timeout: Duration) -> Self {
        Self { max_body, body_timeout, ..self.clone() }
    }

    /// Bytes that request bodies hold now, in whole grains.
    pub fn buffered(&self) -> usize {
        (self.grains - self.buffers.available_permits()) * GRAIN
    }

    /// Reads a body that says what is asked; leaves others to stream.
    pub async fn inspect(
        &self,
        endpoint: &Endpoint,
        request: Request<ClientBody>,
    ) -> Result<Screened, Refusal> {
        let path = endpoint.path.clone();
        let (head, body) = request.into_parts();
        if body.size_hint().lower() > self.max_body {
            return Err(self.too_large());
        }
        if !is_read_whole(endpoint, &head.headers) {
            let body = ScreenedBody::Streamed { body, limit: self.max_body, copier: None };
            return Ok(Screened { path, head, body, ask: None, _made_here: Proof });
        }
        let body = self.read(body).await?;
        // A body that is no JSON goes on as it is: the upstream answers what is wrong with it.
        let ask = Ask::read(&body.bytes);
        Ok(Screened { path, head, body: ScreenedBody::Whole(body), ask, _made_here: Proof })
    }

    async fn read(&self, mut body: ClientBody) -> Result<Buffered, Refusal> {
        let (mut whole, mut memory) = (BytesMut::new(), None);
        while let Some(frame) = self.next(&mut body).await? {
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.len() + data.len();
            if length as u64 > self.max_body {
                return Err(self.too_large());
            }
            self.reserve(&mut memory, length.div_ceil(GRAIN))?;
            whole.extend_from_slice(&data);
        }
        Ok(Buffered { bytes: whole.freeze(), _memory: memory.map(Arc::new) })
    }

    async fn next(
        &self,
        body: &mut ClientBody,
    ) -> Result<Option<hyper::body::Frame<Bytes>>, Refusal> {
        let unreadable = |message: String| Refusal::new(Word::UnreadableBody, message);
        let Ok(frame) = tokio::time::timeout(self.body_timeout, body.frame()).await else {
            let limit = humantime::format_duration(self.body_timeout);
            return Err(unreadable(format!("The request's body stalled for {limit}.")));
        };
        let broken =
            |error| unreadable(format!("The request's body broke off: {error}.")).to_nobody();
        frame.transpose().map_err(broken)
    }

    /// Sees to it that so many grains are held.
    fn reserve(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        grains: usize,
    ) -> Result<(), Refusal> {
        let missing = grains - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let Ok(more) = self.buffers.clone().try_acquire_many_owned(missing) else {
            return Err(Refusal::busy("The memory for request bodies is full at the moment."));
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }

    fn too_large(&self) -> Refusal {
        let limit = bytesize::ByteSize::b(self.max_body).display().iec();
        let message =
            format!("The request's body is larger than the {limit} that this proxy takes.");
        Refusal::new(Word::BodyTooLarge, message)
    }
}

/// Bodies that say which model is asked are read whole; uploads are not.
fn is_read_whole(endpoint: &Endpoint, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|text| text.to_ascii_lowercase().contains("json"));
    match endpoint.operation {
        Operation::Responses | Operation::ChatCompletions => true,
        Operation::Work | Operation::Other => is_json,
    }
}
