//! Words for what the model says and does.

use crate::{directive::Directive, problem::Problem};

/// `say`, `words`, `huge`, `event`, `tool`/`args`, `custom`/`input`, `shell`, `reasoning`, `fail`,
/// `incomplete`, `model`, `tier`.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The text; `None` for the usual one.
    pub(crate) speech: Option<Speech>,
    /// Tool calls, instead of text until a tool has answered.
    pub(crate) calls: Vec<Call>,
    /// Reasoning tokens; `None` for what the effort asks for.
    pub(crate) reasoning_tokens: Option<u64>,
    /// The code with which the response fails.
    pub(crate) fail: Option<String>,
    /// The reason why the response stays incomplete.
    pub(crate) incomplete: Option<String>,
    /// Another model than the one asked for.
    pub(crate) model: Option<String>,
    /// Another tier than the one asked for.
    pub(crate) tier: Option<String>,
}

/// A text.
#[derive(Debug)]
pub(crate) enum Speech {
    /// This one.
    Say(String),
    /// So many words.
    Words(usize),
    /// So many bytes, in deltas of 16 KiB.
    Huge(usize),
    /// So many bytes in one delta.
    Event(usize),
}

/// A tool call.
#[derive(Debug)]
pub(crate) enum Call {
    /// A function with JSON arguments.
    Function { name: String, arguments: String },
    /// A custom tool with a text.
    Custom { name: String, input: String },
    /// A command for whatever shell the request offers.
    Shell(String),
}

impl Content {
    /// Takes a word if it is one of these.
    pub(crate) fn take(&mut self, directive: &Directive) -> Result<bool, Problem> {
        match directive.word.as_str() {
            "say" => self.speech = Some(Speech::Say(directive.text())),
            "words" => self.speech = Some(Speech::Words(words(directive)?)),
            "huge" => self.speech = Some(Speech::Huge(directive.size()?)),
            "event" => self.speech = Some(Speech::Event(directive.size()?)),
            "reasoning" => self.reasoning_tokens = Some(directive.number()?),
            "fail" => self.fail = Some(directive.text()),
            "incomplete" => self.incomplete = Some(directive.text()),
            "model" => self.model = Some(directive.text()),
            "tier" => self.tier = Some(directive.text()),
            _ => return self.take_call(directive),
        }
        Ok(true)
    }

    /// `args` and `input` belong to the call named just before.
    fn take_call(&mut self, directive: &Directive) -> Result<bool, Problem> {
        let text = directive.text();
        match (directive.word.as_str(), self.calls.last_mut()) {
            ("shell", _) => self.calls.push(Call::Shell(text)),
            ("tool", _) => {
                self.calls.push(Call::Function { name: text, arguments: "{}".to_owned() });
            }
            ("custom", _) => self.calls.push(Call::Custom { name: text, input: String::new() }),
            ("args", Some(Call::Function { arguments, .. })) => *arguments = text,
            ("input", Some(Call::Custom { input, .. })) => *input = text,
            ("args", _) => return Err(directive.unfit("a tool=… before it")),
            ("input", _) => return Err(directive.unfit("a custom=… before it")),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn words(directive: &Directive) -> Result<usize, Problem> {
    let count = directive.number()?;
    if count > 1_000_000 { Err(directive.unfit("a million at most")) } else { Ok(count) }
}
