//! Reads records and bodies, from the spool of this machine and from the object store.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::civil::Date;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use crate::Error;
use crate::frame::{Line, Place, RequestHead, ResponseHead, Side, lines};
use crate::publish::closed;
use crate::record::Record;
use crate::segment::{GROWING, SEALED, day_folder, day_of, object_path};
use crate::spool::folders::{list_all, places_of};

/// Reads an archive and the spool that feeds it.
pub struct Reader {
    spool: PathBuf,
    objects: Arc<dyn ObjectStore>,
}

/// A record, and where the frames of its exchange lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The record.
    pub record: Record,
    /// Its frames in order.
    pub frames: Vec<Place>,
}

/// One exchange, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked; absent where the frame is lost.
    pub request: Option<RequestHead>,
    /// Its body.
    pub request_body: Vec<u8>,
    /// What was answered; absent where nothing was.
    pub response: Option<ResponseHead>,
    /// Its body.
    pub response_body: Vec<u8>,
}

/// The part of an index line that is not the record.
#[derive(Deserialize)]
struct Index {
    frames: Vec<Place>,
}

impl Reader {
    /// Reads `objects` and the segments in `spool`; a missing spool counts as empty.
    pub fn new(spool: PathBuf, objects: Arc<dyn ObjectStore>) -> Self {
        Self { spool, objects }
    }

    /// Looks at the spool, once. The object store is read after it: what is published meanwhile is
    /// then found in both, never in neither.
    pub fn view(&self) -> Result<View<'_>, Error> {
        let spooled = self.spooled()?;
        let seen = spooled.iter().map(|found| found.record.id.clone()).collect();
        Ok(View { reader: self, spooled, seen })
    }

    /// Every record that began in these days (UTC, both inclusive), each once, in no order.
    pub async fn records(
        &self,
        (first, last): (Date, Date),
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        let view = self.view()?;
        for day in first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last) {
            view.records(day, each).await?;
        }
        Ok(())
    }

    /// The exchange with this id, if it has ended.
    pub async fn find(&self, id: &str) -> Result<Option<Found>, Error> {
        let spooled = self.spooled()?.into_iter().find(|found| found.record.id == id);
        if spooled.is_some() {
            return Ok(spooled);
        }
        let Some(day) = day_of_id(id) else { return Ok(None) };
        let mut hit = None;
        let mut keep = |found: Found| {
            if found.record.id == id {
                hit = Some(found);
            }
        };
        self.published(day, &mut keep).await?;
        Ok(hit)
    }

    /// Reads an exchange whole.
    pub async fn exchange(&self, found: &Found) -> Result<Exchange, Error> {
        let mut exchange = Exchange::default();
        for place in &found.frames {
            let frame = self.frame(place).await?;
            let damaged =
                |error: std::io::Error| Error::Damaged(place.segment.clone(), error.to_string());
            for line in lines(&frame).map_err(damaged)? {
                match line {
                    Line::Open(opening) => exchange.request = Some(opening.request),
                    Line::Close(closing) => exchange.response = closing.response,
                    Line::Body(part) if part.side == Side::Request => {
                        part.append_to(&mut exchange.request_body);
                    }
                    Line::Body(part) => part.append_to(&mut exchange.response_body),
                }
            }
        }
        Ok(exchange)
    }

    /// The bytes of one frame, from the spool or from the object store.
    async fn frame(&self, place: &Place) -> Result<Vec<u8>, Error> {
        let folders = places_of(&self.spool, &place.segment);
        let paths = [GROWING, SEALED].map(|ending| {
            folders.each_ref().map(|folder| folder.join(format!("{}{ending}", place.segment)))
        });
        for path in paths.as_flattened() {
            let Ok(mut file) = File::open(path) else { continue };
            let length = usize::try_from(place.length).unwrap_or(usize::MAX);
            let mut frame = vec![0; length];
            let read = file.seek(SeekFrom::Start(place.offset));
            let read = read.and_then(|_| file.read_exact(&mut frame));
            let torn = |error: std::io::Error| {
                Error::Damaged(place.segment.clone(), format!("a frame is cut off: {error}"))
            };
            return read.map(|()| frame).map_err(torn);
        }
        let range = place.offset..place.offset + place.length;
        Ok(self.objects.get_range(&object_path(&place.segment), range).await?.to_vec())
    }

    /// What the spool has closed.
    fn spooled(&self) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        let mut names = HashSet::new();
        // Twice: a segment that is sealed between listing and reading has another name by then.
        for _ in 0..2 {
            for (name, path) in list_all(&self.spool, &[GROWING, SEALED])? {
                if names.contains(&name) {
                    continue;
                }
                let Ok(bytes) = std::fs::read(&path) else { continue };
                let closed = closed(&name, &bytes).into_iter();
                all.extend(closed.map(|(record, frames)| Found { record, frames }));
                names.insert(name);
            }
        }
        Ok(all)
    }

    async fn published(
        &self,
        day: Date,
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        let folder = day_folder("records", day);
        let mut objects: Vec<_> = self.objects.list(Some(&folder)).try_collect().await?;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        for object in objects {
            let bytes = self.objects.get(&object.location).await?.bytes().await?;
            let damaged = |error: std::io::Error| {
                Error::Damaged(object.location.to_string(), error.to_string())
            };
            let text = zstd::Decoder::with_buffer(&*bytes).map_err(damaged)?;
            for line in std::io::BufReader::new(text).lines() {
                each(index(&line.map_err(damaged)?).map_err(damaged)?);
            }
        }
        Ok(())
    }

    async fn folders(&self, below: &ObjectPath) -> Result<Vec<ObjectPath>, Error> {
        Ok(self.objects.list_with_delimiter(Some(below)).await?.common_prefixes)
    }
}

/// All records at one moment.
pub struct View<'a> {
    reader: &'a Reader,
    spooled: Vec<Found>,
    seen: HashSet<String>,
}

impl View<'_> {
    /// Days that have records, newest first.
    pub async fn days(&self) -> Result<Vec<Date>, Error> {
        let mut days: Vec<Date> =
            self.spooled.iter().map(|found| day_of(found.record.time)).collect();
        for year in self.reader.folders(&ObjectPath::from("records")).await? {
            for month in self.reader.folders(&year).await? {
                let folders = self.reader.folders(&month).await?;
                days.extend(folders.iter().filter_map(day_of_folder));
            }
        }
        days.sort_unstable();
        days.dedup();
        days.reverse();
        Ok(days)
    }

    /// Every record that began on this day (UTC), each once, in no order.
    pub async fn records(
        &self,
        day: Date,
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        let spooled = self.spooled.iter().filter(|found| day_of(found.record.time) == day);
        spooled.cloned().for_each(&mut *each);
        let mut fresh = |found: Found| {
            if !self.seen.contains(&found.record.id) {
                each(found);
            }
        };
        self.reader.published(day, &mut fresh).await
    }
}

fn index(line: &str) -> std::io::Result<Found> {
    let record = serde_json::from_str(line)?;
    let Index { frames } = serde_json::from_str(line)?;
    Ok(Found { record, frames })
}

fn day_of_folder(folder: &ObjectPath) -> Option<Date> {
    Date::strptime("records/year=%Y/month=%m/day=%d", folder.as_ref()).ok()
}

/// The day an exchange began: its id is a UUIDv7, which begins with the time (RFC 9562 §5.7).
fn day_of_id(id: &str) -> Option<Date> {
    let (seconds, nanos) = uuid::Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    let time = jiff::Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?);
    Some(day_of(time.ok()?))
}
