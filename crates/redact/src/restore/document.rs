//! A text that is read once, cut anywhere.

use std::sync::Arc;

use crate::depth::Depth;
use crate::mask::{Known, Next};

use super::text::Whereabouts;

/// Puts values back into one document; holds nothing but what may become a mask.
#[derive(Debug)]
pub(super) struct Document {
    known: Arc<Known>,
    place: Whereabouts,
    tail: Vec<u8>,
}

impl Document {
    pub(super) fn new(known: Arc<Known>) -> Self {
        let place = Whereabouts::new(&known, Depth::new);
        Self { known, place, tail: Vec::new() }
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.tail.is_empty() {
            return self.read(piece, out);
        }
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(piece);
        self.read(&text, out);
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.tail.is_empty()
    }

    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        let tail = std::mem::take(&mut self.tail);
        self.pass(&tail, out);
    }

    fn read(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let (known, mut rest) = (Arc::clone(&self.known), text);
        loop {
            match known.next(rest, 0) {
                Next::Mask { start, end, value } => {
                    self.pass(rest.get(..start).unwrap_or_default(), out);
                    out.extend_from_slice(&self.place.written(value));
                    self.place.pass(rest, start..end);
                    rest = rest.get(end..).unwrap_or_default();
                }
                Next::Tail(start) => {
                    self.pass(rest.get(..start).unwrap_or_default(), out);
                    self.tail = rest.get(start..).unwrap_or_default().to_vec();
                    return;
                }
                Next::Nothing => return self.pass(rest, out),
            }
        }
    }

    fn pass(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.place.pass(text, 0..text.len());
        out.extend_from_slice(text);
    }
}
