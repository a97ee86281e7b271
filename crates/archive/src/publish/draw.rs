//! Draws the items out of bodies, and writes the lines of those that are new.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use blake3::Hash;

use crate::Error;
use crate::frame::{Body, Content, ItemLine, Needs, Part, Side};
use crate::items::{Cut, SHORTEST, cuts, cuts_behind, groups, texts};
use crate::known::{Beginning, Begins, Begun, Fresh, Id, Known, New, Others, Own, name};

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
    /// The segment that they lie in.
    pub(super) segment: &'a str,
}

/// A frame while its items are drawn out of bodies.
pub(super) struct Draw<'a> {
    owner: Owner<'a>,
    known: &'a Known,
    fresh: &'a Fresh,
    lines: &'a mut Vec<u8>,
    /// How many items its segment has.
    items: &'a mut u32,
    /// Items that it is the first to hold.
    own: Own,
    /// How its request begins, if that is new.
    begins: Begins,
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

/// Bytes while they are cut into parts.
struct Drawing<'b> {
    bytes: &'b [u8],
    /// Up to where they are.
    at: usize,
    parts: Vec<Part<'b>>,
    /// The frames that hold the items among them, but this one.
    others: Others,
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
        (lines, items): (&'a mut Vec<u8>, &'a mut u32),
    ) -> Self {
        let (own, begins, needs) = (Own::new(), None, Others::new());
        Self { owner, known, fresh, lines, items, own, begins, needs, texts: 0 }
    }

    /// Draws the items out of a body.
    pub(super) fn body<'b>(&mut self, side: Side, bytes: &'b [u8]) -> Result<Body<'b>, Error> {
        let mut hasher = blake3::Hasher::new();
        let begun = match side {
            Side::Request => self.begun(bytes, &mut hasher),
            Side::Response => None,
        };
        let known = begun.as_ref().map_or(0, |begun| begun.length);
        let cuts = if known > 0 { cuts_behind(bytes, known) } else { cuts(side, bytes) };
        let pieces = pieces(bytes, &cuts);
        let mut drawing = self.go_on(bytes, begun.as_deref());

        let is_group = |piece: &Piece<'_>| matches!(piece.kind, Kind::Group(_));
        let groups = pieces.iter().rposition(is_group).filter(|_| side == Side::Request);
        let (first, rest) = pieces.split_at(groups.map_or(0, |last| last + 1));
        self.pieces(&mut drawing, first)?;
        hasher.update(bytes.get(known..drawing.at).unwrap_or_default());
        if !first.is_empty() {
            self.begins = Some((self.beginning(&drawing, &hasher), !self.own.is_empty()));
        }
        hasher.update(bytes.get(drawing.at..).unwrap_or_default());
        self.pieces(&mut drawing, rest)?;
        self.rest(&mut drawing)?;
        self.needs.extend(drawing.others);
        let blake3 = hasher.finalize().to_hex().to_string();
        Ok(Body { bytes: bytes.len() as u64, blake3, masked: false, parts: drawing.parts })
    }

    /// How this request begins, if as the last one of its conversation did; that is hashed then.
    fn begun(&self, bytes: &[u8], hasher: &mut blake3::Hasher) -> Begun {
        let scope = self.owner.scope;
        let begun = self.fresh.beginning(scope).or_else(|| self.known.beginning(scope))?;
        hasher.update(bytes.get(..begun.length)?);
        if hasher.finalize() != begun.digest {
            hasher.reset();
            return None;
        }
        Some(begun)
    }

    /// A body of which so much has been drawn.
    fn go_on<'b>(&mut self, bytes: &'b [u8], begun: Option<&Beginning>) -> Drawing<'b> {
        let mut drawing = Drawing::new(bytes);
        if let Some(Beginning { length, parts, lies, texts, .. }) = begun {
            self.texts += texts;
            drawing.at = *length;
            drawing.parts.clone_from(parts);
            drawing.others.clone_from(lies);
        }
        drawing
    }

    /// What has been drawn of a request, for the next one.
    fn beginning(&self, drawing: &Drawing<'_>, hasher: &blake3::Hasher) -> Beginning {
        Beginning {
            length: drawing.at,
            digest: hasher.finalize(),
            parts: drawing.parts.iter().map(Part::to_static).collect(),
            lies: drawing.others.clone(),
            texts: self.texts,
        }
    }

    /// What has come together: what is new, and the frames that hold the rest.
    pub(super) fn end(self) -> ((Own, Begins), Vec<Needs>) {
        let mut needs: BTreeMap<Arc<str>, Vec<(u64, u64)>> = BTreeMap::new();
        for frame in self.needs {
            needs.entry(frame.segment.clone()).or_default().push((frame.offset, frame.length));
        }
        let needs = needs.into_iter();
        let needs = needs.map(|(segment, frames)| Needs { segment: segment.to_string(), frames });
        ((self.own, self.begins), needs.collect())
    }

    /// Draws these pieces, and what stands between them.
    fn pieces(&mut self, drawing: &mut Drawing<'_>, pieces: &[Piece<'_>]) -> Result<(), Error> {
        let bytes = drawing.bytes;
        for Piece { range, kind } in pieces {
            self.text(bytes.get(drawing.at..range.start).unwrap_or_default(), drawing)?;
            drawing.at = range.end;
            let piece = bytes.get(range.clone()).unwrap_or_default();
            let drawn = match kind {
                Kind::Plain => self.plain(piece)?,
                Kind::Element => self.element(piece)?,
                Kind::Group(elements) => self.group(range.start, piece, elements)?,
            };
            drawing.add(drawn);
        }
        Ok(())
    }

    /// Draws what is left.
    fn rest(&mut self, drawing: &mut Drawing<'_>) -> Result<(), Error> {
        self.text(drawing.bytes.get(drawing.at..).unwrap_or_default(), drawing)
    }

    /// Adds what stands between items.
    fn text<'b>(&mut self, mut bytes: &'b [u8], drawing: &mut Drawing<'b>) -> Result<(), Error> {
        self.texts += bytes.len();
        if bytes.len() <= LONG && self.texts <= MOST {
            drawing.parts.extend((!bytes.is_empty()).then(|| Part::of(bytes)));
            return Ok(());
        }
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut_point(bytes));
            drawing.add(self.plain(piece)?);
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
        if let Some(drawn) = self.find(hash.as_bytes()) {
            return Ok(drawn);
        }
        let inside = |range: &Range<usize>| range.start - start..range.end - start;
        let elements: Vec<_> = elements.iter().map(inside).collect();
        let pieces: Vec<_> = elements.chunks(1).filter_map(Piece::of).collect();
        self.add(hash, bytes, &pieces)
    }

    /// An element is new as it comes back with the model's words; the words are known.
    fn element(&mut self, bytes: &[u8]) -> Result<Drawn, Error> {
        let hash = blake3::hash(bytes);
        if let Some(drawn) = self.find(hash.as_bytes()) {
            return Ok(drawn);
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
            Some(drawn) => Ok(drawn),
            None => self.add(hash, bytes, &[]),
        }
    }

    /// Writes the line of an item that no frame holds before this one; made of these pieces where
    /// there are any.
    fn add(&mut self, hash: Hash, bytes: &[u8], pieces: &[Piece<'_>]) -> Result<Drawn, Error> {
        let (content, others) = if pieces.is_empty() && bytes.len() <= PIECE {
            (Content::of(bytes), Others::new())
        } else {
            let mut drawing = Drawing::new(bytes);
            self.pieces(&mut drawing, pieces)?;
            self.rest(&mut drawing)?;
            (Content::Parts(drawing.parts), drawing.others)
        };
        let Owner { session, user, segment, .. } = self.owner;
        let number = *self.items;
        *self.items += 1;
        let name = name(segment, number);
        let (id, masked) = (&*name, false);
        write_line(self.lines, &ItemLine { id, session, user, masked, content })?;
        self.own.insert(*hash.as_bytes(), New { number, others: others.clone() });
        Ok(Drawn { part: Part::Item(name), others })
    }

    /// An item that is not new.
    fn find(&self, id: &Id) -> Option<Drawn> {
        let Owner { scope, segment, .. } = self.owner;
        if let Some(New { number, others }) = self.own.get(id) {
            let part = Part::Item(name(segment, *number));
            return Some(Drawn { part, others: others.clone() });
        }
        let item = self.fresh.find(scope, id).or_else(|| self.known.find(scope, id))?;
        Some(Drawn { part: Part::Item(item.name()), others: item.lies.iter().cloned().collect() })
    }
}

impl<'b> Drawing<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, parts: Vec::new(), others: Others::new() }
    }

    fn add(&mut self, Drawn { part, others }: Drawn) {
        self.parts.push(part);
        self.others.extend(others);
    }
}

/// The items at these cuts.
fn pieces<'c>(bytes: &[u8], cuts: &'c [Cut]) -> Vec<Piece<'c>> {
    let mut pieces = Vec::with_capacity(cuts.len());
    for cut in cuts {
        match cut {
            Cut::Item(range) => pieces.push(Piece { range: range.clone(), kind: Kind::Plain }),
            Cut::Run(run) => pieces.extend(groups(bytes, run).into_iter().filter_map(Piece::of)),
        }
    }
    pieces
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
