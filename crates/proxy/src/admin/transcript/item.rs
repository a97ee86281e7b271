//! One element of a conversation: an item of the Responses API, or a message of Chat Completions.

use serde_json::Value;

use super::What;
use super::content::{at, output, text};

/// What one element says.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// Its id, where it has one.
    pub(super) id: Option<String>,
    /// What is to be shown of it; nothing where it is of no interest to people.
    pub(super) parts: Vec<Part>,
}

/// A step in the making.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is.
    pub(super) what: What,
    /// The call, where an output may come back from it.
    pub(super) call: Option<String>,
}

/// How texts begin that a client writes into the place of the person.
const CONTEXTS: [&str; 6] = [
    "<environment_context>",
    "<user_instructions>",
    "<skills_instructions>",
    "<permissions instructions>",
    "<turn_aborted>",
    "# AGENTS.md instructions",
];

/// Where Codex says what the parts of a message are, to providers it takes for `OpenAI`.
const KINDS: &str = "/internal_chat_message_metadata_passthrough/content_item_kinds";

/// Tools whose argument is a command.
const SHELLS: [&str; 6] =
    ["exec_command", "shell", "shell_command", "local_shell", "container.exec", "bash"];

/// An unknown item is shown so far, in bytes.
const UNKNOWN: usize = 2000;

impl Item {
    /// One that says one thing.
    pub(super) fn saying(what: What) -> Self {
        Self { id: None, parts: vec![Part { what, call: None }] }
    }
}

/// Reads an element.
pub(super) fn read(value: &Value) -> Item {
    let id = value["id"].as_str().map(str::to_owned);
    let parts = match value["type"].as_str() {
        Some(kind) => of_kind(kind, value),
        None if value["role"].is_string() => chat(value),
        None => vec![other("item", value)],
    };
    Item { id, parts }
}

fn of_kind(kind: &str, value: &Value) -> Vec<Part> {
    let call_id = || value["call_id"].as_str().unwrap_or_default().to_owned();
    let part = match kind {
        "message" => return message(value).into_iter().collect(),
        "reasoning" => return reasoning(value).into_iter().collect(),
        // Of interest to machines only, or sent before under its own name.
        "additional_tools" | "compaction_trigger" | "item_reference" => return Vec::new(),
        "compaction" | "compaction_summary" => said(What::Compacted { summary: None }),
        "function_call" => {
            called(named(value), value["arguments"].as_str().unwrap_or_default(), call_id())
        }
        "custom_tool_call" => {
            called(named(value), value["input"].as_str().unwrap_or_default(), call_id())
        }
        "local_shell_call" => {
            let what =
                What::Command { command: command(at(value, "/action/command")), output: None };
            Part { what, call: Some(call_id()) }
        }
        "web_search_call" => {
            let query = at(value, "/action/query").as_str().map(str::to_owned);
            let input = query.unwrap_or_else(|| short(&value["action"]));
            said(What::Tool { name: "web_search".to_owned(), input, output: None })
        }
        _ if kind.ends_with("_output") => {
            said(What::Output { call_id: call_id(), text: output(&value["output"]) })
        }
        _ => other(kind, value),
    };
    vec![part]
}

fn said(what: What) -> Part {
    Part { what, call: None }
}

fn other(name: &str, value: &Value) -> Part {
    said(What::Other { name: name.to_owned(), text: short(value) })
}

fn message(value: &Value) -> Option<Part> {
    let text = text(&value["content"]);
    if text.is_empty() {
        return None;
    }
    Some(said(match value["role"].as_str() {
        Some("assistant") => What::Answered { text, cut: false },
        Some("developer" | "system") => What::Instructions { text },
        _ if is_context(value, &text) => What::Context { text },
        _ => What::Said { text },
    }))
}

/// Whether a message in the person's place was written by the client.
fn is_context(value: &Value, text: &str) -> bool {
    let kinds = at(value, KINDS);
    let by_kind = kinds
        .as_array()
        .filter(|kinds| !kinds.is_empty())
        .map(|kinds| kinds.iter().filter_map(Value::as_str).all(|kind| !kind.starts_with("user.")));
    by_kind.unwrap_or_else(|| CONTEXTS.iter().any(|begin| text.starts_with(begin)))
}

fn reasoning(value: &Value) -> Option<Part> {
    let told = [text(&value["summary"]), text(&value["content"])];
    let text = told.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then(|| said(What::Reasoned { text }))
}

/// A message of Chat Completions: its words, and the calls in it.
fn chat(value: &Value) -> Vec<Part> {
    if matches!(value["role"].as_str(), Some("tool" | "function")) {
        let call_id = value["tool_call_id"].as_str().unwrap_or_default().to_owned();
        return vec![said(What::Output { call_id, text: output(&value["content"]) })];
    }
    let mut parts: Vec<Part> = message(value).into_iter().collect();
    for call in value["tool_calls"].as_array().into_iter().flatten() {
        let id = call["id"].as_str().unwrap_or_default().to_owned();
        let function = if call["custom"].is_object() { &call["custom"] } else { &call["function"] };
        let input = function["arguments"].as_str().or_else(|| function["input"].as_str());
        parts.push(called(named(function), input.unwrap_or_default(), id));
    }
    parts
}

fn named(value: &Value) -> &str {
    value["name"].as_str().unwrap_or("unnamed")
}

/// A call of a tool: a command, a patch, or anything else.
fn called(name: &str, input: &str, call: String) -> Part {
    let arguments: Value = serde_json::from_str(input).unwrap_or_default();
    let argument = |names: [&str; 2]| {
        names
            .into_iter()
            .map(|name| arguments.get(name).unwrap_or(&Value::Null))
            .find(|value| !value.is_null())
    };
    let what = if name == "apply_patch" {
        let patch =
            argument(["input", "patch"]).and_then(Value::as_str).unwrap_or(input).to_owned();
        What::Patch { patch, output: None }
    } else if let Some(words) = argument(["cmd", "command"]).filter(|_| SHELLS.contains(&name)) {
        What::Command { command: command(words), output: None }
    } else {
        What::Tool { name: name.to_owned(), input: input.to_owned(), output: None }
    };
    Part { what, call: Some(call) }
}

/// A command as a person would type it.
fn command(words: &Value) -> String {
    let Some(list) = words.as_array() else { return text(words) };
    let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    match words.as_slice() {
        [shell, flag, script] if shell.ends_with("sh") && matches!(*flag, "-c" | "-lc") => {
            (*script).to_owned()
        }
        words => words.join(" "),
    }
}

/// JSON on one line, cut off where it becomes long.
fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > UNKNOWN {
        let end = (0..=UNKNOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
