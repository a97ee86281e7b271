//! From the client to the upstream. What might ask for an answer is held until it is admitted and
//! on record; everything else passes as it comes.

use std::sync::Arc;

use http::Request;
use redact::mask::Known;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::ask::Ask;
use wire::websocket::{Follower, Forgets, Head, Opcode, Part, Step};

use super::held::{Form, Held};
use super::restoring::Restoring;
use super::{Asked, Buffer, Closing, Ended, Open, Side, piece_size};
use crate::exchange::auth::Principal;
use crate::exchange::endpoint::{Endpoint, Operation};
use crate::exchange::limit::{self, Permit};
use crate::exchange::refusal::{Refusal, Word};
use crate::exchange::screen::intake::Buffered;
use crate::exchange::screen::message::{Carried, Sender, SocketMasks, Whole};
use crate::exchange::upstream::Served;
use crate::exchange::{Proxy, authenticate, refused};
use crate::ledger::recorder::Recorder;

/// The client's side of a socket.
pub(super) struct Asking<'a> {
    pub(super) proxy: &'a Arc<Proxy>,
    /// Who opened the socket.
    pub(super) principal: &'a Principal,
    pub(super) endpoint: &'a Endpoint,
    pub(super) handshake: &'a Request<()>,
    pub(super) connection: Uuid,
    pub(super) served: &'a Served,
    pub(super) compresses: Option<Forgets>,
    pub(super) follower: Follower,
    pub(super) message: Message,
    pub(super) asked: mpsc::Sender<Asked>,
    pub(super) closing: &'a Closing,
    /// Which masks stand for which values in what was asked so far.
    pub(super) masks: SocketMasks,
    /// Whether values can be put back into answers: not into compressed ones, from which later ones
    /// may repeat.
    pub(super) restores: bool,
}

/// What becomes of the message under way.
pub(super) enum Message {
    /// None is.
    None,
    /// It may ask for an answer, as far as it has come.
    Held(Held),
    /// It cannot ask anything.
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
            let length = match self.read(&mut buffer, from).await {
                Ok(Ok(length @ 1..)) => length,
                Ok(Ok(0) | Err(_)) => return Ended::Client,
                Err(Over) => return std::future::pending().await,
            };
            for piece in buffer.first(length).chunks(piece_size(self.compresses)) {
                if let Err(Over) = self.pass(piece, to).await {
                    // The other direction ends the socket, and tells why.
                    return std::future::pending().await;
                }
            }
            buffer.adapt(length);
        }
    }

    /// Waits for more; only so long while a message is held.
    async fn read(
        &mut self,
        buffer: &mut Buffer,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<std::io::Result<usize>, Over> {
        if matches!(self.message, Message::Held(_)) {
            match self.proxy.screen.in_time(buffer.read(from)).await {
                Ok(read) => return Ok(read),
                Err(refusal) => self.refuse_unread(refusal).await?,
            }
        }
        Ok(buffer.read(from).await)
    }

    async fn pass(
        &mut self,
        mut bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Over> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            // A read may hold thousands of frames.
            tokio::task::coop::consume_budget().await;
            let (step, text) = self.step(bytes);
            let (now, rest) = bytes.split_at_checked(step.used).unwrap_or((bytes, &[]));
            bytes = rest;
            let raw = match &step.part {
                Part::PartOfHead => continue,
                Part::Head(head) => {
                    if self.begins_too_early(head) {
                        self.send(&mut out, to).await?;
                        return self.end(1002, "a message began inside another").await;
                    }
                    // Of a control frame the upstream is the judge: it belongs to no message.
                    if !step.is_control && self.follower.is_unagreed(head) {
                        self.send(&mut out, to).await?;
                        return self.end(1002, "compression was not agreed on").await;
                    }
                    head.bytes()
                }
                Part::Payload => now,
            };
            if step.is_control {
                out.extend_from_slice(raw);
                if step.ended.is_some_and(|head| head.opcode == Opcode::Close) {
                    self.closing.begin(Side::Client);
                }
                continue;
            }
            self.take(&step, raw, &text, &mut out).await?;
            drop(text);
            if step.ends_message()
                && let Message::Held(held) = std::mem::replace(&mut self.message, Message::None)
            {
                self.send(&mut out, to).await?;
                self.decide(held, to).await?;
            }
        }
        self.send(&mut out, to).await
    }

    /// One step of the follower, and what it shows of a message that is looked at.
    fn step(&mut self, bytes: &[u8]) -> (Step, Vec<u8>) {
        let is_looked_at = matches!(self.message, Message::None | Message::Held(_));
        let mut text = Vec::new();
        let step = self.follower.step(bytes, &mut |data| {
            if is_looked_at {
                text.extend_from_slice(data);
            }
        });
        (step, text)
    }

    /// Whoever stands behind us might take the second for a message of its own, which nobody saw.
    fn begins_too_early(&self, head: &Head) -> bool {
        let begins = !head.opcode.is_control() && head.opcode != Opcode::Continuation;
        begins && !matches!(self.message, Message::None)
    }

    /// Takes some bytes of a message, and what they say: holds them or lets them go.
    async fn take(
        &mut self,
        step: &Step,
        raw: &[u8],
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Over> {
        if let Message::None = self.message {
            self.message = Message::Held(Held::begin(&step.part));
        }
        let held = match &mut self.message {
            Message::Held(held) => held,
            Message::Passing => {
                out.extend_from_slice(raw);
                return Ok(());
            }
            Message::None | Message::Refused => {
                let is_over = step.ends_message();
                self.message = if is_over { Message::None } else { Message::Refused };
                return Ok(());
            }
        };
        held.collected.frames.extend_from_slice(raw);
        held.collected.text.extend_from_slice(text);
        held.asks_nothing = held.asks_nothing || held.surely_asks_nothing();
        if held.asks_nothing && self.proxy.screen.guard().is_off(self.principal) {
            out.append(&mut held.collected.frames);
            self.message = if step.ends_message() { Message::None } else { Message::Passing };
            return Ok(());
        }
        if let Err(refusal) = self.proxy.screen.bound(&mut held.collected) {
            self.refuse_unread(refusal).await?;
            if step.ends_message() {
                self.message = Message::None;
            }
        }
        Ok(())
    }

    /// Sends a whole message upstream, or refuses it.
    async fn decide(&mut self, held: Held, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Over> {
        let form = held.form;
        let asks_nothing = held.asks_nothing || held.blank == held.collected.text.len();
        let ask = Ask::read(&held.collected.text);
        // What cannot be read, or does not say what it is, might ask anything.
        let says_other = |ask: &Ask| ask.message_type.is_some() && !ask.asks();
        let is_other = asks_nothing || ask.as_ref().is_some_and(says_other);
        let Held { collected, opcode, .. } = held;
        let whole = Whole { collected, opcode, ask, might_ask: !asks_nothing };
        if is_other && self.follower.is_readable() {
            return self.pass_other(whole, form, to).await;
        }
        match self.exchange(Ok((whole, form))).await {
            Ok((open, frames)) => {
                // First in the queue, then on its way: so its answer finds it there.
                let _ = self.asked.send(Asked::Exchange(Box::new(open))).await;
                self.write(&frames.bytes, to).await
            }
            Err(refusal) => self.refuse(refusal, form).await,
        }
    }

    /// A message that asks for no answer is no exchange; what is secret in it does not leave either.
    async fn pass_other(
        &mut self,
        whole: Whole,
        form: Form,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Over> {
        let looked = self.look_through(self.principal, whole, form);
        let frames = looked.and_then(|carried| {
            self.proxy.ledger.found(self.principal, &carried.verdict.fresh);
            carried.let_through()
        });
        match frames {
            Ok(frames) => self.write(&frames.bytes, to).await,
            Err(refusal) => self.refuse(refusal, form).await,
        }
    }

    fn look_through(
        &mut self,
        principal: &Principal,
        whole: Whole,
        form: Form,
    ) -> Result<Carried, Refusal> {
        let sender = Sender { principal, headers: self.handshake.headers() };
        let mut carried = self.proxy.screen.message(&sender, &mut self.masks, whole)?;
        let repeats = form == Form::Compressed && self.compresses == Some(Forgets::Never);
        if carried.verdict.is_masked && repeats {
            // Later messages may repeat from it, and the upstream would not have it.
            let message = "This message holds a secret, and is compressed together with others.";
            carried.verdict.refusal = Some(Refusal::new(Word::SecretBlocked, message));
        }
        Ok(carried)
    }

    /// Refuses the message that is held, before its end; the rest of it is thrown away.
    async fn refuse_unread(&mut self, refusal: Refusal) -> Result<(), Over> {
        let held = std::mem::replace(&mut self.message, Message::Refused);
        let form = if let Message::Held(held) = held { held.form } else { Form::Plain };
        match self.exchange(Err(refusal)).await {
            Ok(_) => Ok(()),
            Err(refusal) => self.refuse(refusal, form).await,
        }
    }

    /// Tells of a refusal. A compressed message that the upstream does not get is missing there for
    /// those after it, which may repeat from it (RFC 7692 §7.1.1): the socket ends with it.
    async fn refuse(&self, refusal: Refusal, form: Form) -> Result<(), Over> {
        let _ = self.asked.send(Asked::Refused(refusal)).await;
        let is_readable = self.follower.is_readable();
        if form == Form::Compressed && (self.compresses == Some(Forgets::Never) || !is_readable) {
            return self.end(1008, "a compressed message was refused").await;
        }
        Ok(())
    }

    async fn end(&self, code: u16, reason: &'static str) -> Result<(), Over> {
        let _ = self.asked.send(Asked::End(code, reason)).await;
        Err(Over)
    }

    async fn send(
        &self,
        out: &mut Vec<u8>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Over> {
        if out.is_empty() {
            return Ok(());
        }
        let written = self.write(out, to).await;
        out.clear();
        written
    }

    /// An upstream that is gone is noticed by who reads from it. Flushed, because TLS may keep the
    /// end of what was written to itself.
    async fn write(&self, bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Over> {
        let sent = async {
            to.write_all(bytes).await?;
            to.flush().await
        };
        match tokio::time::timeout(self.proxy.manner.idle_timeout, sent).await {
            Ok(sent) => sent.map_err(|_| Over),
            Err(_) => self.end(1011, "the upstream does not read").await,
        }
    }

    /// The journey of one exchange, up to where its frames may go upstream. The key is looked at
    /// anew each time: it may have expired, or may ask other models by now.
    async fn exchange(
        &mut self,
        message: Result<(Whole, Form), Refusal>,
    ) -> Result<(Open, Buffered), Refusal> {
        let arrival = self.proxy.ledger.arrival();
        let principal = authenticate(self.proxy, arrival, self.handshake.headers()).await?;
        let mut recorder =
            self.proxy.ledger.open(&principal, self.endpoint, self.handshake, arrival)?;
        recorder.in_socket(self.connection);
        let asks = |(whole, _): &(Whole, Form)| whole.ask.as_ref().is_some_and(Ask::asks);
        let is_unsure = !message.as_ref().is_ok_and(asks);
        match self.carry(&principal, message, &mut recorder).await {
            Ok((permit, masks, frames)) => {
                let restoring = masks.filter(|_| self.restores).map(Restoring::new);
                let open = Open { recorder, _permit: permit, is_unsure, restoring };
                Ok((open, frames))
            }
            Err(refusal) => Err(refused(self.proxy, refusal, recorder).await),
        }
    }

    async fn carry(
        &mut self,
        principal: &Principal,
        message: Result<(Whole, Form), Refusal>,
        recorder: &mut Recorder,
    ) -> Result<(Permit, Option<Arc<Known>>, Buffered), Refusal> {
        let slot = self.proxy.limits.enter(principal)?;
        let (whole, form) = message?;
        let carried = self.look_through(principal, whole, form)?;
        recorder.asked_in_socket(&carried);
        recorder.served(self.served.name(), self.served.doubt());
        let (masks, ask) = (carried.masks().cloned(), carried.ask.clone());
        let frames = carried.let_through()?;
        if !self.follower.is_readable() {
            let message = "This message's compression cannot be read.";
            return Err(Refusal::new(Word::UnreadableBody, message));
        }
        let (operation, text) = (Operation::Responses, recorder.question());
        let asked = limit::Asked { operation, ask: ask.as_ref(), text };
        let mut permit = self.proxy.limits.admit(slot, &asked).await?;
        recorder.reserved(permit.take_reservation());
        recorder.request().await?;
        Ok((permit, masks, frames))
    }
}
