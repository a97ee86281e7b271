//! The backend of ChatGPT, as far as Codex asks it where a person is logged in.

use http::{HeaderMap, Method, header};

use crate::json::{Json, Object};

/// A look-up below `/backend-api/`; the model calls below `codex/` are those of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// `GET wham/accounts/check`: which workspaces there are, and where each is served
    Accounts,
    /// `GET wham/usage`: how much of the plan is used
    Usage,
    /// `GET wham/settings/user`
    Settings,
    /// `GET ps/plugins/…`
    Plugins,
    /// `POST codex/analytics-events/events`
    Events,
}

impl Backend {
    /// Reads method and path.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let (_, below) = path.split_once("/backend-api/")?;
        match (method.as_str(), below) {
            ("GET", "wham/accounts/check") => Some(Self::Accounts),
            ("GET", "wham/usage") => Some(Self::Usage),
            ("GET", "wham/settings/user") => Some(Self::Settings),
            ("GET", plugins) if plugins.starts_with("ps/plugins/") => Some(Self::Plugins),
            ("POST", "codex/analytics-events/events") => Some(Self::Events),
            _ => None,
        }
    }

    /// What it answers to a person with these headers.
    pub(crate) fn answer(self, headers: &HeaderMap) -> Json {
        match self {
            Self::Accounts => accounts(headers),
            Self::Usage => Object::new().with("plan_type", "business").done(),
            Self::Settings | Self::Events => Object::new().done(),
            Self::Plugins => Object::new().json("plugins", &Json::list([])).done(),
        }
    }
}

/// One workspace: that of the person, served where it was asked for.
fn accounts(headers: &HeaderMap) -> Json {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = text("chatgpt-account-id").unwrap_or("account-1");
    let host = text(header::HOST.as_str()).unwrap_or("chatgpt.com");
    let account = Object::new()
        .with("id", id)
        .with("structure", "workspace")
        .with("plan_type", "business")
        .with("account_user_role", "standard-user")
        .with("can_access_with_session", true)
        .with("is_deactivated", false)
        .with("is_fedramp_compliant_workspace", false)
        .with("workspace_backend_origin", format!("https://{host}"))
        .with("account_routing_override", "NO_CONSTRAINT")
        .done();
    Object::new()
        .with("account_ordering", [id])
        .json("accounts", &Json::list([account]))
        .with("default_account_id", id)
        .done()
}
