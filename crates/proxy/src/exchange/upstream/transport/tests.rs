//! What comes from an upstream, whole, cut anywhere, or malformed.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::BoxError;
use super::super::dial::Dialer;
use super::{Origin, Transport, Unanswered};

/// What a client of the transport sees of an answer: status, body, and whether it ended well.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Answer(u16, String, Whole),
    Unreachable,
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    Broken,
}

/// An upstream on a free port, and a transport to it.
struct Pair {
    listener: TcpListener,
    transport: Transport,
    origin: Arc<Origin>,
}

impl Pair {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to: Uri = format!("http://{}/v1/x", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = Dialer::new(Duration::from_secs(5), &Scheme::HTTP).unwrap();
        let origin = Origin::of(&to).unwrap();
        Self { listener, transport: Transport::new(dialer, None), origin }
    }

    async fn ask(&self, method: &str) -> Seen {
        let body = Empty::new().map_err(BoxError::from).boxed_unsync();
        let request = Request::builder().method(method).uri("/v1/x").body(body).unwrap();
        let mut answer = match self.transport.send(request, &self.origin).await {
            Ok(answer) => answer,
            Err(Unanswered::Unreachable(_)) => return Seen::Unreachable,
            Err(Unanswered::Broken(_)) => return Seen::Broken,
        };
        let mut body = Vec::new();
        let whole = loop {
            match answer.body_mut().frame().await {
                None => break Whole::Yes,
                Some(Err(_)) => break Whole::Broken,
                Some(Ok(frame)) => body.extend(frame.into_data().unwrap_or_default()),
            }
        };
        Seen::Answer(answer.status().as_u16(), String::from_utf8(body).unwrap(), whole)
    }

    /// How many connections wait for their next exchange.
    fn waiting(&self) -> usize {
        self.transport.idle.links().iter().map(|(_, links)| links.len()).sum()
    }

    /// Answers one request with these pieces.
    async fn answer(&self, pieces: &[&[u8]]) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        head(&mut stream).await;
        send(&mut stream, pieces).await;
        stream
    }
}

/// Reads the head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn send(stream: &mut TcpStream, pieces: &[&[u8]]) {
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // The other side may have gone at a malformed piece.
        let _ = stream.write_all(piece).await;
        tokio::task::yield_now().await;
    }
}

/// What is seen of an answer that is sent so, after which the upstream closes.
async fn seen(pieces: &[&[u8]]) -> Seen {
    let pair = Pair::new().await;
    let answer = async { drop(pair.answer(pieces).await) };
    tokio::join!(pair.ask("GET"), answer).0
}

fn well(status: u16, body: &str) -> Seen {
    Seen::Answer(status, body.to_owned(), Whole::Yes)
}

fn broken(body: &str) -> Seen {
    Seen::Answer(200, body.to_owned(), Whole::Broken)
}

#[tokio::test]
async fn answers_are_framed_as_http_says() {
    let cases: [(&str, Seen); 16] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", well(200, "abc")),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", well(200, "until the end")),
        ("HTTP/1.0 200 OK\r\n\r\nold", well(200, "old")),
        ("HTTP/1.1 204 No Content\r\n\r\n", well(204, "")),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", well(304, "")),
        (
            "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            well(200, "a"),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\na\r\n02\r\nbc\r\n0\r\nt: 1\r\n\r\n",
            well(200, "abc"),
        ),
        // RFC 9112 §6.3: chunked wins over a length.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            well(200, "a"),
        ),
        // Cut off.
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", broken("ab")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", broken("ab")),
        ("HTTP/1.1 200 OK\r\ncontent-le", Seen::Broken),
        ("", Seen::Broken),
        // Malformed.
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", Seen::Broken),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", broken("a")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", broken("")),
        ("SSH-2.0-OpenSSH\r\n\r\n", Seen::Broken),
    ];
    for (sent, expected) in cases {
        assert_eq!(seen(&[sent.as_bytes()]).await, expected, "{sent:?}");
    }
}

#[tokio::test]
async fn two_hundred_headers_pass() {
    let headers = (0..200).map(|number| format!("x-{number}: {number}\r\n"));
    let headers = headers.collect::<Vec<_>>().concat();
    let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
    assert_eq!(seen(&[answer.as_bytes()]).await, well(200, ""));
}

#[tokio::test]
async fn chunks_that_are_ready_come_as_one_piece() {
    let pair = Pair::new().await;
    let chunk = b"6\r\nevent\n\r\n".repeat(500);
    let answer = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &chunk[..]].concat();
    let request = Request::get("/v1/x");
    let request = request.body(Empty::new().map_err(BoxError::from).boxed_unsync()).unwrap();
    let pieces = [answer.as_slice()];
    let (answer, upstream) =
        tokio::join!(pair.transport.send(request, &pair.origin), pair.answer(&pieces));
    let (mut body, mut pieces, mut length) = (answer.unwrap().into_body(), 0, 0);
    while length < 3_000 {
        length += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        pieces += 1;
    }
    assert!(length == 3_000 && pieces <= 4, "{length} bytes in {pieces} pieces");
    drop(upstream);
}

#[tokio::test]
async fn a_connection_is_used_again_and_one_that_was_closed_is_not() {
    let pair = Pair::new().await;
    let answer: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"];
    let (first, mut stream) = tokio::join!(pair.ask("GET"), pair.answer(answer));
    let again = async {
        let asked = head(&mut stream).await;
        send(&mut stream, answer).await;
        asked
    };
    let (second, asked) = tokio::join!(pair.ask("GET"), again);
    assert!(asked.starts_with("GET /v1/x HTTP/1.1\r\nhost: 127.0.0.1:"), "{asked}");
    drop(stream);
    while pair.waiting() > 0 {
        tokio::task::yield_now().await;
        pair.transport.sweep();
    }
    let (third, _fresh) = tokio::join!(pair.ask("GET"), pair.answer(answer));
    assert_eq!([first, second, third], [well(200, "a"), well(200, "a"), well(200, "a")]);
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    let pair = Pair::new().await;
    let answer: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"];
    let (_, mut stream) = tokio::join!(pair.ask("GET"), pair.answer(answer));
    let cut = async {
        head(&mut stream).await;
        drop(stream);
    };
    assert_eq!(tokio::join!(pair.ask("POST"), cut).0, Seen::Broken);
}

#[tokio::test]
async fn head_and_bodies_left_unread_leave_a_usable_connection_or_none() {
    let pair = Pair::new().await;
    let head_only: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"];
    let (first, mut stream) = tokio::join!(pair.ask("HEAD"), pair.answer(head_only));
    let again = async {
        head(&mut stream).await;
        send(&mut stream, &[b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", b"b"]).await;
    };
    let (second, ()) = tokio::join!(pair.ask("GET"), again);
    assert_eq!([first, second], [well(200, ""), well(200, "b")]);
    pair.transport.sweep();
    assert_eq!(pair.waiting(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_answer_is_the_same_however_it_is_cut(
        chunks in prop::collection::vec("[a-z]{1,9}", 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let framed = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        let framed = framed.collect::<Vec<_>>().concat();
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{framed}0\r\n\r\n");
        let bytes = answer.as_bytes();
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert_eq!(runtime.block_on(seen(&pieces)), well(200, &chunks.concat()));
    }
}
