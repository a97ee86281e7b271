//! Both ends of a WebSocket through the gateway, frame by frame.

use serde_json::Value;
use tokio::net::TcpListener;

use super::client::lossy;
use super::{Gateway, Raw};

/// What every answer to a handshake says after its first line.
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    openai-model: gpt-5.5\r\n";

/// The mask of a client's frames here.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An upstream whose connections a test takes by hand.
pub(crate) struct Upstream(TcpListener);

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The base address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.0.local_addr().unwrap())
    }

    /// The next connection, and the head of what it asks.
    pub(crate) async fn next(&self) -> (Raw, String) {
        let mut connection = Raw::over(self.0.accept().await.unwrap().0);
        let head = connection.read_until("\r\n\r\n").await;
        (connection, lossy(&head))
    }
}

/// The bytes of a handshake.
pub(crate) fn handshake(key: &str, more: &[&str]) -> String {
    let mut lines = vec![
        "GET /v1/responses HTTP/1.1".to_owned(),
        "Host: gateway.test".to_owned(),
        "Connection: Upgrade".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Sec-WebSocket-Version: 13".to_owned(),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        format!("Authorization: Bearer {key}"),
    ];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines.join("\r\n") + "\r\n\r\n"
}

/// A socket that is open, seen from both its ends.
pub(crate) async fn open(gateway: &Gateway, upstream: &Upstream, key: &str) -> (Raw, Raw) {
    open_with(gateway, upstream, key, "").await
}

/// The same, with more lines in the answer to the handshake.
pub(crate) async fn open_with(
    gateway: &Gateway,
    upstream: &Upstream,
    key: &str,
    accepted: &str,
) -> (Raw, Raw) {
    let mut client = Raw::connect(gateway.address).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    client.send(handshake(key, &[offer]).as_bytes()).await;
    let (mut server, _) = upstream.next().await;
    server.send(format!("{ACCEPTED}{accepted}\r\n").as_bytes()).await;
    client.read_until("\r\n\r\n").await;
    (client, server)
}

/// A frame as a server sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(u8::try_from(short).unwrap()),
        middle @ ..65536 => {
            bytes.push(126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The same as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(first, payload);
    let head = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    bytes[head..].iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    bytes.splice(head..head, MASK);
    bytes
}

/// A whole message of text, from the server and from the client.
pub(crate) fn says(message: &Value) -> Vec<u8> {
    frame(0x81, message.to_string().as_bytes())
}

pub(crate) fn asks(message: &Value) -> Vec<u8> {
    masked(0x81, message.to_string().as_bytes())
}

/// The next frame that the gateway or the server sent: its first byte and what it carries.
pub(crate) async fn read_frame(end: &mut Raw) -> Option<(u8, Vec<u8>)> {
    let head = end.exactly(2).await?;
    let length = match head[1] & 0x7F {
        126 => u64::from(u16::from_be_bytes(end.exactly(2).await?.try_into().unwrap())),
        127 => u64::from_be_bytes(end.exactly(8).await?.try_into().unwrap()),
        short => u64::from(short),
    };
    let mask = if head[1] & 0x80 == 0 { None } else { Some(end.exactly(4).await?) };
    let mut payload = end.exactly(usize::try_from(length).unwrap()).await?;
    if let Some(mask) = mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Some((head[0], payload))
}

/// The next frame as text, with a word for what it is.
pub(crate) async fn read_text(end: &mut Raw) -> String {
    match read_frame(end).await {
        None => "gone".to_owned(),
        Some((0x88, payload)) => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            format!("close {code} {}", lossy(&payload[2..]))
        }
        Some((_, payload)) => lossy(&payload),
    }
}
