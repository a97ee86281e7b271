//! A WebSocket client so plain that it hides nothing: it sees each frame.

use std::io::Cursor;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use simulate::Simulator;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tungstenite::protocol::frame::{
    Frame, FrameHeader,
    coding::{Control, Data, OpCode},
};

/// An open socket.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The head of the handshake's answer.
    pub(crate) head: String,
    inflate: Option<Decompress>,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Event(Value),
    Binary(Vec<u8>),
    Ping(String),
    Pong(String),
    Close(u16, String),
    /// The end of the connection, with so many bytes of a frame before it.
    End(usize),
}

/// A handshake with further headers, each line with its end.
pub(crate) fn handshake(headers: &str) -> String {
    format!(
        "GET /v1/responses HTTP/1.1\r\nhost: simulated\r\nconnection: keep-alive, Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer sk-test-abcd\r\n\
         {headers}\r\n"
    )
}

impl Socket {
    pub(crate) async fn open(simulator: &Simulator) -> Self {
        Self::open_with(simulator, "").await
    }

    /// Opens one that must be accepted.
    pub(crate) async fn open_with(simulator: &Simulator, headers: &str) -> Self {
        let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
        stream.write_all(handshake(headers).as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let inflate = head.contains("permessage-deflate").then(|| Decompress::new(false));
        Self { stream, buffer: Vec::new(), head, inflate }
    }

    pub(crate) async fn ask(&mut self, body: &Value) {
        self.send(Frame::message(body.to_string(), OpCode::Data(Data::Text), true)).await;
    }

    /// Asks with a prompt.
    pub(crate) async fn say(&mut self, prompt: &str) {
        self.ask(&create(prompt)).await;
    }

    /// Asks, compressed.
    pub(crate) async fn ask_deflated(&mut self, body: &Value, deflate: &mut Compress) {
        let mut payload = Vec::with_capacity(64 << 10);
        let text = body.to_string();
        deflate.compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - 4);
        let mut frame = Frame::message(payload, OpCode::Data(Data::Text), true);
        frame.header_mut().rsv1 = true;
        self.send(frame).await;
    }

    /// Sends a frame, masked.
    pub(crate) async fn send(&mut self, mut frame: Frame) {
        frame.header_mut().mask = Some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads one frame; `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            let mut cursor = Cursor::new(&self.buffer);
            if let Some((header, length)) = FrameHeader::parse(&mut cursor).unwrap() {
                let begin = usize::try_from(cursor.position()).unwrap();
                let end = begin + usize::try_from(length).unwrap();
                if self.buffer.len() >= end {
                    let payload = self.buffer[begin..end].to_vec();
                    self.buffer.drain(..end);
                    return Some(Frame::from_payload(header, payload.into()));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads a message or a control frame.
    pub(crate) async fn came(&mut self) -> Came {
        let mut message = Vec::new();
        let mut first = None;
        loop {
            let Some(frame) = self.frame().await else { return Came::End(self.buffer.len()) };
            let header = frame.header().clone();
            let payload = frame.payload().to_vec();
            let text = || String::from_utf8(payload.clone()).unwrap();
            match header.opcode {
                OpCode::Control(Control::Ping) => return Came::Ping(text()),
                OpCode::Control(Control::Pong) => return Came::Pong(text()),
                OpCode::Control(_) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return Came::Close(code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                OpCode::Data(_) => {}
            }
            message.extend(payload);
            let first = first.get_or_insert(header.clone());
            if header.is_final {
                let message = if first.rsv1 { self.inflate(message) } else { message };
                return match first.opcode {
                    OpCode::Data(Data::Binary) => Came::Binary(message),
                    _ => Came::Event(serde_json::from_slice(&message).unwrap()),
                };
            }
        }
    }

    fn inflate(&mut self, mut message: Vec<u8>) -> Vec<u8> {
        message.extend([0, 0, 0xff, 0xff]);
        let mut out = Vec::with_capacity(1 << 20);
        let inflate = self.inflate.as_mut().expect("compressed only where that was agreed");
        inflate.decompress_vec(&message, &mut out, FlushDecompress::Sync).unwrap();
        out
    }

    /// What came, up to the end of an answer or of the connection.
    pub(crate) async fn all(&mut self) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            let came = self.came().await;
            let last = match &came {
                Came::Event(event) => is_last(event),
                Came::Close(..) | Came::End(_) => true,
                Came::Binary(_) | Came::Ping(_) | Came::Pong(_) => false,
            };
            all.push(came);
            if last {
                return all;
            }
        }
    }

    /// The events of an answer.
    pub(crate) async fn events(&mut self) -> Vec<Value> {
        let all = self.all().await;
        all.into_iter()
            .map(|came| match came {
                Came::Event(event) => event,
                other => panic!("no event: {other:?}"),
            })
            .collect()
    }
}

fn is_last(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap();
    ["response.completed", "response.failed", "response.incomplete", "error"].contains(&kind)
}

/// The type of each event.
pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// A request with this prompt.
pub(crate) fn create(prompt: &str) -> Value {
    let input = json!([{"type": "message", "role": "user", "content": prompt}]);
    json!({"type": "response.create", "model": "gpt-5.5", "stream": true, "input": input})
}
