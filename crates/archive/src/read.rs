//! Reads records and bodies, from the spool of this machine and from the object store.

pub mod index;
mod whole;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use serde::Deserialize;

use crate::Error;
use crate::frame::{Place, RequestHead, ResponseHead, Side};
use crate::record::Record;
use crate::segment::{day_of, day_of_folder};
use crate::spooled::{Spooled, carried, entry};

/// How often an exchange is looked for that moves while it is read: from a journal over the carry
/// to a segment.
const TRIES: usize = 5;

/// Reads an archive and the spool that feeds it.
pub struct Reader {
    spool: PathBuf,
    objects: Arc<dyn ObjectStore>,
}

/// A record, and where the pieces of its exchange lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The record.
    pub record: Record,
    /// Its pieces in order; a frame is the whole.
    pub(crate) pieces: Vec<Piece>,
}

/// Where a piece of an exchange lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// A frame of a segment, in the object store.
    Frame(Place),
    /// An entry of a journal, in the spool.
    Entry(Place),
    /// An entry that is carried over behind that journal.
    Carried(Place),
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
    /// How much of it there is.
    pub left: Left,
}

/// How much of an exchange is left beside its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Left {
    /// Whatever was stored.
    #[default]
    All,
    /// Nothing: it was erased.
    Erased,
    /// Nothing: its segment is not in the archive any more, as bodies are kept no longer.
    Gone,
}

impl Exchange {
    /// Why there is nothing of a body that was sent; nothing where there is, or none was sent.
    pub fn lacks(&self, record: &Record, side: Side) -> Option<&'static str> {
        match self.left {
            Left::Erased => {
                return Some("it was erased: its record is left, and nothing of its bodies");
            }
            Left::Gone => return Some("its bodies are kept no longer: its record is left"),
            Left::All => {}
        }
        let (body, sent, is_coded) = match side {
            Side::Request => {
                let coded = self.request.as_ref().is_some_and(|head| head.wire.is_some());
                (&self.request_body, record.request_bytes, coded)
            }
            Side::Response => {
                let coded = self.response.as_ref().is_some_and(|head| head.wire.is_some());
                (&self.response_body, record.response_bytes, coded)
            }
        };
        // Coded bytes may stand for none.
        (body.is_empty() && sent > 0 && !is_coded).then_some(match side {
            Side::Request => "the body of its request was not stored",
            Side::Response => "the body of its answer was not stored",
        })
    }
}

/// The part of an index line that is not the record.
#[derive(Deserialize)]
struct Index {
    /// Offset and length.
    frame: (u64, u64),
}

impl Reader {
    /// Reads `objects` and the journals in `spool`; a missing spool counts as empty.
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

    /// Reads an exchange whole; of one that was erased, or is kept no longer, nothing is there.
    pub async fn exchange(&self, found: &Found) -> Result<Exchange, Error> {
        if let Some(exchange) = self.pieces(found).await? {
            return Ok(exchange);
        }
        for _ in 1..TRIES {
            // Its journal has been published since it was found, so that it lies elsewhere.
            let Some(again) = self.find(&found.record.id).await? else { break };
            if let Some(exchange) = self.pieces(&again).await? {
                return Ok(exchange);
            }
        }
        let moves = "it moves while it is read: try again";
        Err(Error::Damaged(found.record.id.clone(), moves.into()))
    }

    /// What the pieces of an exchange hold; none where a journal has gone.
    async fn pieces(&self, found: &Found) -> Result<Option<Exchange>, Error> {
        let mut exchange = Exchange::default();
        for piece in &found.pieces {
            let entry = match piece {
                Piece::Frame(place) => return self.frame(&found.record.id, place).await.map(Some),
                Piece::Entry(place) => entry(&self.spool, place)?,
                Piece::Carried(place) => carried(&self.spool, place)?,
            };
            match entry {
                Some(entry) => entry.add_to(&mut exchange),
                None => return Ok(None),
            }
        }
        Ok(Some(exchange))
    }

    /// What the spool has closed.
    fn spooled(&self) -> Result<Vec<Found>, Error> {
        Spooled::read(&self.spool)
    }

    async fn published(
        &self,
        day: Date,
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        for index in self.indexes(day).await? {
            self.each_of(&index, each).await?;
        }
        Ok(())
    }

    /// These days and those that have folders of this kind, newest first.
    async fn days(&self, kind: &str, mut days: Vec<Date>) -> Result<Vec<Date>, Error> {
        for year in self.folders(&ObjectPath::from(kind)).await? {
            for month in self.folders(&year).await? {
                let folders = self.folders(&month).await?;
                days.extend(folders.iter().filter_map(|folder| day_of_folder(kind, folder)));
            }
        }
        days.sort_unstable();
        days.dedup();
        days.reverse();
        Ok(days)
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
    /// The records that had not been published at that moment, in no order.
    pub fn spooled(&self) -> impl Iterator<Item = &Record> {
        self.spooled.iter().map(|found| &found.record)
    }

    /// The exchanges that had not been published at that moment.
    pub fn unpublished(&self) -> &[Found] {
        &self.spooled
    }

    /// Whether an exchange had not been published at that moment.
    pub fn is_unpublished(&self, id: &str) -> bool {
        self.seen.contains(id)
    }

    /// Days that have segments, newest first.
    pub async fn days_of_bodies(&self) -> Result<Vec<Date>, Error> {
        self.reader.days("bodies", Vec::new()).await
    }

    pub(crate) fn objects(&self) -> &dyn ObjectStore {
        &*self.reader.objects
    }

    /// Days that have records, newest first.
    pub async fn days(&self) -> Result<Vec<Date>, Error> {
        let spooled = self.spooled.iter().map(|found| day_of(found.record.time)).collect();
        self.reader.days("records", spooled).await
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

fn index(segment: &str, line: &str) -> std::io::Result<Found> {
    let record = serde_json::from_str(line)?;
    let Index { frame: (offset, length) } = serde_json::from_str(line)?;
    let place = Place { segment: segment.to_owned(), offset, length };
    Ok(Found { record, pieces: vec![Piece::Frame(place)] })
}

/// The day an exchange began: its id is a UUIDv7, which begins with the time (RFC 9562 §5.7).
fn day_of_id(id: &str) -> Option<Date> {
    let (seconds, nanos) = uuid::Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    let time = jiff::Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?);
    Some(day_of(time.ok()?))
}
