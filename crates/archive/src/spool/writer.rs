//! The thread that owns the growing segment.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Ack, Command, Options, State, Sync, Unwritable};
use crate::Error;
use crate::frame::{Closing, Encoder, Line, Opening, Part, Place};
use crate::record::{Outcome, Source};
use crate::segment::{Segment, day_of};

/// How often is done what is due by time; under [`Sync::Group`] the longest that an appended frame
/// stays off the disk.
const TICK: Duration = Duration::from_millis(200);
/// How many commands are appended with one write.
const BATCH: usize = 256;

/// The state of the spool's thread.
pub(super) struct Writer {
    options: Options,
    next_number: u64,
    segment: Option<Segment>,
    /// The segment before, while it cannot be sealed: none after it may be published first, or a
    /// recovery would see its openings without their closings.
    stuck: Option<Segment>,
    encoder: Encoder,
    /// Exchanges that have opened and not closed, with their frames so far.
    open: HashMap<String, Underway>,
    /// Closings that the disk refused; tried again at each tick.
    unwritten: Vec<(Box<Closing>, Vec<Line>)>,
    state: State,
}

/// What the thread does after a batch.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

struct Underway {
    opening: Box<Opening>,
    frames: Vec<Place>,
    /// Part of a body could not be written: this exchange can no longer end complete.
    torn: bool,
}

impl Writer {
    pub(super) fn new(options: Options, next_number: u64, state: State) -> Result<Self, Error> {
        let encoder = Encoder::new().map_err(Error::disk("preparing compression"))?;
        let (open, unwritten) = (HashMap::new(), Vec::new());
        Ok(Self {
            options,
            next_number,
            segment: None,
            stuck: None,
            encoder,
            open,
            unwritten,
            state,
        })
    }

    /// Appends until it is told to stop, then seals what is open.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build()
        else {
            tracing::error!("the spool's thread cannot start its timer");
            return;
        };
        runtime.block_on(async {
            let mut batch = Vec::with_capacity(BATCH);
            let mut due = Instant::now() + TICK;
            loop {
                let received = inbox.recv_many(&mut batch, BATCH);
                match tokio::time::timeout_at(due, received).await {
                    Ok(0) => break,
                    Ok(_) if self.append_batch(&mut batch) == Then::Stop => break,
                    Ok(_) | Err(_) => {}
                }
                if Instant::now() >= due {
                    self.tick();
                    due = Instant::now() + TICK;
                }
            }
        });
        self.tick();
        self.seal();
    }

    /// Appends each command's frame, syncs as promised, then tells whoever waits.
    fn append_batch(&mut self, batch: &mut Vec<Command>) -> Then {
        let mut then = Then::GoOn;
        let mut acks: Vec<(Ack, Result<(), Unwritable>)> = Vec::with_capacity(batch.len());
        let mut opened = Vec::new();
        for command in batch.drain(..) {
            match command {
                Command::Open(opening, parts, ack) => {
                    opened.push(opening.record.id.clone());
                    acks.push((ack, self.open(opening, parts)));
                }
                Command::Body(parts, _room) => self.body(parts),
                Command::Close(closing, rest, ack) => {
                    let result = self.close(closing, rest);
                    acks.extend(ack.map(|ack| (ack, result)));
                }
                Command::Stop => then = Then::Stop,
            }
        }
        let synced = self.sync_if(|sync, _| sync == Sync::Always);
        if synced.is_err() {
            self.end_unsynced(&opened);
        }
        for (ack, result) in acks {
            // Whoever asked may have gone: the frame is written all the same.
            let _ = ack.send(result.and(synced));
        }
        then
    }

    fn open(&mut self, opening: Box<Opening>, parts: Vec<Part>) -> Result<(), Unwritable> {
        let id = opening.record.id.clone();
        let mut lines = vec![Line::Open(opening)];
        lines.extend(parts.into_iter().map(Line::Body));
        let place = self.append(&lines)?;
        if let Line::Open(opening) = lines.swap_remove(0) {
            self.open.insert(id, Underway { opening, frames: vec![place], torn: false });
        }
        Ok(())
    }

    /// Openings that are in the file but not on the disk are answered as unwritable, so that nobody
    /// will close them: they end as their opening says, failed by us.
    fn end_unsynced(&mut self, opened: &[String]) {
        for id in opened {
            let Some(underway) = self.open.get(id) else { continue };
            let record = underway.opening.record.clone();
            let closing = Closing { record, response: None, frames: Vec::new() };
            self.unwritten.push((Box::new(closing), Vec::new()));
        }
    }

    fn body(&mut self, parts: Vec<Part>) {
        let Some(id) = parts.first().map(|part| part.id.clone()) else { return };
        let lines: Vec<Line> = parts.into_iter().map(Line::Body).collect();
        let place = self.append(&lines);
        // Bytes that come after the end belong to no open exchange; a reader of the segment joins
        // them by their id.
        let Some(underway) = self.open.get_mut(&id) else { return };
        match place {
            Ok(place) => underway.frames.push(place),
            Err(Unwritable) => underway.torn = true,
        }
    }

    fn close(&mut self, mut closing: Box<Closing>, rest: Vec<Line>) -> Result<(), Unwritable> {
        let id = closing.record.id.clone();
        let underway = self.open.get(&id);
        let opened = underway.is_some();
        let torn = underway.is_some_and(|underway| underway.torn);
        if let Some(underway) = underway {
            closing.frames.clone_from(&underway.frames);
        }
        if torn {
            fail(&mut closing);
        }
        let mut lines = vec![Line::Close(closing)];
        lines.extend(rest);
        if self.append(&lines).is_ok() {
            self.open.remove(&id);
            return if torn { Err(Unwritable) } else { Ok(()) };
        }
        // What has a frame must have an end, as soon as the disk takes it; until then it counts as
        // under way. The client will not see its end, so that the record must not say it did. What
        // has no frame leaves nothing: while the disk is full nothing more is opened, so that the
        // kept ones stay few.
        let rest = lines.split_off(1);
        if let (true, Some(Line::Close(mut closing))) = (opened, lines.pop()) {
            fail(&mut closing);
            self.unwritten.push((closing, rest));
        }
        Err(Unwritable)
    }

    /// Appends one frame and says where it lies.
    fn append(&mut self, lines: &[Line]) -> Result<Place, Unwritable> {
        let result = self.try_append(lines);
        self.note_writable(result.as_ref().err());
        result.map_err(|_| Unwritable)
    }

    /// Notes whether the last write succeeded, and says so when that has changed.
    fn note_writable(&self, error: Option<&Error>) {
        let was_writable = self.state.writable.swap(error.is_none(), Ordering::Relaxed);
        match error {
            Some(error) if was_writable => {
                tracing::error!(error = error_text(error), "the spool cannot be written");
            }
            None if !was_writable => tracing::info!("the spool can be written again"),
            Some(_) | None => {}
        }
    }

    fn try_append(&mut self, lines: &[Line]) -> Result<Place, Error> {
        let mut frame = Vec::new();
        self.encoder.encode(lines, &mut frame).map_err(Error::disk("encoding a frame"))?;
        let segment = self.segment()?;
        let place = Place {
            segment: segment.name.clone(),
            offset: segment.length,
            length: frame.len() as u64,
        };
        segment.append(&frame)?;
        Ok(place)
    }

    /// The growing segment, begun where there is none.
    fn segment(&mut self) -> Result<&mut Segment, Error> {
        let segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin()?,
        };
        Ok(self.segment.insert(segment))
    }

    /// A new segment begins with the exchanges that are under way, so that a later recovery finds
    /// them though the segments before have been published.
    fn begin(&mut self) -> Result<Segment, Error> {
        let now = (self.options.clock)();
        let number = self.next_number;
        let mut fresh = Segment::begin(&self.options.folder, &self.options.node, number, now)?;
        self.next_number += 1;
        let mut carried = Vec::new();
        for underway in self.open.values() {
            let mut opening = underway.opening.clone();
            opening.frames.clone_from(&underway.frames);
            let line = [Line::Open(opening)];
            self.encoder.encode(&line, &mut carried).map_err(Error::disk("encoding a frame"))?;
        }
        let written = fresh.append(&carried);
        // Before the segment before may go: these openings will be nowhere else.
        let synced = if self.options.sync == Sync::Os { Ok(()) } else { fresh.sync() };
        if let Err(error) = written.and(synced) {
            fresh.discard();
            return Err(error);
        }
        Ok(fresh)
    }

    /// What is due by time or size: retries, sync, seal.
    fn tick(&mut self) {
        if !self.state.is_writable() {
            let probed = self.segment().and_then(Segment::probe);
            self.note_writable(probed.as_ref().err());
        }
        for (closing, rest) in std::mem::take(&mut self.unwritten) {
            let _ = self.close(closing, rest);
        }
        let _ = self.sync_if(|sync, unsynced| sync == Sync::Group && unsynced > 0);
        let now = (self.options.clock)();
        let is_due = self.segment.as_ref().is_some_and(|segment| self.is_due(segment, now));
        if is_due || self.stuck.is_some() {
            self.seal();
        }
    }

    fn is_due(&self, segment: &Segment, now: Timestamp) -> bool {
        let age = now.duration_since(segment.began).unsigned_abs();
        segment.length >= self.options.seal_bytes
            || age >= self.options.seal_after
            || day_of(segment.began) != day_of(now)
    }

    fn seal(&mut self) {
        if let Err(error) = self.try_seal() {
            // Tried again at the next tick, and by the recovery of the next start.
            tracing::error!(error = error_text(&error), "a segment stays unsealed");
        }
    }

    fn try_seal(&mut self) -> Result<(), Error> {
        self.seal_stuck()?;
        let Some(old) = self.segment.take() else { return Ok(()) };
        // First the next segment with what is under way, then the old one may go.
        if !self.open.is_empty() {
            match self.begin() {
                Ok(next) => self.segment = Some(next),
                Err(error) => {
                    self.segment = Some(old);
                    return Err(error);
                }
            }
        }
        self.stuck = Some(old);
        self.seal_stuck()
    }

    fn seal_stuck(&mut self) -> Result<(), Error> {
        if let Some(stuck) = &mut self.stuck {
            stuck.seal()?;
            self.stuck = None;
            self.state.sealed.notify_one();
        }
        Ok(())
    }

    fn sync_if(&mut self, due: impl Fn(Sync, u64) -> bool) -> Result<(), Unwritable> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        if !due(self.options.sync, segment.unsynced) {
            return Ok(());
        }
        segment.sync().map_err(|error| {
            self.state.writable.store(false, Ordering::Relaxed);
            tracing::error!(error = error_text(&error), "the spool cannot be synced");
            Unwritable
        })
    }
}

fn fail(closing: &mut Closing) {
    closing.record.outcome = Outcome::Failed;
    closing.record.source = Source::Proxy;
}

fn error_text(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
