//! Where in a request a secret stands, as people look for it.

use std::cell::RefCell;
use std::ops::Range;

use redact::rule::Rules;
use serde_json::Value;
use wire::ask::{Item, Part};

/// Longest command that is shown.
const COMMAND: usize = 80;

/// What takes a file as its argument and shows it.
const READERS: [&str; 12] =
    ["cat", "head", "tail", "less", "more", "sed", "grep", "rg", "nl", "bat", "source", "awk"];

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Words for people.
    pub words: String,
    /// The file whose contents stand there, where a tool call tells it.
    pub file: Option<String>,
}

/// The body of a request, and what it is made of.
pub struct Request<'r> {
    body: &'r [u8],
    items: &'r [Item],
    rules: &'r Rules,
    /// The place of the item that was asked for last.
    last: RefCell<Option<(usize, Place)>>,
}

impl<'r> Request<'r> {
    /// A body with its items; what these rules find is not shown.
    pub fn new(body: &'r [u8], items: &'r [Item], rules: &'r Rules) -> Self {
        Self { body, items, rules, last: RefCell::default() }
    }

    /// The place of these bytes.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let within = |item: &&Item| item.range.start <= span.start && span.end <= item.range.end;
        let Some(item) = self.items.iter().find(within) else {
            return Place { words: "outside of the conversation's items".to_owned(), file: None };
        };
        let mut last = self.last.borrow_mut();
        if let Some((begin, place)) = &*last
            && *begin == item.range.start
        {
            return place.clone();
        }
        let place = self.place_of(item);
        *last = Some((item.range.start, place.clone()));
        place
    }

    fn place_of(&self, item: &Item) -> Place {
        let number = self.items.iter().filter(|other| other.of == item.of);
        let number = number.take_while(|other| other.range.start < item.range.start).count() + 1;
        let value = self.value(item);
        let (what, file) = match item.of {
            Part::Instructions => {
                return Place { words: "the instructions".to_owned(), file: None };
            }
            Part::Tools => (format!("the definition of the tool {}", name(&value)), None),
            Part::Input | Part::Messages => self.element(&value),
        };
        let of = match item.of {
            Part::Instructions => "instructions",
            Part::Tools => "tools",
            Part::Input => "input",
            Part::Messages => "messages",
        };
        let words = self.hidden(&format!("{what} (item {number} of `{of}`)"));
        Place { words, file }
    }

    fn value(&self, item: &Item) -> Value {
        let text = self.body.get(item.range.clone()).unwrap_or_default();
        serde_json::from_slice(text).unwrap_or(Value::Null)
    }

    /// An element of the conversation.
    fn element(&self, value: &Value) -> (String, Option<String>) {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let call = if text("call_id").is_empty() { text("tool_call_id") } else { text("call_id") };
        let kind = text("type");
        if kind.ends_with("_call_output") || text("role") == "tool" {
            return self.output(call);
        }
        if kind.ends_with("_call") {
            return (format!("what the tool call {} is given", name(value)), None);
        }
        match (text("role"), kind) {
            ("user", _) => ("a message of the user".to_owned(), None),
            ("assistant", _) => ("a message of the model".to_owned(), None),
            ("developer" | "system", _) => ("a message of the program".to_owned(), None),
            (_, "") => ("a text".to_owned(), None),
            (_, kind) => (format!("an element `{}`", shortened(kind, COMMAND)), None),
        }
    }

    /// What a tool gave back: which one, and what it was asked.
    fn output(&self, call: &str) -> (String, Option<String>) {
        let Some(asked) = self.call(call) else {
            return ("the output of a tool call".to_owned(), None);
        };
        let function = asked.get("function").unwrap_or(&asked);
        let tool = name(function);
        let arguments = ["arguments", "input", "action"].iter().find_map(|at| function.get(*at));
        let command = arguments.map(command).unwrap_or_default();
        if command.is_empty() {
            return (format!("the output of the tool call {tool}"), None);
        }
        let file = file(&command);
        let shown = shortened(&command, COMMAND);
        (format!("the output of the tool call {tool}: `{shown}`"), file)
    }

    /// The tool call of this id, in either dialect.
    fn call(&self, id: &str) -> Option<Value> {
        let elements = self.items.iter().filter(|item| !matches!(item.of, Part::Tools));
        for item in elements.filter(|_| !id.is_empty()) {
            let text = self.body.get(item.range.clone()).unwrap_or_default();
            if memchr::memmem::find(text, id.as_bytes()).is_none() {
                continue;
            }
            let value = self.value(item);
            let is =
                |value: &Value, member: &str| value.get(member).and_then(Value::as_str) == Some(id);
            let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
            if is(&value, "call_id") && !kind.ends_with("_output") {
                return Some(value);
            }
            let calls = value.get("tool_calls").and_then(Value::as_array);
            if let Some(call) = calls.into_iter().flatten().find(|call| is(call, "id")) {
                return Some(call.clone());
            }
        }
        None
    }

    /// A text of the client's as it may be shown: without the secrets in it.
    fn hidden(&self, text: &str) -> String {
        let mut hidden = text.as_bytes().to_vec();
        for finding in self.rules.scan(text.as_bytes()).into_iter().rev() {
            hidden.splice(finding.span, *b"***");
        }
        String::from_utf8_lossy(&hidden).into_owned()
    }
}

fn name(value: &Value) -> String {
    let name = value.get("name").or_else(|| value.get("type")).and_then(Value::as_str);
    format!("`{}`", shortened(name.unwrap_or("?"), COMMAND))
}

/// The command in a tool call's arguments, which are JSON, perhaps in a text.
fn command(arguments: &Value) -> String {
    let parsed = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
    let arguments = parsed.as_ref().unwrap_or(arguments);
    let mut given = ["cmd", "command", "path", "file_path", "file"].iter();
    match given.find_map(|name| arguments.get(*name)).unwrap_or(arguments) {
        Value::String(text) => text.clone(),
        // `["bash", "-lc", "cat .env"]`: the last is what is run.
        Value::Array(words) if words.len() == 3 && is_shell(words) => {
            words.last().and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn is_shell(words: &[Value]) -> bool {
    let shell = words.first().and_then(Value::as_str).unwrap_or_default();
    shell.ends_with("sh") && words.get(1).and_then(Value::as_str).is_some_and(|f| f.contains('c'))
}

/// The file that a command shows, where it shows one and does nothing else.
fn file(command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    if !READERS.contains(&words.next()?) || command.contains([';', '|', '&', '>', '<', '`', '$']) {
        return None;
    }
    let is_file = |word: &&str| !word.starts_with('-') && word.contains(['.', '/']);
    let mut files = words.filter(is_file);
    let file = files.next().filter(|_| files.next().is_none())?;
    let file = file.trim_matches(['\'', '"']);
    // A path that goes up may lead anywhere.
    (!file.split('/').any(|part| part == "..")).then(|| file.to_owned())
}

fn shortened(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use redact::rule::Rules;
    use wire::ask::Ask;

    use super::{Place, Request};

    /// The place of the word `here`.
    fn check(body: &str, words: &str, file: Option<&str>) {
        let ask = Ask::read(body.as_bytes()).unwrap();
        let rules = Rules::builtin();
        let request = Request::new(body.as_bytes(), &ask.items, &rules);
        let at = body.find("here").unwrap();
        let expected = Place { words: words.to_owned(), file: file.map(str::to_owned) };
        assert_eq!(request.place(&(at..at + 4)), expected);
    }

    #[test]
    fn the_output_of_a_tool_is_told_by_its_call() {
        let call = r#"{"type":"function_call","call_id":"c1","name":"shell","arguments":"{\"command\":[\"bash\",\"-lc\",\"cat app/.env\"]}"}"#;
        let output = r#"{"type":"function_call_output","call_id":"c1","output":"here"}"#;
        let body = format!(r#"{{"tools":[{{"name":"x"}}],"input":[{call},{output}]}}"#);
        let words = "the output of the tool call `shell`: `cat app/.env` (item 2 of `input`)";
        check(&body, words, Some("app/.env"));
        let chat = r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c2","function":{"name":"read","arguments":"{\"path\":\"a.toml\"}"}}]},{"role":"tool","tool_call_id":"c2","content":"here"}]}"#;
        let words = "the output of the tool call `read`: `a.toml` (item 2 of `messages`)";
        check(chat, words, None);
        check(
            r#"{"input":[{"type":"function_call_output","call_id":"gone","output":"here"}]}"#,
            "the output of a tool call (item 1 of `input`)",
            None,
        );
    }

    #[test]
    fn a_file_is_told_only_where_nothing_else_is_shown() {
        let check = |command: &str, expected: Option<&str>| {
            assert_eq!(super::file(command).as_deref(), expected, "{command}");
        };
        check("cat app/.env", Some("app/.env"));
        check("sed -n 1,20p 'app/main.rs'", Some("app/main.rs"));
        let not = ["cat a.txt b.txt", "cat a.txt; cat .env", "cat fixtures/../.env", "./dump.sh"];
        for command in not.into_iter().chain(["cat a.txt | tee b.txt", "cat $(ls x.txt)", "ls"]) {
            check(command, None);
        }
    }

    #[test]
    fn whatever_else_holds_it_is_named() {
        let user = r#"{"input":[{"role":"user","content":"here"}]}"#;
        check(user, "a message of the user (item 1 of `input`)", None);
        check(r#"{"instructions":"here"}"#, "the instructions", None);
        check(
            r#"{"tools":[{"name":"t","d":"here"}]}"#,
            "the definition of the tool `t` (item 1 of `tools`)",
            None,
        );
        let call = r#"{"input":[{"type":"custom_tool_call","name":"apply_patch","input":"here"}]}"#;
        check(call, "what the tool call `apply_patch` is given (item 1 of `input`)", None);
        check(r#"{"metadata":{"a":"here"}}"#, "outside of the conversation's items", None);
        check(r#"{"input":"here"}"#, "a text (item 1 of `input`)", None);
    }
}
