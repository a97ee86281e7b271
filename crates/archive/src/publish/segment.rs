//! A segment while it is made: a frame for each exchange, and its records beside it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use jiff::civil::Date;

use super::draw::{Draw, Owner, write_line};
use super::others_first;
use crate::Error;
use crate::frame::{ExchangeLine, Half, Side};
use crate::gather::Whole;
use crate::known::{Frame, Fresh, Known};
use crate::manifest::Filed;
use crate::record::Record;
use crate::segment::{day_of, in_day, object_path};

/// Others have their turn after so many bytes of records.
const BREATH: usize = 32 << 10;

/// Memory that is kept from one frame to the next.
const KEPT: usize = 4 << 20;

/// What makes frames; keeps zstd's tables between them.
pub(super) struct Press {
    frames: zstd::bulk::Compressor<'static>,
    lines: Vec<u8>,
    /// The last frame. Fresh memory for each would cost more than its bytes.
    frame: Vec<u8>,
}

impl Press {
    pub(super) fn new() -> Result<Self, Error> {
        let preparing = "preparing compression";
        let mut frames =
            zstd::bulk::Compressor::new(super::LEVEL).map_err(Error::disk(preparing))?;
        frames.include_checksum(true).map_err(Error::disk(preparing))?;
        Ok(Self { frames, lines: Vec::new(), frame: Vec::new() })
    }
}

/// Compresses records, with breaks.
fn compress(lines: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), super::RECORDS_LEVEL)?;
    encoder.set_pledged_src_size(Some(lines.len() as u64))?;
    encoder.include_contentsize(true)?;
    for piece in lines.chunks(BREATH) {
        encoder.write_all(piece)?;
        // Else zstd waits for more and then has more to do at once.
        encoder.flush()?;
        others_first();
    }
    encoder.finish()
}

/// What a segment comes to.
pub(super) struct Made {
    /// What is to be put, in this order.
    pub(super) files: Vec<(Filed, Vec<u8>)>,
    /// What it is the first to hold.
    pub(super) fresh: Fresh,
}

/// A segment.
pub(super) struct Segment<'a> {
    name: Arc<str>,
    known: &'a Known,
    press: &'a mut Press,
    /// The frames, one behind the other.
    bytes: Vec<u8>,
    /// The records, as lines, and how many, by the day on which they began.
    records: BTreeMap<Date, (Vec<u8>, u64)>,
    /// What it is the first to hold.
    fresh: Fresh,
    exchanges: u64,
    items: u32,
    /// The hash of the last exchange's line.
    link: Option<String>,
}

impl<'a> Segment<'a> {
    /// A segment that will hardly have more than so many bytes.
    pub(super) fn new(name: &str, known: &'a Known, press: &'a mut Press, bytes: usize) -> Self {
        // Reserved, it is not copied while it grows; what is not used of it is never touched. Where so
        // much is not to be had, it grows.
        let room = bytes;
        let mut bytes = Vec::new();
        let _ = bytes.try_reserve_exact(room);
        let (records, fresh) = (BTreeMap::new(), Fresh::default());
        let (name, exchanges, items, link) = (name.into(), 0, 0, None);
        Self { name, known, press, bytes, records, fresh, exchanges, items, link }
    }

    /// Adds an exchange.
    pub(super) fn add(&mut self, whole: Whole<'_>) -> Result<(), Error> {
        let Whole { record, response, pieces } = whole;
        let session = conversation(&record).to_owned();
        // Never shared between keys, whatever they call their conversations.
        let scope = format!("{} {session}", record.key_id);
        let (asked, answered) = (pieces.body(Side::Request), pieces.body(Side::Response));
        self.press.lines.clear();
        let segment = &*self.name;
        let owner = Owner { scope: &scope, session: &session, user: &record.user, segment };
        let to = (&mut self.press.lines, &mut self.items);
        let mut draw = Draw::new(owner, (self.known, &self.fresh), to);
        let request = Half { head: pieces.request, body: draw.body(Side::Request, &asked)? };
        let is_answered = response.is_some() || !answered.is_empty();
        let body = draw.body(Side::Response, &answered)?;
        let response = is_answered.then_some(Half { head: response, body });
        let (own, needs) = draw.end();
        let line = ExchangeLine {
            link: self.link.as_deref(),
            was: None,
            record: &record,
            session: &session,
            request,
            response,
            needs,
        };
        let begin = self.press.lines.len();
        write_line(&mut self.press.lines, &line)?;
        let written = self.press.lines.get(begin..).and_then(|line| line.split_last());
        self.link = written.map(|(_, line)| blake3::hash(line).to_hex().to_string());
        let frame = Arc::new(self.press()?);
        self.index(&record, &frame)?;
        self.fresh.add(&scope, &frame, own);
        self.exchanges += 1;
        Ok(())
    }

    /// The files to be put, the segment first; none where no exchange has ended.
    pub(super) fn made(self) -> Result<Made, Error> {
        let (name, mut files) = (&*self.name, Vec::new());
        if self.exchanges > 0 {
            let bodies = Filed::of(&object_path(name), &self.bytes, self.exchanges);
            files.push((Filed { link: self.link, ..bodies }, self.bytes));
        }
        for (day, (lines, count)) in self.records {
            let lines = compress(&lines).map_err(Error::disk("compressing records"))?;
            files.push((Filed::of(&in_day("records", day, name), &lines, count), lines));
        }
        Ok(Made { files, fresh: self.fresh })
    }

    /// Makes a frame of the lines.
    fn press(&mut self) -> Result<Frame, Error> {
        let offset = self.bytes.len() as u64;
        let Press { frames, lines, frame } = &mut *self.press;
        frame.clear();
        frame.reserve(zstd::zstd_safe::compress_bound(lines.len()));
        let made = frames.compress_to_buffer(lines.as_slice(), frame);
        made.map_err(Error::disk("compressing a frame"))?;
        self.bytes.extend_from_slice(frame);
        // A rare giant body must not be kept in memory for ever.
        lines.shrink_to(KEPT);
        frame.clear();
        frame.shrink_to(KEPT);
        let length = self.bytes.len() as u64 - offset;
        Ok(Frame { segment: self.name.clone(), offset, length })
    }

    /// Adds a record as it stands in `records/`.
    fn index(&mut self, record: &Record, frame: &Frame) -> Result<(), Error> {
        let (lines, count) = self.records.entry(day_of(record.time)).or_default();
        *count += 1;
        let line = record.line((frame.offset, frame.length));
        lines.extend(line.map_err(|error| Error::disk("writing a line")(error.into()))?);
        Ok(())
    }
}

/// The conversation that a record belongs to.
fn conversation(record: &Record) -> &str {
    let named = record.thread_id.as_deref().or(record.session_id.as_deref());
    named.unwrap_or(&record.key_id)
}
