//! How to run a command with what a request offers.

use crate::{
    ask::Tool,
    json::{Json, Object},
    script::content::Call,
};

/// The call that runs a command: the first tool that looks like a shell decides how.
pub(crate) fn call(command: &str, tools: &[Tool]) -> Call {
    let known = tools.iter().find_map(|tool| with(command, tool));
    known.unwrap_or_else(|| function("exec_command", Object::new().with("cmd", command)))
}

fn with(command: &str, tool: &Tool) -> Option<Call> {
    match (tool.name.as_str(), tool.kind.as_str()) {
        ("exec", "custom") => Some(script(command)),
        ("exec_command", _) => Some(function("exec_command", Object::new().with("cmd", command))),
        ("shell_command" | "bash" | "run_command", _) => {
            Some(function(&tool.name, Object::new().with("command", command)))
        }
        ("shell" | "container.exec", _) => {
            let command = ["bash", "-lc", command];
            Some(function(&tool.name, Object::new().with("command", command)))
        }
        _ => None,
    }
}

fn function(name: &str, arguments: Object) -> Call {
    Call::Function { name: name.to_owned(), arguments: arguments.done().into_text() }
}

/// The JavaScript by which models with only an `exec` tool reach the others.
fn script(command: &str) -> Call {
    let command = Json::of(command).into_text();
    let input =
        format!("const r = await tools.exec_command({{cmd: {command}}});\ntext(r.output);\n");
    Call::Custom { name: "exec".to_owned(), input }
}
