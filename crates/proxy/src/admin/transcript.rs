//! A conversation as people read it: what was said, answered, run and paid, each thing once.
//!
//! Pure: bodies go in, in the order of their exchanges, and a [`Transcript`] comes out. What is not
//! understood is left out or shown as it is; it never hides what is.

pub mod builder;
mod content;
mod history;
mod item;
mod question;
mod reply;
mod thread;
pub mod write;

use archive::record::{Outcome, Record, Source, to_the_millisecond};
use jiff::Timestamp;
use serde::Serialize;
use wire::price::{nanos, usd};

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transcript {
    /// By what it was asked for.
    pub session: String,
    /// When its first exchange began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub began: Timestamp,
    /// When its last exchange began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub last: Timestamp,
    /// What all of it used.
    pub sums: Sums,
    /// Its threads, in the order in which they began: that of the person, and those of sub-agents.
    pub threads: Vec<Thread>,
}

/// A line of conversation with one model context of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thread {
    /// Codex's id; absent where the client names none.
    pub id: Option<String>,
    /// Whose.
    pub user: String,
    /// The thread that started it.
    pub parent: Option<String>,
    /// Which kind of sub-agent it is.
    pub subagent: Option<String>,
    /// The repository it worked in.
    pub repo: Option<String>,
    /// What it used.
    pub sums: Sums,
    /// In order.
    pub turns: Vec<Turn>,
}

/// From what a person said to the end of what the model did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// Codex's id; absent where the client names none.
    pub id: Option<String>,
    /// When its first exchange began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub began: Timestamp,
    /// The models that answered, else those asked.
    pub models: Vec<String>,
    /// What it used.
    pub sums: Sums,
    /// In order.
    pub steps: Vec<Step>,
}

/// What exchanges used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// How many.
    pub exchanges: u64,
    /// Input, with cached tokens.
    pub input_tokens: u64,
    /// Input from the provider's cache.
    pub cached_input_tokens: u64,
    /// Output, with reasoning.
    pub output_tokens: u64,
    /// Reasoning.
    pub reasoning_tokens: u64,
    /// Input and output.
    pub total_tokens: u64,
    /// Nano-dollars of what is priced.
    #[serde(rename = "cost_usd", serialize_with = "as_usd")]
    pub cost_nanos: u64,
    /// Exchanges of unknown cost, which are in no sum of money.
    pub unpriced_exchanges: u64,
    /// From arrival to end, milliseconds, added up.
    pub took_ms: u64,
}

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The exchange that brought it first.
    pub exchange: String,
    /// When that began.
    #[serde(serialize_with = "to_the_millisecond")]
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What was said or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The client told the model how to behave.
    Instructions {
        /// The words.
        text: String,
    },
    /// The client told the model about the surroundings.
    Context {
        /// The words.
        text: String,
    },
    /// The person said something.
    Said {
        /// The words.
        text: String,
    },
    /// The model answered.
    Answered {
        /// The words.
        text: String,
        /// Whether they broke off.
        cut: bool,
    },
    /// The model reasoned; all that is told of it.
    Reasoned {
        /// The summary.
        text: String,
    },
    /// The model had a command run.
    Command {
        /// As a shell would take it.
        command: String,
        /// What came back; absent where nothing did.
        output: Option<String>,
    },
    /// The model had files changed.
    Patch {
        /// The change.
        patch: String,
        /// What came back; absent where nothing did.
        output: Option<String>,
    },
    /// The model used another tool.
    Tool {
        /// Its name.
        name: String,
        /// What it was given.
        input: String,
        /// What came back; absent where nothing did.
        output: Option<String>,
    },
    /// Came back from a call that is not in this conversation.
    Output {
        /// The call.
        call_id: String,
        /// What came back.
        text: String,
    },
    /// The conversation so far was replaced by something shorter.
    Compacted {
        /// What replaced it; absent where only the provider can read that.
        summary: Option<String>,
    },
    /// A sub-agent began.
    Began {
        /// Its thread.
        thread: String,
        /// Which kind.
        subagent: Option<String>,
    },
    /// An exchange did not end well.
    Failed {
        /// HTTP status the client saw.
        status: Option<u16>,
        /// How it ended.
        outcome: Outcome,
        /// Who brought that about.
        source: Source,
        /// What was told about it.
        message: String,
        /// How often in a row.
        times: u64,
        /// Whether the client then asked the same again.
        tried_again: bool,
    },
    /// Anything else that passed.
    Other {
        /// What it calls itself.
        name: String,
        /// As far as it can be shown.
        text: String,
    },
    /// Something passed whose bodies are not stored.
    Unstored,
}

impl Sums {
    /// Adds what an exchange used.
    fn add(&mut self, record: &Record) {
        self.exchanges += 1;
        self.input_tokens += record.input_tokens;
        self.cached_input_tokens += record.cached_input_tokens;
        self.output_tokens += record.output_tokens;
        self.reasoning_tokens += record.reasoning_tokens;
        self.total_tokens += record.total_tokens;
        self.cost_nanos += record.cost_usd.as_deref().map_or(0, nanos);
        self.unpriced_exchanges += u64::from(!record.priced);
        self.took_ms += record.took_ms;
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_usd<S: serde::Serializer>(nanos: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&usd(*nanos))
}

#[cfg(test)]
pub(super) mod tests;
