//! What the server hears: frames, joined to messages.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use crate::socket::deflate::Inflater;

/// No message is longer.
const LIMIT: usize = 256 << 20;
/// A control frame has no longer payload, RFC 6455 section 5.5.
const CONTROL_LIMIT: u64 = 125;

/// Something heard.
pub(crate) enum Heard {
    /// A text message.
    Text(Bytes),
    /// A binary message; what it holds is nobody's business.
    Binary,
    /// A ping to be answered with the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The client closes, with this code if it says one.
    Close(Option<u16>),
    /// The client broke the protocol.
    Wrong(CloseCode, &'static str),
    /// The connection ended.
    Gone,
}

/// Reads frames from a stream. To stop waiting loses nothing.
pub(crate) struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    inflater: Option<Inflater>,
    message: Option<Message>,
}

/// A message of which more is to come.
struct Message {
    kind: Data,
    is_deflated: bool,
    payload: BytesMut,
}

/// A frame, unmasked.
struct Heading {
    header: FrameHeader,
    payload: BytesMut,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Begins to read.
    pub(crate) fn new(stream: S, inflater: Option<Inflater>) -> Self {
        Self { stream, buffer: BytesMut::new(), inflater, message: None }
    }

    /// Waits for the next thing heard.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            match self.take() {
                Ok(Some(heard)) => return heard,
                Err((code, why)) => return Heard::Wrong(code, why),
                Ok(None) => {}
            }
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return Heard::Gone;
            }
        }
    }

    /// Takes what is whole in the buffer.
    fn take(&mut self) -> Result<Option<Heard>, Wrong> {
        while let Some(Heading { header, payload }) = self.frame()? {
            let heard = match header.opcode {
                OpCode::Control(control) => Some(hear_control(control, &payload)),
                OpCode::Data(kind) => self.gather(&header, kind, payload)?,
            };
            if heard.is_some() {
                return Ok(heard);
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Heading>, Wrong> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, length)) = parsed.map_err(|_| wrong("reserved opcode"))? else {
            return Ok(None);
        };
        let head = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        check(&header, length, self.inflater.as_ref())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LIMIT {
            return Err((CloseCode::Size, "message too big"));
        }
        if self.buffer.len() < head + length {
            self.buffer.reserve(head + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(head);
        let mut payload = self.buffer.split_to(length);
        unmask(&mut payload, header.mask.unwrap_or_default());
        Ok(Some(Heading { header, payload }))
    }

    /// Joins the frames of a message.
    fn gather(
        &mut self,
        header: &FrameHeader,
        kind: Data,
        payload: BytesMut,
    ) -> Result<Option<Heard>, Wrong> {
        let message = match (kind, self.message.take()) {
            (Data::Continue, Some(mut message)) if !header.rsv1 => {
                message.payload.extend_from_slice(&payload);
                message
            }
            (Data::Text | Data::Binary, None) => {
                Message { kind, is_deflated: header.rsv1, payload }
            }
            _ => return Err(wrong("frames out of order")),
        };
        if message.payload.len() > LIMIT {
            return Err((CloseCode::Size, "message too big"));
        }
        if header.is_final {
            return self.whole(message).map(Some);
        }
        self.message = Some(message);
        Ok(None)
    }

    fn whole(&mut self, message: Message) -> Result<Heard, Wrong> {
        let payload = match &mut self.inflater {
            Some(inflater) if message.is_deflated => {
                let whole = inflater.inflate(&message.payload, LIMIT);
                whole.ok_or((CloseCode::Invalid, "bad deflate data"))?
            }
            _ => message.payload,
        };
        if message.kind != Data::Text {
            return Ok(Heard::Binary);
        }
        if std::str::from_utf8(&payload).is_err() {
            return Err((CloseCode::Invalid, "text is not UTF-8"));
        }
        Ok(Heard::Text(payload.freeze()))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The close code for a breach of the protocol, and its reason.
type Wrong = (CloseCode, &'static str);

fn wrong(why: &'static str) -> Wrong {
    (CloseCode::Protocol, why)
}

/// The rules of RFC 6455, section 5, for a client's frame.
fn check(header: &FrameHeader, length: u64, inflater: Option<&Inflater>) -> Result<(), Wrong> {
    let is_control = matches!(header.opcode, OpCode::Control(_));
    if header.mask.is_none() {
        return Err(wrong("frame is not masked"));
    }
    if header.rsv2 || header.rsv3 || header.rsv1 && (is_control || inflater.is_none()) {
        return Err(wrong("reserved bits"));
    }
    if is_control && (!header.is_final || length > CONTROL_LIMIT) {
        return Err(wrong("control frame too long or in pieces"));
    }
    Ok(())
}

fn hear_control(control: Control, payload: &[u8]) -> Heard {
    match control {
        Control::Ping => Heard::Ping(Bytes::copy_from_slice(payload)),
        Control::Pong => Heard::Pong,
        Control::Close | Control::Reserved(_) => hear_close(payload),
    }
}

fn hear_close(payload: &[u8]) -> Heard {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Heard::Close(None),
            _ => Heard::Wrong(CloseCode::Protocol, "close code of one byte"),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Heard::Wrong(CloseCode::Protocol, "close code not allowed");
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Heard::Close(Some(code)),
        Err(_) => Heard::Wrong(CloseCode::Invalid, "close reason is not UTF-8"),
    }
}
