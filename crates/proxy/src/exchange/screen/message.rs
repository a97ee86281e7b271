//! Messages of a WebSocket: collected within bounds, and looked through.

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderMap;
use redact::mask::{Known, Masks};
use tokio::sync::OwnedSemaphorePermit;
use wire::ask::Ask;
use wire::websocket::{Opcode, masked};

use super::intake::Buffered;
use super::screening::Screening;
use super::search::Scope;
use super::texts::Texts;
use super::{LONG, Looked, Proof, Screen, Verdict};
use crate::exchange::auth::Principal;
use crate::exchange::conversation;
use crate::exchange::refusal::Refusal;

/// Conversations of one socket whose masks are known; Codex has one, sub-agents have their own.
const CONVERSATIONS: usize = 16;

/// A message while it is collected, with the memory that it holds.
#[derive(Debug, Default)]
pub struct Collected {
    /// Its frames as they came.
    pub frames: Vec<u8>,
    /// What they say.
    pub text: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
}

/// A message that is there whole.
pub struct Whole {
    /// What came.
    pub collected: Collected,
    /// Of text or of bytes.
    pub opcode: Opcode,
    /// What it asks, where that can be told.
    pub ask: Option<Ask>,
    /// Whether it might be a question; another may be any bytes.
    pub might_ask: bool,
}

/// A message that was looked through; its frames leave only through [`Carried::let_through`].
pub struct Carried {
    /// What it says, with masks.
    pub text: Buffered,
    /// What is asked, where it can be told.
    pub ask: Option<Ask>,
    /// What was found in it.
    pub verdict: Verdict,
    frames: Buffered,
    _made_here: Proof,
}

/// Masks of a socket: a message has only what is new, so that they live as long as it. The newest
/// conversation is the last.
#[derive(Default)]
pub struct SocketMasks(VecDeque<(String, Masks)>);

/// Who sends messages, and in which handshake they did so.
pub struct Sender<'s> {
    /// Who, as proven anew.
    pub principal: &'s Principal,
    /// What the handshake said.
    pub headers: &'s HeaderMap,
}

impl Carried {
    /// Which masks stand for which values, if any do.
    pub fn masks(&self) -> Option<&Arc<Known>> {
        self.verdict.masks.as_ref()
    }

    /// The frames as they may leave, or why they may not.
    pub fn let_through(self) -> Result<Buffered, Refusal> {
        self.verdict.refusal.map_or(Ok(self.frames), Err)
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
    pub fn message(
        &self,
        sender: &Sender<'_>,
        masks: &mut SocketMasks,
        whole: Whole,
    ) -> Result<Carried, Refusal> {
        let Whole { collected: Collected { frames, text, memory }, opcode, ask, might_ask } = whole;
        let memory = memory.map(Arc::new);
        let text = Buffered::new(text.into(), memory.clone());
        let frames = Buffered::new(frames.into(), memory);
        let verdict = Verdict::default();
        let mut carried = Carried { text, ask, verdict, frames, _made_here: Proof };
        if self.guard.is_off(sender.principal) {
            return Ok(carried);
        }
        if might_ask && std::str::from_utf8(&carried.text.bytes).is_err() {
            self.guard.unreadable(None)?;
            carried.verdict.body = Looked::Partly;
        }
        let is_long = carried.text.bytes.len() > LONG;
        let mut look = || self.look_through_message(sender, masks, &mut carried, opcode);
        // Others have their turn on this thread's other self.
        if is_long {
            tokio::task::block_in_place(look)?;
        } else {
            look()?;
        }
        Ok(carried)
    }

    fn look_through_message(
        &self,
        sender: &Sender<'_>,
        masks: &mut SocketMasks,
        carried: &mut Carried,
        opcode: Opcode,
    ) -> Result<(), Refusal> {
        let Sender { principal, headers } = sender;
        let orders = self.guard.policy.orders(principal);
        let conversation = conversation::of(principal, headers, carried.ask.as_ref()).to_owned();
        let (key, memory) = self.guard.conversation(principal, &conversation);
        let known = masks.take(&conversation).unwrap_or_else(|| Masks::new(key));
        let mut screening = Screening::new(&self.guard, orders, known, Some(memory));
        let items = carried.ask.as_ref().map(|ask| ask.items.as_slice()).unwrap_or_default();
        let key_id = principal.key.id.as_str();
        let scope = Scope { key_id, orders: orders.number, conversation: &conversation };
        let text = screening.body(&carried.text.bytes, &Texts::Items(items), scope);
        let (verdict, known) = screening.verdict();
        let body = carried.verdict.body.max(verdict.body);
        carried.verdict = Verdict { body, ..verdict };
        masks.put(conversation, known);
        let Some(text) = text else { return Ok(()) };
        carried.ask = Ask::read(&text);
        let frame = masked(opcode, &text, frame_mask(&text));
        carried.frames = self.intake.replaced(&carried.frames, frame)?;
        carried.text = self.intake.replaced(&carried.text, text)?;
        Ok(())
    }
}

impl SocketMasks {
    fn take(&mut self, conversation: &str) -> Option<Masks> {
        let at = self.0.iter().position(|(name, _)| name == conversation)?;
        self.0.remove(at).map(|(_, masks)| masks)
    }

    fn put(&mut self, conversation: String, masks: Masks) {
        if masks.is_empty() {
            return;
        }
        if self.0.len() >= CONVERSATIONS {
            self.0.pop_front();
        }
        self.0.push_back((conversation, masks));
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
