//! Frames that the server sends.

use bytes::{BufMut, Bytes, BytesMut};
use tungstenite::protocol::frame::{
    CloseFrame, Frame, FrameHeader,
    coding::{Data, OpCode},
};

use crate::{
    script::{
        delivery::{Delivery, Quirk},
        socket::{Form, Socket},
    },
    socket::deflate::Deflater,
};

/// How a message is framed.
pub(crate) struct Framing<'a> {
    /// The script's words for it.
    pub(crate) socket: &'a Socket,
    /// The script's words for how bytes travel.
    pub(crate) delivery: &'a Delivery,
}

impl Framing<'_> {
    /// A message as it goes over the wire: in one frame, or in as many as the script says, with a
    /// ping between each two if it wants comments.
    pub(crate) fn message(&self, text: &str, deflater: Option<&mut Deflater>) -> Bytes {
        let small = deflater.map(|deflater| deflater.deflate(text.as_bytes()));
        let is_deflated = small.is_some();
        let payload = small.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), Bytes::from);
        let size = self.socket.fragment.unwrap_or(usize::MAX).min(payload.len()).max(1);
        let count = payload.len().div_ceil(size).max(1);
        let mut wire = BytesMut::with_capacity(payload.len() + count * 14);
        for (index, piece) in pieces(&payload, size).enumerate() {
            if index > 0 && self.delivery.has(Quirk::Comment) {
                wire.extend_from_slice(&ping("between"));
            }
            let header = FrameHeader {
                is_final: index + 1 == count,
                rsv1: is_deflated && index == 0,
                opcode: OpCode::Data(if index == 0 { self.first() } else { Data::Continue }),
                ..FrameHeader::default()
            };
            put(Frame::from_payload(header, piece), &mut wire);
        }
        wire.freeze()
    }

    fn first(&self) -> Data {
        match self.socket.form {
            Form::Text => Data::Text,
            Form::Binary => Data::Binary,
        }
    }
}

/// Pieces of a size; of nothing one empty piece.
fn pieces(payload: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    let starts = (0..payload.len().max(1)).step_by(size);
    starts.map(move |start| payload.slice(start..payload.len().min(start + size)))
}

/// A ping with a text.
pub(crate) fn ping(text: &'static str) -> Bytes {
    alone(Frame::ping(text))
}

/// The answer to a ping.
pub(crate) fn pong(payload: Bytes) -> Bytes {
    alone(Frame::pong(payload))
}

/// A close frame.
pub(crate) fn close(close: CloseFrame) -> Bytes {
    alone(Frame::close(Some(close)))
}

fn alone(frame: Frame) -> Bytes {
    let mut wire = BytesMut::with_capacity(frame.len());
    put(frame, &mut wire);
    wire.freeze()
}

fn put(frame: Frame, wire: &mut BytesMut) {
    frame.format(&mut wire.writer()).expect("memory takes whatever is written to it");
}
