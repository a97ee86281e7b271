//! Server-sent events, cut anywhere.

use std::sync::Arc;

use crate::mask::Known;

use super::Dialect;
use super::data::Data;
use super::document::Document;
use super::hold::{Hold, Unit};
use super::split::Splitter;

/// The largest event that is read as a whole; a picture may be larger, a delta is not.
const LARGEST: usize = 4 * 1024 * 1024;

/// Puts values back into a stream of events.
#[derive(Debug)]
pub(super) struct Events {
    known: Arc<Known>,
    splitter: Splitter,
    hold: Hold,
    /// What has come of an event.
    begun: Vec<u8>,
    /// The event that is passing, where it is too large to be kept.
    large: Option<Document>,
}

impl Events {
    pub(super) fn new(known: Arc<Known>, dialect: Dialect) -> Self {
        let hold = Hold::new(Arc::clone(&known), dialect);
        Self { known, splitter: Splitter::default(), hold, begun: Vec::new(), large: None }
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some(end) = self.splitter.end(rest) {
            let (last, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.end_event(last, out);
            rest = after;
        }
        self.begin_event(rest, out);
    }

    pub(super) fn is_holding(&self) -> bool {
        self.hold.is_holding()
    }

    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        write(self.hold.release(), out);
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_event(&[], out);
        self.release(out);
    }

    fn end_event(&mut self, last: &[u8], out: &mut Vec<u8>) {
        if let Some(mut document) = self.large.take() {
            document.feed(last, out);
            return document.release(out);
        }
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(last);
            let raw = std::mem::take(&mut self.begun);
            return self.pass(&raw, out);
        }
        self.pass(last, out);
    }

    fn pass(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        if self.hold.may_pass(raw) {
            return out.extend_from_slice(raw);
        }
        write(self.hold.take(raw.to_vec(), &Data::of_event(raw)), out);
    }

    /// Keeps what has come of an event, unless that is too much.
    fn begin_event(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if let Some(document) = &mut self.large {
            return document.feed(piece, out);
        }
        self.begun.extend_from_slice(piece);
        if self.begun.len() <= LARGEST {
            return;
        }
        self.release(out);
        let begun = std::mem::take(&mut self.begun);
        let data = Data::of_event(&begun).lines().first().map_or(0, |line| line.start);
        let (before, data) = begun.split_at_checked(data).unwrap_or((&begun, &[]));
        out.extend_from_slice(before);
        let mut document = Document::new(Arc::clone(&self.known));
        document.feed(data, out);
        self.large = Some(document);
    }
}

fn write(units: Vec<Unit>, out: &mut Vec<u8>) {
    for unit in units {
        unit.write(out);
    }
}
