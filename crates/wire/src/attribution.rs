//! Who and what a Codex request says it is for.
//!
//! Source: `openai/codex`, observed on `@openai/codex` 0.169.0 from npm; older versions send the
//! session as `session_id` or `conversation_id`. All of it is the client's own word: good to sort
//! records by, never to decide by.

mod clean;
mod turn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ask::Ask;

use clean::clean;
use turn::Turn;

/// What an exchange is for, as its client says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The session: shared by a thread and its sub-agents.
    pub session_id: Option<String>,
    /// The conversation.
    pub thread_id: Option<String>,
    /// The turn within the conversation.
    pub turn_id: Option<String>,
    /// The conversation that started this one, where it is a sub-agent's.
    pub parent_thread_id: Option<String>,
    /// The kind of sub-agent.
    pub subagent: Option<String>,
    /// The name of the repository's folder; its path where that is asked for.
    pub repo: Option<String>,
    /// The repository's latest commit.
    pub commit: Option<String>,
    /// The program that asks.
    pub client: Option<String>,
    /// Its version.
    pub client_version: Option<String>,
    /// What kind of request this is.
    pub request_kind: RequestKind,
    /// What an operator added with Codex's `responses_api_metadata`.
    pub tags: BTreeMap<String, String>,
}

/// How much of a repository's path is told: it says something about a person's machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paths {
    /// The last folder's name.
    #[default]
    Name,
    /// All of it.
    Full,
}

/// What kind of request it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A step of a turn: the model shall answer.
    Turn,
    /// A WebSocket made ready; nothing is generated.
    Prewarm,
    /// A conversation made shorter.
    Compaction,
    /// Anything that asks no model.
    #[default]
    Other,
}

impl RequestKind {
    /// The word used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Prewarm => "prewarm",
            Self::Compaction => "compaction",
            Self::Other => "other",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Turn, Self::Prewarm, Self::Compaction].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Attribution {
    /// Reads what the headers, and the body where there is one, say.
    pub fn read<'a>(header: &dyn Fn(&str) -> Option<&'a str>, ask: &Ask, paths: Paths) -> Self {
        let said = |name: &str| header(name).and_then(clean);
        let asked = |value: &Option<String>| value.as_deref().and_then(clean);
        // The body's metadata goes first: on a WebSocket the headers are those of the handshake,
        // which say `prewarm` for every turn that follows. On HTTP both are the same.
        let turn = ask.turn_metadata.as_deref().and_then(Turn::read);
        let turn = turn.or_else(|| Turn::read(header("x-codex-turn-metadata")?));
        let request_kind = request_kind(turn.as_ref(), ask);
        let turn = turn.unwrap_or_default();
        let (repo, commit) = turn.repository(paths);
        Self {
            session_id: ["session-id", "session_id", "conversation_id"]
                .into_iter()
                .find_map(said)
                .or_else(|| turn.string("session_id"))
                .or_else(|| asked(&ask.session_id)),
            thread_id: said("thread-id")
                .or_else(|| turn.string("thread_id"))
                .or_else(|| asked(&ask.thread_id)),
            turn_id: turn.string("turn_id"),
            parent_thread_id: said("x-codex-parent-thread-id")
                .or_else(|| turn.string("parent_thread_id")),
            subagent: said("x-openai-subagent").or_else(|| turn.string("subagent_kind")),
            repo,
            commit,
            client: said("originator").or_else(|| clean(product(header("user-agent")?))),
            client_version: header("user-agent").and_then(version).and_then(clean),
            request_kind,
            tags: turn.tags(),
        }
    }
}

fn request_kind(turn: Option<&Turn>, ask: &Ask) -> RequestKind {
    let named = turn.and_then(|turn| RequestKind::named(&turn.string("request_kind")?));
    match named {
        Some(kind) => kind,
        None if !ask.generate => RequestKind::Prewarm,
        None if turn.is_some() || ask.model.is_some() => RequestKind::Turn,
        None => RequestKind::Other,
    }
}

/// The product of a user agent: `codex_exec` of `codex_exec/0.169.0 (…)`.
fn product(user_agent: &str) -> &str {
    user_agent.split_once('/').map_or(user_agent, |(product, _)| product)
}

/// The version of a user agent's product: the word behind the slash, or, as in `OpenAI/Python 1.55`,
/// the one after it.
fn version(user_agent: &str) -> Option<&str> {
    let (_, rest) = user_agent.split_once('/')?;
    rest.split_whitespace().take(2).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
