//! The table of all settings. Environment names, the schema and the checks come from it.

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// `HOST:PORT`, several.
    Addresses,
    /// `http://` or `https://` with a host.
    Url,
    /// An amount of memory: `64MiB`.
    Bytes,
    /// A length of time: `20s`.
    Duration,
    /// A positive whole number.
    Count,
    /// A file or folder.
    Path,
    /// Where a secret stands, never the secret.
    Reference,
    /// An engine's address: `SCHEME:REST`.
    Engine(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its dotted name in the file.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where nobody sets it; empty: none.
    pub default: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

const fn setting(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { path, kind, default, doc }
}

use Kind::{Addresses, Bytes, Choice, Count, Duration, Engine, Path, Reference, Text, Texts, Url};

/// All settings, in the order in which they are shown.
#[rustfmt::skip] // A table reads best as one.
pub const SETTINGS: &[Setting] = &[
    setting("data", Path, "codex-proxy-data", "the folder of everything this installation owns"),
    setting("listen", Addresses, "127.0.0.1:8080", "where the gateway listens"),
    setting("admin_listen", Addresses, "", "where health and metrics are served; unset: on `listen`"),
    setting("contact", Text, "", "whom a refusal tells the developer to ask"),
    setting("endpoints", Texts, "*", "open endpoints below /v1, as `POST /v1/responses` or `/v1/models*`"),
    setting("cors_origins", Texts, "", "origins that browsers may ask from; `*`: any"),
    setting("websocket", Choice(&["off"]), "off", "whether WebSocket is spoken; off: an upgrade is answered 426"),
    setting("max_body", Bytes, "64MiB", "largest request body"),
    setting("max_buffered", Bytes, "512MiB", "all request bodies in memory together"),
    setting("drain_timeout", Duration, "20s", "how long open exchanges may go on after the order to stop"),
    setting("secret", Reference, "", "what key hashes are made with; unset: secret.key in the data folder"),
    setting("spool", Path, "", "folder on local disk that feeds the archive; unset: spool in the data folder"),
    setting("prices", Path, "", "a price table instead of the built-in one"),
    setting("client.head_timeout", Duration, "2m", "longest wait for a request's head, also between requests"),
    setting("client.body_timeout", Duration, "1m", "longest wait between two pieces of a request's body"),
    setting("upstream.url", Url, "https://api.openai.com/v1", "base address of the OpenAI API"),
    setting("upstream.key", Reference, "env:OPENAI_API_KEY", "the organisation's OpenAI key"),
    setting("upstream.connect_timeout", Duration, "10s", "longest wait for a connection, TLS included"),
    setting("upstream.first_byte_timeout", Duration, "15m", "longest wait for the answer's head"),
    setting("upstream.idle_timeout", Duration, "10m", "longest wait between two pieces of an answer"),
    setting("limits.exchanges", Count, "4096", "exchanges under way at once"),
    setting("limits.exchanges_per_key", Count, "256", "of them, by one key"),
    setting("limits.connections", Count, "16384", "connections from clients at once"),
    setting("store.url", Engine(&["sqlite:PATH"]), "", "where keys live; unset: store.db in the data folder"),
    setting("archive.url", Engine(&["file:PATH"]), "", "where records and bodies live; unset: archive in the data folder"),
    setting("archive.bodies", Choice(&["full", "none"]), "full", "whether bodies are kept"),
    setting("archive.sync", Choice(&["os", "group", "always"]), "group", "when the spool is brought to the disk itself"),
    setting("archive.when_full", Choice(&["refuse", "proceed"]), "refuse", "what happens when no record can be written"),
    setting("archive.seal_after", Duration, "1m", "how long a segment of the spool grows"),
    setting("screen.action", Choice(&["off"]), "off", "what is done about secrets in requests"),
];

/// The setting of this name.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// The environment variable that sets it: `upstream.url` is `CODEX_PROXY_UPSTREAM_URL`.
pub fn variable(path: &str) -> String {
    format!("CODEX_PROXY_{}", path.replace('.', "_").to_uppercase())
}

/// The JSON Schema of the configuration file.
pub fn schema() -> serde_json::Value {
    let mut root = object();
    for setting in SETTINGS {
        let mut place = &mut root;
        let (tables, leaf) =
            setting.path.rsplit_once('.').map_or((None, setting.path), |(t, l)| (Some(t), l));
        for table in tables.iter().flat_map(|tables| tables.split('.')) {
            place = &mut place["properties"][table];
            if place.is_null() {
                *place = object();
            }
        }
        place["properties"][leaf] = property(setting);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "codex-proxy.toml".into();
    root
}

fn object() -> serde_json::Value {
    serde_json::json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

fn property(setting: &Setting) -> serde_json::Value {
    let text = serde_json::json!({ "type": "string" });
    let mut property = match setting.kind {
        Choice(words) => serde_json::json!({ "enum": words }),
        Count => serde_json::json!({ "type": "integer", "minimum": 1 }),
        Bytes => serde_json::json!({ "type": ["string", "integer"] }),
        Texts | Addresses => serde_json::json!({ "type": ["array", "string"], "items": text }),
        Text | Url | Duration | Path | Reference | Engine(_) => text,
    };
    property["description"] = setting.doc.into();
    if !setting.default.is_empty() {
        property["default"] = setting.default.into();
    }
    property
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{SETTINGS, schema, variable};

    #[test]
    fn environment_names_do_not_collide() {
        let names: HashSet<String> = SETTINGS.iter().map(|s| variable(s.path)).collect();
        assert_eq!(names.len(), SETTINGS.len());
        assert!(!names.contains("CODEX_PROXY_CONFIG"));
    }

    #[test]
    fn the_schema_has_every_setting() {
        let schema = schema();
        let url = &schema["properties"]["upstream"]["properties"]["url"];
        assert_eq!(url["default"], "https://api.openai.com/v1");
        assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:8080");
    }
}
