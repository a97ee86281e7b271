//! Codex's turn metadata: the JSON of `x-codex-turn-metadata`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Paths;
use super::clean::clean;

/// The turn metadata of a request.
#[derive(Default)]
pub(super) struct Turn(Map<String, Value>);

/// More than anybody writes by hand.
const TAGS_LIMIT: usize = 32;

/// The keys that Codex itself writes (0.169.0); every other string is an operator's tag.
const CODEX_KEYS: &[&str] = &[
    "agent_name",
    "analytics_enabled",
    "auto_review_enabled",
    "compaction",
    "context_window_id",
    "history_initialization",
    "installation_id",
    "model",
    "node_repl_auto_review_required",
    "node_repl_disabled",
    "parent_thread_id",
    "parent_turn_id",
    "reasoning_effort",
    "request_kind",
    "root_turn_id",
    "sandbox",
    "sandbox_mode",
    "session_id",
    "subagent_kind",
    "thread_id",
    "thread_source",
    "turn_id",
    "turn_started_at_unix_ms",
    "turn_trigger",
    "window_id",
    "window_number",
    "workspaces",
];

impl Turn {
    /// Reads the metadata's JSON text; nothing if it is no object.
    pub(super) fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// A member that is a string with something in it.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().and_then(clean)
    }

    /// The name of the only workspace, and its commit. Of several none is *the* repository.
    pub(super) fn repository(&self, paths: Paths) -> (Option<String>, Option<String>) {
        let workspaces = self.0.get("workspaces").and_then(Value::as_object);
        let Some(workspaces) = workspaces.filter(|workspaces| workspaces.len() == 1) else {
            return (None, None);
        };
        let Some((path, workspace)) = workspaces.iter().next() else { return (None, None) };
        let name = match paths {
            Paths::Name => path.split(['/', '\\']).rfind(|segment| !segment.is_empty()),
            Paths::Full => Some(path.as_str()),
        };
        let commit = workspace.get("latest_git_commit_hash").and_then(Value::as_str);
        (name.and_then(clean), commit.and_then(clean))
    }

    /// The strings that are not Codex's own.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let foreign = self.0.iter().filter(|(key, _)| !CODEX_KEYS.contains(&key.as_str()));
        let tags = foreign.filter_map(|(key, value)| Some((clean(key)?, clean(value.as_str()?)?)));
        tags.take(TAGS_LIMIT).collect()
    }
}
