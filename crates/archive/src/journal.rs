//! A journal: what exchanges leave in the spool, appended as it is, and made into a segment later.
//!
//! An exchange waits for these appends, so they are cheap: an entry is a header, a note in
//! `MessagePack`, and the bytes of a body untouched. Escaping and compressing are left to the publisher.
//!
//! The header, its numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `cpj1` |
//! | 4 | length of the note |
//! | 4 | length of the body |
//! | 4 | CRC-32 of the two lengths, the note and the body |

use std::io::{Error, ErrorKind, IoSlice, Result};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::frame::{Closing, Opening, RequestHead, ResponseHead, Side};
use crate::record::Record;

const MAGIC: [u8; 4] = *b"cpj1";
const HEADER: usize = 16;
/// Most notes fit into this.
const USUAL_NOTE: usize = 2 << 10;
/// A longer body is cut into several entries: far below what four bytes can say.
const MOST: usize = 1 << 30;

/// What is noted; the body goes beside it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entry<'a> {
    /// An exchange begins. Its body is the request's.
    Open {
        /// The record as it would stand were this the end: failed, by the proxy.
        record: &'a Record,
        /// What was asked.
        request: &'a RequestHead,
    },
    /// A piece of a body; those of one exchange and side in order.
    Body {
        /// The exchange.
        id: &'a str,
        /// Which of its bodies.
        side: Side,
    },
    /// It has ended. Its body is the rest of the answer's.
    Close {
        /// The record.
        record: &'a Record,
        /// What was answered; absent where nothing was.
        response: Option<&'a ResponseHead>,
    },
}

/// An entry as it is read back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Noted {
    Open(Box<Opening>),
    Body { id: String, side: Side },
    Close(Box<Closing>),
}

/// Entries that are appended together, ready to be written.
#[derive(Debug, Default)]
pub struct Draft {
    parts: Vec<Part>,
    length: usize,
}

/// Bytes of a draft.
#[derive(Debug)]
enum Part {
    /// An entry's header and note.
    Head(Vec<u8>),
    /// Its body.
    Body(Bytes),
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Head(bytes) => bytes,
            Self::Body(bytes) => bytes,
        }
    }
}

impl Draft {
    /// Adds an entry with its body, which is not copied.
    pub fn push(&mut self, entry: &Entry<'_>, mut body: Bytes) {
        let rest = body.split_off(body.len().min(MOST));
        self.add(entry, body);
        let (id, side) = match entry {
            Entry::Open { record, .. } => (record.id.as_str(), Side::Request),
            Entry::Body { id, side } => (*id, *side),
            Entry::Close { record, .. } => (record.id.as_str(), Side::Response),
        };
        for piece in rest.chunks(MOST) {
            self.add(&Entry::Body { id, side }, rest.slice_ref(piece));
        }
    }

    /// The end of an exchange that could not be written as it was.
    pub fn failed(mut record: Record) -> Self {
        record.fail();
        let mut draft = Self::default();
        draft.push(&Entry::Close { record: &record, response: None }, Bytes::new());
        draft
    }

    fn add(&mut self, entry: &Entry<'_>, body: Bytes) {
        let mut head = Vec::with_capacity(USUAL_NOTE);
        head.extend_from_slice(&[0; HEADER]);
        // With names, so that another version of this program can read it. Cannot fail: memory takes
        // all.
        let _ = rmp_serde::encode::write_named(&mut head, entry);
        let lengths = [head.len() - HEADER, body.len()].map(in_four_bytes);
        let sum = sum(lengths, head.get(HEADER..).unwrap_or_default(), &body);
        let header = [MAGIC, lengths[0].to_le_bytes(), lengths[1].to_le_bytes(), sum.to_le_bytes()];
        for (place, byte) in head.iter_mut().zip(header.as_flattened()) {
            *place = *byte;
        }
        self.length += head.len() + body.len();
        self.parts.push(Part::Head(head));
        if !body.is_empty() {
            self.parts.push(Part::Body(body));
        }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.length as u64
    }

    /// The bytes in one.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.parts.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>().concat()
    }

    /// The bytes, for one write.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.parts.iter().map(|part| IoSlice::new(part.as_ref())).collect()
    }
}

/// Of drafts that were not written, the closings that must be written all the same: those whose
/// opening is not among what was not written. The client will not see such an end, so that it is one
/// that failed.
pub(crate) fn ends_to_write<'a>(drafts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Draft> {
    let mut ends: Vec<Draft> = Vec::new();
    for draft in drafts {
        let mut opened = false;
        for entry in split(draft) {
            match entry.noted() {
                Ok(Noted::Open(_)) => opened = true,
                Ok(Noted::Close(closing)) if !opened => ends.push(Draft::failed(closing.record)),
                Ok(Noted::Close(_) | Noted::Body { .. }) | Err(_) => {}
            }
        }
    }
    ends
}

/// Bodies are cut to fit; a note that does not is cut off by its checksum.
fn in_four_bytes(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn sum(lengths: [u32; 2], head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(lengths.map(u32::to_le_bytes).as_flattened());
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// A whole entry in a journal.
pub(crate) struct Framed<'a> {
    /// Where it begins.
    pub(crate) offset: u64,
    /// The note.
    head: &'a [u8],
    /// The body.
    pub(crate) body: &'a [u8],
    sum: u32,
}

impl<'a> Framed<'a> {
    /// The first entry of these bytes, and what follows it; none where it is not whole.
    fn first(bytes: &'a [u8], offset: u64) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [magic, head, body, sum] = *header.as_chunks::<4>().0 else { return None };
        if magic != MAGIC {
            return None;
        }
        let [head, body, sum] = [head, body, sum].map(u32::from_le_bytes);
        let (head, rest) = rest.split_at_checked(head as usize)?;
        let (body, rest) = rest.split_at_checked(body as usize)?;
        Some((Self { offset, head, body, sum }, rest))
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        (HEADER + self.head.len() + self.body.len()) as u64
    }

    /// What it notes; fails where its checksum does not agree.
    pub(crate) fn noted(&self) -> Result<Noted> {
        let lengths = [self.head.len(), self.body.len()].map(in_four_bytes);
        if sum(lengths, self.head, self.body) != self.sum {
            return Err(Error::new(ErrorKind::InvalidData, "its checksum does not agree"));
        }
        rmp_serde::from_slice(self.head).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }
}

/// Splits a journal into its whole entries; what follows the last whole one is left out.
pub(crate) fn split(journal: &[u8]) -> Vec<Framed<'_>> {
    let (mut entries, mut rest, mut offset) = (Vec::new(), journal, 0);
    while let Some((entry, behind)) = Framed::first(rest, offset) {
        offset += entry.length();
        rest = behind;
        entries.push(entry);
    }
    entries
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Draft, Entry, Noted, split};
    use crate::frame::Side;

    fn journal(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut draft = Draft::default();
        for body in bodies {
            draft.push(&Entry::Body { id: "x", side: Side::Request }, Bytes::copy_from_slice(body));
        }
        let bytes: Vec<u8> = draft.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(bytes.len() as u64, draft.length());
        bytes
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let good = journal(&[b"some text".to_vec()]);
        // Behind the magic and the lengths, of which every change moves or cuts the entry.
        for at in 12..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(split(&bytes)[0].noted().is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn what_was_appended_is_read_back_and_a_torn_end_is_left_out(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = journal(&bodies);
            let all = split(&bytes);
            prop_assert_eq!(all.iter().map(|one| one.body.to_vec()).collect::<Vec<_>>(), bodies);
            for one in &all {
                let expected = Noted::Body { id: "x".to_owned(), side: Side::Request };
                prop_assert_eq!(one.noted().unwrap(), expected);
            }
            let cut = cut.index(bytes.len());
            let whole = all.iter().filter(|one| one.offset + one.length() <= cut as u64).count();
            prop_assert_eq!(split(&bytes[..cut]).len(), whole);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let journal = [b"cpj1", bytes.as_slice()].concat();
            for entry in split(&journal) {
                let _ = entry.noted();
            }
        }
    }
}
