//! What a request asks of the model, in either dialect.

use serde_json::Value;

use crate::{
    bill::{Asked, text_bytes},
    fields::Fields,
    problem::Problem,
    seed::Seed,
};

/// The two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/chat/completions`.
    Chat,
}

/// A request, understood as far as the simulated model needs it.
pub(crate) struct Ask<'a> {
    /// The fields as written.
    pub(crate) fields: Fields<'a>,
    /// The model asked for.
    pub(crate) model: String,
    /// The text of the last user message.
    pub(crate) prompt: String,
    /// The last tool output, if one stands after the last user message.
    pub(crate) tool_output: Option<String>,
    /// Whether it asks to make the conversation small.
    pub(crate) compacts: bool,
    /// The tools that may be called.
    pub(crate) tools: Vec<Tool>,
    /// The reasoning effort, unless it is `none`.
    pub(crate) effort: Option<String>,
    /// What it weighs.
    pub(crate) asked: Asked,
}

/// What is known of a conversation when it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    /// The last user message, which holds the words.
    prompt: String,
    /// The tools that may be called.
    tools: Vec<Tool>,
    /// Bytes of all text asked and answered.
    text_bytes: u64,
}

/// A tool that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: String,
    /// The namespace it stands in.
    pub(crate) namespace: Option<String>,
    /// Its type: `function`, `custom`, `local_shell`….
    pub(crate) kind: String,
}

impl<'a> Ask<'a> {
    /// Reads a request's body.
    pub(crate) fn read(body: &'a [u8], dialect: Dialect) -> Result<Self, Problem> {
        let fields = Fields::parse(body).ok_or_else(Problem::malformed)?;
        let model = fields.text("model").ok_or_else(|| Problem::missing("model"))?;
        if model == "nope" {
            return Err(Problem::no_model(&model));
        }
        let input = match dialect {
            Dialect::Responses => fields.value("input"),
            Dialect::Chat => fields.value("messages"),
        };
        if dialect == Dialect::Chat && !input.is_array() {
            return Err(Problem::missing("messages"));
        }
        let tools = fields.value("tools");
        let asked = weigh(&fields, dialect, &input, &tools);
        let (prompt, tool_output) = last_words(&input);
        let last = input.as_array().and_then(|items| items.last());
        let compacts = last.is_some_and(|item| word(item, "type") == "compaction_trigger");
        let effort = effort(&fields, dialect);
        let tools = toolbox(&tools, &input);
        Ok(Self { fields, model, prompt, tool_output, compacts, tools, effort, asked })
    }

    /// Goes on with a conversation: what was said before need not be said again.
    pub(crate) fn join(&mut self, thread: Thread) {
        if self.prompt.is_empty() {
            self.prompt = thread.prompt;
        }
        if self.tools.is_empty() {
            self.tools = thread.tools;
        }
        self.asked.text_bytes += thread.text_bytes;
        self.asked.input_bytes += thread.text_bytes;
    }

    /// The conversation as a later request finds it, with so many bytes answered.
    pub(crate) fn thread(&self, answered_bytes: u64) -> Thread {
        let text_bytes = self.asked.input_bytes + answered_bytes;
        Thread { prompt: self.prompt.clone(), tools: self.tools.clone(), text_bytes }
    }

    /// Whether the answer is asked for as a stream.
    pub(crate) fn stream(&self) -> bool {
        self.fields.is_true("stream")
    }
}

fn weigh(fields: &Fields<'_>, dialect: Dialect, input: &Value, tools: &Value) -> Asked {
    let instructions = fields.value("instructions");
    let name = match dialect {
        Dialect::Responses => "input",
        Dialect::Chat => "messages",
    };
    let raw = fields.raw(name).map_or("", |raw| raw.get());
    let head: Vec<u8> = raw.bytes().take(1024).collect();
    let key = fields.text("prompt_cache_key").map_or(head, String::into_bytes);
    let input_bytes = text_bytes(input);
    Asked {
        text_bytes: input_bytes + text_bytes(&instructions) + text_bytes(tools),
        input_bytes,
        cache_key: Seed::of(&key).key(),
    }
}

fn effort(fields: &Fields<'_>, dialect: Dialect) -> Option<String> {
    let effort = match dialect {
        Dialect::Responses => fields.value("reasoning").get("effort")?.as_str()?.to_owned(),
        Dialect::Chat => fields.text("reasoning_effort")?,
    };
    Some(effort).filter(|effort| effort != "none")
}

/// The last user message, and the last tool output after it.
fn last_words(input: &Value) -> (String, Option<String>) {
    if let Value::String(prompt) = input {
        return (prompt.clone(), None);
    }
    let mut prompt = String::new();
    let mut output = None;
    for item in input.as_array().into_iter().flatten() {
        match (word(item, "role"), word(item, "type")) {
            ("user", "" | "message") => (prompt, output) = (said(item.get("content")), None),
            ("tool", _) => output = Some(said(item.get("content"))),
            (_, "function_call_output" | "custom_tool_call_output") => {
                output = Some(said(item.get("output")));
            }
            _ => {}
        }
    }
    (prompt, output)
}

/// A string, or the texts of a list of parts.
fn said(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> =
                parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// All tools: those of the request, and those that stand as an item at the head of the input.
fn toolbox(tools: &Value, input: &Value) -> Vec<Tool> {
    let mut found = Vec::new();
    collect(tools, None, &mut found);
    for item in input.as_array().into_iter().flatten() {
        if word(item, "type") == "additional_tools" {
            collect(item.get("tools").unwrap_or(&Value::Null), None, &mut found);
        }
    }
    found
}

fn collect(tools: &Value, namespace: Option<&str>, found: &mut Vec<Tool>) {
    for tool in tools.as_array().into_iter().flatten() {
        let kind = word(tool, "type");
        // Chat Completions nests the name below the type, Responses does not.
        let name = tool.get(kind).map_or_else(|| word(tool, "name"), |inner| word(inner, "name"));
        if kind == "namespace" {
            collect(tool.get("tools").unwrap_or(&Value::Null), Some(name), found);
            continue;
        }
        let namespace = namespace.map(str::to_owned);
        found.push(Tool { name: name.to_owned(), namespace, kind: kind.to_owned() });
    }
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
