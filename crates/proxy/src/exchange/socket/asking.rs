//! From the client to the upstream. What might ask for an answer is held until it is admitted and
//! on record; everything else passes as it comes.

use std::sync::Arc;

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::ask::Ask;
use wire::websocket::{Follower, Head, Opcode, Part};

use super::{Asked, Buffer, Ended, Open};
use crate::exchange::auth::Principal;
use crate::exchange::endpoint::{Endpoint, Operation};
use crate::exchange::limit::Permit;
use crate::exchange::refusal::{Refusal, Word};
use crate::exchange::screen::message::{Collected, ScreenedMessage};
use crate::exchange::upstream::Served;
use crate::exchange::{Proxy, authenticate, refused};
use crate::ledger::recorder::Recorder;

/// The client's side of a socket.
pub(super) struct Asking<'a> {
    pub(super) proxy: &'a Arc<Proxy>,
    pub(super) endpoint: &'a Endpoint,
    pub(super) handshake: &'a Request<()>,
    pub(super) connection: Uuid,
    pub(super) served: &'a Served,
    pub(super) follower: Follower,
    pub(super) message: Message,
    pub(super) asked: mpsc::Sender<Asked>,
    pub(super) closing: CancellationToken,
}

/// What becomes of the message under way.
pub(super) enum Message {
    /// None is.
    None,
    /// It may ask for an answer: a JSON object, as far as it has come.
    Held(Collected),
    /// It is no JSON object.
    Passing,
    /// It was refused before its end.
    Refused,
}

/// The rest cannot be followed: this side of the socket is over.
struct Over;

impl Asking<'_> {
    /// Reads until the client is gone.
    pub(super) async fn run(
        mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Ended {
        let mut buffer = Buffer::new();
        loop {
            let Ok(length @ 1..) = buffer.read(from).await else { return Ended::Client };
            if let Err(Over) = self.pass(buffer.first(length), to).await {
                // The other direction ends the socket, and tells why.
                return std::future::pending().await;
            }
            buffer.adapt(length);
        }
    }

    async fn pass(
        &mut self,
        mut bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Over> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let mut text = Vec::new();
            let step = self.follower.step(bytes, &mut |data| text.extend_from_slice(data));
            let (now, rest) = bytes.split_at_checked(step.used).unwrap_or((bytes, &[]));
            bytes = rest;
            let raw = match &step.part {
                Part::PartOfHead => continue,
                Part::Head(head) => {
                    if self.begins_too_early(head) {
                        self.end(1002, "a message began before the one before it had ended").await;
                        return Err(Over);
                    }
                    head.bytes()
                }
                Part::Payload => now,
            };
            if step.is_control {
                out.extend_from_slice(raw);
                if step.ended.is_some_and(|head| head.opcode == Opcode::Close) {
                    self.closing.cancel();
                }
                continue;
            }
            self.take(raw, &text, &mut out).await;
            if step.ends_message() {
                let message = std::mem::replace(&mut self.message, Message::None);
                if let Message::Held(collected) = message {
                    send(&mut out, to).await?;
                    out = self.decide(collected).await;
                }
            }
        }
        send(&mut out, to).await
    }

    /// Whoever stands behind us might take the second for a message of its own, which nobody saw.
    fn begins_too_early(&self, head: &Head) -> bool {
        let begins = !head.opcode.is_control() && head.opcode != Opcode::Continuation;
        begins && !matches!(self.message, Message::None)
    }

    /// Takes some bytes of a message, and what they say: holds them or lets them go.
    async fn take(&mut self, raw: &[u8], text: &[u8], out: &mut Vec<u8>) {
        if let Message::None = self.message {
            self.message = Message::Held(Collected::default());
        }
        let collected = match &mut self.message {
            Message::Held(collected) => collected,
            Message::Passing => return out.extend_from_slice(raw),
            Message::None | Message::Refused => return,
        };
        collected.frames.extend_from_slice(raw);
        collected.text.extend_from_slice(text);
        if is_no_object(&collected.text) {
            out.append(&mut collected.frames);
            self.message = Message::Passing;
            return;
        }
        if let Err(refusal) = self.proxy.screen.bound(collected) {
            self.message = Message::Refused;
            self.refuse_unread(refusal).await;
        }
    }

    /// What goes upstream of a whole message: all of it, or nothing.
    async fn decide(&mut self, collected: Collected) -> Vec<u8> {
        let Collected { frames, text, .. } = collected;
        let ask = Ask::read(&text).filter(|_| self.follower.is_readable());
        let asks = match &ask {
            Some(ask) => ask.message_type.as_deref() == Some("response.create"),
            // It might ask anything. The upstream says what is wrong with it, unless it has to be
            // known here.
            None => self.must_be_read().await,
        };
        if !asks {
            return frames;
        }
        let message = self.proxy.screen.message(text, ask);
        match self.exchange(Ok(message)).await {
            Ok(open) => {
                // First in the queue, then on its way: so its answer finds it there.
                let _ = self.asked.send(Asked::Exchange(Box::new(open))).await;
                frames
            }
            Err(refusal) => {
                let _ = self.asked.send(Asked::Refused(refusal)).await;
                Vec::new()
            }
        }
    }

    async fn must_be_read(&self) -> bool {
        let arrival = self.proxy.ledger.arrival();
        let principal = authenticate(self.proxy, arrival, self.handshake.headers()).await;
        !self.follower.is_readable() || principal.is_ok_and(|who| !who.key.models.is_empty())
    }

    async fn refuse_unread(&self, refusal: Refusal) {
        if let Err(refusal) = self.exchange(Err(refusal)).await {
            let _ = self.asked.send(Asked::Refused(refusal)).await;
        }
    }

    async fn end(&self, code: u16, reason: &'static str) {
        let _ = self.asked.send(Asked::End(code, reason)).await;
    }

    /// The journey of one exchange, up to where its frames may go upstream. The key is looked at
    /// anew each time: it may have expired, or may ask other models by now.
    async fn exchange(&self, message: Result<ScreenedMessage, Refusal>) -> Result<Open, Refusal> {
        let arrival = self.proxy.ledger.arrival();
        let principal = authenticate(self.proxy, arrival, self.handshake.headers()).await?;
        let mut recorder =
            self.proxy.ledger.open(&principal, self.endpoint, self.handshake, arrival)?;
        recorder.in_socket(self.connection);
        match self.carry(&principal, message, &mut recorder).await {
            Ok(permit) => Ok(Open { recorder, _permit: permit }),
            Err(refusal) => Err(refused(refusal, recorder).await),
        }
    }

    async fn carry(
        &self,
        principal: &Principal,
        message: Result<ScreenedMessage, Refusal>,
        recorder: &mut Recorder,
    ) -> Result<Permit, Refusal> {
        let slot = self.proxy.limits.enter(principal)?;
        let message = message?;
        recorder.asked_in_socket(&message);
        recorder.served(self.served.name(), self.served.doubt());
        if !self.follower.is_readable() {
            let message = "This message's compression cannot be read.";
            return Err(Refusal::new(Word::UnreadableBody, message));
        }
        let permit = self.proxy.limits.admit(slot, Operation::Responses, message.ask.as_ref())?;
        recorder.request().await?;
        Ok(permit)
    }
}

/// Sends what was collected; an upstream that is gone is noticed by who reads from it.
async fn send(out: &mut Vec<u8>, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Over> {
    if out.is_empty() {
        return Ok(());
    }
    let sent = to.write_all(out).await;
    out.clear();
    sent.map_err(|_| Over)
}

/// Whether what was read so far cannot become a JSON object. A byte order mark is looked past: who
/// stands behind us might do the same.
fn is_no_object(text: &[u8]) -> bool {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    let start = text.get(..BYTE_ORDER_MARK.len().min(text.len())).unwrap_or_default();
    if !start.is_empty()
        && start.len() < BYTE_ORDER_MARK.len()
        && BYTE_ORDER_MARK.starts_with(start)
    {
        return false;
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    text.trim_ascii_start().first().is_some_and(|first| *first != b'{')
}

#[cfg(test)]
mod tests {
    use super::is_no_object;

    #[test]
    fn what_could_be_an_object_is_held() {
        for text in ["", " \r\n\t", "{", "  {\"a\"", "\u{feff}", "\u{feff} {"] {
            assert!(!is_no_object(text.as_bytes()), "{text:?}");
        }
        assert!(!is_no_object(b"\xEF"));
        for text in ["[", "\"{\"", " x", "\u{feff}x", "HELLO", "\u{e9}"] {
            assert!(is_no_object(text.as_bytes()), "{text:?}");
        }
    }
}
