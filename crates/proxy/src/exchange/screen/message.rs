//! Messages of a WebSocket that ask for an answer: collected within bounds, and looked through.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use redact::mask::{Known, Masks};
use tokio::sync::OwnedSemaphorePermit;
use wire::ask::Ask;
use wire::websocket::masked_text;

use super::intake::Buffered;
use super::screening::Screening;
use super::search::Scope;
use super::texts::Texts;
use super::{Proof, Screen, Verdict};
use crate::exchange::auth::Principal;
use crate::exchange::conversation;
use crate::exchange::refusal::Refusal;

/// Conversations of one socket whose masks are known; Codex has one, sub-agents have their own.
const CONVERSATIONS: usize = 16;

/// A message that was looked through. Made only here.
#[derive(Debug)]
pub struct InspectedMessage {
    /// What it says, with masks.
    pub text: Buffered,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    /// What was found in it.
    pub verdict: Verdict,
    _made_here: Proof,
}

/// A message while it is collected, with the memory that it holds.
#[derive(Debug, Default)]
pub struct Collected {
    /// Its frames as they came.
    pub frames: Vec<u8>,
    /// What they say.
    pub text: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
}

/// A message that was looked through, and the frames that carry it.
pub struct Carried {
    /// What it says.
    pub message: InspectedMessage,
    /// As they came, unless something in them is masked.
    pub frames: Buffered,
    /// Whether they are others than came.
    pub is_masked: bool,
}

/// Masks of a socket: a message has only what is new, so that they live as long as it.
#[derive(Default)]
pub struct SocketMasks(HashMap<String, Masks>);

/// Who sends messages, and in which handshake they did so.
pub struct Sender<'s> {
    /// Who, as proven anew.
    pub principal: &'s Principal,
    /// What the handshake said.
    pub headers: &'s HeaderMap,
}

impl InspectedMessage {
    /// Which masks stand for which values, if any do.
    pub fn masks(&self) -> Option<&Arc<Known>> {
        self.verdict.masks.as_ref()
    }

    /// Why it must not go on.
    pub fn refused(&mut self) -> Result<(), Refusal> {
        self.verdict.refusal.take().map_or(Ok(()), Err)
    }
}

impl Screen {
    /// Sees to it that what was collected is within bounds.
    pub fn bound(&self, collected: &mut Collected) -> Result<(), Refusal> {
        if collected.text.len().max(collected.frames.len()) as u64 > self.intake.max_body {
            return Err(self.intake.too_large());
        }
        let bytes = collected.text.len() + collected.frames.len();
        self.intake.reserve(&mut collected.memory, bytes)
    }

    /// Waits for the next piece of a message that is collected.
    pub async fn in_time<T>(&self, piece: impl Future<Output = T>) -> Result<T, Refusal> {
        self.intake.in_time(piece).await
    }

    /// Looks through a whole message.
    pub async fn message(
        &self,
        sender: &Sender<'_>,
        masks: &mut SocketMasks,
        (collected, ask): (Collected, Option<Ask>),
    ) -> Result<Carried, Refusal> {
        let Collected { frames, text, memory } = collected;
        let memory = memory.map(Arc::new);
        let text = Buffered::new(text.into(), memory.clone());
        let frames = Buffered::new(frames.into(), memory);
        let orders = self.guard.policy.orders(sender.principal);
        let verdict = Verdict::default();
        let message = InspectedMessage { text, ask, verdict, _made_here: Proof };
        let mut carried = Carried { message, frames, is_masked: false };
        if orders.are_off {
            return Ok(carried);
        }
        let Carried { message, frames, is_masked } = &mut carried;
        let conversation =
            conversation::of(sender.principal, sender.headers, message.ask.as_ref()).to_owned();
        let known = masks.take(&conversation);
        let (key, memory) = self.guard.conversation(sender.principal, &conversation);
        let known = known.unwrap_or_else(|| Masks::new(key));
        let mut screening = Screening::new(&self.guard, orders, known, Some(memory));
        let items = message.ask.as_ref().map(|ask| ask.items.as_slice()).unwrap_or_default();
        let key_id = sender.principal.key.id.as_str();
        let scope = Scope { key_id, orders: orders.number, conversation: &conversation };
        let masked = screening.body(&message.text.bytes, &Texts::Items(items), scope).await?;
        let (verdict, known) = screening.verdict();
        message.verdict = verdict;
        masks.put(conversation, known);
        if let Some(masked) = masked {
            message.ask = Ask::read(&masked);
            *frames = frames.replaced(masked_text(&masked, frame_mask(&masked)));
            message.text = message.text.replaced(masked);
            *is_masked = true;
        }
        Ok(carried)
    }
}

impl SocketMasks {
    fn take(&mut self, conversation: &str) -> Option<Masks> {
        self.0.remove(conversation)
    }

    fn put(&mut self, conversation: String, masks: Masks) {
        if masks.is_empty() {
            return;
        }
        if self.0.len() >= CONVERSATIONS {
            self.0.clear();
        }
        self.0.insert(conversation, masks);
    }
}

/// It hides nothing from anybody but old proxies between us and the upstream, which must not read the
/// payload as a request of their own (RFC 6455 §10.3): so nobody outside may foresee it.
fn frame_mask(text: &[u8]) -> [u8; 4] {
    let fresh = uuid::Uuid::now_v7();
    let mut mask = blake3::Hasher::new();
    mask.update(fresh.as_bytes()).update(&(text.len() as u64).to_le_bytes());
    mask.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
}
