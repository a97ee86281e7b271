//! Exchanges go in, in the order in which they began; a transcript comes out.

use archive::record::Record;
use jiff::Timestamp;

use super::thread::Growing;
use super::{Step, Sums, Thread, Transcript, What};

/// A transcript in the making.
pub struct Builder {
    session: String,
    times: Option<(Timestamp, Timestamp)>,
    sums: Sums,
    threads: Vec<Growing>,
}

/// One exchange as the archive has it.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    /// Its record.
    pub record: &'a Record,
    /// What was asked.
    pub request: &'a [u8],
    /// What was answered.
    pub response: &'a [u8],
}

impl Builder {
    /// Begins the transcript of the conversation that is called so.
    pub fn new(session: String) -> Self {
        Self { session, times: None, sums: Sums::default(), threads: Vec::new() }
    }

    /// Adds an exchange.
    pub fn add(&mut self, passed: Passed<'_>) {
        let record = passed.record;
        let (began, last) = self.times.unwrap_or((record.time, record.time));
        self.times = Some((began.min(record.time), last.max(record.time)));
        self.sums.add(record);
        let known = self.threads.iter().position(|thread| thread.is_of(record));
        let index = known.unwrap_or_else(|| {
            self.threads.push(Growing::new(record));
            self.threads.len() - 1
        });
        if let Some(thread) = self.threads.get_mut(index) {
            thread.add(passed);
        }
    }

    /// The transcript; none where no exchange was added.
    pub fn end(self) -> Option<Transcript> {
        let (began, last) = self.times?;
        let mut threads: Vec<Thread> = self.threads.into_iter().map(Growing::end).collect();
        for start in threads.iter().filter_map(start).collect::<Vec<_>>() {
            note_start(&mut threads, start);
        }
        Some(Transcript { session: self.session, began, last, sums: self.sums, threads })
    }
}

/// The thread that started this one, and the step that tells so.
fn start(thread: &Thread) -> Option<(String, Step)> {
    let first = thread.turns.first()?;
    let what = What::Began { thread: thread.id.clone()?, subagent: thread.subagent.clone() };
    let exchange = first.steps.first().map(|step| step.exchange.clone()).unwrap_or_default();
    Some((thread.parent.clone()?, Step { exchange, time: first.began, what }))
}

/// Notes in the thread that started another when that was.
fn note_start(threads: &mut [Thread], (parent, step): (String, Step)) {
    let Some(parent) = threads.iter_mut().find(|thread| thread.id.as_ref() == Some(&parent)) else {
        return;
    };
    let Some(turn) = parent.turns.iter_mut().rev().find(|turn| turn.began <= step.time) else {
        return;
    };
    let at = turn.steps.iter().position(|known| known.time > step.time);
    turn.steps.insert(at.unwrap_or(turn.steps.len()), step);
}
