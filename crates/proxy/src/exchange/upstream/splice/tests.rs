use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::rt::Write;
use proptest::prelude::*;

use super::{Splice, Spliced};
use crate::harden::key::Key;

const STAND_IN: &str = "0123456789abcdef";

/// Takes so many bytes at each write, in turn; a zero: not now.
struct Narrow {
    takes: Vec<usize>,
    turn: usize,
    got: Vec<u8>,
}

impl Write for Narrow {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let take = self.takes[self.turn % self.takes.len()];
        self.turn += 1;
        if take == 0 {
            return Poll::Pending;
        }
        let all = slices.iter().flat_map(|slice| slice.iter().copied()).take(take);
        let all: Vec<u8> = all.collect();
        self.got.extend(&all);
        Poll::Ready(Ok(all.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes requests, each a head and a body, as hyper does; what came out.
fn written(key: &str, takes: Vec<usize>, requests: &[(String, String)]) -> String {
    let (key, _) = Key::take(&mut key.as_bytes().to_vec()).unwrap();
    let splice = Arc::new(Splice::new(STAND_IN.to_owned(), key));
    let line = Narrow { takes, turn: 0, got: Vec::new() };
    let (mut spliced, head_comes) = Spliced::new(line, Some(splice));
    let mut cx = Context::from_waker(Waker::noop());
    for (head, body) in requests {
        head_comes.next();
        let (mut head, mut body) = (head.as_bytes(), body.as_bytes());
        while !head.is_empty() || !body.is_empty() {
            let slices = [head, body].map(IoSlice::new);
            if let Poll::Ready(sent) = Pin::new(&mut spliced).poll_write_vectored(&mut cx, &slices)
            {
                let sent = sent.unwrap();
                let of_head = sent.min(head.len());
                head = &head[of_head..];
                body = &body[sent - of_head..];
            }
        }
    }
    String::from_utf8(spliced.line.got).unwrap()
}

fn request(key: &str, note: &str, body: &str) -> (String, String) {
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nx-note: {note}\r\nAuthorization: Bearer {key}\r\nhost: a\r\n\r\n"
    );
    (head, body.to_owned())
}

proptest! {
    #[test]
    fn the_key_takes_the_place_of_its_stand_in_however_bytes_leave(
        key in "[a-z0-9_-]{1,40}",
        mut takes in prop::collection::vec(0usize..60, 1..8),
        bodies in prop::collection::vec("[a-z]{0,80}", 1..4),
    ) {
        takes.push(7);
        let requests: Vec<_> = bodies.iter().map(|body| request(STAND_IN, "n", body)).collect();
        let expected: String = bodies
            .iter()
            .map(|body| request(&key, "n", body))
            .map(|(head, body)| head + &body)
            .collect();
        prop_assert_eq!(written(&key, takes, &requests), expected);
    }
}

#[test]
fn only_the_header_in_the_head_is_spliced() {
    let body = format!("Authorization: Bearer {STAND_IN}\r\n\r\n");
    let requests = [request(STAND_IN, STAND_IN, &body), request("other", STAND_IN, &body)];
    let (first, second) = (request("key", STAND_IN, &body), request("other", STAND_IN, &body));
    let expected = [first.0, first.1, second.0, second.1].concat();
    assert_eq!(written("key", vec![1000], &requests), expected);
}
