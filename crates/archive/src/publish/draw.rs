//! Draws the items out of bodies, and writes the lines of those that are new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use blake3::Hash;

use crate::Error;
use crate::frame::{Body, Content, ItemLine, Needs, Part, Side};
use crate::items::{Cut, SHORTEST, cuts, groups, texts};
use crate::known::{Fresh, Id, Known, Others};

/// A longer text is named as an item, so that the line of its exchange stays short enough for
/// whatever reads it: Athena takes 32 MB a column.
const LONG: usize = 1 << 20;
/// So are all behind so many bytes of texts.
const MOST: usize = 8 << 20;
/// A longer item is cut: escaped it may be six times as long.
const PIECE: usize = 4 << 20;

/// Whose items they are.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    /// The conversation, of this key alone.
    pub(super) scope: &'a str,
    /// The conversation.
    pub(super) session: &'a str,
    /// The person.
    pub(super) user: &'a str,
}

/// A frame while its items are drawn out of bodies.
pub(super) struct Draw<'a> {
    owner: Owner<'a>,
    known: &'a Known,
    fresh: &'a Fresh,
    lines: &'a mut Vec<u8>,
    /// Items that it is the first to hold, and where lies what they are made of.
    own: HashMap<Id, Others>,
    /// Frames that hold its other items.
    needs: Others,
    /// Bytes of texts so far.
    texts: usize,
}

/// A place where bytes are cut.
struct Piece<'r> {
    range: Range<usize>,
    kind: Kind<'r>,
}

/// What may be known of a piece, besides itself.
#[derive(Clone, Copy)]
enum Kind<'r> {
    /// Nothing.
    Plain,
    /// Texts in it.
    Element,
    /// These elements.
    Group(&'r [Range<usize>]),
}

/// An item that was found or made.
struct Drawn {
    part: Part<'static>,
    /// Frames that hold it, but this one.
    others: Others,
}

impl<'a> Draw<'a> {
    pub(super) fn new(
        owner: Owner<'a>,
        (known, fresh): (&'a Known, &'a Fresh),
        lines: &'a mut Vec<u8>,
    ) -> Self {
        let (own, needs) = (HashMap::new(), BTreeSet::new());
        Self { owner, known, fresh, lines, own, needs, texts: 0 }
    }

    /// Draws the items out of a body.
    pub(super) fn body<'b>(&mut self, side: Side, bytes: &'b [u8]) -> Result<Body<'b>, Error> {
        let cuts = std::str::from_utf8(bytes).map(|text| cuts(side, text)).unwrap_or_default();
        let mut pieces = Vec::with_capacity(cuts.len());
        for cut in &cuts {
            match cut {
                Cut::Item(range) => pieces.push(Piece { range: range.clone(), kind: Kind::Plain }),
                Cut::Run(run) => {
                    pieces.extend(groups(bytes, run).into_iter().filter_map(Piece::of));
                }
            }
        }
        let (parts, others) = self.parts(bytes, &pieces)?;
        self.needs.extend(others);
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Ok(Body { bytes: bytes.len() as u64, blake3, masked: false, parts })
    }

    /// What has come together: the items that are new, and the frames that hold the others.
    pub(super) fn end(self) -> (HashMap<Id, Others>, Vec<Needs>) {
        let mut needs: BTreeMap<Arc<str>, Vec<(u64, u64)>> = BTreeMap::new();
        for frame in self.needs {
            needs.entry(frame.segment.clone()).or_default().push((frame.offset, frame.length));
        }
        let needs = needs.into_iter();
        let needs = needs.map(|(segment, frames)| Needs { segment: segment.to_string(), frames });
        (self.own, needs.collect())
    }

    /// Cuts bytes into parts.
    fn parts<'b>(
        &mut self,
        bytes: &'b [u8],
        pieces: &[Piece<'_>],
    ) -> Result<(Vec<Part<'b>>, Others), Error> {
        let (mut parts, mut others) = (Vec::with_capacity(2 * pieces.len() + 1), Others::new());
        let mut at = 0;
        for Piece { range, kind } in pieces {
            self.text(bytes.get(at..range.start).unwrap_or_default(), &mut parts, &mut others)?;
            at = range.end;
            let piece = bytes.get(range.clone()).unwrap_or_default();
            let drawn = match kind {
                Kind::Plain => self.plain(piece)?,
                Kind::Element => self.element(piece)?,
                Kind::Group(elements) => self.group(range.start, piece, elements)?,
            };
            parts.push(drawn.part);
            others.extend(drawn.others);
        }
        self.text(bytes.get(at..).unwrap_or_default(), &mut parts, &mut others)?;
        Ok((parts, others))
    }

    /// Adds what stands between items.
    fn text<'b>(
        &mut self,
        mut bytes: &'b [u8],
        parts: &mut Vec<Part<'b>>,
        others: &mut Others,
    ) -> Result<(), Error> {
        self.texts += bytes.len();
        if bytes.len() <= LONG && self.texts <= MOST {
            parts.extend((!bytes.is_empty()).then(|| Part::of(bytes)));
            return Ok(());
        }
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut_point(bytes));
            let drawn = self.plain(piece)?;
            parts.push(drawn.part);
            others.extend(drawn.others);
            bytes = rest;
        }
        Ok(())
    }

    /// The elements of a group are looked at only where it is new.
    fn group(
        &mut self,
        start: usize,
        bytes: &[u8],
        elements: &[Range<usize>],
    ) -> Result<Drawn, Error> {
        let hash = blake3::hash(bytes);
        if let Some(others) = self.find(hash.as_bytes()) {
            return Ok(Drawn::of(hash, others));
        }
        let inside = |range: &Range<usize>| range.start - start..range.end - start;
        let elements: Vec<_> = elements.iter().map(inside).collect();
        let pieces: Vec<_> = elements.chunks(1).filter_map(Piece::of).collect();
        self.add(hash, bytes, &pieces)
    }

    /// An element is new as it comes back with the model's words; the words are known.
    fn element(&mut self, bytes: &[u8]) -> Result<Drawn, Error> {
        let hash = blake3::hash(bytes);
        if let Some(others) = self.find(hash.as_bytes()) {
            return Ok(Drawn::of(hash, others));
        }
        let mut pieces = Vec::new();
        for range in texts(bytes) {
            let text = blake3::hash(bytes.get(range.clone()).unwrap_or_default());
            if self.find(text.as_bytes()).is_some() {
                pieces.push(Piece { range, kind: Kind::Plain });
            }
        }
        self.add(hash, bytes, &pieces)
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<Drawn, Error> {
        let hash = blake3::hash(bytes);
        match self.find(hash.as_bytes()) {
            Some(others) => Ok(Drawn::of(hash, others)),
            None => self.add(hash, bytes, &[]),
        }
    }

    /// Writes the line of an item that no frame holds before this one; made of these pieces where
    /// there are any.
    fn add(&mut self, hash: Hash, bytes: &[u8], pieces: &[Piece<'_>]) -> Result<Drawn, Error> {
        let (content, others) = if pieces.is_empty() && bytes.len() <= PIECE {
            (Content::of(bytes), Others::new())
        } else {
            let (parts, others) = self.parts(bytes, pieces)?;
            (Content::Parts(parts), others)
        };
        let Owner { session, user, .. } = self.owner;
        let (id, masked) = (&*hash.to_hex(), false);
        write_line(self.lines, &ItemLine { id, session, user, masked, content })?;
        self.own.insert(*hash.as_bytes(), others.clone());
        Ok(Drawn::of(hash, others))
    }

    /// The frames that hold an item, but this one; none where it is new.
    fn find(&self, id: &Id) -> Option<Others> {
        if let Some(others) = self.own.get(id) {
            return Some(others.clone());
        }
        let scope = self.owner.scope;
        let lies = self.fresh.find(scope, id).or_else(|| self.known.find(scope, id))?;
        Some(lies.iter().cloned().collect())
    }
}

impl Drawn {
    fn of(hash: Hash, others: Others) -> Self {
        Self { part: Part::Item(hash.to_hex().to_string()), others }
    }
}

impl<'r> Piece<'r> {
    /// A group of elements; none where it is too short to be named.
    fn of(group: &'r [Range<usize>]) -> Option<Self> {
        let (first, last) = (group.first()?, group.last()?);
        let range = first.start..last.end;
        let kind = if group.len() == 1 { Kind::Element } else { Kind::Group(group) };
        (range.len() >= SHORTEST).then_some(Self { range, kind })
    }
}

/// Appends a line.
pub(super) fn write_line(lines: &mut Vec<u8>, line: &impl serde::Serialize) -> Result<(), Error> {
    let failed = |error: serde_json::Error| Error::disk("writing a line")(error.into());
    serde_json::to_writer(&mut *lines, line).map_err(failed)?;
    lines.push(b'\n');
    Ok(())
}

/// Where to cut off the first piece: after [`PIECE`], or up to three bytes before, so that no
/// character is cut in two.
fn cut_point(bytes: &[u8]) -> usize {
    if bytes.len() <= PIECE {
        return bytes.len();
    }
    let starts_character = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    (PIECE - 3..=PIECE).rev().find(starts_character).unwrap_or(PIECE)
}
