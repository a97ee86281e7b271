//! permessage-deflate (RFC 7692): what was agreed, and a decoded copy of what passes.

use flate2::{Decompress, FlushDecompress, Status};

/// What the end of a compressed message leaves out (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Decoded bytes are shown in pieces of at most this many.
const PIECE: usize = 16 << 10;

const NAME: &str = "permessage-deflate";

/// What the two sides agreed about compression; a side without it does not compress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How the client compresses.
    pub client: Option<Forgets>,
    /// How the server compresses.
    pub server: Option<Forgets>,
}

/// When a side that compresses forgets its earlier messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgets {
    /// Each message stands alone.
    EachMessage,
    /// A message may repeat from the last 32 KiB before it.
    Never,
}

impl Agreement {
    /// Reads the server's `sec-websocket-extensions`.
    pub fn read(accepted: &str) -> Self {
        let Some(deflate) = elements(accepted).find(|element| is_deflate(element)) else {
            return Self::default();
        };
        let forgets = |name: &str| {
            let mut names = deflate.split(';').filter_map(|said| said.split('=').next());
            let said = names.any(|known| known.trim().eq_ignore_ascii_case(name));
            Some(if said { Forgets::EachMessage } else { Forgets::Never })
        };
        Self {
            client: forgets("client_no_context_takeover"),
            server: forgets("server_no_context_takeover"),
        }
    }
}

/// What of a client's `sec-websocket-extensions` may be offered on: what cannot be read in passing
/// is left out. None: nothing.
pub fn offered(extensions: &str) -> Option<String> {
    let known: Vec<&str> = elements(extensions).filter(|element| is_deflate(element)).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

fn is_deflate(element: &str) -> bool {
    element.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(NAME))
}

/// Decodes the compressed messages of one side.
pub(super) struct Inflater {
    state: Decompress,
    forgets: Forgets,
    piece: Vec<u8>,
    /// Bytes of the message have come.
    begun: bool,
}

/// The bytes are not what the coding says.
#[derive(Debug)]
pub(super) struct Broken;

impl Inflater {
    pub(super) fn new(forgets: Forgets) -> Self {
        Self { state: Decompress::new(false), forgets, piece: Vec::new(), begun: false }
    }

    /// Decodes the next bytes of a message.
    pub(super) fn feed(
        &mut self,
        mut coded: &[u8],
        data: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Broken> {
        self.begun |= !coded.is_empty();
        loop {
            self.piece.clear();
            self.piece.reserve(PIECE);
            let before = self.state.total_in();
            let flush = FlushDecompress::Sync;
            let status = self.state.decompress_vec(coded, &mut self.piece, flush);
            let status = status.map_err(|_| Broken)?;
            let used = usize::try_from(self.state.total_in() - before).unwrap_or(usize::MAX);
            coded = coded.get(used..).unwrap_or_default();
            if !self.piece.is_empty() {
                data(&self.piece);
            }
            // RFC 7692 §7.2.3.5 allows a final block, and readers differ in what follows it: who stands
            // behind us might read another message than we do.
            if status == Status::StreamEnd {
                return Err(Broken);
            }
            let is_full = self.piece.len() == self.piece.capacity();
            if coded.is_empty() && !is_full {
                return Ok(());
            }
            if used == 0 && self.piece.is_empty() {
                return Err(Broken);
            }
        }
    }

    /// Ends a message. One without a single byte is none: even an empty one has a block.
    pub(super) fn end(&mut self, data: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        if !std::mem::take(&mut self.begun) {
            return Err(Broken);
        }
        self.feed(&TAIL, data)?;
        if self.forgets == Forgets::EachMessage {
            self.state.reset(false);
        }
        // A thousand quiet sockets need no buffers.
        self.piece = Vec::new();
        Ok(())
    }
}
