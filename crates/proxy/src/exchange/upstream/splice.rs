//! The key joins a request where its bytes leave this process, and is nowhere before.
//!
//! Up to there something random stands in for it: in headers, in hyper's buffers, in whatever they
//! leave behind in memory. The system reads the key from where it is kept; TLS copies it into the
//! record that it encrypts in place.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use redact::secret::Secret;

use crate::harden::key::Key;

/// A key, and what stands in for it.
pub struct Splice {
    stand_in: String,
    /// The key as it stands in a request's head, with the stand-in in its place.
    mark: Vec<u8>,
    key: RwLock<Arc<Key>>,
}

/// What comes before the key in the mark.
const BEFORE: &[u8] = b": Bearer ";

impl Splice {
    /// This stands in for that: nobody must be able to guess it.
    pub fn new(stand_in: String, key: Key) -> Self {
        let mark = [BEFORE, stand_in.as_bytes(), b"\r\n"].concat();
        Self { stand_in, mark, key: RwLock::new(Arc::new(key)) }
    }

    /// What takes the key's place in configuration.
    pub fn stand_in(&self) -> Secret<String> {
        Secret::new(self.stand_in.clone())
    }

    /// From now on it is another key; the one before is wiped when it is written nowhere.
    pub fn renew(&self, key: Key) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    fn key(&self) -> Arc<Key> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the stand-in begins and ends in bytes that begin with a head.
    fn find(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 2;
        let at = memchr::memmem::find(bytes.get(..end)?, &self.mark)? + BEFORE.len();
        Some((at, at + self.stand_in.len()))
    }
}

/// Tells a connection that a request's head comes next.
#[derive(Clone, Default)]
pub struct HeadComes(Arc<AtomicBool>);

impl HeadComes {
    /// It does.
    pub fn next(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// A connection on which the key joins each request.
pub struct Spliced<L> {
    line: L,
    splice: Option<Arc<Splice>>,
    head_comes: HeadComes,
    stage: Stage,
}

enum Stage {
    /// Bytes pass as they are.
    Passing,
    /// So many bytes pass, then so many give way to the key.
    Before { pass: usize, stand_in: usize },
    /// So much of the key has been written: the stand-in is still to be taken.
    Within { key: Arc<Key>, written: usize, stand_in: usize },
}

impl<L: Write + Unpin> Spliced<L> {
    /// A connection; with nothing to splice it passes everything.
    pub fn new(line: L, splice: Option<Arc<Splice>>) -> (Self, HeadComes) {
        let head_comes = HeadComes::default();
        (Self { line, splice, head_comes: head_comes.clone(), stage: Stage::Passing }, head_comes)
    }

    /// Writes bytes of which the first are the stand-in, or lead to it. A write that takes nothing
    /// of the caller's bytes is followed by another.
    fn poll_splice(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        loop {
            let (pass, stand_in, key, written) = match &self.stage {
                Stage::Passing => return Pin::new(&mut self.line).poll_write(cx, bytes),
                Stage::Before { pass, stand_in } => {
                    let Some(splice) = &self.splice else { return Poll::Ready(Ok(0)) };
                    (*pass, *stand_in, splice.key(), 0)
                }
                Stage::Within { key, written, stand_in } => (0, *stand_in, key.clone(), *written),
            };
            let before = bytes.get(..pass).unwrap_or_default();
            let rest = key.expose().get(written..).unwrap_or_default();
            let after = bytes.get(pass + stand_in..).unwrap_or_default();
            let all = [before, rest, after].map(IoSlice::new);
            let sent = ready!(Pin::new(&mut self.line).poll_write_vectored(cx, &all))?;
            if sent == 0 {
                return Poll::Ready(Ok(0));
            }
            if sent < before.len() {
                self.stage = Stage::Before { pass: pass - sent, stand_in };
                return Poll::Ready(Ok(sent));
            }
            let of_key = sent - before.len();
            if let Some(of_after) = of_key.checked_sub(rest.len()) {
                self.stage = Stage::Passing;
                return Poll::Ready(Ok(pass + stand_in + of_after));
            }
            self.stage = Stage::Within { key, written: written + of_key, stand_in };
            if pass > 0 {
                return Poll::Ready(Ok(pass));
            }
        }
    }

    /// Whether what comes now is to be spliced.
    fn is_splicing(&mut self, bytes: &[u8]) -> bool {
        if self.head_comes.take()
            && let Some((begin, end)) = self.splice.as_ref().and_then(|one| one.find(bytes))
        {
            self.stage = Stage::Before { pass: begin, stand_in: end - begin };
        }
        !matches!(self.stage, Stage::Passing)
    }
}

impl<L: Read + Unpin> Read for Spliced<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.line).poll_read(cx, buffer)
    }
}

impl<L: Write + Unpin> Write for Spliced<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if self.splice.is_some() && self.is_splicing(bytes) {
            return self.poll_splice(cx, bytes);
        }
        Pin::new(&mut self.line).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        // hyper writes a head as one piece, and first.
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && self.splice.is_some()
            && self.is_splicing(first)
        {
            return self.poll_splice(cx, first);
        }
        Pin::new(&mut self.line).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
