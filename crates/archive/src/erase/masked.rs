//! Segments in which texts are masked. Every frame keeps its place, and what is not masked its bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, Read, Result};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::rewrite::{Index, SKIPPABLE, padded};
use crate::frame::{
    Body, Content, ExchangeLine, ItemLine, Part, StoredExchange, StoredItem, is_erased, item_id,
    split_frame,
};
use crate::hold::Holds;
use crate::publish::{LEVEL, RECORDS_LEVEL};
use crate::record::{Finding, Record};
use crate::survey::Text;

/// How hard it is tried to make a frame no longer than the one in whose place it goes.
const LEVELS: [i32; 6] = [LEVEL, 7, 12, 16, 19, 22];

/// What stands in a record in place of an action: it passed, and was masked in what is stored.
pub const STORED: &str = "stored";

/// How long a mask may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As long as it is.
    Enough,
    /// As short as can be: in the usual length they do not fit.
    Short,
    /// The same; and the headers of the exchange go, to make room.
    Least,
}

/// A text with masks in it.
#[derive(Debug, Default)]
pub struct Masked {
    /// The text.
    pub bytes: Vec<u8>,
    /// What was masked, for the record.
    pub findings: Vec<Finding>,
}

/// Masks a text; none where there is nothing to mask.
pub type Mask<'a> = &'a mut (dyn FnMut(Text<'_>, Room) -> Option<Masked> + Send);

/// A segment anew.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// What was masked, by where the frame of its exchange begins.
    pub(super) found: BTreeMap<u64, Vec<Finding>>,
    /// Exchanges that have something to mask and must stay as they are.
    pub(super) held: u64,
}

/// Of an item's line, whose it is.
#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    session: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
}

/// Of an exchange's line, what links it.
#[derive(Deserialize)]
struct Linked {
    link: Option<String>,
    was: Option<String>,
    session: String,
}

/// A segment in which texts are masked.
pub(super) fn segment(bytes: &[u8], holds: &Holds, mask: Mask<'_>) -> Result<Rewritten> {
    let mut made = Rewritten { bytes: Vec::with_capacity(bytes.len()), ..Rewritten::default() };
    let (mut rest, mut lines) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (frame, slot, behind) = split_slot(rest)?;
        lines.clear();
        zstd::Decoder::with_buffer(frame)?.single_frame().read_to_end(&mut lines)?;
        let offset = made.bytes.len() as u64;
        match anew(&lines, slot.len(), holds, mask)? {
            Anew::Same => made.bytes.extend_from_slice(slot),
            Anew::Held => {
                made.held += 1;
                made.bytes.extend_from_slice(slot);
            }
            Anew::Masked(bytes, findings) => {
                made.bytes.extend(bytes);
                made.found.insert(offset, findings);
            }
        }
        rest = behind;
    }
    Ok(made)
}

/// A frame, the same with what holds nothing behind it, and what is behind that.
fn split_slot(segment: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let (frame, mut behind) = split_frame(segment)?;
    while behind.starts_with(&SKIPPABLE) {
        behind = split_frame(behind)?.1;
    }
    let slot = segment.get(..segment.len() - behind.len()).unwrap_or_default();
    Ok((frame, slot, behind))
}

/// What becomes of a frame.
enum Anew {
    Same,
    Held,
    Masked(Vec<u8>, Vec<Finding>),
}

fn anew(lines: &[u8], length: usize, holds: &Holds, mask: Mask<'_>) -> Result<Anew> {
    for room in [Room::Enough, Room::Short, Room::Least] {
        let Some((masked, findings, names)) = exchange(lines, (room, &mut *mask))? else {
            return Ok(Anew::Same);
        };
        if holds.of(&serde_json::from_slice(names)?).is_some() {
            return Ok(Anew::Held);
        }
        if let Some(frame) = fit(&masked, length)? {
            return Ok(Anew::Masked(frame, findings));
        }
    }
    Err(Error::other("an exchange in it has no room for masks"))
}

/// A frame of these lines that is exactly so long; none where they do not fit.
fn fit(lines: &[u8], length: usize) -> Result<Option<Vec<u8>>> {
    for level in LEVELS {
        let mut press = zstd::bulk::Compressor::new(level)?;
        press.include_checksum(true)?;
        if let Some(frame) = padded(press.compress(lines)?, length) {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

/// Masks the texts of one exchange.
struct Masking<'m, 'a> {
    record: Record,
    session: String,
    room: Room,
    mask: &'m mut (dyn FnMut(Text<'_>, Room) -> Option<Masked> + Send + 'a),
    findings: Vec<Finding>,
    changed: bool,
}

type Exchange<'l> = (Vec<u8>, Vec<Finding>, &'l [u8]);

/// The lines of an exchange with masks, what was masked, and its own line as it was; none where
/// nothing is to be masked.
fn exchange<'l>(lines: &'l [u8], (room, mask): (Room, Mask<'_>)) -> Result<Option<Exchange<'l>>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (items, own): (Vec<_>, Vec<_>) = lines.partition(|line| item_id(line).is_some());
    let Some(line) = own.into_iter().find(|line| !is_erased(line)) else { return Ok(None) };
    let Linked { link, was, session } = serde_json::from_slice(line)?;
    let record: Record = serde_json::from_slice(line)?;
    let (findings, changed) = (Vec::new(), false);
    let mut masking = Masking { record, session, room, mask, findings, changed };
    let mut anew = Vec::new();
    for item in &items {
        masking.item(item, &mut anew)?;
    }
    let any = std::mem::take(&mut masking.changed);
    let mut stored: StoredExchange<'_> = serde_json::from_slice(line)?;
    masking.stored(&mut stored)?;
    if room == Room::Least && (any || masking.changed) {
        masking.changed = true;
        without_headers(&mut stored);
    }
    if masking.changed {
        let was = was.unwrap_or_else(|| blake3::hash(line).to_hex().to_string());
        masking.note();
        let line = ExchangeLine {
            link: link.as_deref(),
            was: Some(&was),
            record: &masking.record,
            session: &masking.session,
            request: stored.request,
            response: stored.response,
            needs: stored.needs,
        };
        serde_json::to_writer(&mut anew, &line)?;
    } else if any {
        // What only its items had is masked there: its own line, and the chain, stay as they are.
        anew.extend_from_slice(line);
    } else {
        return Ok(None);
    }
    anew.push(b'\n');
    Ok(Some((anew, merged(masking.findings), line)))
}

impl Masking<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = Text { record: &self.record, session: &self.session, bytes };
        let masked = (self.mask)(text, self.room)?;
        self.changed = true;
        self.findings.extend(masked.findings);
        Some(masked.bytes)
    }

    fn text(&mut self, text: &str) -> Result<Option<String>> {
        let masked = self.bytes(text.as_bytes()).map(String::from_utf8);
        masked.transpose().map_err(Error::other)
    }

    /// Writes an item's line; one that is masked says so, since no hash of a body with it agrees.
    fn item(&mut self, line: &[u8], to: &mut Vec<u8>) -> Result<()> {
        let before = std::mem::take(&mut self.changed);
        let item: StoredItem<'_> = serde_json::from_slice(line)?;
        let content = match (item.text, item.base64, item.parts) {
            (Some(text), ..) => Content::Text(self.text(&text)?.map_or(text, Cow::Owned)),
            (None, Some(text), _) => Content::Base64(self.base64(text)?),
            (None, None, parts) => {
                let mut parts = parts.unwrap_or_default();
                self.parts(&mut parts)?;
                Content::Parts(parts)
            }
        };
        if self.changed {
            let Owner { session, user } = serde_json::from_slice(line)?;
            let (id, masked) = (item_id(line).unwrap_or_default(), true);
            let (session, user) = (&*session, &*user);
            serde_json::to_writer(&mut *to, &ItemLine { id, session, user, masked, content })?;
        } else {
            to.extend_from_slice(line);
        }
        to.push(b'\n');
        self.changed |= before;
        Ok(())
    }

    fn stored(&mut self, stored: &mut StoredExchange<'_>) -> Result<()> {
        if let Some(head) = &mut stored.request.head {
            if let Some(masked) = self.text(&head.target)? {
                head.target = masked;
            }
            self.headers(&mut head.headers)?;
        }
        self.body(&mut stored.request.body)?;
        if let Some(response) = &mut stored.response {
            if let Some(head) = &mut response.head {
                self.headers(&mut head.headers)?;
            }
            self.body(&mut response.body)?;
        }
        Ok(())
    }

    fn headers(&mut self, headers: &mut [(String, String)]) -> Result<()> {
        for (_, value) in headers {
            if let Some(masked) = self.text(value)? {
                *value = masked;
            }
        }
        Ok(())
    }

    /// Of a body that is masked the hash goes too: a short secret could be guessed with it.
    fn body(&mut self, body: &mut Body<'_>) -> Result<()> {
        let before = std::mem::take(&mut self.changed);
        self.parts(&mut body.parts)?;
        if self.changed {
            body.masked = true;
            body.blake3.clear();
        }
        self.changed |= before;
        Ok(())
    }

    fn parts(&mut self, parts: &mut [Part<'_>]) -> Result<()> {
        for part in parts {
            match part {
                Part::Text(text) => {
                    if let Some(masked) = self.text(text)? {
                        *text = Cow::Owned(masked);
                    }
                }
                Part::Base64(text) => *text = self.base64(std::mem::take(text))?,
                Part::Item(_) => {}
            }
        }
        Ok(())
    }

    fn base64(&mut self, text: String) -> Result<String> {
        let bytes = BASE64.decode(&text).map_err(Error::other)?;
        Ok(self.bytes(&bytes).map_or(text, |masked| BASE64.encode(masked)))
    }

    /// The record in the exchange's line says what was found, as that in `records/` does.
    fn note(&mut self) {
        let findings = merged(std::mem::take(&mut self.findings));
        add(&mut self.record, &findings);
        self.findings = findings;
    }
}

fn without_headers(stored: &mut StoredExchange<'_>) {
    if let Some(head) = &mut stored.request.head {
        head.headers.clear();
    }
    if let Some(head) = stored.response.as_mut().and_then(|response| response.head.as_mut()) {
        head.headers.clear();
    }
}

/// Findings of one rule as one.
fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for one in findings {
        let same = |known: &&mut Finding| known.rule == one.rule && known.tier == one.tier;
        match merged.iter_mut().find(same) {
            Some(known) => known.count += one.count,
            None => merged.push(one),
        }
    }
    merged.sort_by(|one, other| one.rule.cmp(&other.rule));
    merged
}

/// Adds to what a record says was found.
fn add(record: &mut Record, findings: &[Finding]) {
    for one in findings {
        let is_same = |known: &&mut Finding| {
            known.rule == one.rule && known.tier == one.tier && known.action == one.action
        };
        match record.findings.iter_mut().find(is_same) {
            Some(known) => known.count += one.count,
            None => record.findings.push(one.clone()),
        }
    }
}

/// Records of which those whose frames are masked say what was found; none where none is.
pub(super) fn records(
    bytes: &[u8],
    found: &BTreeMap<u64, Vec<Finding>>,
) -> Result<Option<Vec<u8>>> {
    let mut text = BufReader::new(zstd::Decoder::with_buffer(bytes)?);
    let (mut lines, mut line, mut any) = (Vec::new(), Vec::new(), false);
    while text.read_until(b'\n', &mut line)? > 0 {
        let Index { frame } = serde_json::from_slice(&line)?;
        match found.get(&frame.0).filter(|findings| !findings.is_empty()) {
            Some(findings) => {
                let mut record: Record = serde_json::from_slice(&line)?;
                add(&mut record, findings);
                lines.extend(record.line(frame)?);
                any = true;
            }
            None => lines.extend_from_slice(&line),
        }
        line.clear();
    }
    if any { zstd::bulk::compress(&lines, RECORDS_LEVEL).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
