//! Holds events while a mask that is cut over several of them may become whole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use memchr::memchr_iter;

use crate::depth::Depth;
use crate::mask::{Known, Next};

use super::Dialect;
use super::data::Data;
use super::read::{self, Ended, Key, Piece};
use super::text::{Edit, Part, Text, Whereabouts};

/// Events that are held at most; a mask has fewer bytes, but other texts may come between.
const MOST_EVENTS: usize = 256;
/// Bytes that are held at most.
const MOST_BYTES: usize = 256 * 1024;
/// Texts that are followed at once, at most; a chat has at most 128 choices.
const MOST_TEXTS: usize = 512;

/// An event, or a message.
#[derive(Debug)]
pub(super) struct Unit {
    raw: Vec<u8>,
    edits: Vec<Edit>,
}

impl Unit {
    /// Whether something is put back into it.
    pub(super) fn is_changed(&self) -> bool {
        !self.edits.is_empty()
    }

    /// Writes it as it is to be seen.
    pub(super) fn write(mut self, out: &mut Vec<u8>) {
        self.edits.sort_by_key(|edit| edit.span.start);
        let mut at = 0;
        for Edit { span, with, .. } in &self.edits {
            out.extend_from_slice(self.raw.get(at..span.start).unwrap_or_default());
            out.extend_from_slice(with);
            at = span.end;
        }
        out.extend_from_slice(self.raw.get(at..).unwrap_or_default());
    }
}

/// The events of one answer.
#[derive(Debug)]
pub(super) struct Hold {
    known: Arc<Known>,
    dialect: Dialect,
    /// What is held, in order.
    units: VecDeque<Unit>,
    bytes: usize,
    /// How many events have left.
    left: u64,
    texts: BTreeMap<Key, Text>,
}

impl Hold {
    pub(super) fn new(known: Arc<Known>, dialect: Dialect) -> Self {
        let (units, texts) = (VecDeque::new(), BTreeMap::new());
        Self { known, dialect, units, bytes: 0, left: 0, texts }
    }

    /// Whether an event can pass without being looked at: nothing is held, and nothing in it can
    /// be a mask or the beginning of one at a string's end.
    pub(super) fn may_pass(&self, raw: &[u8]) -> bool {
        let suspicious = |at: usize| matches!(raw.get(at + 1), Some(b's' | b'"') | None);
        self.units.is_empty()
            && !self.known.has_awkward()
            && !memchr_iter(b'[', raw).any(suspicious)
    }

    /// Whether an event is held.
    pub(super) fn is_holding(&self) -> bool {
        !self.units.is_empty()
    }

    /// Takes an event, and returns those that may leave.
    pub(super) fn take(&mut self, raw: Vec<u8>, data: &Data) -> Vec<Unit> {
        let number = self.left + u64::try_from(self.units.len()).unwrap_or_default();
        let text = data.text(&raw);
        let reading = read::read(self.dialect, &text);
        let mut edits = Vec::new();
        match reading.pieces {
            None => edits = whole_masks(&self.known, number, &raw, data),
            Some(pieces) => {
                for Piece { key, span } in pieces {
                    let Some(span) = data.place(&span) else { continue };
                    self.read(key, &Part { number, raw: &raw, span }, &mut edits);
                }
            }
        }
        self.bytes += raw.len();
        self.units.push_back(Unit { raw, edits: Vec::new() });
        for edit in edits {
            self.edit(edit);
        }
        self.end(&reading.ended);
        if self.units.len() > MOST_EVENTS || self.bytes > MOST_BYTES {
            return self.release();
        }
        self.leaving()
    }

    /// Gives up what may become a mask, and returns all events.
    pub(super) fn release(&mut self) -> Vec<Unit> {
        self.texts.values_mut().for_each(Text::give_up);
        self.leaving()
    }

    /// Reads on in a text, and notes what is to be put back.
    fn read(&mut self, key: Key, part: &Part<'_>, edits: &mut Vec<Edit>) {
        let text = self.texts.remove(&key);
        let mut text = text.unwrap_or_else(|| Text::new(&self.known));
        text.read(&self.known, part, edits);
        if !text.is_of_interest() {
            return;
        }
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        self.texts.insert(key, text);
    }

    fn edit(&mut self, edit: Edit) {
        let index = edit.number.checked_sub(self.left).and_then(|n| usize::try_from(n).ok());
        if let Some(unit) = index.and_then(|index| self.units.get_mut(index)) {
            unit.edits.push(edit);
        }
    }

    fn end(&mut self, ended: &Ended) {
        match ended {
            Ended::Nothing => {}
            Ended::Text(key) => {
                self.texts.remove(key);
            }
            Ended::Of(some) => {
                self.texts.retain(|key, _| !key.index.is_some_and(|index| some.contains(&index)));
            }
            Ended::All => self.texts.clear(),
        }
    }

    /// Takes out the events before the first that may have the beginning of a mask.
    fn leaving(&mut self) -> Vec<Unit> {
        let first = self.texts.values().filter_map(Text::waits_since).min();
        let waiting = first.map_or(0, |first| {
            let end = self.left + u64::try_from(self.units.len()).unwrap_or_default();
            usize::try_from(end.saturating_sub(first)).unwrap_or_default()
        });
        let leaving = self.units.len().saturating_sub(waiting);
        let units: Vec<Unit> = self.units.drain(..leaving).collect();
        self.left += u64::try_from(units.len()).unwrap_or_default();
        self.bytes -= units.iter().map(|unit| unit.raw.len()).sum::<usize>();
        units
    }
}

/// Whole masks, wherever they stand in an event's data.
fn whole_masks(known: &Known, number: u64, raw: &[u8], data: &Data) -> Vec<Edit> {
    let (mut edits, mut place) = (Vec::new(), Whereabouts::new(known, Depth::new));
    for line in data.lines() {
        let text = raw.get(line.clone()).unwrap_or_default();
        let mut at = 0;
        while let Next::Mask { start, end, value } = known.next(text, at) {
            place.pass(text, at..start);
            let span = line.start + start..line.start + end;
            edits.push(Edit { number, span, with: place.written(value) });
            place.pass(text, start..end);
            at = end;
        }
        place.pass(text, at..text.len());
        place.pass(b"\n", 0..1);
    }
    edits
}
