//! What the simulator remembers from one request to the next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::request::Parts;
use serde::Serialize;

use crate::{
    ask::Thread,
    bill::{Asked, Bill, Billed, Cache},
    body::Received,
    organization::Timed,
    seed::{Ids, Seed},
};

/// All that requests share.
pub(crate) struct State {
    /// The only key accepted, if there is one.
    pub(crate) key: Option<String>,
    /// The time between events.
    pub(crate) pace: Duration,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    counter: u64,
    bill: Bill,
    /// When each of its exchanges was billed, seconds since 1970.
    times: Vec<u64>,
    seen: VecDeque<Seen>,
    made: VecDeque<(String, String)>,
    threads: VecDeque<(String, Thread)>,
    cache: Cache,
    sockets: String,
    scripted: HashMap<u64, u64>,
}

/// How many requests and responses are kept.
const KEPT: usize = 1000;
/// Longer responses are not kept.
const LONGEST_KEPT: usize = 128 << 10;

/// A request as it arrived.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Seen {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body_length: u64,
    body_start: String,
}

impl Seen {
    /// Notes a request.
    pub(crate) fn new(head: &Parts, body: &Received) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let headers = headers.collect();
        Self { headers, ..Self::message(head, body, head.method.as_str()) }
    }

    /// Notes a message of a WebSocket that was opened with this head.
    pub(crate) fn message(head: &Parts, body: &Received, method: &str) -> Self {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let start: Vec<u8> = body.bytes.iter().copied().take(800).collect();
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body_length: body.length,
            body_start: String::from_utf8_lossy(&start).chars().take(200).collect(),
        }
    }
}

impl State {
    /// Nothing seen yet.
    pub(crate) fn new(key: Option<String>, pace: Duration) -> Self {
        Self { key, pace, memory: Mutex::default() }
    }

    /// Notes a request and gives it its ids.
    pub(crate) fn open(&self, seen: Seen, body: &[u8]) -> Ids {
        let asked = Seed::of(body);
        let mut memory = self.memory();
        push(&mut memory.seen, seen);
        let counter = memory.counter;
        memory.counter += 1;
        Ids { asked, counter }
    }

    /// How many tokens the prompt cache holds for a request, which it then remembers.
    pub(crate) fn cached(&self, asked: &Asked) -> u64 {
        self.memory().cache.exchange(asked)
    }

    /// Adds to the bill.
    pub(crate) fn charge(&self, billed: Billed) {
        let mut memory = self.memory();
        memory.bill.exchanges.push(billed);
        memory.times.push(now());
    }

    /// The bill, with when each exchange was billed.
    pub(crate) fn timed(&self) -> Vec<Timed> {
        let memory = self.memory();
        memory.times.iter().copied().zip(memory.bill.exchanges.iter().cloned()).collect()
    }

    /// Keeps a response.
    pub(crate) fn keep(&self, id: String, response: String) {
        if response.len() <= LONGEST_KEPT {
            push(&mut self.memory().made, (id, response));
        }
    }

    /// The response with this id, if it is kept.
    pub(crate) fn made(&self, id: &str) -> Option<String> {
        let memory = self.memory();
        let found = memory.made.iter().find(|(made, _)| made == id);
        found.map(|(_, response)| response.clone())
    }

    /// Remembers a conversation by the id of its last response.
    pub(crate) fn follow(&self, id: String, thread: Thread) {
        push(&mut self.memory().threads, (id, thread));
    }

    /// The conversation that ended with this response.
    pub(crate) fn thread(&self, id: &str) -> Option<Thread> {
        let memory = self.memory();
        let found = memory.threads.iter().rev().find(|(last, _)| last == id);
        found.map(|(_, thread)| thread.clone())
    }

    /// Words for the sockets to come.
    pub(crate) fn tell_sockets(&self, words: String) {
        self.memory().sockets = words;
    }

    /// The words for sockets that bring none of their own.
    pub(crate) fn told_sockets(&self) -> String {
        self.memory().sockets.clone()
    }

    /// How many requests came before with this script.
    pub(crate) fn scripted(&self, text: &str) -> u64 {
        let mut memory = self.memory();
        if memory.scripted.len() > KEPT {
            memory.scripted.clear();
        }
        let count = memory.scripted.entry(Seed::of(text.as_bytes()).key()).or_default();
        *count += 1;
        *count - 1
    }

    /// A copy of the bill.
    pub(crate) fn bill(&self) -> Bill {
        self.memory().bill.clone()
    }

    /// The last requests, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.memory().seen.iter().cloned().collect()
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        *self.memory() = Memory::default();
    }

    /// What is in memory is right even if a task panicked: each change is one step.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Usage and costs are told by the day, so that this much must be true of the time.
fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the simulated API reads its own clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}
