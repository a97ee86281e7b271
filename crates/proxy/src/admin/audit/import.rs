//! Takes over an archive of one JSON object a request, as a forerunner kept them in S3 and a copy
//! of the bucket has them in a folder: `year=YYYY/month=MM/day=DD/TOKEN/REQUEST_ID.json`.
//!
//! The token in the path is somebody's key: it goes into ids as a hash, and nowhere else.

mod fields;
mod object;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, btree_map};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use archive::frame::{RequestHead, ResponseHead};
use archive::journal::{Draft, Entry};
use archive::read::{Found, Reader, View};
use archive::record::{Outcome, Record, Source};
use archive::segment::day_of;
use archive::spool::desk::Desk;
use bytes::Bytes;
use jiff::civil::Date;
use serde::Serialize;
use wire::price::PriceTable;

use super::Tell;
use crate::config::Bodies;
use object::Object;

/// The longest object that is read, in bytes.
const LONGEST: u64 = 256 << 20;

/// Days whose records are remembered: a day, and what lies across its midnights.
const DAYS: usize = 3;

/// What is needed to take objects over.
pub struct Importer<'a> {
    /// Where records are that are known already.
    pub reader: &'a Reader,
    /// Where new ones go; absent where nothing is to be written.
    pub desk: Option<Arc<Desk>>,
    /// What things cost.
    pub prices: PriceTable,
    /// Whether bodies are kept.
    pub bodies: Bodies,
    /// Which node writes.
    pub node: String,
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Objects that are records now.
    pub imported: u64,
    /// Of them, those of which a body is cut off.
    pub truncated: u64,
    /// Objects that had been taken over before.
    pub known: u64,
    /// Objects that could not be read.
    pub unreadable: u64,
}

/// An object of the other archive, and what its path says.
struct Place {
    path: PathBuf,
    day: Date,
    token: String,
    request: String,
}

impl Importer<'_> {
    /// Takes over all objects below a folder, oldest day first. What cannot be read is told and
    /// left out.
    pub async fn import(
        &self,
        folder: &Path,
        told: &mut dyn FnMut(&str),
        tell: Tell<'_>,
    ) -> Result<Imported> {
        let days = days(folder)?;
        if days.is_empty() {
            bail!(
                "{} has no folders year=YYYY/month=MM/day=DD: name the folder above them",
                folder.display()
            );
        }
        let view = self.reader.view()?;
        let (mut known, mut done) = (BTreeMap::new(), Imported::default());
        for (day, path) in days {
            for place in places(day, &path)? {
                tell(&format_args!("{day}: {} imported, {} known", done.imported, done.known));
                match self.read(&place) {
                    Ok(object) => self.take(object, &view, &mut known, &mut done).await?,
                    Err(error) => {
                        done.unreadable += 1;
                        told(&format!("{}: {error:#}", place.path.display()));
                    }
                }
            }
        }
        Ok(done)
    }

    fn read(&self, place: &Place) -> Result<Object> {
        let length = std::fs::metadata(&place.path)?.len();
        if length > LONGEST {
            bail!("it has {length} bytes, more than {LONGEST}");
        }
        let json = std::fs::read(&place.path)?;
        object::read(&json, place, &self.prices, &self.node)
    }

    /// Writes the record, unless it is there.
    async fn take(
        &self,
        object: Object,
        view: &View<'_>,
        known: &mut BTreeMap<Date, HashSet<String>>,
        done: &mut Imported,
    ) -> Result<()> {
        let day = day_of(object.record.time);
        // Objects come by day, so that the oldest will hardly be asked for again.
        if known.len() >= DAYS && !known.contains_key(&day) {
            known.pop_first();
        }
        let of_day = match known.entry(day) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => entry.insert(ids(view, day).await?),
        };
        let is_new = of_day.insert(object.record.id.clone());
        if !is_new {
            done.known += 1;
            return Ok(());
        }
        done.imported += 1;
        done.truncated += u64::from(object.record.tags.contains_key("truncated"));
        let Some(desk) = &self.desk else { return Ok(()) };
        let draft = self.draft(object);
        desk.append(&draft).await.context("writing to the spool")
    }

    fn draft(&self, object: Object) -> Draft {
        let Object { record, request, response, request_body, response_body } = object;
        let kept = |body: Vec<u8>| match self.bodies {
            Bodies::Full => Bytes::from(body),
            Bodies::None => Bytes::new(),
        };
        let opening = Record { outcome: Outcome::Failed, source: Source::Proxy, ..record.clone() };
        let (request, response): (RequestHead, ResponseHead) = (request, response);
        let mut draft = Draft::default();
        draft.push(&Entry::Open { record: &opening, request: &request }, kept(request_body));
        let closing = Entry::Close { record: &record, response: Some(&response) };
        draft.push(&closing, kept(response_body));
        draft
    }
}

async fn ids(view: &View<'_>, day: Date) -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    let mut keep = |found: Found| {
        ids.insert(found.record.id);
    };
    view.records(day, &mut keep).await?;
    Ok(ids)
}

/// The folders of days below a folder, oldest first.
fn days(folder: &Path) -> Result<Vec<(Date, PathBuf)>> {
    let mut days = Vec::new();
    for (year, folder) in parts(folder, "year=")? {
        for (month, folder) in parts(&folder, "month=")? {
            for (day, folder) in parts(&folder, "day=")? {
                let named = format!("{year}-{month}-{day}");
                let date = Date::strptime("%Y-%m-%d", &named);
                days.push((
                    date.with_context(|| format!("{} is no day", folder.display()))?,
                    folder,
                ));
            }
        }
    }
    days.sort();
    Ok(days)
}

/// The folders whose name begins so, with the rest of their names.
fn parts(folder: &Path, begin: &str) -> Result<Vec<(String, PathBuf)>> {
    let named = entries(folder)?.into_iter();
    let parts = named.filter_map(|(name, path)| Some((name.strip_prefix(begin)?.to_owned(), path)));
    Ok(parts.collect())
}

/// The objects of a day, by token and request.
fn places(day: Date, folder: &Path) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for (token, folder) in entries(folder)? {
        if !folder.is_dir() {
            continue;
        }
        for (name, path) in entries(&folder)? {
            let Some(request) = name.strip_suffix(".json") else { continue };
            places.push(Place { path, day, token: token.clone(), request: request.to_owned() });
        }
    }
    Ok(places)
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let reading = || format!("reading folder {}", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}
