//! A thread in the making.

use std::collections::HashMap;

use archive::record::{Outcome, Record};
use wire::attribution::RequestKind;

use super::builder::Passed;
use super::history::{History, Position};
use super::item::{Item, Part};
use super::question::{Element, elements};
use super::reply::{self, Reply};
use super::{Step, Sums, Thread, Turn, What};

/// What an error says is shown so far, in characters.
const MESSAGE: usize = 2000;

/// A thread, and what must be known to add to it.
pub(super) struct Growing {
    /// Whose key it was: another's thread of the same name is another thread.
    key_id: String,
    thread: Thread,
    history: History,
    /// Where in the history each answer ended.
    replies: HashMap<String, Position>,
    /// Calls that nothing has come back from, by their id: turn and step.
    calls: HashMap<String, (usize, usize)>,
    /// What replaced the conversation last.
    summary: Option<String>,
    /// The last turn has only made a socket ready: it belongs to the turn that follows.
    only_prepared: bool,
}

impl Growing {
    /// Begins the thread that an exchange is of.
    pub(super) fn new(record: &Record) -> Self {
        let thread = Thread {
            id: id(record),
            user: record.user.clone(),
            parent: record.parent_thread_id.clone(),
            subagent: record.subagent.clone(),
            repo: record.repo.clone(),
            sums: Sums::default(),
            turns: Vec::new(),
        };
        Self {
            key_id: record.key_id.clone(),
            thread,
            history: History::default(),
            replies: HashMap::new(),
            calls: HashMap::new(),
            summary: None,
            only_prepared: false,
        }
    }

    /// Whether the exchange belongs to this thread.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.key_id == record.key_id && self.thread.id == id(record)
    }

    /// The thread.
    pub(super) fn end(self) -> Thread {
        self.thread
    }

    /// Adds an exchange.
    pub(super) fn add(&mut self, passed: Passed<'_>) {
        let record = passed.record;
        let compacts = record.request_kind == RequestKind::Compaction.as_str();
        let mut asked = self.asked(passed);
        if compacts && ends_with_words(passed.request) {
            // What asks for the summary is Codex's own word.
            asked.pop();
        }
        self.turn(record, &asked);
        if asked.is_empty() {
            self.tried_again();
        }
        self.push(record, asked);
        let mut reply = reply::read(passed.response);
        let said = self.said(std::mem::take(&mut reply.items));
        let said = if compacts && record.outcome == Outcome::Complete {
            vec![self.compacted(said)]
        } else {
            said
        };
        self.push(record, said);
        self.ended(passed, reply);
        if let Some(id) = &record.response_id {
            self.replies.insert(id.clone(), self.history.end());
        }
    }

    /// What the request brings that is new.
    fn asked(&mut self, passed: Passed<'_>) -> Vec<Part> {
        let Some(elements) = elements(passed.request) else { return unread(passed) };
        // What goes on from an answer says only what comes after it.
        let mut at = match &passed.record.previous_response_id {
            Some(id) => self.replies.get(id).copied().unwrap_or(self.history.end()),
            None => Position::default(),
        };
        let mut parts = Vec::new();
        for element in elements {
            if self.history.passes(&mut at, element.raw()) {
                continue;
            }
            let item = element.read();
            if !item.parts.is_empty() && self.history.takes(&mut at, element.raw(), &item) {
                parts.extend(item.parts.into_iter().filter(|part| !self.is_summary(part)));
            }
        }
        parts
    }

    /// What the answer brings that is new.
    fn said(&mut self, items: Vec<(String, Item)>) -> Vec<Part> {
        let mut parts = Vec::new();
        for (raw, item) in items {
            let mut end = self.history.end();
            if !item.parts.is_empty() && self.history.takes(&mut end, &raw, &item) {
                parts.extend(item.parts);
            }
        }
        parts
    }

    /// What replaced the conversation.
    fn compacted(&mut self, said: Vec<Part>) -> Part {
        let texts = said.into_iter().filter_map(|part| match part.what {
            What::Answered { text, .. } => Some(text),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n");
        self.summary = (!text.trim().is_empty()).then_some(text);
        Part { what: What::Compacted { summary: self.summary.clone() }, call: None }
    }

    /// Whether this is the summary, sent as the beginning of what follows.
    fn is_summary(&self, part: &Part) -> bool {
        let Some(summary) = &self.summary else { return false };
        matches!(&part.what, What::Said { text } | What::Context { text } if text.contains(summary.trim()))
            || matches!(part.what, What::Compacted { .. })
    }

    /// Finds the turn of an exchange, or begins it.
    fn turn(&mut self, record: &Record, asked: &[Part]) {
        let prepares = record.request_kind == RequestKind::Prewarm.as_str();
        let speaks = asked.iter().any(|part| matches!(part.what, What::Said { .. }));
        let goes_on = self.thread.turns.last().is_some_and(|turn| {
            self.only_prepared || turn.id == record.turn_id && (turn.id.is_some() || !speaks)
        });
        if !goes_on {
            self.thread.turns.push(Turn {
                id: None,
                began: record.time,
                models: Vec::new(),
                sums: Sums::default(),
                steps: Vec::new(),
            });
        }
        self.only_prepared = prepares && (self.only_prepared || !goes_on);
        self.thread.sums.add(record);
        let Some(turn) = self.thread.turns.last_mut() else { return };
        turn.sums.add(record);
        if turn.id.is_none() {
            turn.id.clone_from(&record.turn_id);
        }
        let model = record.upstream_model.as_ref().or(record.model.as_ref());
        if let Some(model) = model.filter(|model| !turn.models.contains(model)) {
            turn.models.push(model.clone());
        }
    }

    fn push(&mut self, record: &Record, parts: Vec<Part>) {
        let index = self.thread.turns.len().saturating_sub(1);
        for part in parts {
            if let What::Output { call_id, text } = &part.what
                && self.came_back(call_id, text)
            {
                continue;
            }
            let Some(turn) = self.thread.turns.get_mut(index) else { return };
            if let Some(call) = part.call {
                self.calls.insert(call, (index, turn.steps.len()));
            }
            turn.steps.push(step(record, part.what));
        }
    }

    /// Puts an output to its call; says whether there is one.
    fn came_back(&mut self, call: &str, text: &str) -> bool {
        let Some((turn, step)) = self.calls.remove(call) else { return false };
        let turn = self.thread.turns.get_mut(turn);
        let Some(step) = turn.and_then(|turn| turn.steps.get_mut(step)) else { return false };
        match &mut step.what {
            What::Command { output, .. }
            | What::Patch { output, .. }
            | What::Tool { output, .. } => {
                *output = Some(text.to_owned());
                true
            }
            _ => false,
        }
    }

    /// The same is asked once more: where that follows a failure, it is told there.
    fn tried_again(&mut self) {
        let last = self.thread.turns.last_mut().and_then(|turn| turn.steps.last_mut());
        if let Some(Step { what: What::Failed { tried_again, .. }, .. }) = last {
            *tried_again = true;
        }
    }

    /// Tells of an exchange that did not end well, or not whole.
    fn ended(&mut self, passed: Passed<'_>, reply: Reply) {
        let record = passed.record;
        if record.outcome != Outcome::Complete {
            return self.failed(passed, reply.error);
        }
        if let Some(reason) = reply.incomplete {
            let what = What::Other { name: "incomplete".to_owned(), text: reason };
            self.push(record, vec![Part { what, call: None }]);
        }
    }

    fn failed(&mut self, passed: Passed<'_>, error: Option<String>) {
        let record = passed.record;
        let is_error = record.status.is_some_and(|status| status >= 400);
        let begin = passed.response.get(..4 * MESSAGE).unwrap_or(passed.response);
        let body = is_error.then(|| String::from_utf8_lossy(begin).into_owned());
        let message = error.or(body).filter(|text| !text.is_empty()).or(record.refusal.clone());
        let broke = (record.outcome == Outcome::Failed).then(|| "The answer broke off.".to_owned());
        let message: String = message.or(broke).unwrap_or_default().chars().take(MESSAGE).collect();
        let (status, outcome, source) = (record.status, record.outcome, record.source);
        let what = What::Failed { status, outcome, source, message, times: 1, tried_again: false };
        let last = self.thread.turns.last_mut().and_then(|turn| turn.steps.last_mut());
        if !last.is_some_and(|last| is_repeated(&mut last.what, &what)) {
            self.push(record, vec![Part { what, call: None }]);
        }
    }
}

/// Whether the last element of a request is said in the person's place.
fn ends_with_words(request: &[u8]) -> bool {
    let last = elements(request).and_then(|elements| elements.last().map(Element::read));
    let part = last.and_then(|item| item.parts.into_iter().next_back());
    part.is_some_and(|part| matches!(part.what, What::Said { .. }))
}

/// Counts a failure that is the same as the one before it.
fn is_repeated(last: &mut What, now: &What) -> bool {
    let What::Failed { times, tried_again, .. } = last else { return false };
    let (counted, again) = (*times, *tried_again);
    (*times, *tried_again) = (1, false);
    let same = *last == *now;
    if let What::Failed { times, tried_again, .. } = last {
        *times = counted + u64::from(same);
        *tried_again = again && !same;
    }
    same
}

fn step(record: &Record, what: What) -> Step {
    Step { exchange: record.id.clone(), time: record.time, what }
}

/// What stands for a body that is not stored, or that is not understood.
fn unread(passed: Passed<'_>) -> Vec<Part> {
    let bytes = passed.request.len();
    let what = match (bytes, passed.record.request_bytes) {
        (0, 0) => return Vec::new(),
        (0, _) => What::Unstored,
        _ => What::Other {
            name: "request".to_owned(),
            text: format!("{bytes} bytes that are no JSON"),
        },
    };
    vec![Part { what, call: None }]
}

/// What names the thread of an exchange: as the client says, else its session or its connection.
fn id(record: &Record) -> Option<String> {
    let names = [&record.thread_id, &record.session_id, &record.connection_id];
    names.into_iter().find_map(Clone::clone)
}
