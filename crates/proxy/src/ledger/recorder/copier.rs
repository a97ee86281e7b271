//! A copy of a request body that streams by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use archive::frame::Side;
use archive::journal::Entry;
use bytes::Bytes;

use crate::ledger::Books;

/// Keeps a copy of a request body that streams by.
pub struct Copier {
    pub(super) id: String,
    pub(super) books: Option<Arc<Books>>,
    pub(super) bytes: Arc<AtomicU64>,
    pub(super) torn: Arc<AtomicBool>,
}

impl Copier {
    /// Copies a piece, which may go on then.
    pub fn copy(&mut self, piece: &Bytes) {
        if let Some(books) = &self.books {
            append(books, (&self.id, Side::Request), piece.clone(), &self.torn);
        }
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Copier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copier").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Appends a piece of a body; what cannot be written tears its exchange.
pub(super) fn append(books: &Books, (id, side): (&str, Side), piece: Bytes, torn: &AtomicBool) {
    if piece.is_empty() {
        return;
    }
    // When it is on the disk is asked at the end, which comes after it.
    if books.keeping.append_now(&Entry::Body { id, side }, piece).is_err() {
        torn.store(true, Ordering::Relaxed);
    }
}
