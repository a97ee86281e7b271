//! What an earlier process left behind is brought to a good end before a new one appends.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;

use super::growing::{Growing, seal};
use crate::Error;
use crate::carry::Carry;
use crate::frame::Opening;
use crate::journal::{Draft, Entry, Noted, split};
use crate::record::Record;
use crate::segment::{Clock, FULL, GROWING, list, number};

/// Cuts off half-written entries, closes what was under way, seals every journal. A journal that is
/// made for that is called by the name of the node.
///
/// A crash in here loses and doubles nothing: a closing that was appended is found by the next
/// recovery, one that was not is appended then.
pub(super) fn recover(folder: &Path, node: &str, clock: Clock) -> Result<(), Error> {
    let carry = Carry::load(folder)?;
    let left = list(folder, &[GROWING, FULL])?;
    let mut underway = BTreeMap::new();
    note(&carry.entries, &mut underway);
    for (name, path) in &left {
        // Published already, and only not yet removed: what it says is known.
        if *name == carry.after {
            continue;
        }
        let bytes = read(path)?;
        let whole = note(&bytes, &mut underway);
        let torn = bytes.len() as u64 - whole;
        if torn > 0 && path.to_string_lossy().ends_with(GROWING) {
            tracing::warn!("{torn} bytes of a half-written entry are cut off {}", path.display());
            truncate(path, whole)?;
        } else if torn > 0 {
            // It was whole when it was sealed: what cannot be read is kept for whoever can.
            tracing::error!("the last {torn} bytes of {} cannot be read", path.display());
        }
    }
    let names = left.iter().map(|(name, _)| name).chain([&carry.after]);
    let next = names.filter_map(|name| number(name)).max().map_or(0, |last| last + 1);
    if !underway.is_empty() {
        let journal = Growing::begin(folder, node, next, clock())?;
        close_all(journal, underway, clock)?;
    }
    for (_, path) in list(folder, &[GROWING])? {
        let synced = OpenOptions::new().write(true).open(&path).and_then(|file| file.sync_all());
        synced.map_err(Error::disk(format!("syncing {}", path.display())))?;
        seal(&path)?;
    }
    Ok(())
}

/// Notes which exchanges this journal opens and closes; returns the length of its whole entries.
fn note(bytes: &[u8], underway: &mut BTreeMap<String, Opening>) -> u64 {
    let mut whole = 0;
    for entry in split(bytes) {
        // An entry of the right length with wrong bytes: the disk lost a write. The rest may be good.
        whole = entry.offset + entry.length();
        match entry.noted() {
            Ok(Noted::Open(opening)) => {
                underway.insert(opening.record.id.clone(), *opening);
            }
            Ok(Noted::Close(closing)) => {
                underway.remove(&closing.record.id);
            }
            Ok(Noted::Body { .. }) | Err(_) => {}
        }
    }
    whole
}

fn close_all(
    mut journal: Growing,
    underway: BTreeMap<String, Opening>,
    clock: Clock,
) -> Result<(), Error> {
    let now = clock();
    let mut draft = Draft::default();
    for opening in underway.into_values() {
        let record = ended(opening.record, now);
        draft.push(&Entry::Close { record: &record, response: None }, Bytes::new());
    }
    journal.append(&mut draft.slices(), draft.length(), clock)?;
    journal.seal()
}

fn ended(mut record: Record, now: Timestamp) -> Record {
    record.fail();
    let took = now.duration_since(record.time).as_millis();
    record.took_ms = u64::try_from(took).unwrap_or(0);
    record
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(Error::disk(format!("reading {}", path.display())))
}

fn truncate(path: &Path, length: u64) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(length).and_then(|()| file.sync_all()))
        .map_err(Error::disk(format!("cutting {} to its whole entries", path.display())))
}
