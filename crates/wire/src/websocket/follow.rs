//! Follows one side of a WebSocket, whatever pieces its bytes come in.

use super::deflate::{Forgets, Inflater};
use super::{CONTROL_LIMIT, Head, LONGEST_HEAD, Opcode};

/// Follows one side. It never fails: where the bytes are no message, `is_readable` says so.
pub struct Follower {
    /// Bytes of a head that is not whole yet.
    partial: Vec<u8>,
    /// The frame under way, and how much of its payload is to come.
    frame: Option<(Head, u64)>,
    /// Whether the message under way is compressed; none between messages.
    message: Option<Coded>,
    inflater: Option<Inflater>,
    scratch: Vec<u8>,
    control: Vec<u8>,
    is_readable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coded {
    Yes,
    No,
}

/// What a step went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Some bytes of a head that is not whole yet.
    PartOfHead,
    /// The rest of a head; the frame ends with it if it carries nothing.
    Head(Head),
    /// Bytes of the payload.
    Payload,
}

/// One step through the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many bytes it went over.
    pub used: usize,
    /// What they are.
    pub part: Part,
    /// Whether they belong to a control frame; told from the end of its head on.
    pub is_control: bool,
    /// The frame that ends with them.
    pub ended: Option<Head>,
}

impl Step {
    /// Whether a message ends with it.
    pub fn ends_message(&self) -> bool {
        self.ended.is_some_and(|head| head.is_last && !head.opcode.is_control())
    }
}

impl Follower {
    /// Follows a side that compresses so, or not at all.
    pub fn new(compresses: Option<Forgets>) -> Self {
        Self {
            partial: Vec::new(),
            frame: None,
            message: None,
            inflater: compresses.map(Inflater::new),
            scratch: Vec::new(),
            control: Vec::new(),
            is_readable: true,
        }
    }

    /// Goes on to the next border, or to the end of the bytes; shows what the messages say, unmasked
    /// and inflated. The bytes must not be empty.
    pub fn step(&mut self, bytes: &[u8], data: &mut dyn FnMut(&[u8])) -> Step {
        match self.frame {
            None => self.read_head(bytes, data),
            Some((head, left)) => self.read_payload(head, left, bytes, data),
        }
    }

    /// Whether nothing is under way: here another message may be put between.
    pub fn is_between_messages(&self) -> bool {
        self.message.is_none() && self.frame.is_none() && self.partial.is_empty()
    }

    /// Whether what was shown is what the messages say.
    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Whether a frame is said to be compressed where that was not agreed (RFC 6455 §5.2, RSV1).
    pub fn is_unagreed(&self, head: &Head) -> bool {
        head.is_compressed && self.inflater.is_none()
    }

    /// What the last control frame carried.
    pub fn control(&self) -> &[u8] {
        &self.control
    }

    fn read_head(&mut self, bytes: &[u8], data: &mut dyn FnMut(&[u8])) -> Step {
        let before = self.partial.len();
        let wanted = bytes.len().min(LONGEST_HEAD - before.min(LONGEST_HEAD));
        self.partial.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        let Some(head) = Head::read(&self.partial) else {
            return Step { used: wanted, part: Part::PartOfHead, is_control: false, ended: None };
        };
        let used = head.bytes().len().saturating_sub(before);
        self.partial.clear();
        self.begin(&head);
        let mut step = Step {
            used,
            part: Part::Head(head),
            is_control: head.opcode.is_control(),
            ended: None,
        };
        if head.length == 0 {
            self.end(&head, data);
            step.ended = Some(head);
        } else {
            self.frame = Some((head, head.length));
        }
        step
    }

    fn begin(&mut self, head: &Head) {
        if head.opcode.is_control() {
            self.control.clear();
            return;
        }
        if head.opcode != Opcode::Continuation {
            self.message = Some(if head.is_compressed { Coded::Yes } else { Coded::No });
        }
    }

    fn read_payload(
        &mut self,
        head: Head,
        left: u64,
        bytes: &[u8],
        data: &mut dyn FnMut(&[u8]),
    ) -> Step {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.get(..used).unwrap_or_default();
        self.show(&head, head.length - left, piece, data);
        let left = left - used as u64;
        let is_control = head.opcode.is_control();
        let mut step = Step { used, part: Part::Payload, is_control, ended: None };
        if left == 0 {
            self.frame = None;
            self.end(&head, data);
            step.ended = Some(head);
        } else {
            self.frame = Some((head, left));
        }
        step
    }

    fn show(&mut self, head: &Head, at: u64, piece: &[u8], data: &mut dyn FnMut(&[u8])) {
        let plain = match head.mask {
            None => piece,
            Some(mask) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(piece);
                unmask(&mut self.scratch, mask, at);
                &self.scratch
            }
        };
        if head.opcode.is_control() {
            let room = CONTROL_LIMIT.saturating_sub(self.control.len()).min(plain.len());
            self.control.extend_from_slice(plain.get(..room).unwrap_or_default());
            return;
        }
        match (self.message, &mut self.inflater) {
            (Some(Coded::Yes), Some(inflater)) if self.is_readable => {
                self.is_readable = inflater.feed(plain, data).is_ok();
            }
            (Some(Coded::Yes), _) => self.is_readable = false,
            (Some(Coded::No) | None, _) => data(plain),
        }
    }

    fn end(&mut self, head: &Head, data: &mut dyn FnMut(&[u8])) {
        if head.opcode.is_control() || !head.is_last {
            return;
        }
        let coded = self.message.take();
        if let (Some(Coded::Yes), Some(inflater), true) =
            (coded, &mut self.inflater, self.is_readable)
        {
            self.is_readable = inflater.end(data).is_ok();
        }
        self.scratch = Vec::new();
    }
}

/// RFC 6455 §5.3, for a piece that begins at this place of its payload.
pub(super) fn unmask(piece: &mut [u8], mask: [u8; 4], at: u64) {
    let turn = usize::try_from(at % 4).unwrap_or_default();
    let mut turned = mask;
    turned.rotate_left(turn);
    // Eight bytes at once: the compiler makes vectors of it.
    let wide = u64::from_ne_bytes([turned, turned].concat().try_into().unwrap_or_default());
    let (words, rest) = piece.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}
