//! Reads what a spool holds, also while it is written and published.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::Error;
use crate::carry::Carry;
use crate::frame::{Place, Side};
use crate::journal::{Noted, split};
use crate::read::{Exchange, Found, Piece};
use crate::segment::{FULL, GROWING, list};
use crate::spool::folders::{all_folders, place_of};

/// How often it is begun anew when a journal is published under the reader's hands.
const TRIES: usize = 20;

/// What a writer has closed.
#[derive(Default)]
pub(crate) struct Spooled {
    /// By the order in which it ended.
    pub(crate) closed: Vec<Found>,
    underway: HashMap<String, Vec<Piece>>,
}

impl Spooled {
    /// Reads all journals of all writers.
    pub(crate) fn read(spool: &Path) -> Result<Vec<Found>, Error> {
        let mut closed = Vec::new();
        for folder in all_folders(spool)? {
            closed.extend(Self::of_writer(&folder)?.closed);
        }
        Ok(closed)
    }

    fn of_writer(folder: &Path) -> Result<Self, Error> {
        for _ in 0..TRIES {
            if let Some(spooled) = Self::look(folder)? {
                return Ok(spooled);
            }
        }
        let why = "its journals are published faster than they can be read".to_owned();
        Err(Error::Damaged(folder.display().to_string(), why))
    }

    /// One look; none where a journal was published meanwhile.
    fn look(folder: &Path) -> Result<Option<Self>, Error> {
        let carry = Carry::load(folder)?;
        let mut spooled = Self::default();
        spooled.take(&carry.after, &carry.entries, Piece::Carried);
        let mut last = String::new();
        for (name, _) in list(folder, &[GROWING, FULL])? {
            // Twice where it was renamed while the folder was read; published, and not yet removed.
            if name == last || name == carry.after {
                continue;
            }
            let Some(mut file) = open(folder, &name)? else { return Ok(None) };
            let mut bytes = Vec::new();
            let reading = format!("reading journal {name}");
            file.read_to_end(&mut bytes).map_err(Error::disk(reading))?;
            spooled.take(&name, &bytes, Piece::Entry);
            last = name;
        }
        let unchanged = Carry::load(folder)?.after == carry.after;
        Ok(unchanged.then_some(spooled))
    }

    fn take(&mut self, name: &str, journal: &[u8], piece: fn(Place) -> Piece) {
        for entry in split(journal) {
            let (offset, length) = (entry.offset, entry.length());
            let piece = piece(Place { segment: name.to_owned(), offset, length });
            match entry.noted() {
                Ok(Noted::Open(opening)) => {
                    self.underway.insert(opening.record.id, vec![piece]);
                }
                Ok(Noted::Body { id, .. }) => self.body(&id, piece),
                Ok(Noted::Close(closing)) => {
                    let mut pieces = self.underway.remove(&closing.record.id).unwrap_or_default();
                    pieces.push(piece);
                    self.closed.push(Found { record: closing.record, pieces });
                }
                Err(error) => tracing::error!(%error, "an entry of journal {name} is lost"),
            }
        }
    }

    /// Bytes of an answer may come after its end.
    fn body(&mut self, id: &str, piece: Piece) {
        let late = self.closed.iter_mut().rev().find(|found| found.record.id == id);
        if let Some(pieces) = self.underway.get_mut(id) {
            pieces.push(piece);
        } else if let Some(found) = late {
            found.pieces.push(piece);
        }
    }
}

/// An entry read back on its own.
pub(crate) struct Entry {
    noted: Noted,
    body: Vec<u8>,
}

impl Entry {
    /// Adds it to its exchange.
    pub(crate) fn add_to(self, exchange: &mut Exchange) {
        let side = match self.noted {
            Noted::Open(opening) => {
                exchange.request = Some(opening.request);
                Side::Request
            }
            Noted::Body { side, .. } => side,
            Noted::Close(closing) => {
                exchange.response = closing.response;
                Side::Response
            }
        };
        match side {
            Side::Request => exchange.request_body.extend(self.body),
            Side::Response => exchange.response_body.extend(self.body),
        }
    }
}

/// Reads one entry; none where its journal has been published.
pub(crate) fn entry(spool: &Path, place: &Place) -> Result<Option<Entry>, Error> {
    let folder = place_of(spool, &place.segment);
    let Some(mut file) = open(&folder, &place.segment)? else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(place.length).unwrap_or(usize::MAX)];
    let read = file.seek(SeekFrom::Start(place.offset)).and_then(|_| file.read_exact(&mut bytes));
    match read {
        Ok(()) => of_bytes(place, &bytes).map(Some),
        // Removed under our hands.
        Err(_) if open(&folder, &place.segment)?.is_none() => Ok(None),
        Err(error) => {
            let what = format!("an entry is cut off: {error}");
            Err(Error::Damaged(place.segment.clone(), what))
        }
    }
}

/// Reads one entry that is carried over; none where more journals have been published.
pub(crate) fn carried(spool: &Path, place: &Place) -> Result<Option<Entry>, Error> {
    let carry = Carry::load(&place_of(spool, &place.segment))?;
    if carry.after != place.segment {
        return Ok(None);
    }
    let begin = usize::try_from(place.offset).unwrap_or(usize::MAX);
    let length = usize::try_from(place.length).unwrap_or(usize::MAX);
    let bytes = carry.entries.get(begin..begin.saturating_add(length));
    of_bytes(place, bytes.unwrap_or_default()).map(Some)
}

/// The entry that these bytes begin with.
fn of_bytes(place: &Place, bytes: &[u8]) -> Result<Entry, Error> {
    let damaged = |what: String| Error::Damaged(place.segment.clone(), what);
    let entry = split(bytes).pop().ok_or_else(|| damaged("here is no entry".to_owned()))?;
    let noted = entry.noted().map_err(|error| damaged(error.to_string()))?;
    Ok(Entry { noted, body: entry.body.to_vec() })
}

/// Opens a journal by its name, whichever state it is in by now; none where it has gone.
fn open(folder: &Path, name: &str) -> Result<Option<File>, Error> {
    for ending in [GROWING, FULL] {
        let path = folder.join(format!("{name}{ending}"));
        match File::open(&path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::disk(format!("opening {}", path.display()))(error)),
        }
    }
    Ok(None)
}
