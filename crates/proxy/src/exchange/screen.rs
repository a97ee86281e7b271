//! Reads what is asked, within bounds.
//!
//! Secrets are not looked for yet; the proof that a request came through here is what `forward`
//! takes already. They will be looked for in what [`Reading`] gives; a body that is changed there
//! is coded again as it came before it goes on.

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
use wire::coding::whole::{Decoding, Undecodable};

use super::arrived::ClientBody;
use super::endpoint::{Endpoint, Operation, Surface};
use super::refusal::{Refusal, Word};
use crate::ledger::recorder::Copier;

/// Memory for bodies is given out in pieces of this many bytes, as they arrive: a length that is
/// only announced holds nothing.
const GRAIN: usize = 64 << 10;

/// Fields, each with a head of its own (RFC 7578).
const FORM: &str = "multipart/form-data";

/// Others have their turn after so many decoded bytes.
const TURN: usize = 1 << 20;

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
    /// Which upstream interface is asked.
    pub surface: Surface,
    /// Path below its base.
    pub path: String,
    /// Method, address, headers as the client sent them.
    pub head: Parts,
    /// The body.
    pub body: ScreenedBody,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    /// How the body was read.
    pub reading: Reading,
    _made_here: Proof,
}

#[derive(Debug)]
struct Proof;

/// How the body of a request was read, which passes as it came in any case.
#[derive(Debug)]
pub enum Reading {
    /// As it is: it has no content coding, or streams by.
    Plain,
    /// In a copy without its content coding.
    Decoded(Buffered),
    /// Not at all.
    Unread(Undecodable),
}

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

impl Screened {
    /// Says why the body could not be read, to whom it matters.
    pub fn explain(&self, refusal: Refusal) -> Refusal {
        match &self.reading {
            Reading::Unread(why) if refusal.word() == Word::UnreadableBody => {
                refusal.and(&format!("The body cannot be decoded: {why}."))
            }
            _ => refusal,
        }
    }
}

impl ScreenedBody {
    /// What is to be sent; of a body that streams by nothing is left for another time.
    #[must_use]
    pub fn take(&mut self) -> Self {
        match self {
            Self::Whole(body) => Self::Whole(body.clone()),
            Self::Streamed { .. } => std::mem::replace(self, Self::Whole(Buffered::default())),
        }
    }

    /// Whether it may be sent again.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
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
        let (surface, path) = (endpoint.surface, endpoint.path.clone());
        let (head, body) = request.into_parts();
        only_chunked(&head.headers)?;
        if body.size_hint().lower() > self.max_body {
            return Err(self.too_large());
        }
        if !is_read_whole(endpoint, &head.headers) {
            let body = if body.is_end_stream() {
                ScreenedBody::Whole(Buffered::default())
            } else {
                ScreenedBody::Streamed { body, limit: self.max_body, copier: None }
            };
            let reading = Reading::Plain;
            return Ok(Screened {
                surface,
                path,
                head,
                body,
                ask: None,
                reading,
                _made_here: Proof,
            });
        }
        let body = self.read(body).await?;
        let codings = listed(&head.headers);
        let reading = if codings.is_empty() {
            Reading::Plain
        } else {
            // Boxed, so that an ordinary exchange is not moved about with room for it.
            Box::pin(self.decode(&codings, &body)).await?
        };
        // A body that is no JSON, or coded in a way that is not known, goes on as it is: the
        // upstream answers what is wrong with it.
        let kind = content_type(&head.headers);
        let ask = match &reading {
            Reading::Plain => asked(kind, &body.bytes),
            Reading::Decoded(copy) => asked(kind, &copy.bytes),
            Reading::Unread(_) => None,
        };
        let body = ScreenedBody::Whole(body);
        Ok(Screened { surface, path, head, body, ask, reading, _made_here: Proof })
    }

    /// A copy without the content coding, within the limits of a body that came without.
    async fn decode(&self, codings: &str, body: &Buffered) -> Result<Reading, Refusal> {
        let mut decoding = match Decoding::new(codings, &body.bytes, self.max_body) {
            Ok(Some(decoding)) => decoding,
            Ok(None) => return Ok(Reading::Plain),
            Err(undecodable) => return Ok(Reading::Unread(undecodable)),
        };
        let (mut copy, mut memory, mut turn) = (Vec::new(), None, TURN);
        loop {
            match decoding.step(&mut copy) {
                Ok(0) => break,
                Ok(_) => self.reserve(&mut memory, copy.len().div_ceil(GRAIN))?,
                Err(Undecodable::TooLarge(limit)) => return Err(decodes_too_large(limit)),
                Err(undecodable) => return Ok(Reading::Unread(undecodable)),
            }
            if copy.len() >= turn {
                turn = copy.len() + TURN;
                tokio::task::yield_now().await;
            }
        }
        let memory = memory.map(Arc::new);
        Ok(Reading::Decoded(Buffered { bytes: copy.into(), _memory: memory }))
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

/// The values of all `content-encoding` headers as one list (RFC 9110 §5.3).
fn listed(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(",")
}

/// A transfer coding ends here (RFC 9112 §7): one beside `chunked` would be lost with what it says
/// about the body.
fn only_chunked(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = values.join(", ");
    if codings.is_empty() || codings.trim().eq_ignore_ascii_case("chunked") {
        return Ok(());
    }
    let message = format!(
        "The request's body has the transfer coding `{codings}`: send it `chunked` alone, with what is compressed told in content-encoding."
    );
    Err(Refusal::new(Word::UnreadableBody, message))
}

fn decodes_too_large(limit: u64) -> Refusal {
    let limit = bytesize::ByteSize::b(limit).display().iec();
    let message = format!(
        "The request's body decodes to more than {limit}: too much for this proxy, or for a body of its length."
    );
    Refusal::new(Word::BodyTooLarge, message)
}

/// Bodies that say which model is asked are read whole; uploads are not.
fn is_read_whole(endpoint: &Endpoint, headers: &HeaderMap) -> bool {
    let kind = content_type(headers).to_ascii_lowercase();
    match endpoint.operation {
        Operation::Responses | Operation::ChatCompletions => true,
        Operation::Work => {
            kind.contains("json") || (kind.starts_with(FORM) && names_model(endpoint))
        }
        Operation::Other => kind.contains("json"),
    }
}

/// Whether forms that are sent there have a field for the model: images, recordings, films. Files
/// have none, and are large.
fn names_model(endpoint: &Endpoint) -> bool {
    ["/images/", "/audio/", "/videos"].iter().any(|below| endpoint.path.starts_with(below))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn asked(content_type: &str, body: &[u8]) -> Option<Ask> {
    if content_type.to_ascii_lowercase().starts_with(FORM) {
        return Ask::read_form(content_type, body);
    }
    Ask::read(body)
}
