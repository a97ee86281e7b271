//! The simulated model: decides what to write.

use base64::{Engine, prelude::BASE64_URL_SAFE};

use crate::{
    ask::Ask,
    bill::Written,
    quote::quoted,
    script::{
        Script,
        content::{Call, Content},
    },
    seed::Ids,
    shell, speak,
    turn::{End, Item, ToolCall, ToolKind},
};

/// What the model writes.
pub(crate) struct Act {
    /// Its output.
    pub(crate) items: Vec<Item>,
    /// How it ends.
    pub(crate) end: End,
    /// What it weighs.
    pub(crate) written: Written,
}

/// Plays one turn.
pub(crate) fn act(ask: &Ask<'_>, script: &Script, ids: &Ids) -> Act {
    let end = end(script);
    let failed = matches!(end, End::Failed { .. });
    let mut reasoning_tokens =
        script.content.reasoning_tokens.unwrap_or_else(|| usual_reasoning(ask));
    let mut items = Vec::new();
    if failed && script.content.speech.is_none() {
        reasoning_tokens = 0;
    } else {
        items.extend((reasoning_tokens > 0).then(|| reasoning(ask, &script.content, ids)));
        items.extend(output(ask, &script.content, ids));
    }
    let text_bytes = items.iter().map(Item::text_bytes).sum();
    Act { items, end, written: Written { text_bytes, reasoning_tokens } }
}

fn end(script: &Script) -> End {
    if let Some(code) = script.content.fail.clone() {
        let usual = || "Simulated: the response failed.".to_owned();
        return End::Failed { code, message: script.refusal.message.clone().unwrap_or_else(usual) };
    }
    match script.content.incomplete.clone() {
        Some(reason) => End::Incomplete(reason),
        None => End::Completed,
    }
}

fn usual_reasoning(ask: &Ask<'_>) -> u64 {
    match ask.effort.as_deref() {
        None => 0,
        Some("minimal") => 16,
        Some("low") => 64,
        Some("high") => 256,
        Some("xhigh" | "max") => 512,
        Some(_) => 128,
    }
}

/// A reasoning item: sealed if the client asked to keep it, summarised if it or the script did.
fn reasoning(ask: &Ask<'_>, content: &Content, ids: &Ids) -> Item {
    let asked = ask.fields.value("reasoning").get("summary").is_some_and(|s| !s.is_null());
    let summarised = asked || content.reasoning_tokens.is_some();
    let include = ask.fields.value("include").to_string();
    let sealed = include.contains("reasoning.encrypted_content");
    let summary = "**Considering the request**\n\nThe simulated model thinks before it answers.";
    Item::Reasoning {
        id: ids.id("rs_", 1),
        summary: if summarised { speak::few_words(summary) } else { Vec::new() },
        encrypted: sealed.then(|| seal(ids)),
    }
}

/// 400 characters that look like the API's.
fn seal(ids: &Ids) -> String {
    let mut token = vec![0x80, 0, 0, 0, 0];
    token.extend(ids.asked.with(7).bytes(295));
    BASE64_URL_SAFE.encode(token)
}

/// Tool calls until a tool has answered, then text.
fn output(ask: &Ask<'_>, content: &Content, ids: &Ids) -> Vec<Item> {
    if ask.compacts {
        return vec![Item::Compaction { id: ids.id("cmp_", 2), encrypted: seal(ids) }];
    }
    if ask.tool_output.is_some() || content.calls.is_empty() {
        let deltas = speak::deltas(ask, content);
        return vec![Item::Message { id: ids.id("msg_", 2), deltas }];
    }
    let numbered = (3..).step_by(2).zip(&content.calls);
    numbered.map(|(part, call)| Item::Call(tool_call(ask, call, part, ids))).collect()
}

fn tool_call(ask: &Ask<'_>, call: &Call, part: u64, ids: &Ids) -> ToolCall {
    let (kind, name, input) = match call {
        Call::Function { name, arguments } => (ToolKind::Function, name, arguments),
        Call::Custom { name, input } => (ToolKind::Custom, name, input),
        Call::Shell(command) => {
            let command = quoted(ask, command);
            return tool_call(ask, &shell::call(&command, &ask.tools), part, ids);
        }
    };
    let prefix = match kind {
        ToolKind::Function => "fc_",
        ToolKind::Custom => "ctc_",
    };
    let tool = ask.tools.iter().find(|tool| tool.name == *name);
    ToolCall {
        id: ids.id(prefix, part),
        call_id: ids.call(part + 1),
        name: name.clone(),
        namespace: tool.and_then(|tool| tool.namespace.clone()),
        input: quoted(ask, input).into_owned(),
        kind,
    }
}
