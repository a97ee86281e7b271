//! One text of an answer, piece by piece, and what is put back into its pieces.

use std::ops::Range;

use memchr::memchr;
use zeroize::Zeroizing;

use crate::depth::Depth;
use crate::depth::escape::escape;
use crate::mask::{Known, Next, shape};

/// What is to stand in the place of some bytes of an event.
#[derive(Debug)]
pub(super) struct Edit {
    /// The event's number.
    pub(super) number: u64,
    pub(super) span: Range<usize>,
    pub(super) with: Zeroizing<Vec<u8>>,
}

/// The bytes of an event, and where in them the piece of a text stands.
pub(super) struct Part<'r> {
    pub(super) number: u64,
    pub(super) raw: &'r [u8],
    pub(super) span: Range<usize>,
}

/// How deep a place stands, where some value depends on it.
#[derive(Debug)]
pub(super) struct Whereabouts(Option<Depth>);

impl Whereabouts {
    pub(super) fn new(known: &Known, start: fn() -> Depth) -> Self {
        Self(known.has_awkward().then(start))
    }

    pub(super) fn pass(&mut self, text: &[u8], span: Range<usize>) {
        if let Some(depth) = &mut self.0 {
            depth.feed(text.get(span).unwrap_or_default());
        }
    }

    /// A value as it is written here.
    pub(super) fn written(&self, value: &[u8]) -> Zeroizing<Vec<u8>> {
        written(value, self.depth())
    }

    fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, Depth::depth)
    }
}

/// One text of the answer, as far as it has come.
#[derive(Debug)]
pub(super) struct Text {
    place: Whereabouts,
    open: Option<Open>,
}

/// The beginning of a mask at the text's end.
#[derive(Debug)]
struct Open {
    seen: Vec<u8>,
    depth: usize,
    /// The number of each event that has a piece of it, and where.
    pieces: Vec<(u64, Range<usize>)>,
}

enum Extended {
    /// The mask ends behind so many bytes.
    Whole(usize),
    /// It may still become one.
    Still,
    /// It is none.
    Not,
}

impl Text {
    /// A text of which nothing has come; it stands in a string of the event.
    pub(super) fn new(known: &Known) -> Self {
        Self { place: Whereabouts::new(known, Depth::in_string), open: None }
    }

    /// Whether what comes next can depend on what has come.
    pub(super) fn is_of_interest(&self) -> bool {
        self.open.is_some() || self.place.0.is_some()
    }

    /// The number of the event in which a mask may have begun.
    pub(super) fn waits_since(&self) -> Option<u64> {
        self.open.as_ref()?.pieces.first().map(|(number, _)| *number)
    }

    /// Waits no longer for the rest of a mask.
    pub(super) fn give_up(&mut self) {
        self.open = None;
    }

    /// Reads the next piece, and notes what is to be put back into it and into those before.
    pub(super) fn read(&mut self, known: &Known, part: &Part<'_>, edits: &mut Vec<Edit>) {
        let text = part.raw.get(part.span.clone()).unwrap_or_default();
        let Some(mut at) = self.read_open(known, part, edits) else { return };
        loop {
            let span = |from: usize, to: usize| part.span.start + from..part.span.start + to;
            match known.next(text, at) {
                Next::Mask { start, end, value } => {
                    self.place.pass(text, at..start);
                    let with = self.place.written(value);
                    edits.push(Edit { number: part.number, span: span(start, end), with });
                    self.place.pass(text, start..end);
                    at = end;
                }
                Next::Tail(start) => {
                    self.place.pass(text, at..start);
                    let depth = self.place.depth();
                    self.place.pass(text, start..text.len());
                    let pieces = vec![(part.number, span(start, text.len()))];
                    let seen = text.get(start..).unwrap_or_default().to_vec();
                    self.open = Some(Open { seen, depth, pieces });
                    return;
                }
                Next::Nothing => return self.place.pass(text, at..text.len()),
            }
        }
    }

    /// Reads on in what may become a mask, and says where the text goes on behind it; `None` if it
    /// is still open.
    fn read_open(
        &mut self,
        known: &Known,
        part: &Part<'_>,
        edits: &mut Vec<Edit>,
    ) -> Option<usize> {
        let text = part.raw.get(part.span.clone()).unwrap_or_default();
        let Some(mut open) = self.open.take() else { return Some(0) };
        let used = match open.extend(known, text) {
            Extended::Not => return Some(0),
            Extended::Still => text.len(),
            Extended::Whole(used) => used,
        };
        self.place.pass(text, 0..used);
        open.pieces.push((part.number, part.span.start..part.span.start + used));
        let Some(value) = known.value(&open.seen) else {
            self.open = Some(open);
            return None;
        };
        edits.extend(open.put_back(value));
        Some(used)
    }
}

impl Open {
    fn extend(&mut self, known: &Known, text: &[u8]) -> Extended {
        let end = memchr(b']', text).map(|last| last + 1);
        let near = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        if self.seen.len() + near.len() > shape::LONGEST {
            return Extended::Not;
        }
        self.seen.extend_from_slice(near);
        match end {
            Some(end) if known.value(&self.seen).is_some() => Extended::Whole(end),
            None if known.may_become(&self.seen) => Extended::Still,
            Some(_) | None => Extended::Not,
        }
    }

    /// The value takes the first piece's place, and nothing that of the others.
    fn put_back(self, value: &[u8]) -> impl Iterator<Item = Edit> {
        let mut with = Some(written(value, self.depth));
        self.pieces.into_iter().map(move |(number, span)| Edit {
            number,
            span,
            with: with.take().unwrap_or_default(),
        })
    }
}

fn written(value: &[u8], depth: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    escape(value, depth, &mut out);
    out
}
