//! Reads bodies into memory, within bounds, and makes decoded copies of those that are coded.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::coding::whole::{Decoding, Undecodable};

use crate::exchange::arrived::ClientBody;
use crate::exchange::refusal::{Refusal, Word};

/// Memory for bodies is given out in pieces of this many bytes, as they arrive: a length that is
/// only announced holds nothing.
const GRAIN: usize = 64 << 10;

/// So many bytes that were announced have their place before they come, where others have come
/// before them: a place that grows step by step is copied at each. The system gives no memory for a
/// place until something stands there.
const AHEAD: usize = 1 << 20;

/// Others have their turn after so many decoded bytes.
const TURN: usize = 1 << 20;

/// Where bodies are read into.
#[derive(Clone)]
pub struct Intake {
    /// The largest body, bytes.
    pub max_body: u64,
    grains: usize,
    buffers: Arc<Semaphore>,
    body_timeout: Duration,
}

/// Bytes with the memory they were granted, which is given back when the last copy goes.
#[derive(Debug, Clone, Default)]
pub struct Buffered {
    /// The bytes.
    pub bytes: Bytes,
    memory: Option<Arc<OwnedSemaphorePermit>>,
}

impl Buffered {
    /// Bytes with memory that was granted.
    pub fn new(bytes: Bytes, memory: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { bytes, memory }
    }
}

/// How the body of a request was read, which passes as it came unless something in it is masked.
#[derive(Debug)]
pub enum Reading {
    /// As it is: it has no content coding, or streams by.
    Plain,
    /// In a copy without its content coding.
    Decoded(Buffered),
    /// Not at all.
    Unread(Undecodable),
}

impl Intake {
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
    pub fn held(&self) -> usize {
        (self.grains - self.buffers.available_permits()) * GRAIN
    }

    /// Reads a body whole.
    pub async fn read(&self, mut body: ClientBody) -> Result<Buffered, Refusal> {
        let (mut whole, mut memory) = (BytesMut::new(), None);
        while let Some(frame) = self.next(&mut body).await? {
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.len() + data.len();
            if length as u64 > self.max_body {
                return Err(self.too_large());
            }
            self.reserve(&mut memory, length)?;
            if whole.capacity() < length {
                let rest = usize::try_from(body.size_hint().lower()).unwrap_or(AHEAD);
                whole.reserve(data.len() + rest.min(AHEAD));
            }
            whole.extend_from_slice(&data);
        }
        Ok(Buffered { bytes: whole.freeze(), memory: memory.map(Arc::new) })
    }

    /// A copy without the content coding, within the limits of a body that came without.
    pub async fn decode(&self, codings: &str, body: &Buffered) -> Result<Reading, Refusal> {
        let mut decoding = match Decoding::new(codings, &body.bytes, self.max_body) {
            Ok(Some(decoding)) => decoding,
            Ok(None) => return Ok(Reading::Plain),
            Err(undecodable) => return Ok(Reading::Unread(undecodable)),
        };
        let (mut copy, mut memory, mut turn) = (Vec::new(), None, TURN);
        loop {
            match decoding.step(&mut copy) {
                Ok(0) => break,
                Ok(_) => self.reserve(&mut memory, copy.len())?,
                Err(Undecodable::TooLarge(limit)) => return Err(decodes_too_large(limit)),
                Err(undecodable) => return Ok(Reading::Unread(undecodable)),
            }
            if copy.len() >= turn {
                turn = copy.len() + TURN;
                tokio::task::yield_now().await;
            }
        }
        Ok(Reading::Decoded(Buffered { bytes: copy.into(), memory: memory.map(Arc::new) }))
    }

    /// Sees to it that memory for so many bytes is held.
    pub fn reserve(
        &self,
        held: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let missing =
            bytes.div_ceil(GRAIN) - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
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

    /// Other bytes in the place of these, with memory for what they are more.
    pub fn replaced(&self, came: &Buffered, bytes: Vec<u8>) -> Result<Buffered, Refusal> {
        if bytes.len() <= came.bytes.len().next_multiple_of(GRAIN) {
            return Ok(Buffered { bytes: bytes.into(), memory: came.memory.clone() });
        }
        let mut memory = None;
        self.reserve(&mut memory, bytes.len())?;
        Ok(Buffered { bytes: bytes.into(), memory: memory.map(Arc::new) })
    }

    /// Refuses what is over `max_body`.
    pub fn too_large(&self) -> Refusal {
        let limit = bytesize::ByteSize::b(self.max_body).display().iec();
        let message =
            format!("The request's body is larger than the {limit} that this proxy takes.");
        Refusal::new(Word::BodyTooLarge, message)
    }

    /// Waits for the next piece of a message that is collected.
    pub async fn in_time<T>(&self, piece: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::time::timeout(self.body_timeout, piece).await.map_err(|_| {
            let limit = humantime::format_duration(self.body_timeout);
            let message = format!("The message stalled for {limit}.");
            Refusal::new(Word::UnreadableBody, message)
        })
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
}

/// The values of all `content-encoding` headers as one list (RFC 9110 §5.3).
pub fn codings(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(",")
}

fn decodes_too_large(limit: u64) -> Refusal {
    let limit = bytesize::ByteSize::b(limit).display().iec();
    let message = format!(
        "The request's body decodes to more than {limit}: too much for this proxy, or for a body of its length."
    );
    Refusal::new(Word::BodyTooLarge, message)
}
