//! What of an answer is not in the spool yet.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// What was collected for this long goes to the spool too: so much of an answer a crash may lose.
const FLUSH: Duration = Duration::from_secs(1);

/// So many go at once.
const PIECE: usize = 256 << 10;

/// Bytes of an answer that are collected before they go to the spool.
pub(super) struct Collected {
    bytes: Vec<u8>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Collected {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), since: None }
    }

    /// Collects these too, which came now.
    pub(super) fn add(&mut self, bytes: &[u8], now: Instant) {
        self.since.get_or_insert(now);
        self.bytes.extend_from_slice(bytes);
    }

    /// When they go to the spool at the latest; nothing where there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + FLUSH)
    }

    /// Whether they are many, or old.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.bytes.len() >= PIECE || self.due().is_some_and(|due| now >= due)
    }

    /// Takes what was collected.
    pub(super) fn take(&mut self) -> Bytes {
        self.since = None;
        // Where much came, as much will come again: a place that grows is copied at each step.
        let room = if self.bytes.len() >= PIECE { self.bytes.capacity() } else { 0 };
        std::mem::replace(&mut self.bytes, Vec::with_capacity(room)).into()
    }
}
