//! A segment while it is made: a frame for each exchange, and its records beside it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::civil::Date;

use crate::Error;
use crate::frame::{Body, ExchangeLine, Half, ItemLine, Needs, Part, PartBytes, Side};
use crate::gather::Whole;
use crate::items::items;
use crate::known::{Fresh, Id, Known, Lies};
use crate::record::Record;
use crate::segment::day_of;

/// A longer text is named as an item, so that the line of its exchange stays short enough for
/// whatever reads it: Athena takes 32 MB a column.
const LONG: usize = 1 << 20;
/// So are all behind so many bytes of texts.
const MOST: usize = 8 << 20;
/// A longer item is cut: escaped it may be six times as long.
const PIECE: usize = 4 << 20;
/// Memory that is kept from one frame to the next.
const KEPT: usize = 4 << 20;

/// What makes frames; keeps zstd's tables between them.
pub(super) struct Press {
    frames: zstd::bulk::Compressor<'static>,
    lines: Vec<u8>,
}

impl Press {
    pub(super) fn new() -> Result<Self, Error> {
        let preparing = "preparing compression";
        let mut frames =
            zstd::bulk::Compressor::new(super::LEVEL).map_err(Error::disk(preparing))?;
        frames.include_checksum(true).map_err(Error::disk(preparing))?;
        Ok(Self { frames, lines: Vec::new() })
    }
}

/// A segment.
pub(super) struct Segment<'a> {
    name: Arc<str>,
    known: &'a Known,
    press: &'a mut Press,
    /// The frames, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// The records, as lines, by the day on which they began.
    pub(super) records: BTreeMap<Date, Vec<u8>>,
    /// What it is the first to hold.
    pub(super) fresh: Fresh,
    /// The hash of the last exchange's line.
    link: Option<String>,
}

impl<'a> Segment<'a> {
    pub(super) fn new(name: &str, known: &'a Known, press: &'a mut Press) -> Self {
        let (bytes, records, fresh) = (Vec::new(), BTreeMap::new(), Fresh::default());
        Self { name: name.into(), known, press, bytes, records, fresh, link: None }
    }

    /// Adds an exchange.
    pub(super) fn add(&mut self, whole: Whole<'_>) -> Result<(), Error> {
        let Whole { record, response, pieces } = whole;
        let session = conversation(&record).to_owned();
        // Never shared between keys, whatever they call their conversations.
        let scope = format!("{} {session}", record.key_id);
        let (asked, answered) = (pieces.body(Side::Request), pieces.body(Side::Response));
        self.press.lines.clear();
        let mut frame = Frame::new(self, &scope, &session, &record.user);
        let request = Half { head: pieces.request, body: frame.body(&asked)? };
        let is_answered = response.is_some() || !answered.is_empty();
        let body = frame.body(&answered)?;
        let response = is_answered.then_some(Half { head: response, body });
        let (own, needs) = frame.end();
        let line = ExchangeLine {
            link: self.link.as_deref(),
            record: &record,
            session: &session,
            request,
            response,
            needs,
        };
        let begin = self.press.lines.len();
        write_line(&mut self.press.lines, &line)?;
        let line = self.press.lines.get(begin..).and_then(|line| line.split_last());
        let link = line.map(|(_, line)| blake3::hash(line).to_hex().to_string());
        self.link = link;
        let lies = self.press()?;
        self.index(&record, &lies)?;
        self.fresh.add(&scope, lies, own);
        Ok(())
    }

    /// Makes a frame of the lines.
    fn press(&mut self) -> Result<Lies, Error> {
        let offset = self.bytes.len() as u64;
        let frame = self.press.frames.compress(&self.press.lines);
        self.bytes.extend(frame.map_err(Error::disk("compressing a frame"))?);
        // A rare giant body must not be kept in memory for ever.
        self.press.lines.shrink_to(KEPT);
        let length = self.bytes.len() as u64 - offset;
        Ok(Lies { segment: self.name.clone(), offset, length })
    }

    /// Adds a record as it stands in `records/`: its own JSON, and where its frame lies in the
    /// segment of the same name.
    fn index(&mut self, record: &Record, lies: &Lies) -> Result<(), Error> {
        let lines = self.records.entry(day_of(record.time)).or_default();
        write_line(lines, record)?;
        lines.truncate(lines.len() - b"}\n".len());
        lines.extend(format!(",\"frame\":[{},{}]}}\n", lies.offset, lies.length).bytes());
        Ok(())
    }
}

/// The conversation that a record belongs to.
fn conversation(record: &Record) -> &str {
    let named = record.thread_id.as_deref().or(record.session_id.as_deref());
    named.unwrap_or(&record.key_id)
}

fn write_line(lines: &mut Vec<u8>, line: &impl serde::Serialize) -> Result<(), Error> {
    let failed = |error: serde_json::Error| Error::disk("writing a line")(error.into());
    serde_json::to_writer(&mut *lines, line).map_err(failed)?;
    lines.push(b'\n');
    Ok(())
}

/// A frame while its items are drawn out of bodies.
struct Frame<'a> {
    lines: &'a mut Vec<u8>,
    known: &'a Known,
    fresh: &'a Fresh,
    scope: &'a str,
    session: &'a str,
    user: &'a str,
    /// Items that it is the first to hold.
    own: HashSet<Id>,
    needs: BTreeMap<Arc<str>, BTreeSet<(u64, u64)>>,
    /// Bytes of texts so far.
    texts: usize,
}

impl<'a> Frame<'a> {
    fn new(segment: &'a mut Segment<'_>, scope: &'a str, session: &'a str, user: &'a str) -> Self {
        Self {
            lines: &mut segment.press.lines,
            known: segment.known,
            fresh: &segment.fresh,
            scope,
            session,
            user,
            own: HashSet::new(),
            needs: BTreeMap::new(),
            texts: 0,
        }
    }

    /// Draws the items out of a body.
    fn body<'b>(&mut self, bytes: &'b [u8]) -> Result<Body<'b>, Error> {
        let ranges = std::str::from_utf8(bytes).map(items).unwrap_or_default();
        let mut parts = Vec::with_capacity(2 * ranges.len() + 1);
        let mut at = 0;
        for range in ranges {
            self.text(bytes.get(at..range.start).unwrap_or_default(), &mut parts)?;
            at = range.end;
            parts.push(self.item(bytes.get(range).unwrap_or_default())?);
        }
        self.text(bytes.get(at..).unwrap_or_default(), &mut parts)?;
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Ok(Body { bytes: bytes.len() as u64, blake3, parts })
    }

    /// Adds what stands between items.
    fn text<'b>(&mut self, mut bytes: &'b [u8], parts: &mut Vec<Part<'b>>) -> Result<(), Error> {
        self.texts += bytes.len();
        if bytes.len() <= LONG && self.texts <= MOST {
            parts.extend((!bytes.is_empty()).then(|| Part::of(bytes)));
            return Ok(());
        }
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut_point(bytes));
            parts.push(self.item(piece)?);
            bytes = rest;
        }
        Ok(())
    }

    /// Names an item, and writes its line where this is the first frame to hold it.
    fn item(&mut self, bytes: &[u8]) -> Result<Part<'static>, Error> {
        let hash = blake3::hash(bytes);
        let (id, name) = (*hash.as_bytes(), hash.to_hex());
        if self.own.contains(&id) {
            return Ok(Part::Item(name.to_string()));
        }
        let lies = self.fresh.find(self.scope, &id).or_else(|| self.known.find(self.scope, &id));
        if let Some(Lies { segment, offset, length }) = lies {
            self.needs.entry(segment.clone()).or_default().insert((*offset, *length));
        } else {
            let (session, user, bytes) = (self.session, self.user, PartBytes::of(bytes));
            write_line(self.lines, &ItemLine { id: &name, session, user, bytes })?;
            self.own.insert(id);
        }
        Ok(Part::Item(name.to_string()))
    }

    fn end(self) -> (HashSet<Id>, Vec<Needs>) {
        let needs = self.needs.into_iter().map(|(segment, frames)| Needs {
            segment: segment.to_string(),
            frames: frames.into_iter().collect(),
        });
        (self.own, needs.collect())
    }
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
