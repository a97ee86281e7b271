//! Brings together what each exchange has left in journals.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::frame::{Opening, RequestHead, ResponseHead, Side};
use crate::journal::{Framed, Noted, split};
use crate::publish::others_first;
use crate::record::Record;

/// Others have their turn after so many entries.
const BREATH: usize = 8;

/// What a writer's journals tell, in the order in which they are taken.
#[derive(Default)]
pub(crate) struct Gathered<'a> {
    /// What has ended, in the order of the ends.
    pub(crate) ended: Vec<Whole<'a>>,
    /// What has no end yet, by id.
    pub(crate) open: HashMap<String, Pieces<'a>>,
    /// How many bytes it was brought together from.
    pub(crate) bytes: usize,
    /// How many bytes came after the end of an exchange that is published already.
    pub(crate) late: u64,
}

/// An exchange that has ended.
pub(crate) struct Whole<'a> {
    pub(crate) record: Record,
    pub(crate) response: Option<ResponseHead>,
    pub(crate) pieces: Pieces<'a>,
}

/// What an exchange has left.
#[derive(Default)]
pub(crate) struct Pieces<'a> {
    pub(crate) request: Option<RequestHead>,
    /// Its entries, each as it stands in the journal.
    pub(crate) entries: Vec<&'a [u8]>,
    bodies: Vec<(Side, &'a [u8])>,
}

impl<'a> Gathered<'a> {
    /// Takes the entries of a journal, which come after all that were taken before; `name` is only
    /// told where one cannot be read.
    pub(crate) fn take(&mut self, name: &str, journal: &'a [u8]) {
        self.bytes += journal.len();
        for (number, entry) in split(journal).into_iter().enumerate() {
            if number.is_multiple_of(BREATH) {
                others_first();
            }
            let Some(bytes) = raw(journal, &entry) else { continue };
            match entry.noted() {
                Ok(noted) => self.note(noted, bytes, entry.body),
                Err(error) => tracing::error!(%error, "an entry of journal {name} is lost"),
            }
        }
    }

    fn note(&mut self, noted: Noted, bytes: &'a [u8], body: &'a [u8]) {
        match noted {
            Noted::Open(opening) => {
                let Opening { record, request } = *opening;
                let mut pieces = Pieces { request: Some(request), ..Pieces::default() };
                pieces.add(Side::Request, bytes, body);
                self.open.insert(record.id, pieces);
            }
            Noted::Body { id, side } => self.body(&id, side, bytes, body),
            Noted::Close(closing) => {
                let mut pieces = self.open.remove(&closing.record.id).unwrap_or_default();
                pieces.add(Side::Response, bytes, body);
                let (record, response) = (closing.record, closing.response);
                self.ended.push(Whole { record, response, pieces });
            }
        }
    }

    /// Bytes of an answer may come after its end.
    fn body(&mut self, id: &str, side: Side, bytes: &'a [u8], body: &'a [u8]) {
        let ended = self.ended.iter_mut().rev().find(|whole| whole.record.id == id);
        let ended = ended.map(|whole| &mut whole.pieces);
        match self.open.get_mut(id).or(ended) {
            Some(pieces) => pieces.add(side, bytes, body),
            None => self.late += body.len() as u64,
        }
    }

    /// The entries of what has no end yet, to be carried over. In the order of the ids, which is
    /// that of time.
    pub(crate) fn carried(&self) -> Vec<&'a [u8]> {
        let mut open: Vec<_> = self.open.iter().collect();
        open.sort_by_key(|(id, _)| *id);
        open.iter().flat_map(|(_, pieces)| pieces.entries.iter().copied()).collect()
    }
}

impl<'a> Pieces<'a> {
    fn add(&mut self, side: Side, bytes: &'a [u8], body: &'a [u8]) {
        self.entries.push(bytes);
        if !body.is_empty() {
            self.bodies.push((side, body));
        }
    }

    /// One of the two bodies; copied only where it came in several pieces.
    pub(crate) fn body(&self, side: Side) -> Cow<'a, [u8]> {
        let of_side = || self.bodies.iter().filter(|(is, _)| *is == side).map(|(_, body)| *body);
        let (mut rest, first) = (of_side(), of_side().next().unwrap_or_default());
        if rest.nth(1).is_none() {
            return Cow::Borrowed(first);
        }
        Cow::Owned(of_side().collect::<Vec<_>>().concat())
    }
}

fn raw<'a>(journal: &'a [u8], entry: &Framed<'_>) -> Option<&'a [u8]> {
    let begin = usize::try_from(entry.offset).ok()?;
    let length = usize::try_from(entry.length()).ok()?;
    journal.get(begin..begin + length)
}
