//! A client's connection: does not wait for ever for a client that does not read, and explains the
//! end to one whose bytes were no HTTP.
//!
//! hyper answers such bytes by itself, before any code of ours is asked, and with an empty body.
//! That answer is known to the byte; a message is put in its place.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::socket::Stream;

/// How hyper's own answers end. Answers of ours have a body, those of the upstream more headers.
const UNEXPLAINED: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A client's connection.
pub struct ClientStream {
    stream: Stream,
    /// How long a client may leave what was sent unread.
    patience: Duration,
    /// Runs while the client does not read.
    unread: Option<Pin<Box<Sleep>>>,
    /// The rest of an explanation that is to be sent.
    pending: Vec<u8>,
}

impl ClientStream {
    /// A connection whose client may leave what was sent unread for so long.
    pub fn new(stream: Stream, patience: Duration) -> Self {
        Self { stream, patience, unread: None, pending: Vec::new() }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.pending))?;
            self.pending.drain(..written.min(self.pending.len()));
        }
        Poll::Ready(Ok(()))
    }

    /// What a write came to; an error once the client has not read for too long.
    fn bounded(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let patience = self.patience;
        let unread = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(unread.as_mut().poll(cx));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// The answer with a message, where it is one of hyper's own.
fn explained(answer: &[u8]) -> Option<Vec<u8>> {
    let line = answer.strip_suffix(UNEXPLAINED)?;
    let line = std::str::from_utf8(line).ok().filter(|line| !line.contains("\r\n"))?;
    let status = line.split(' ').nth(1)?;
    let message = match status {
        "400" => "These bytes are no HTTP request.",
        "414" => "The request's address is too long.",
        "431" => "The request's headers are too long, or more than 100.",
        _ => "The request cannot be read.",
    };
    let error = serde_json::json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": "bad_request",
    } });
    let (body, length) = (error.to_string(), error.to_string().len());
    let head = format!(
        "{line}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    Some((head + &body).into_bytes())
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if let Some(explanation) = explained(bytes) {
            self.pending = explanation;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let [only] = bytes {
            return self.poll_write(cx, only);
        }
        ready!(self.poll_pending(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::explained;

    #[test]
    fn only_an_answer_without_any_word_is_explained() {
        let own = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let text = String::from_utf8(explained(own).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"), "{text}");
        assert!(text.contains("These bytes are no HTTP request."), "{text}");
        let upstreams = b"HTTP/1.1 400 Bad Request\r\nx-codex-proxy-id: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(explained(upstreams), None);
        assert_eq!(explained(b"event: x\n\n"), None);
    }
}
