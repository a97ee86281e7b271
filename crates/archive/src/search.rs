//! Looks through bodies without putting them together: what is stored once is read once.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::TryStreamExt;
use jiff::civil::Date;
use memchr::memmem::Finder;
use object_store::ObjectStoreExt;

use crate::Error;
use crate::frame::{
    Body, Part, Place, Side, StoredExchange, StoredItem, is_erased, item_id, split_frame,
};
use crate::read::{Found, Piece, View};
use crate::record::Record;
use crate::segment::{day_folder, name_of};

/// What is looked for.
pub struct Seek<'a> {
    hints: Vec<Finder<'static>>,
    find: &'a (dyn Fn(&[u8]) -> Option<String> + Sync),
}

/// Where it was found: the exchange that brought it into its conversation on that day.
#[derive(Debug)]
pub struct Hit {
    /// The exchange.
    pub found: Found,
    /// In which of its bodies.
    pub side: Side,
    /// What `find` gave.
    pub excerpt: String,
}

impl<'a> Seek<'a> {
    /// `find` tells whether a text has it, by an excerpt. Where texts are given as `hints`, `find`
    /// finds nothing in a text that has none of them: then most need not be looked at.
    pub fn new(hints: &[&str], find: &'a (dyn Fn(&[u8]) -> Option<String> + Sync)) -> Self {
        let mut hints: Vec<_> =
            hints.iter().map(|hint| Finder::new(&in_json(hint)).into_owned()).collect();
        if !hints.is_empty() {
            // What is no text hides it.
            hints.push(Finder::new("\"base64\":").into_owned());
        }
        Self { hints, find }
    }

    fn may_be_in(&self, lines: &[u8]) -> bool {
        self.hints.is_empty() || self.hints.iter().any(|hint| hint.find(lines).is_some())
    }
}

/// As it stands within quotes.
fn in_json(text: &str) -> Vec<u8> {
    let quoted = serde_json::to_vec(text).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec()
}

impl View<'_> {
    /// Looks through the segments of a day; returns how many bytes of bodies they stand for. What is
    /// still in the spool is not looked at.
    pub async fn search(
        &self,
        day: Date,
        seek: &Seek<'_>,
        each: &mut (dyn FnMut(Hit) + Send),
    ) -> Result<u64, Error> {
        let objects = self.objects();
        let folder = day_folder("bodies", day);
        let mut segments: Vec<_> = objects.list(Some(&folder)).try_collect().await?;
        segments.sort_by(|one, other| one.location.cmp(&other.location));
        // One is there under both names while it is sealed afterwards.
        segments.dedup_by(|one, other| one.location == other.location);
        let mut looked = 0;
        for segment in segments {
            let Some(name) = name_of(&segment.location) else { continue };
            let bytes = objects.get(&segment.location).await?.bytes().await?;
            let done = look_through(name, &bytes, seek, each);
            looked += done.map_err(|error| Error::Damaged(name.to_owned(), error.to_string()))?;
        }
        Ok(looked)
    }
}

fn look_through(
    segment: &str,
    bytes: &[u8],
    seek: &Seek<'_>,
    each: &mut (dyn FnMut(Hit) + Send),
) -> std::io::Result<u64> {
    let (mut rest, mut offset, mut lines, mut looked) = (bytes, 0, Vec::new(), 0);
    while !rest.is_empty() {
        let (frame, behind) = split_frame(rest)?;
        lines.clear();
        zstd::Decoder::with_buffer(frame)?.single_frame().read_to_end(&mut lines)?;
        looked += bodies_bytes(&lines);
        if seek.may_be_in(&lines) {
            let place = Place { segment: segment.to_owned(), offset, length: frame.len() as u64 };
            look(&lines, &place, seek, each)?;
        }
        (rest, offset) = (behind, offset + frame.len() as u64);
    }
    Ok(looked)
}

/// Looks at the lines of one exchange.
fn look(
    lines: &[u8],
    place: &Place,
    seek: &Seek<'_>,
    each: &mut (dyn FnMut(Hit) + Send),
) -> std::io::Result<()> {
    let mut items = Items::default();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(id) = item_id(line) {
            items.look(id, &serde_json::from_slice(line)?, seek);
            continue;
        }
        if is_erased(line) {
            continue;
        }
        let exchange: StoredExchange<'_> = serde_json::from_slice(line)?;
        let question = Some(&exchange.request.body);
        let answer = exchange.response.as_ref().map(|half| &half.body);
        for (side, body) in [(Side::Request, question), (Side::Response, answer)] {
            let Some(excerpt) = body.and_then(|body| items.first_in(body, seek)) else { continue };
            let record: Record = serde_json::from_slice(line)?;
            let found = Found { record, pieces: vec![Piece::Frame(place.clone())] };
            each(Hit { found, side, excerpt });
        }
    }
    Ok(())
}

/// The items of a frame: what was found in each, and what it is made of.
#[derive(Default)]
struct Items<'a> {
    hits: HashMap<&'a str, String>,
    made_of: HashMap<&'a str, Vec<String>>,
    /// A text stands in one body only, the first that has it.
    told: HashSet<String>,
}

impl<'a> Items<'a> {
    fn look(&mut self, id: &'a str, item: &StoredItem<'_>, seek: &Seek<'_>) {
        let text = item.text.as_deref().map(|text| (seek.find)(text.as_bytes()));
        let bytes = item.base64.as_deref().and_then(|text| BASE64.decode(text).ok());
        let bytes = bytes.map(|bytes| (seek.find)(&bytes));
        let parts = item.parts.as_deref().unwrap_or_default();
        let within = parts.iter().find_map(|part| in_part(part, seek));
        if let Some(excerpt) = text.flatten().or(bytes.flatten()).or(within) {
            self.hits.insert(id, excerpt);
        }
        let names = parts.iter().filter_map(|part| match part {
            Part::Item(name) => Some(name.clone()),
            Part::Text(_) | Part::Base64(_) => None,
        });
        self.made_of.insert(id, names.collect());
    }

    /// The first place in a body, in what this frame has of it.
    fn first_in(&mut self, body: &Body<'_>, seek: &Seek<'_>) -> Option<String> {
        body.parts.iter().find_map(|part| match part {
            Part::Item(name) => self.first_below(name),
            Part::Text(_) | Part::Base64(_) => in_part(part, seek),
        })
    }

    fn first_below(&mut self, name: &str) -> Option<String> {
        if !self.told.insert(name.to_owned()) {
            return None;
        }
        if let Some(excerpt) = self.hits.get(name) {
            return Some(excerpt.clone());
        }
        let made_of = self.made_of.get(name).cloned().unwrap_or_default();
        made_of.iter().find_map(|name| self.first_below(name))
    }
}

fn in_part(part: &Part<'_>, seek: &Seek<'_>) -> Option<String> {
    match part {
        Part::Text(text) => (seek.find)(text.as_bytes()),
        Part::Base64(text) => (seek.find)(&BASE64.decode(text).ok()?),
        Part::Item(_) => None,
    }
}

/// How many bytes the bodies of an exchange have, as its line says.
fn bodies_bytes(lines: &[u8]) -> u64 {
    const MEMBER: &[u8] = b"\"body\":{\"bytes\":";
    let number = |at: usize| {
        let rest = lines.get(at + MEMBER.len()..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse::<u64>().ok()
    };
    memchr::memmem::find_iter(lines, MEMBER).filter_map(number).sum()
}

#[cfg(test)]
mod tests;
