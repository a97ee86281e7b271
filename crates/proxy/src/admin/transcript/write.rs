//! Transcripts on paper: as text, Markdown, HTML and JSON.

mod html;
mod markdown;
mod text;

use std::borrow::Cow;

use archive::record::Source;
use jiff::Timestamp;
use wire::price::usd;

use super::{Sums, Thread, Transcript, Turn, What};

/// The form of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For a terminal.
    Text,
    /// For a document.
    Markdown,
    /// One page that needs nothing else.
    Html,
    /// Everything, for programs.
    Json,
}

/// Writes a transcript.
pub fn write(transcript: &Transcript, form: Form) -> serde_json::Result<String> {
    Ok(match form {
        Form::Text => text::write(transcript),
        Form::Markdown => markdown::write(transcript),
        Form::Html => html::write(transcript),
        Form::Json => serde_json::to_string_pretty(transcript)? + "\n",
    })
}

/// A step as all forms show it.
struct Shown<'a> {
    /// What kind of thing it is, in one word.
    kind: &'static str,
    /// Its heading.
    label: Cow<'a, str>,
    /// What it says.
    body: Cow<'a, str>,
    /// What came back.
    output: Option<&'a str>,
}

impl Shown<'_> {
    /// Whether it is long and the same in each conversation, so that its beginning will do.
    fn is_aside(&self) -> bool {
        matches!(self.kind, "instructions" | "context")
    }
}

fn shown(what: &What) -> Shown<'_> {
    let plain = |kind: &'static str, label: &'static str, body| Shown {
        kind,
        label: label.into(),
        body: Cow::Borrowed(body),
        output: None,
    };
    let run = |kind, label: Cow<'static, str>, body, output| Shown {
        kind,
        label,
        body: Cow::Borrowed(body),
        output,
    };
    match what {
        What::Instructions { text } => plain("instructions", "instructions", text.as_str()),
        What::Context { text } => plain("context", "context", text),
        What::Said { text } => plain("said", "person", text),
        What::Answered { text, cut: false } => plain("answered", "model", text),
        What::Answered { text, cut: true } => plain("answered", "model, broken off", text),
        What::Reasoned { text } => plain("reasoned", "reasoning", text),
        What::Command { command, output } => {
            run("command", "command".into(), command.as_str(), output.as_deref())
        }
        What::Patch { patch, output } => run("patch", "patch".into(), patch, output.as_deref()),
        What::Tool { name, input, output } => {
            run("tool", format!("tool {name}").into(), input, output.as_deref())
        }
        What::Output { call_id, text } => {
            run("tool", format!("output of {call_id}").into(), text, None)
        }
        What::Compacted { summary } => {
            let unread = "Only the provider can read what replaced it.";
            plain("compacted", "conversation compacted", summary.as_deref().unwrap_or(unread))
        }
        What::Began { thread, subagent } => {
            let label = format!("sub-agent {} began", subagent.as_deref().unwrap_or_default());
            run("began", label.into(), thread, None)
        }
        What::Failed { message, .. } => run("failed", failure(what).into(), message, None),
        What::Other { name, text } => run("other", name.clone().into(), text, None),
        What::Unstored => {
            plain("unstored", "not stored", "The bodies of this exchange are not stored.")
        }
    }
}

fn failure(what: &What) -> String {
    let What::Failed { status, outcome, source, times, tried_again, .. } = what else {
        return String::new();
    };
    let by = match source {
        Source::Client => "the client",
        Source::Upstream => "the upstream",
        Source::Proxy => "this proxy",
    };
    let status = status.map(|status| format!(", status {status}")).unwrap_or_default();
    let times = if *times > 1 { format!(", {times} times") } else { String::new() };
    let again = if *tried_again { ", then asked again" } else { "" };
    let word = outcome.as_str();
    format!("{word} by {by}{status}{times}{again}")
}

/// Who, where and when.
fn about(transcript: &Transcript) -> String {
    let mut words: Vec<&str> = Vec::new();
    for thread in &transcript.threads {
        words.push(&thread.user);
        words.extend(thread.repo.as_deref());
    }
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(*word));
    let (began, last) = (moment(transcript.began), moment(transcript.last));
    format!("{} | {began} to {last} UTC", words.join(" | "))
}

fn thread_heading(thread: &Thread) -> String {
    let id = thread.id.as_deref().unwrap_or("without a name");
    match (&thread.subagent, &thread.parent) {
        (None, None) => format!("Thread {id}, {}", thread.user),
        (kind, _) => format!(
            "Sub-agent {} in thread {id}, {}",
            kind.as_deref().unwrap_or_default(),
            thread.user
        ),
    }
}

fn turn_heading(number: usize, turn: &Turn) -> String {
    let models = turn.models.join(", ");
    format!("Turn {number} | {} | {models}", moment(turn.began))
}

fn sums(sums: &Sums) -> String {
    let exchanges = if sums.exchanges == 1 { "exchange" } else { "exchanges" };
    let unknown = match sums.unpriced_exchanges {
        0 => String::new(),
        many => format!(" and {many} of unknown cost"),
    };
    format!(
        "{} {exchanges}, {} tokens in ({} cached), {} out, {} USD{unknown}, {}.{} s",
        sums.exchanges,
        sums.input_tokens,
        sums.cached_input_tokens,
        sums.output_tokens,
        usd(sums.cost_nanos),
        sums.took_ms / 1000,
        sums.took_ms % 1000 / 100,
    )
}

fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Whether there is more than the one thread whose heading would tell nothing new.
fn has_threads(transcript: &Transcript) -> bool {
    transcript.threads.len() > 1
}

/// A text without what would steer a terminal or turn the direction of writing.
fn harmless(text: &str) -> String {
    let kept = text.chars().filter(|letter| *letter != '\r');
    kept.map(|letter| if is_harmless(letter) { letter } else { '\u{FFFD}' }).collect()
}

fn is_harmless(letter: char) -> bool {
    let turns = matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    matches!(letter, '\n' | '\t') || !letter.is_control() && !turns
}
