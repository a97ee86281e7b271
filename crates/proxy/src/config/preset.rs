//! Presets: what a way of use begins with, and what nobody may change in it.
//!
//! This is the only place that knows ways of use. What comes out is a configuration like any other.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::Uri;

use super::layer::{Layers, Problem};
use super::target::Covers;
use super::{Config, all_variables, variables};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Whoever holds a key of the store.
    Keys,
    /// Whoever is on this machine.
    Local,
}

/// What stands behind the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// The API, and what operators look at.
    Site,
    /// Of the API the open endpoints, each at one exact address; anything else is refused without a
    /// word.
    Api {
        /// Whether `GET /shutdown` stops it.
        shutdown: Shutdown,
    },
}

/// Whether the order to stop is taken over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It is.
    Open,
    /// It is not.
    Closed,
}

/// Whether exchanges leave records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Each leaves one.
    Records,
    /// Nothing is left of them.
    Nothing,
}

/// A proxy for one user of this machine that holds one key, and forwards one kind of request.
#[derive(Debug, Clone)]
pub struct Strict {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The one address that it forwards to.
    pub upstream: Uri,
    /// Whether `GET /shutdown` stops it.
    pub shutdown: Shutdown,
    /// Where each exchange is written down for people.
    pub dumps: Option<PathBuf>,
    /// The data folder of its records, if it keeps any.
    pub record: Option<PathBuf>,
    /// What is done about secrets in requests, if anything.
    pub screen: Option<String>,
}

/// Settings that may be changed in strict mode: how long and how much, and what is done about
/// secrets. Any other would open something.
const OPEN: &[&str] = &[
    "archive.bodies",
    "archive.encryption_key",
    "archive.retain_days",
    "archive.retain_records_days",
    "archive.seal_after",
    "archive.spool_quota",
    "archive.sync",
    "archive.when_full",
    "client.",
    "contact",
    "drain_timeout",
    "limits.",
    "max_body",
    "max_buffered",
    "prices",
    "screen.",
    "upstream.connect_timeout",
    "upstream.first_byte_timeout",
    "upstream.idle_timeout",
];

/// Settings that mean nothing here, and may be set for other commands.
const UNUSED: &[&str] = &["data"];

/// Variables that are kept of the environment, besides our own settings: where the system's
/// certificates and names are, and how this program was called before.
const KEPT: &[&str] = &[
    "CODEX_SECURE_MODE",
    "HOME",
    "LANG",
    "LOCALDOMAIN",
    "NO_COLOR",
    "PATH",
    "RES_OPTIONS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TZ",
];

impl Strict {
    /// Its settings, with those of a file that is named and of the environment, as far as they may
    /// be changed.
    pub fn config(&self, file: Option<&Path>) -> Result<Config, Vec<Problem>> {
        let mut layers = Layers::over(&defaults(), file, &variables());
        let locked = layers.set_by_somebody().filter(|(path, _)| is_locked(path));
        let problems: Vec<Problem> = locked.map(|(path, place)| loosens(path, place)).collect();
        layers.problems.extend(problems);
        layers.lay(&self.asked(), "strict");
        let (mut config, _) = Config::prove(layers)?;
        config.callers = Callers::Local;
        config.opens = Opens::Api { shutdown: self.shutdown };
        config.keeps = if self.record.is_some() { Keeps::Records } else { Keeps::Nothing };
        config.dumps.clone_from(&self.dumps);
        config.upstream.main.covers = Covers::Whole;
        Ok(config)
    }

    /// What was asked for, over everything else.
    fn asked(&self) -> Vec<(&'static str, String)> {
        let mut asked =
            vec![("listen", self.listen.to_string()), ("upstream.url", self.upstream.to_string())];
        asked.extend(self.record.iter().map(|folder| ("data", folder.display().to_string())));
        asked.extend(self.screen.iter().map(|action| ("screen.action", action.clone())));
        asked
    }
}

/// What strict mode begins with.
fn defaults() -> Vec<(&'static str, String)> {
    let texts = [
        ("endpoints", "POST /v1/responses"),
        ("websocket", "off"),
        ("upstream.key", "stdin"),
        ("screen.action", "off"),
        ("screen.unreadable", "pass"),
        ("screen.scan", "off"),
        // One user, who asks as much as they like.
        ("limits.exchanges_per_key", "4096"),
        ("max_body", "512MiB"),
        ("max_buffered", "1GiB"),
        ("drain_timeout", "5s"),
    ];
    texts.map(|(path, text)| (path, text.to_owned())).to_vec()
}

fn is_locked(path: &str) -> bool {
    let is_one = |open: &&str| path == *open || (open.ends_with('.') && path.starts_with(*open));
    !OPEN.iter().chain(UNUSED).any(is_one)
}

fn loosens(path: &str, place: &str) -> Problem {
    let what = format!("{path} cannot be set in strict mode: it would open what is closed there");
    Problem { place: place.to_owned(), what }
}

/// The environment as far as it may be kept, and whether something is left out of it.
pub fn kept_environment() -> (Vec<(OsString, OsString)>, bool) {
    let is_kept = |name: &OsString| {
        let name = name.to_string_lossy();
        KEPT.contains(&name.as_ref()) || name.starts_with("CODEX_PROXY_")
    };
    let all = all_variables().into_iter();
    let (kept, dropped): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_kept(name));
    (kept, !dropped.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::setting::SETTINGS;
    use super::{Callers, Keeps, OPEN, Opens, Shutdown, Strict, UNUSED, is_locked};

    fn strict() -> Strict {
        Strict {
            listen: "127.0.0.1:0".parse().unwrap(),
            upstream: "https://a.test/openai/responses?v=1".parse().unwrap(),
            shutdown: Shutdown::Closed,
            dumps: None,
            record: None,
            screen: None,
        }
    }

    fn check(file: &str) -> Result<(), Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, file).unwrap();
        let problems = strict().config(Some(&path)).err();
        problems.map_or(Ok(()), |problems| Err(problems.into_iter().map(|one| one.what).collect()))
    }

    #[test]
    fn strict_mode_is_one_endpoint_for_one_user_and_keeps_nothing() {
        let config = strict().config(None).unwrap();
        assert_eq!(config.endpoints, ["POST /v1/responses"]);
        assert_eq!((config.callers, config.keeps), (Callers::Local, Keeps::Nothing));
        assert_eq!(config.opens, Opens::Api { shutdown: Shutdown::Closed });
        assert!(config.cors_origins.is_empty() && config.admin_listen.is_empty());
    }

    #[test]
    fn what_would_open_something_is_an_error_and_the_rest_is_not() {
        let error = |path: &str| {
            Err(vec![format!(
                "{path} cannot be set in strict mode: it would open what is closed there"
            )])
        };
        check("[upstream]\nidle_timeout = \"1m\"\n[screen]\naction = \"mask\"").unwrap();
        assert_eq!(check("listen = \"0.0.0.0:1\""), error("listen"));
        assert_eq!(check("[upstream]\nurl = \"http://evil.test\""), error("upstream.url"));
        assert_eq!(check("endpoints = [\"*\"]"), error("endpoints"));
        assert_eq!(check("cors_origins = [\"*\"]"), error("cors_origins"));
        assert_eq!(check("websocket = \"on\""), error("websocket"));
    }

    #[test]
    fn what_is_open_is_a_setting_and_settings_are_locked_unless_they_are_named() {
        for open in OPEN.iter().chain(UNUSED) {
            assert!(SETTINGS.iter().any(|setting| setting.path.starts_with(open)), "{open}");
        }
        let locked = ["upstream.headers", "upstreams", "archive.url", "store.url", "secret"];
        assert!(locked.into_iter().all(is_locked));
    }
}
