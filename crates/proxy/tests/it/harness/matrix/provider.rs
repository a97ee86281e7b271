//! How a developer's Codex reaches its upstream.

use std::path::PathBuf;

use super::super::sdk::{installed, older};
use super::cell::Patience;

/// A version of the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The one that the other stories run.
    Pinned,
    /// An older one, by its number.
    Older(&'static str),
}

/// A kind of provider in Codex's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    /// `openai`, with `openai_base_url` and an API key.
    BuiltIn,
    /// One of one's own, with the key in a variable.
    EnvKey,
    /// One whose key a command prints.
    Command,
    /// One that takes the key of Codex's own login.
    Login,
}

/// How Codex asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    WebSocket,
}

impl Version {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pinned => "0.169.0",
            Self::Older(number) => number,
        }
    }

    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::Pinned => installed("node_modules/.bin/codex"),
            Self::Older(number) => older(&format!("node_modules/codex-{number}/bin/codex.js")),
        }
    }
}

impl Provider {
    pub(crate) const ALL: [Self; 4] = [Self::BuiltIn, Self::EnvKey, Self::Command, Self::Login];

    /// What it is called in the table.
    pub(crate) fn name(self, transport: Transport) -> String {
        let provider = match self {
            Self::BuiltIn => "built-in",
            Self::EnvKey => "env_key",
            Self::Command => "auth.command",
            Self::Login => "openai_auth",
        };
        let transport = match transport {
            Transport::Http => "HTTP",
            Transport::WebSocket => "WS",
        };
        format!("{provider} {transport}")
    }

    /// Codex's configuration. The built-in provider has no settings of its own but the address.
    pub(crate) fn configuration(
        self,
        transport: Transport,
        patience: Patience,
        url: &str,
    ) -> String {
        if self == Self::BuiltIn {
            return format!("openai_base_url = \"{url}\"\n");
        }
        let sockets = match transport {
            Transport::Http => "",
            Transport::WebSocket => "supports_websockets = true\n",
        };
        let credential = match self {
            Self::BuiltIn | Self::EnvKey => "env_key = \"CODEX_PROXY_KEY\"\n",
            Self::Command => "auth = { command = \"printenv\", args = [\"CODEX_PROXY_KEY\"] }\n",
            Self::Login => "requires_openai_auth = true\n",
        };
        format!(
            "model_provider = \"team\"\n[model_providers.team]\nname = \"team\"\n\
             base_url = \"{url}\"\nwire_api = \"responses\"\n{credential}{sockets}{}",
            patience.settings()
        )
    }

    /// The login file, where the provider reads it.
    pub(crate) fn login(self, key: &str) -> Option<String> {
        let login = format!("{{\"auth_mode\": \"apikey\", \"OPENAI_API_KEY\": \"{key}\"}}\n");
        (self == Self::Login).then_some(login)
    }
}
