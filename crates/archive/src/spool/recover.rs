//! What an earlier process left behind is brought to a good end before a new one writes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use jiff::Timestamp;

use crate::Error;
use crate::frame::{Closing, Encoder, FirstLines, Line, Opening, Place, split};
use crate::record::{Outcome, Source};
use crate::segment::{Clock, GROWING, SEALED, Segment, list, number, seal};

/// Cuts off half-written frames, closes what was under way, seals every segment. A segment that is
/// made for that is called by the name of the node.
///
/// A crash in here loses and doubles nothing: a closing that was appended is found by the next
/// recovery, one that was not is appended then.
pub(super) fn recover(folder: &Path, node: &str, clock: Clock) -> Result<(), Error> {
    let left = list(folder, &[GROWING, SEALED])?;
    let mut underway: BTreeMap<String, Orphan> = BTreeMap::new();
    for (name, path) in &left {
        let bytes = read(path)?;
        let whole = note(name, &bytes, &mut underway);
        let torn = bytes.len() as u64 - whole;
        if torn > 0 && path.to_string_lossy().ends_with(GROWING) {
            tracing::warn!("{torn} bytes of a half-written frame are cut off {}", path.display());
            truncate(path, whole)?;
        } else if torn > 0 {
            // It was whole when it was sealed: what cannot be read is kept for whoever can.
            tracing::error!("the last {torn} bytes of {} cannot be read", path.display());
        }
    }
    let next = left.iter().filter_map(|(name, _)| number(name)).max().map_or(0, |last| last + 1);
    if !underway.is_empty() {
        let now = clock();
        close_all(Segment::begin(folder, node, next, now)?, underway, now)?;
    }
    for (_, path) in list(folder, &[GROWING])? {
        let synced = OpenOptions::new().write(true).open(&path).and_then(|file| file.sync_all());
        synced.map_err(Error::disk(format!("syncing {}", path.display())))?;
        seal(&path)?;
    }
    Ok(())
}

/// An exchange whose end nobody wrote.
struct Orphan {
    opening: Opening,
    frames: Vec<Place>,
}

/// Notes which exchanges this segment opens and closes; returns the length of its whole frames.
fn note(name: &str, bytes: &[u8], underway: &mut BTreeMap<String, Orphan>) -> u64 {
    let (mut whole, mut first_lines) = (0, FirstLines::new());
    for (offset, frame) in split(bytes) {
        // A frame of the right length with wrong bytes: the disk lost a write. The rest may be good.
        whole = offset + frame.len() as u64;
        let Ok(line) = first_lines.read(frame) else { continue };
        let place = Place { segment: name.to_owned(), offset, length: frame.len() as u64 };
        match line {
            Line::Open(opening) => {
                let carried = opening.frames.clone();
                let frames = if carried.is_empty() { vec![place] } else { carried };
                underway.insert(opening.record.id.clone(), Orphan { opening: *opening, frames });
            }
            Line::Body(part) => {
                if let Some(orphan) = underway.get_mut(&part.id) {
                    orphan.frames.push(place);
                }
            }
            Line::Close(closing) => {
                underway.remove(&closing.record.id);
            }
        }
    }
    whole
}

fn close_all(
    mut segment: Segment,
    underway: BTreeMap<String, Orphan>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut encoder = Encoder::new().map_err(Error::disk("preparing compression"))?;
    let mut frames = Vec::new();
    for orphan in underway.into_values() {
        let line = [Line::Close(Box::new(closing(orphan, now)))];
        encoder.encode(&line, &mut frames).map_err(Error::disk("encoding a closing frame"))?;
    }
    segment.append(&frames)?;
    segment.seal()
}

fn closing(orphan: Orphan, now: Timestamp) -> Closing {
    let mut record = orphan.opening.record;
    record.outcome = Outcome::Failed;
    record.source = Source::Proxy;
    let took = now.duration_since(record.time).as_millis();
    record.took_ms = u64::try_from(took).unwrap_or(0);
    Closing { record, response: None, frames: orphan.frames }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(Error::disk(format!("reading {}", path.display())))
}

fn truncate(path: &Path, length: u64) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(length).and_then(|()| file.sync_all()))
        .map_err(Error::disk(format!("cutting {} to its whole frames", path.display())))
}
